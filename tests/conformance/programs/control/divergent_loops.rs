//! Loops of different length in each thread.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32) {
    let mut sum = 0;
    for i in 0..thread * thread % 37 {
        sum += i * (thread + 1);
    }
    let mut n = 1u32;
    let mut turns = 0;
    while n < thread * 100 {
        n += n / 3 + 1;
        turns += 1;
    }
    (sum, turns)
}

// expect: 0,0 0,13 18,15 144,17 600,18 1800,19 4410,19 528,20
// hash: 0xfe858d0b96d3580e of 64 answers
