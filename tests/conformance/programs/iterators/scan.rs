//! Running sums by `scan`, ended by `None`.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, Option<u32>, u32) {
    let running = (1..=10).scan(thread, |sum, x| {
        *sum += x;
        (*sum < 80).then_some(*sum)
    });
    let count = running.clone().count() as u32;
    (count, running.clone().last(), running.fold(0, |h, x| h ^ x))
}

// expect: 10,1,55,54 10,1,56,34 10,1,57,42 10,1,58,62 10,1,59,14 10,1,60,2 10,1,61,26 10,1,62,22
// hash: 0xfc078c9bb5f54efc of 64 answers
