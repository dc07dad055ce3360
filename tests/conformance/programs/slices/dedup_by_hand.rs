//! In-place removal of repeated and unwanted elements.
//! run: threads = 64

fn retain(values: &mut [u32], len: usize, keep: impl Fn(u32) -> bool) -> usize {
    let mut kept = 0;
    for i in 0..len {
        if keep(values[i]) {
            values[kept] = values[i];
            kept += 1;
        }
    }
    kept
}

pub fn program(thread: u32) -> (usize, u32) {
    let mut values: [u32; 20] = core::array::from_fn(|i| (i as u32 * thread) % 7);
    values.sort_unstable();
    let mut len = 1;
    for i in 1..20 {
        if values[i] != values[len - 1] {
            values[len] = values[i];
            len += 1;
        }
    }
    let kept = retain(&mut values, len, |x| x % 3 != 1);
    (kept, values[..kept].iter().fold(0, |h, x| h * 10 + x))
}

// expect: 1,0 5,2356 5,2356 5,2356 5,2356 5,2356 5,2356 1,0
// hash: 0x79efd5e7bdd25909 of 64 answers
