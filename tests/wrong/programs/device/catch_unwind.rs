//! Catching a panic: on a GPU a panic ends the thread.
//! expect: it allocates on the heap
use raddle::prelude::*;

#[kernel]
pub fn catch_unwind(x: &[u32], mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        *out = std::panic::catch_unwind(|| x[i + 1]).unwrap_or(0); //~ HERE
    }
}
