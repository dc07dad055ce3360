//! A `String` cannot cross to the device.
use raddle::prelude::*;

#[kernel]
pub fn string_parameter(name: String, mut out: PerThread<u32>) { //~ ERROR `String` cannot be a kernel parameter
    if let Some((_, out)) = out.mine() {
        *out = name.len() as u32;
    }
}
