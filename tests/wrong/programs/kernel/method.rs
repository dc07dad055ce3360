//! A kernel is no method.
use raddle::prelude::*;

pub struct Model;

impl Model {
    #[kernel]
    pub fn method(&self, mut out: PerThread<f32>) { //~ ERROR a kernel is a free function
        if let Some((_, out)) = out.mine() {
            *out = 1.0;
        }
    }
}
