//! `to_vec` allocates.
//! expect: it allocates on the heap
use raddle::prelude::*;

#[kernel]
pub fn slice_to_vec(x: &[f32], mut out: PerThread<f32>) {
    if let Some((i, out)) = out.mine() {
        let mut copy = x.to_vec(); //~ HERE
        copy.reverse();
        *out = copy[i];
    }
}
