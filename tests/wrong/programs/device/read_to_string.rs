//! Reading a file.
//! expect: it asks the operating system
use raddle::prelude::*;

#[kernel]
pub fn read_to_string(mut out: PerThread<u32>) {
    if let Some((_, out)) = out.mine() {
        *out = u32::from(std::fs::read_to_string("config.toml").is_ok()); //~ HERE
    }
}
