//! Raw pointers are for `unsafe` code.
use raddle::prelude::*;

#[kernel]
pub fn raw_pointer_in_safe_code(out: *mut f32) {
    *out = 1.0; //~ ERROR dereference of raw pointer is unsafe
}
