//! Starting a thread of the operating system.
//! expect: `std::thread
use raddle::prelude::*;

#[kernel]
pub fn thread_spawn(mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        let handle = std::thread::spawn(move || i as u32); //~ HERE
        *out = u32::from(handle.is_finished());
    }
}
