//! Ending the process.
//! expect: it asks the operating system
use raddle::prelude::*;

#[kernel]
pub fn process_exit(mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        if i == 7 {
            std::process::exit(1); //~ HERE
        }
        *out = 1;
    }
}
