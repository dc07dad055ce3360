//! Reading an environment variable.
//! expect: it asks the operating system
use raddle::prelude::*;

#[kernel]
pub fn env_var(mut out: PerThread<u32>) {
    if let Some((_, out)) = out.mine() {
        *out = u32::from(std::env::var_os("HOME").is_some()); //~ HERE
    }
}
