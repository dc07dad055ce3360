//! A ring of nodes linked by shared references and cells.
//! run: threads = 64

use core::cell::Cell;

struct Node<'a> {
    value: u32,
    next: Cell<Option<&'a Node<'a>>>,
}

pub fn program(thread: u32) -> (u32, u32) {
    let nodes: [Node; 5] =
        core::array::from_fn(|i| Node { value: thread + i as u32 * 7, next: Cell::new(None) });
    for (i, node) in nodes.iter().enumerate() {
        node.next.set(Some(&nodes[(i + 2) % 5]));
    }
    let (mut at, mut sum) = (&nodes[thread as usize % 5], 0u32);
    for _ in 0..thread % 13 {
        sum = sum * 3 % 100_003 + at.value;
        at = at.next.get().expect("every node is linked");
    }
    (sum, at.value)
}

// expect: 0,0 8,22 78,9 242,31 1042,18 1277,5 5803,27 25865,14
// hash: 0x2b0c6e0b8c002053 of 64 answers
