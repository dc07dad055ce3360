//! A closure that allocates, passed to an iterator.
//! expect: it allocates on the heap
use raddle::prelude::*;

#[kernel]
pub fn through_closure(x: &[u32], mut out: PerThread<u32>) {
    if let Some((_, out)) = out.mine() {
        *out = x
            .iter()
            .map(|x| std::hint::black_box(Box::new(*x))) //~ HERE
            .map(|x| *x)
            .sum();
    }
}
