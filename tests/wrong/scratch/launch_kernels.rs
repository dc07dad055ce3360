//! Kernels without faults, which the programs of `launch` use wrongly.
use raddle::prelude::*;

#[derive(Clone, Copy, Debug, DeviceType)]
#[repr(u32)]
pub enum Mode {
    Fast = 1,
    Exact = 2,
}

#[kernel]
pub fn saxpy(a: f32, x: &[f32], mut y: PerThread<f32>) {
    for (i, y) in y.iter_mut() {
        *y += a * x[i];
    }
}

#[kernel]
pub fn exchange(mut a: PerThread<f32>, mut b: PerThread<f32>) {
    if let (Some((_, a)), Some((_, b))) = (a.mine(), b.mine()) {
        core::mem::swap(a, b);
    }
}

#[kernel(instances(f32, u32))]
pub fn fill<T: DeviceType>(value: T, mut y: PerThread<T>) {
    for (_, y) in y.iter_mut() {
        *y = value;
    }
}

#[kernel(instances(2, 3))]
pub fn repeat<const N: usize>(mut y: PerThread<u32>) {
    for (i, y) in y.iter_mut() {
        *y = (i % N) as u32;
    }
}

/// # Safety
///
/// `y` has an element for each thread.
#[kernel]
pub unsafe fn scatter(y: *mut u32) {
    // SAFETY: by the caller's contract.
    unsafe { *y.add(global_x()) = 1 };
}

#[kernel]
pub fn by_block(mut y: PerBlock<f32>) {
    for (_, mut chunk) in y.iter_mut() {
        for (_, [y]) in chunk.iter_mut() {
            *y = 1.0;
        }
    }
}
