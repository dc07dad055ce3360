//! `Arc` counts references on the heap.
//! expect: it allocates on the heap
use std::sync::Arc;

use raddle::prelude::*;

#[kernel]
pub fn arc(x: &[u32], mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        let shared = Arc::new(x[i]); //~ HERE
        *out = *std::hint::black_box(shared.clone()) + *shared;
    }
}
