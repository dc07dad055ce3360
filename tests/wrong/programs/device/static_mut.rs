//! A `static mut`.
//! expect: it uses the mutable static `kernels::static_mut::LAST`
use raddle::prelude::*;

static mut LAST: u32 = 0;

#[kernel]
pub fn static_mut(mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        // SAFETY: a wrong program need not be right.
        unsafe { LAST = i as u32 }; //~ HERE
        *out = 1;
    }
}
