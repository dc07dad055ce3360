//! Every kernel on every device against plain loops in double precision.

mod attention;
mod conv;
mod dense;
mod generated;
mod grouped;
mod halves;
mod head;
mod image;
mod planes;
mod reference;
mod stem;
mod tiled;

use raddle::prelude::*;

/// The CPU device, and the first GPU where there is one.
fn devices() -> Vec<Device> {
    let mut devices = vec![Device::cpu()];
    match Device::cuda(0) {
        Ok(device) => devices.push(device),
        Err(error) => println!("SKIPPED on a GPU: {error}"),
    }
    devices
}

/// Seeded numbers between -1 and 1 that `f16` and `bf16` hold exactly.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn element(&mut self) -> f32 {
        ((self.next() >> 20) % 129) as f32 / 64.0 - 1.0
    }

    fn elements(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.element()).collect()
    }
}
