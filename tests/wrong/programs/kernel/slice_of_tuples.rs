//! Elements of a slice need a fixed layout.
use raddle::prelude::*;

#[kernel]
pub fn slice_of_tuples(pairs: &[(u8, u32)], mut out: PerThread<u32>) { //~ ERROR [(u8, u32)]` cannot be a kernel parameter
    if let Some((i, out)) = out.mine() {
        *out = pairs[i].1;
    }
}
