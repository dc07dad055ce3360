//! Closures capture single fields, so others stay usable.
//! run: threads = 64

struct Pair {
    left: [u32; 3],
    right: u32,
}

pub fn program(thread: u32) -> (u32, u32) {
    let mut pair = Pair { left: [thread, 2, 3], right: 10 };
    let mut bump = || pair.left[1] += thread;
    pair.right += 1;
    bump();
    bump();
    (pair.left[1], pair.right)
}

// expect: 2,11 4,11 6,11 8,11 10,11 12,11 14,11 16,11
// hash: 0xfa0e2cfe1b1027a5 of 64 answers
