//! Early returns out of nested blocks and loops.
//! run: threads = 64

fn first_repeat(seed: u32) -> Option<u32> {
    let mut seen = 0u64;
    let mut x = seed;
    for step in 0..100 {
        x = (x * x + 7) % 61;
        if seen >> x & 1 == 1 {
            return Some(step);
        }
        seen |= 1 << x;
    }
    None
}

pub fn program(thread: u32) -> Option<u32> {
    if thread > 60 {
        return None;
    }
    first_repeat(thread)
}

// expect: 1,8 1,9 1,7 1,10 1,10 1,6 1,5 1,7
// hash: 0xf089388bdbdd116c of 64 answers
