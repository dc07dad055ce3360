//! `eprintln!` writes to the host's error output.
//! expect: it uses std's input and output
use raddle::prelude::*;

#[kernel]
pub fn eprintln_macro(mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        std::eprintln!("thread {i}"); //~ HERE
        *out = 1;
    }
}
