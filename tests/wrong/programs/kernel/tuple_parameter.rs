//! A tuple has no fixed layout.
use raddle::prelude::*;

#[kernel]
pub fn tuple_parameter(pair: (u8, u32), mut out: PerThread<u32>) { //~ ERROR `(u8, u32)` cannot be a kernel parameter
    if let Some((_, out)) = out.mine() {
        *out = u32::from(pair.0) + pair.1;
    }
}
