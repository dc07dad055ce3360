//! Slice patterns with rests in the middle.
//! run: threads = 64

fn classify(values: &[u32]) -> u32 {
    match values {
        [] => 0,
        [one] => 10 + one,
        [first, last] if first == last => 20,
        [first, .., last] if first == last => 30 + values.len() as u32,
        [a, b, rest @ ..] if a < b => 100 * rest.len() as u32 + a,
        [.., 9] => 9000,
        [_, middle @ .., _] => middle.iter().sum::<u32>() + 5000,
    }
}

pub fn program(thread: u32) -> u32 {
    let values = [thread % 4, thread % 3, 5, thread % 10, thread % 4, 9];
    classify(&values[..thread as usize % 7])
}

// expect: 0 11 20 5000 200 35 9000 0
// hash: 0xc6f667130a274480 of 64 answers
