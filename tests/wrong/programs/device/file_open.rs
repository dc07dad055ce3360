//! Opening a file.
//! expect: it asks the operating system
use raddle::prelude::*;

#[kernel]
pub fn file_open(mut out: PerThread<u32>) {
    if let Some((_, out)) = out.mine() {
        *out = u32::from(std::fs::File::open("weights.bin").is_ok()); //~ HERE
    }
}
