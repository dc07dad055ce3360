//! Asking for the process id.
//! expect: it asks the operating system
use raddle::prelude::*;

#[kernel]
pub fn process_id(mut out: PerThread<u32>) {
    if let Some((_, out)) = out.mine() {
        *out = std::process::id(); //~ HERE
    }
}
