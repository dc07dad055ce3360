//! `println!` of std writes to the host's output.
//! expect: it uses std's input and output
use raddle::prelude::*;

#[kernel]
pub fn println_macro(mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        std::println!("thread {i}"); //~ HERE
        *out = 1;
    }
}
