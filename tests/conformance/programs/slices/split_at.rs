//! `split_at`, `split_first`, `split_last`, `first_chunk`.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32, u32, u32) {
    let values: [u32; 8] = core::array::from_fn(|i| thread + i as u32 * 10);
    let (left, right) = values.split_at(thread as usize % 9);
    let (first, rest) = values.split_first().expect("eight values");
    let (last, _) = rest.split_last().expect("seven values");
    let [a, b] = *values.first_chunk::<2>().expect("eight values");
    (left.iter().sum(), right.iter().sum(), first * 2 + last, a * b)
}

// expect: 0,280,70,0 1,287,73,11 14,282,76,24 39,265,79,39 76,236,82,56 125,195,85,75
// expect: 186,142,88,96 259,77,91,119
// hash: 0x8892bd5a1fe61dc9 of 64 answers
