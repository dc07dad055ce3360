//! A boxed trait object lives on the heap.
//! expect: it allocates on the heap
use raddle::prelude::*;

trait Step {
    fn step(&self, x: u32) -> u32;
}

struct Add(u32);
struct Double;

impl Step for Add {
    fn step(&self, x: u32) -> u32 {
        x + self.0
    }
}

impl Step for Double {
    fn step(&self, x: u32) -> u32 {
        x * 2
    }
}

fn choose(n: u32) -> Box<dyn Step> {
    if n % 2 == 0 { Box::new(Add(n)) } else { Box::new(Double) } //~ HERE
}

#[kernel]
pub fn box_dyn(n: u32, mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        *out = choose(n + i as u32).step(n);
    }
}
