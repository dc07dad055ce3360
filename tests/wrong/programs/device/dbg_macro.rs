//! `dbg!` writes to the host's error output.
//! expect: it uses std's input and output
use raddle::prelude::*;

#[kernel]
pub fn dbg_macro(mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        *out = dbg!(i as u32 + 1); //~ HERE
    }
}
