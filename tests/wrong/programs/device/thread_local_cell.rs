//! A thread-local variable.
//! expect: it uses the thread-local variable
use std::cell::Cell;

use raddle::prelude::*;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

#[kernel]
pub fn thread_local_cell(mut out: PerThread<u32>) {
    if let Some((_, out)) = out.mine() {
        DEPTH.set(DEPTH.get() + 1); //~ HERE
        *out = DEPTH.get();
    }
}
