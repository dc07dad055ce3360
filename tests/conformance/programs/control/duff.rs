//! A `match` that jumps into the tail of an unrolled loop.
//! run: threads = 64

pub fn program(thread: u32) -> u32 {
    let mut left = thread;
    let mut sum = 0;
    while left > 0 {
        let turn = match left {
            4.. => {
                sum += left * 4 - 6;
                4
            }
            3 => {
                sum += 3;
                3
            }
            2 => {
                sum += 1;
                2
            }
            _ => 1,
        };
        left -= turn;
    }
    sum
}

// expect: 0 0 1 3 10 14 19 25
// hash: 0x3a8137171f267516 of 64 answers
