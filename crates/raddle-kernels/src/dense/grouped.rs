//! Convolutions of `f32` in narrow groups, with channels last.

use raddle::{Slice, Stream};

use super::{Finish, Scalar, Words, output};
use crate::grouped::{Grouped, Operands};
use crate::{Activation, Result};

/// A convolution in groups of `[image, row, column, channel]`, as the residual and the output
/// lie too; the weights are those that [`Grouped::pack`] gives.
///
/// ## Errors
/// As [`Grouped::run_into`].
pub fn convolve_groups(
    stream: &Stream,
    of: &Grouped,
    finish: Finish<'_>,
    [input, weights]: [Slice<'_, u64>; 2],
    bias: Option<Slice<'_, u64>>,
) -> Result<Words> {
    of.check()?;
    let operands = Operands {
        input: input.reinterpret::<f32>()?,
        weights: weights.reinterpret::<f32>()?,
        bias: bias.map(Slice::reinterpret::<f32>).transpose()?,
        residual: finish.residual.map(Slice::reinterpret::<f32>).transpose()?,
    };
    let [min, max] = finish.bounds;
    let mut out = output(stream, Scalar::F32, of.output_len() as u32)?;
    let elements = out.as_slice_mut().reinterpret_mut::<f32>()?;
    of.run_into(stream, operands, Activation::clip(min, max), elements)?;
    Ok(out)
}
