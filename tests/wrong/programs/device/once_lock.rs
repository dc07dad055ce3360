//! A static that is filled at its first use.
//! expect: it uses the mutable static `kernels::once_lock::
use std::sync::OnceLock;

use raddle::prelude::*;

static TABLE: OnceLock<[u32; 16]> = OnceLock::new();

#[kernel]
pub fn once_lock(mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        let table = TABLE.get_or_init(|| std::array::from_fn(|i| (i * i) as u32)); //~ HERE
        *out = table[i % 16];
    }
}
