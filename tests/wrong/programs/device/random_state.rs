//! Random keys come from the operating system.
//! expect: it uses the thread-local variable
use std::hash::{BuildHasher, RandomState};

use raddle::prelude::*;

#[kernel]
pub fn random_state(mut out: PerThread<u64>) {
    if let Some((i, out)) = out.mine() {
        *out = RandomState::new().hash_one(i); //~ HERE
    }
}
