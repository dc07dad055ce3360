//! Products of matrices with any strides, in batches that broadcast.

use raddle::prelude::*;

use super::scalar::{Compute, Dims, Scalar, View, word};

/// A product: the last two of the output's dimensions are rows and columns.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Product {
    /// The left matrices along the output's coordinates; columns do not move it.
    pub left: View,
    /// The right matrices along the output's coordinates; rows do not move it.
    pub right: View,
    /// Distance of the left ones' columns.
    pub left_step: i32,
    /// Distance of the right ones' rows.
    pub right_step: i32,
    /// Terms of a sum.
    pub depth: u32,
    /// Code of the output's elements.
    pub scalar: u32,
}

/// An element of the product after the other to each thread, a word at a time.
#[kernel(block = 128, instances(f32, f64, i64))]
pub fn product<W: Compute>(
    dims: Dims,
    product: Product,
    left: &[u64],
    right: &[u64],
    mut out: PerThread<u64>,
) {
    for (index, out) in out.iter_mut() {
        *out = word(index, Scalar::of(product.scalar).shift(), dims.len, |at| {
            let mut a = product.left.at(&dims, at) as i32;
            let mut b = product.right.at(&dims, at) as i32;
            let mut sum = W::ZERO;
            for _ in 0..product.depth {
                let x = W::load(left, product.left.scalar, a as usize);
                let y = W::load(right, product.right.scalar, b as usize);
                sum = sum.plus(x.times(y));
                a += product.left_step;
                b += product.right_step;
            }
            sum.store(product.scalar)
        });
    }
}
