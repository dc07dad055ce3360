//! `str::to_uppercase` makes a `String`.
//! expect: it allocates on the heap
use raddle::prelude::*;

#[kernel]
pub fn to_uppercase(mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        *out = "raddle"[i % 6..].to_uppercase().len() as u32; //~ HERE
    }
}
