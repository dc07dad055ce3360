//! A closure with its own state makes a generator of numbers.
//! run: threads = 64

fn counter(start: u32, step: u32) -> impl FnMut() -> u32 {
    let mut next = start;
    move || {
        let now = next;
        next += step;
        now
    }
}

pub fn program(thread: u32) -> (u32, u32) {
    let mut count = counter(thread, 3);
    let sum: u32 = core::iter::repeat_with(&mut count).take(5).sum();
    (sum, count())
}

// expect: 30,15 35,16 40,17 45,18 50,19 55,20 60,21 65,22
// hash: 0xd376868074c65d05 of 64 answers
