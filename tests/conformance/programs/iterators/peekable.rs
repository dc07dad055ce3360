//! `peekable` groups equal neighbours.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32) {
    let bits = (0..24).map(|i| (thread * 0x5_1234 + thread) >> i & 1);
    let mut bits = bits.peekable();
    let (mut runs, mut longest) = (0, 0);
    while let Some(bit) = bits.next() {
        let mut len = 1;
        while bits.next_if_eq(&bit).is_some() {
            len += 1;
        }
        if bits.peek().is_some() {
            runs += 1;
        }
        longest = longest.max(len);
    }
    (runs, longest)
}

// expect: 0,24 13,5 14,4 9,5 14,3 13,4 10,5 9,7
// hash: 0x4a60a51951266417 of 64 answers
