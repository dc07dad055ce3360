//! A trait's implementation allocates, called through a generic function.
//! expect: it allocates on the heap
use raddle::prelude::*;

trait Measure {
    fn measure(&self) -> u32;
}

struct Name(u32);

impl Measure for Name {
    fn measure(&self) -> u32 {
        "x".repeat(self.0 as usize).len() as u32 //~ HERE
    }
}

fn twice<M: Measure>(measure: &M) -> u32 {
    measure.measure() * 2
}

#[kernel]
pub fn through_generic(mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        *out = twice(&Name(i as u32));
    }
}
