//! The stable sort needs a buffer on the heap; `sort_unstable` does not.
//! expect: it allocates on the heap
use raddle::prelude::*;

#[kernel]
pub fn stable_sort(x: &[u32], mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        let mut values = [0; 64];
        values.copy_from_slice(&x[i..i + 64]);
        values.sort(); //~ HERE
        *out = values[0];
    }
}
