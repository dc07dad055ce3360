//! A `Box` lives on the heap.
//! expect: it allocates on the heap
use raddle::prelude::*;

#[kernel]
pub fn box_new(x: &[u32], mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        let boxed = Box::new(x[i]); //~ HERE
        *out = *std::hint::black_box(boxed);
    }
}
