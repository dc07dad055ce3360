//! A block shape that no GPU has.
use raddle::prelude::*;

#[kernel(block = (64, 32))] //~ ERROR a block has 1 to 1024 threads, found 2048
pub fn block_too_large(mut out: PerThread<f32>) {
    if let Some((_, out)) = out.mine() {
        *out = 1.0;
    }
}
