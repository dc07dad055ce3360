//! References have no place in shared memory.
use raddle::prelude::*;

#[kernel]
pub fn shared_references(x: &[f32], mut out: PerThread<f32>) {
    let slots = raddle::device::shared!([Option<u32>; 4]);
    let slots = { slots }.fill(|i| Some(i as u32)); //~ ERROR trait bounds were not satisfied
    if let Some((i, out)) = out.mine() {
        *out = x[slots[i % 4].map_or(0, |i| i as usize)];
    }
}
