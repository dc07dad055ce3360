//! Kahn's algorithm on a small graph of adjacency bits.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32) {
    let edges: [u8; 8] = core::array::from_fn(|i| {
        let later = !0u32 << (i + 1);
        ((thread * 0x1357 >> i) & later & 0xff) as u8 | u8::from(thread % 11 == 5 && i == 7)
    });
    let mut incoming = [0; 8];
    for targets in edges {
        for (i, count) in incoming.iter_mut().enumerate() {
            *count += targets >> i & 1;
        }
    }
    let (mut order, mut placed, mut done) = (0u32, 0, 0u8);
    while let Some(node) = (0..8).find(|i| incoming[*i] == 0 && done >> i & 1 == 0) {
        done |= 1 << node;
        order = order * 8 + node as u32;
        placed += 1;
        for (i, count) in incoming.iter_mut().enumerate() {
            *count -= edges[node] >> i & 1;
        }
    }
    (order, placed)
}

// expect: 342391,8 342391,8 342391,8 342391,8 342391,8 2,1 342391,8 342391,8
// hash: 0x96822b10b33997c8 of 64 answers
