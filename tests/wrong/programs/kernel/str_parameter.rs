//! A `&str` cannot cross to the device.
use raddle::prelude::*;

#[kernel]
pub fn str_parameter(name: &str, mut out: PerThread<u32>) { //~ ERROR cannot be a kernel parameter
    if let Some((_, out)) = out.mine() {
        *out = name.len() as u32;
    }
}
