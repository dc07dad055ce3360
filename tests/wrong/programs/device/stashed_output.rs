//! An output kept for a later launch, when its buffer may be gone: as the types of
//! kernel parameters have no lifetime, only the device build can refuse it.
//! expect: it uses the thread-local variable
use std::cell::RefCell;

use raddle::prelude::*;

thread_local! {
    static KEPT: RefCell<Option<PerThread<f32>>> = const { RefCell::new(None) };
}

#[kernel]
pub fn stashed_output(out: PerThread<f32>) {
    KEPT.set(Some(out)); //~ HERE
}
