//! Asking for the time of day.
//! expect: it asks the operating system
use raddle::prelude::*;

#[kernel]
pub fn system_time(mut out: PerThread<u32>) {
    if let Some((_, out)) = out.mine() {
        let now = std::time::SystemTime::now(); //~ HERE
        *out = u32::from(now > std::time::SystemTime::UNIX_EPOCH);
    }
}
