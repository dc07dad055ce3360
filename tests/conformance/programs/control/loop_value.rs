//! `loop` gives a value through `break`.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32) {
    let mut n = thread + 27;
    let mut rounds = 0;
    let last = loop {
        rounds += 1;
        n = n * 5 % 97;
        if n % 7 == 3 || rounds == 50 {
            break n;
        }
    };
    (last, rounds)
}

// expect: 38,1 38,16 38,6 38,10 59,21 24,2 59,7 73,1
// hash: 0x5566989080ed14c0 of 64 answers
