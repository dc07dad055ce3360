//! Classifying bytes with a `match` and counting classes.
//! run: threads = 64
//! input: u8 x 256

pub fn program(thread: u32, input: &[u8]) -> [u32; 5] {
    let mut counts = [0; 5];
    for byte in input.iter().skip(thread as usize).step_by(3) {
        let class = match byte {
            b'0'..=b'9' => 0,
            b'a'..=b'z' | b'A'..=b'Z' => 1,
            0x80.. => 2,
            b if b.is_ascii_punctuation() => 3,
            _ => 4,
        };
        counts[class] += 1;
    }
    counts
}

// expect: 1,17,49,8,11 4,16,48,7,10 7,19,45,3,11 1,17,48,8,11 4,16,47,7,10 7,18,45,3,11
// expect: 1,17,47,8,11 4,16,46,7,10
// hash: 0xb1e7dabf9c6d7c0a of 64 answers
