//! A local read-write lock.
//! expect: it uses the mutable static `kernels::rw_lock::
use std::sync::RwLock;

use raddle::prelude::*;

static TABLE: RwLock<[u32; 4]> = RwLock::new([1, 2, 3, 4]);

#[kernel]
pub fn rw_lock(mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        *out = TABLE.read().map_or(0, |table| table[i % 4]); //~ HERE
    }
}
