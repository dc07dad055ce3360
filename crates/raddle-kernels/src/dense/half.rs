//! Products of matrices in 16 bits on the tensor cores of compute capability 9.0.

use raddle::device::{bf16, f16};
use raddle::{Plain, Slice, Stream};

use super::{Scalar, Words, output};
use crate::gemm::{self, Element};
use crate::{Error, Result};

const OPERATION: &str = "a product in 16 bits";

/// Whether [`half_product`] has a product of so many rows, columns and terms.
#[must_use]
pub fn has_half_product(stream: &Stream, [rows, columns, depth]: [usize; 3]) -> bool {
    let is_fit = columns.is_multiple_of(8) && depth.is_multiple_of(8) && depth > 0;
    let counts = [(rows, columns), (rows, depth), (columns, depth)];
    let is_countable =
        counts.iter().all(|(a, b)| a.checked_mul(*b).is_some_and(|len| len <= i32::MAX as usize));
    let has_kernel = stream.device().compute_capability().is_none_or(|(major, _)| major == 9);
    is_fit && is_countable && has_kernel
}

/// `left * rightᵀ + bias` of `[rows, depth]` and `[columns, depth]` of `f16` or `bf16`, both
/// row-major, with a bias of `f32` for each column; `shape` is rows, columns and depth.
///
/// ## Errors
/// [`Error::Shape`] for other types; those of [`gemm::product`].
pub fn half_product(
    stream: &Stream,
    scalar: Scalar,
    shape: [usize; 3],
    [left, right]: [Slice<'_, u64>; 2],
    bias: Option<Slice<'_, u64>>,
) -> Result<Words> {
    match scalar {
        Scalar::F16 => product_of::<f16>(stream, scalar, shape, [left, right], bias),
        Scalar::BF16 => product_of::<bf16>(stream, scalar, shape, [left, right], bias),
        other => {
            let why = format!("expected f16 or bf16, found {other:?}");
            Err(Error::Shape { operation: OPERATION, why })
        }
    }
}

fn product_of<T: Element + Plain>(
    stream: &Stream,
    scalar: Scalar,
    shape: [usize; 3],
    [left, right]: [Slice<'_, u64>; 2],
    bias: Option<Slice<'_, u64>>,
) -> Result<Words> {
    if !has_half_product(stream, shape) {
        let why = format!("expected columns and depth in eights, found {shape:?}");
        return Err(Error::Shape { operation: OPERATION, why });
    }
    let [rows, columns, depth] = shape;
    let left = left.reinterpret::<T>()?.slice(..rows * depth)?;
    let right = right.reinterpret::<T>()?.slice(..columns * depth)?;
    let bias = bias.map(|bias| bias.reinterpret::<f32>()?.slice(..columns)).transpose()?;
    let mut out = output(stream, scalar, (rows * columns) as u32)?;
    let elements = out.as_slice_mut().reinterpret_mut::<T>()?.slice_mut(..rows * columns)?;
    gemm::product_into(stream, shape, left, right, bias, elements)?;
    Ok(out)
}
