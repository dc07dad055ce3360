//! The allocation is three calls deep: the message tells the way.
//! expect: it allocates on the heap
//! expect: through_functions::outer
//! expect: through_functions::inner
use raddle::prelude::*;

fn inner(n: usize) -> usize {
    let values = vec![n as u8; n]; //~ HERE
    std::hint::black_box(values).len()
}

fn middle(n: usize) -> usize {
    inner(n) + inner(n + 1)
}

fn outer(n: usize) -> usize {
    if n > 3 { middle(n) } else { 0 }
}

#[kernel]
pub fn through_functions(mut out: PerThread<u32>) {
    if let Some((i, out)) = out.mine() {
        *out = outer(i) as u32;
    }
}
