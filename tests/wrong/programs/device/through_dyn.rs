//! Allocation behind dynamic dispatch is found through the table of methods.
//! expect: it allocates on the heap
use raddle::prelude::*;

trait Step {
    fn step(&self, x: u32) -> u32;
}

struct Plain;
struct Heap;

impl Step for Plain {
    fn step(&self, x: u32) -> u32 {
        x + 1
    }
}

impl Step for Heap {
    fn step(&self, x: u32) -> u32 {
        *std::hint::black_box(Box::new(x)) //~ HERE
    }
}

#[kernel]
pub fn through_dyn(n: u32, mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        let steps: [&dyn Step; 2] = [&Plain, &Heap];
        *out = steps[i % 2].step(n);
    }
}
