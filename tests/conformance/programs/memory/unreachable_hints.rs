//! `unreachable_unchecked` and `assert_unchecked` promise things to the compiler.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32) {
    let rest = match thread % 3 {
        0 => 10,
        1 => 20,
        2 => 30,
        // SAFETY: a remainder by three is below three.
        _ => unsafe { core::hint::unreachable_unchecked() },
    };
    let values = [1, 2, 3, 4];
    let at = thread as usize & 3;
    // SAFETY: a number masked by three is at most three.
    unsafe { core::hint::assert_unchecked(at < values.len()) };
    (rest, values[at])
}

// expect: 10,1 20,2 30,3 10,4 20,1 30,2 10,3 20,4
// hash: 0x21db787652cafaaf of 64 answers
