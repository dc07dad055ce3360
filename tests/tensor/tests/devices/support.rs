//! Which devices there are, and operands for the tests.

use raddle::{Device, Stream};

/// Calls `test` with a stream of each device: the CPU, and the GPU if there is one
/// of at least this compute capability. Says what is skipped.
pub fn on_each_device(capability: (u32, u32), test: impl Fn(&Stream)) {
    test(&Device::cpu().stream().expect("the CPU device has streams"));
    match Device::cuda(0) {
        Ok(gpu) if gpu.compute_capability() >= Some(capability) => {
            test(&gpu.stream().expect("a working GPU has streams"));
        }
        Ok(gpu) => println!("SKIPPED on {}: below {capability:?}", gpu.name()),
        Err(reason) => println!("SKIPPED on a GPU: {reason}"),
    }
}

/// Any GPU that portable kernels run on.
pub const PORTABLE: (u32, u32) = (8, 0);
/// Hopper.
pub const HOPPER: (u32, u32) = (9, 0);

/// A seeded sequence of numbers.
#[derive(Clone, Copy)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Small integers, so that sums of products are exact in every format.
    pub fn small(&mut self, limit: i32) -> i32 {
        (self.next() >> 20) as i32 % (2 * limit + 1) - limit
    }

    pub fn small_matrix(&mut self, len: usize, limit: i32) -> Vec<i32> {
        (0..len)
            .map(|_| {
                self.small(limit).abs().min(limit) * if self.next() & 64 == 0 { 1 } else { -1 }
            })
            .collect()
    }
}

/// `a * bᵀ` for rows of `k` elements.
pub fn product(a: &[i32], b: &[i32], k: usize) -> Vec<i32> {
    let rows = a.chunks_exact(k);
    rows.flat_map(|row| {
        b.chunks_exact(k).map(move |column| row.iter().zip(column).map(|(x, y)| x * y).sum())
    })
    .collect()
}

/// Fails with the first difference instead of printing everything.
#[track_caller]
pub fn assert_same<T: PartialEq + std::fmt::Debug>(found: &[T], expected: &[T], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: lengths");
    let different = || found.iter().zip(expected).enumerate().filter(|(_, (x, y))| x != y);
    if let Some((i, (first, wanted))) = different().next() {
        panic!(
            "{what}: {} of {} differ; the first is {i}: expected {wanted:x?}, found {first:x?}",
            different().count(),
            found.len()
        );
    }
}
