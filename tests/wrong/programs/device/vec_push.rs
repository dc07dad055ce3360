//! Growing a `Vec` allocates.
//! expect: it allocates on the heap
use raddle::prelude::*;

#[kernel]
pub fn vec_push(n: u32, mut out: PerThread<u32>) {
    if let Some((_, out)) = out.mine() {
        let mut values = Vec::new();
        for i in 0..n {
            values.push(i); //~ HERE
        }
        *out = values.iter().sum();
    }
}
