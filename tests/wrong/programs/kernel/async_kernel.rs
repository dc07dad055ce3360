//! A kernel cannot be `async`.
use raddle::prelude::*;

#[kernel]
pub async fn async_kernel(mut out: PerThread<f32>) { //~ ERROR a kernel cannot be `async`
    if let Some((_, out)) = out.mine() {
        *out = 1.0;
    }
}
