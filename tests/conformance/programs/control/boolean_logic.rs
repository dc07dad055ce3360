//! Short-circuit evaluation runs the right side only when needed.
//! run: threads = 64

pub fn program(thread: u32) -> (bool, u32) {
    let mut calls = 0;
    let mut check = |bit: u32| {
        calls += 1;
        thread >> bit & 1 == 1
    };
    let truth = check(0) && check(1) || check(2) && (check(3) || check(4));
    let eager = check(5) | check(0) & check(1) ^ check(2);
    (truth ^ eager, calls)
}

// expect: 0,6 0,7 0,6 0,6 1,8 1,9 1,8 1,6
// hash: 0x1f696ea108277aa5 of 64 answers
