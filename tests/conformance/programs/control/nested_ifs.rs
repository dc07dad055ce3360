//! Divergent branches meet again.
//! run: threads = 64

pub fn program(thread: u32) -> u32 {
    let mut x = thread;
    if thread & 1 == 0 {
        x += 100;
        if thread & 2 == 0 {
            x *= 3;
        } else if thread & 4 == 0 {
            x -= 50;
        }
    } else {
        x ^= 0x55;
        if x > 90 {
            x /= 2;
        }
    }
    x + thread
}

// expect: 300 85 54 89 316 85 112 89
// hash: 0x885cc3652a6bb42c of 64 answers
