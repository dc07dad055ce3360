//! A thread cannot hold its part twice.
use raddle::prelude::*;

#[kernel]
pub fn two_parts_at_once(mut out: PerThread<f32>) {
    let first = out.mine();
    let second = out.mine(); //~ ERROR cannot borrow `out` as mutable more than once
    if let (Some((_, a)), Some((_, b))) = (first, second) {
        *a = 1.0;
        *b = 2.0;
    }
}
