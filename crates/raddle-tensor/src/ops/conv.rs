//! Convolution as a matrix product: the taps of every position become a column
//! (im2col), the weights are the matrix on the left.

use super::elementwise::unsupported;
use super::linear::{Scalar, gemm};
use super::window::{Window, coordinates};
use crate::DTypeRule::Like;
use crate::Kind::{Int, Ints, String as Text};
use crate::infer::rules;
use crate::shape::{element_count, strides};
use crate::{
    Class, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op, parallel,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[op("Conv", 1..=LATEST)
    .inputs(2, 3)
    .attributes(&[
        ("auto_pad", Text),
        ("dilations", Ints),
        ("group", Int),
        ("kernel_shape", Ints),
        ("pads", Ints),
        ("strides", Ints),
    ])
    .result(Like(0), ShapeRule::Computed)
    .dims(rules::conv)
    .run(conv)];

fn conv(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (x, w, bias) = (ctx.tensor(0)?, ctx.tensor(1)?, ctx.optional_tensor(2)?);
    if w.dtype() != x.dtype() {
        return Err(unsupported(1, w.dtype(), x.dtype().name()));
    }
    one(match x.dtype().class() {
        Class::F32 => convolve::<f32>(ctx, x, w, bias),
        Class::F64 => convolve::<f64>(ctx, x, w, bias),
        _ => Err(unsupported(0, x.dtype(), "a float")),
    })
}

/// `x: [batch, channels, spatial…]`, `w: [outputs, channels / groups, kernel…]`.
pub fn convolve<T: Scalar + std::ops::AddAssign>(
    ctx: &OpContext<'_>,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let mismatch =
        |why| Error::ShapeMismatch { left: x.shape().to_vec(), right: w.shape().to_vec(), why };
    if x.rank() < 3 || x.rank() != w.rank() {
        return Err(mismatch("a convolution needs inputs of one rank, at least 3"));
    }
    let groups = usize::try_from(ctx.int("group", 1)?).unwrap_or(0);
    let (batch, channels, outputs) = (x.shape()[0], x.shape()[1], w.shape()[0]);
    if groups == 0 || channels != w.shape()[1] * groups || !outputs.is_multiple_of(groups) {
        return Err(mismatch("channels must be those of the weights times the groups"));
    }
    let window = Window::new(ctx, &w.shape()[2..], &x.shape()[2..])?;
    let mut shape = vec![batch, outputs];
    shape.extend(&window.output);
    let mut out = vec![T::default(); element_count(&shape, x.dtype())?];
    let (x_elements, w_elements) = (T::widen(x)?, T::widen(w)?);
    let (x_len, positions) = (window.input_len(), window.output_len());
    let (group_inputs, group_outputs) = (channels / groups, outputs / groups);
    let taps = group_inputs * window.kernel_len();
    let column_count = taps.saturating_mul(positions);
    let columns_len = element_count(&[column_count], x.dtype())?;
    parallel::parts(&mut out, group_outputs * positions, &|part, out| {
        let (image, group) = (part / groups, part % groups);
        let first = (image * channels + group * group_inputs) * x_len;
        let planes = &x_elements[first..first + group_inputs * x_len];
        let w = &w_elements[group * group_outputs * taps..(group + 1) * group_outputs * taps];
        if window.is_identity() {
            gemm(w, planes, out, [group_outputs, taps, positions]);
        } else {
            let mut columns = vec![T::default(); columns_len];
            im2col(&window, planes, &mut columns);
            gemm(w, &columns, out, [group_outputs, taps, positions]);
        }
    });
    if let Some(bias) = bias {
        let bias = T::widen(bias)?;
        if bias.len() != outputs {
            return Err(Error::invalid(format!("expected {outputs} biases, found {}", bias.len())));
        }
        parallel::rows(&mut out, positions, &|row, _, piece| {
            piece.iter_mut().for_each(|x| *x += bias[row % outputs]);
        });
    }
    Tensor::computed(&shape, x.dtype(), out)
}

/// `columns: [channels, taps, positions]` from `planes: [channels, input…]`;
/// zeros where a tap lies in the padding.
fn im2col<T: Copy + Default + Send + Sync>(window: &Window, planes: &[T], columns: &mut [T]) {
    let (taps, input_len) = (window.kernel_len(), window.input_len());
    let last = window.output.len() - 1;
    let (line_len, step) = (window.output[last], window.strides[last]);
    let outer = &window.output[..last];
    let input_strides = strides(&window.input);
    parallel::parts(columns, window.output_len(), &|row, out| {
        let (channel, tap) = (row / taps, coordinates(row % taps, &window.kernel));
        let plane = &planes[channel * input_len..(channel + 1) * input_len];
        for (line_at, line) in out.chunks_mut(line_len).enumerate() {
            let at = coordinates(line_at, outer);
            let start = (0..last).try_fold(0, |index, axis| {
                let x = window.coordinate(axis, at[axis], tap[axis])?;
                Some(index + x * input_strides[axis])
            });
            let Some(start) = start else { continue };
            let source = &plane[start..start + window.input[last]];
            // Position p reads source[p * step + shift - begin].
            let shift = tap[last] * window.dilations[last];
            let begin = window.begins[last];
            let first = begin.saturating_sub(shift).div_ceil(step);
            let end = (source.len() + begin).saturating_sub(shift).div_ceil(step).min(line_len);
            if first >= end {
                continue;
            }
            let from = &source[first * step + shift - begin..];
            for (x, value) in line[first..end].iter_mut().zip(from.iter().step_by(step)) {
                *x = *value;
            }
        }
    });
}
