//! `total_cmp` orders every float, negative zero below zero.
//! run: threads = 64

pub fn program(thread: u32) -> (i32, i32, Option<i8>) {
    let values = [f64::NEG_INFINITY, -2.0, -0.0, 0.0, 1e-310, 7.5, f64::INFINITY, f64::NAN];
    let a = values[thread as usize / 8];
    let b = values[thread as usize % 8];
    (
        a.total_cmp(&b) as i32,
        (a as f32).total_cmp(&(b as f32)) as i32,
        a.partial_cmp(&b).map(|o| o as i8),
    )
}

// expect: 0,0,1,0 -1,-1,1,-1 -1,-1,1,-1 -1,-1,1,-1 -1,-1,1,-1 -1,-1,1,-1 -1,-1,1,-1 -1,-1,0,0
// hash: 0x1f8aeb98233eba2d of 64 answers
