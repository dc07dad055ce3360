//! Indices read from memory choose what is read next.
//! run: threads = 64
//! input: u32 x 256

pub fn program(thread: u32, input: &[u32]) -> (u32, u32) {
    let mut at = thread as usize;
    let mut sum = 0u32;
    for _ in 0..10 {
        let value = input[at];
        sum = sum.wrapping_add(value);
        at = value as usize % input.len();
    }
    (sum, at as u32)
}

// expect: 0x544f609a,82 0xd788651e,152 0x98176524,142 0x2bf9f59a,16 0x54499a3b,120 0x3f2f9175,137
// expect: 0x8c023e82,237 0x69ce60be,25
// hash: 0xdbdaac32c74ab691 of 64 answers
