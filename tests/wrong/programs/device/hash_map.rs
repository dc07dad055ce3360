//! A `HashMap` asks the operating system for its keys and allocates.
//! expect: it uses the thread-local variable
use std::collections::HashMap;

use raddle::prelude::*;

#[kernel]
pub fn hash_map(x: &[u32], mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        let mut counts = HashMap::new(); //~ HERE
        for x in x {
            *counts.entry(*x).or_insert(0) += 1;
        }
        *out = counts[&x[i]];
    }
}
