//! `format!` makes a `String`.
//! expect: it allocates on the heap
use raddle::prelude::*;

#[kernel]
pub fn format_macro(mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        *out = format!("thread {i}").len() as u32; //~ HERE
    }
}
