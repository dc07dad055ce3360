//! Sleeping in the operating system; a kernel has `nanosleep`.
//! expect: it uses threads or locks of the operating system
use raddle::prelude::*;

#[kernel]
pub fn thread_sleep(mut out: PerThread<u32>) {
    if let Some((_, out)) = out.mine() {
        std::thread::sleep(std::time::Duration::from_millis(1)); //~ HERE
        *out = 1;
    }
}
