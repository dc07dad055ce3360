//! A hash table with linear probing in a fixed array.
//! run: threads = 64

struct Table {
    slots: [Option<(u32, u32)>; 32],
}

impl Table {
    fn slot(&self, key: u32) -> usize {
        let mut at = (key.wrapping_mul(0x9e37_79b1) >> 27) as usize;
        while let Some((other, _)) = self.slots[at]
            && other != key
        {
            at = (at + 1) % 32;
        }
        at
    }
    fn add(&mut self, key: u32) {
        let at = self.slot(key);
        let (_, count) = self.slots[at].get_or_insert((key, 0));
        *count += 1;
    }
    fn get(&self, key: u32) -> Option<u32> {
        self.slots[self.slot(key)].map(|(_, count)| count)
    }
}

pub fn program(thread: u32) -> (Option<u32>, usize) {
    let mut table = Table { slots: [None; 32] };
    for i in 0..40 {
        table.add((i * (thread + 3)) % 19);
    }
    (table.get(thread % 23), table.slots.iter().flatten().count())
}

// expect: 1,3,19 1,2,19 1,2,19 1,2,19 1,2,19 1,2,19 1,2,19 1,2,19
// hash: 0xaf48e0c13a9aa215 of 64 answers
