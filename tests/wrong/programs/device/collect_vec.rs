//! Collecting into a `Vec` allocates.
//! expect: it allocates on the heap
use raddle::prelude::*;

#[kernel]
pub fn collect_vec(x: &[u32], mut out: PerThread<u32>) {
    if let Some((_, out)) = out.mine() {
        let even: Vec<u32> = x.iter().copied().filter(|x| x % 2 == 0).collect(); //~ HERE
        *out = even.len() as u32;
    }
}
