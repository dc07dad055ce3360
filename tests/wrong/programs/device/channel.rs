//! A channel between threads of the operating system.
//! expect: it asks the operating system
use raddle::prelude::*;

#[kernel]
pub fn channel(mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let _ = sender.send(i as u32); //~ HERE
        *out = receiver.recv().unwrap_or(0);
    }
}
