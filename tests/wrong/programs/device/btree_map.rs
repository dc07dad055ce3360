//! A `BTreeMap` allocates its nodes.
//! expect: it allocates on the heap
use std::collections::BTreeMap;

use raddle::prelude::*;

#[kernel]
pub fn btree_map(x: &[u32], mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        let mut counts = BTreeMap::new();
        counts.insert(x[i], i as u32); //~ HERE
        *out = *counts.get(&3).unwrap_or(&0);
    }
}
