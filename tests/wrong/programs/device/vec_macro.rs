//! A `Vec` lives on the heap.
//! expect: it allocates on the heap
use raddle::prelude::*;

#[kernel]
pub fn vec_macro(n: u32, mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        let values = vec![1; n as usize]; //~ HERE
        *out = values[i];
    }
}
