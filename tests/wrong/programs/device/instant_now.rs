//! Asking the host's clock; a kernel has `clock64` and `global_timer_ns`.
//! expect: it asks the operating system
use raddle::prelude::*;

#[kernel]
pub fn instant_now(mut out: PerThread<u32>) {
    if let Some((_, out)) = out.mine() {
        *out = std::time::Instant::now().elapsed().subsec_nanos(); //~ HERE
    }
}
