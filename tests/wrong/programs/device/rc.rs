//! `Rc` counts references on the heap.
//! expect: it allocates on the heap
use std::rc::Rc;

use raddle::prelude::*;

#[kernel]
pub fn rc(x: &[u32], mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        let shared = Rc::new(x[i]); //~ HERE
        *out = *std::hint::black_box(shared.clone()) + *shared;
    }
}
