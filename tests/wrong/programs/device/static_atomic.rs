//! An atomic static: host and device would have different copies.
//! expect: it uses the mutable static `kernels::static_atomic::COUNT`
use std::sync::atomic::{AtomicU32, Ordering};

use raddle::prelude::*;

static COUNT: AtomicU32 = AtomicU32::new(0);

#[kernel]
pub fn static_atomic(mut out: PerThread<u32>) {
    if let Some((_, out)) = out.mine() {
        *out = COUNT.fetch_add(1, Ordering::Relaxed); //~ HERE
    }
}
