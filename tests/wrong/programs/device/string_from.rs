//! A `String` lives on the heap.
//! expect: it allocates on the heap
use raddle::prelude::*;

#[kernel]
pub fn string_from(mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        let mut name = String::from("warp"); //~ HERE
        name.truncate(i);
        *out = name.len() as u32;
    }
}
