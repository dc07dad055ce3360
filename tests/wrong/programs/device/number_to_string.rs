//! `to_string` makes a `String`.
//! expect: it allocates on the heap
use raddle::prelude::*;

#[kernel]
pub fn number_to_string(mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        *out = i.to_string().len() as u32; //~ HERE
    }
}
