//! A mutex of the operating system, in a static.
//! expect: it uses the mutable static `kernels::mutex_lock::
use std::sync::Mutex;

use raddle::prelude::*;

static TOTAL: Mutex<u32> = Mutex::new(0);

#[kernel]
pub fn mutex_lock(mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        let mut total = TOTAL.lock().expect("no thread panics"); //~ HERE
        *total += i as u32;
        *out = *total;
    }
}
