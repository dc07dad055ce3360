//! An option that does not exist.
use raddle::prelude::*;

#[kernel(threads = 256)] //~ ERROR there is no option `threads`
pub fn unknown_option(mut out: PerThread<f32>) {
    if let Some((_, out)) = out.mine() {
        *out = 1.0;
    }
}
