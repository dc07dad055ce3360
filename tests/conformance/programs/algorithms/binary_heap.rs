//! A binary heap in an array sorts by popping.
//! run: threads = 64

struct Heap {
    items: [u32; 16],
    len: usize,
}

impl Heap {
    fn push(&mut self, item: u32) {
        let mut at = self.len;
        self.items[at] = item;
        self.len += 1;
        while at > 0 && self.items[at] < self.items[(at - 1) / 2] {
            self.items.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    fn pop(&mut self) -> Option<u32> {
        self.len = self.len.checked_sub(1)?;
        self.items.swap(0, self.len);
        let mut at = 0;
        loop {
            let children = (2 * at + 1..2 * at + 3).filter(|child| *child < self.len);
            match children.min_by_key(|child| self.items[*child]) {
                Some(child) if self.items[child] < self.items[at] => {
                    self.items.swap(child, at);
                    at = child;
                }
                _ => return Some(self.items[self.len]),
            }
        }
    }
}

pub fn program(thread: u32) -> (u32, bool) {
    let mut heap = Heap { items: [0; 16], len: 0 };
    for i in 0..16 {
        heap.push((thread + 1) * (i * 11 + 3) % 89);
    }
    let (mut hash, mut last, mut sorted) = (0u32, 0, true);
    while let Some(item) = heap.pop() {
        sorted &= item >= last;
        last = item;
        hash = hash.wrapping_mul(31).wrapping_add(item);
    }
    (hash, sorted)
}

// expect: 0x9c1b1188,1 0x3b598e08,1 0x7d2c9eb8,1 0x3dbf6708,1 0xeec45a91,1 0xe733df58,1
// expect: 0x7abccbb4,1 0x302e9908,1
// hash: 0x666a091afc3d66e8 of 64 answers
