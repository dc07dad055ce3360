//! Every thread writes `out[0]`: an exclusive output cannot be indexed.
use raddle::prelude::*;

#[kernel]
pub fn every_thread_writes_first(x: &[f32], mut out: PerThread<f32>) {
    out[0] = x[0]; //~ ERROR cannot index into a value of type
}
