//! Every thread would hold the same `&mut [T]`.
use raddle::prelude::*;

#[kernel]
pub fn mutable_slice(out: &mut [f32]) { //~ ERROR every thread would hold this `&mut`
    out[0] = 1.0;
}
