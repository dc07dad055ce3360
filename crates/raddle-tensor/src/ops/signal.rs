//! Signals: Fourier transforms, windows, mel filters.

use std::f64::consts::PI;

use super::control::numbers;
use super::elementwise::unsupported;
use super::fourier::{C, transform};
use crate::Kind::Int;
use crate::convert::Compute;
use crate::infer::rules;
use crate::shape::element_count;
use crate::{
    DType, DTypeRule, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op,
    parallel, shape,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("DFT", 17..=19)
        .inputs(1, 2)
        .attributes(&[("axis", Int), ("inverse", Int), ("onesided", Int)])
        .result(DTypeRule::Like(0), ShapeRule::Computed)
        .dims(rules::dft)
        .run(|ctx| {
            let axis = ctx.int("axis", 1)?;
            dft(ctx, axis)
        }),
    op("DFT", 20..=LATEST)
        .inputs(1, 3)
        .attributes(&[("inverse", Int), ("onesided", Int)])
        .result(DTypeRule::Like(0), ShapeRule::Computed)
        .dims(rules::dft)
        .run(|ctx| {
            let axis = if ctx.has(2) { ctx.i64(2)? } else { -2 };
            dft(ctx, axis)
        }),
    op("STFT", 17..=LATEST)
        .inputs(2, 4)
        .attributes(&[("onesided", Int)])
        .result(DTypeRule::Like(0), ShapeRule::Computed)
        .dims(rules::stft)
        .run(stft),
    op("HannWindow", 17..=LATEST)
        .attributes(&[("output_datatype", Int), ("periodic", Int)])
        .infer(rules::window_of)
        .run(|ctx| window(ctx, [0.5, 0.5, 0.0])),
    op("HammingWindow", 17..=LATEST)
        .attributes(&[("output_datatype", Int), ("periodic", Int)])
        .infer(rules::window_of)
        .run(|ctx| window(ctx, [25.0 / 46.0, 21.0 / 46.0, 0.0])),
    op("BlackmanWindow", 17..=LATEST)
        .attributes(&[("output_datatype", Int), ("periodic", Int)])
        .infer(rules::window_of)
        .run(|ctx| window(ctx, [0.42, 0.5, 0.08])),
    op("MelWeightMatrix", 17..=LATEST)
        .inputs(5, 5)
        .attributes(&[("output_datatype", Int)])
        .infer(rules::mel_weights)
        .run(mel_weights),
];

/// How a line of a signal is transformed.
struct Transform {
    /// Length of the transform; lines are cut or padded with zeros.
    len: usize,
    is_inverse: bool,
    is_one_sided: bool,
}

impl Transform {
    /// Number of elements of a transformed line.
    fn output_len(&self) -> usize {
        if self.is_one_sided && !self.is_inverse { self.len / 2 + 1 } else { self.len }
    }

    /// Parts of each element of a transformed line: real, or real and imaginary.
    fn output_parts(&self) -> usize {
        if self.is_one_sided && self.is_inverse { 1 } else { 2 }
    }

    fn run(&self, line: &[C]) -> Vec<C> {
        let mut x: Vec<C> =
            line.iter().copied().chain(std::iter::repeat([0.0; 2])).take(self.len).collect();
        if self.is_one_sided && self.is_inverse {
            // The other half of the spectrum of a real signal is conjugate.
            for at in self.len / 2 + 1..self.len {
                let [re, im] = x[self.len - at];
                x[at] = [re, -im];
            }
        }
        transform(&mut x, self.is_inverse);
        if self.is_inverse {
            let scale = 1.0 / self.len as f64;
            x.iter_mut().for_each(|c| *c = [c[0] * scale, c[1] * scale]);
        }
        x.truncate(self.output_len());
        x
    }
}

/// `x: [..., signal, ..., 1 or 2]`.
fn dft(ctx: &mut OpContext<'_>, axis: i64) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let parts = float_parts(x)?;
    let axis = shape::axis(axis, x.rank())?;
    if axis + 1 == x.rank() {
        return Err(Error::invalid("the last dimension holds real and imaginary parts"));
    }
    let (is_inverse, is_one_sided) = (ctx.flag("inverse", false)?, ctx.flag("onesided", false)?);
    let here = x.shape()[axis];
    let len = match ctx.optional_i64s(1)? {
        Some(_) => positive(ctx.i64(1)?, "the length of the transform")?,
        None if is_inverse && is_one_sided => 2 * here.saturating_sub(1),
        None => here,
    };
    let plan = Transform { len, is_inverse, is_one_sided };
    if is_one_sided && !is_inverse && parts == 2 {
        return Err(Error::invalid("only the transform of a real signal has one side"));
    }
    let mut out_shape = x.shape().to_vec();
    out_shape[axis] = plan.output_len();
    *out_shape.last_mut().expect("rank 2 or more") = plan.output_parts();
    let inner: usize = x.shape()[axis + 1..x.rank() - 1].iter().product();
    let elements = f64::widen(x)?;
    let mut out = vec![0.0; element_count(&out_shape, DType::F64)?];
    let (output_len, output_parts) = (plan.output_len(), plan.output_parts());
    parallel::parts(&mut out, (output_len * inner * output_parts).max(1), &|block, out| {
        let source = &elements[block * here * inner * parts..(block + 1) * here * inner * parts];
        for column in 0..inner {
            let line: Vec<C> = (0..here)
                .map(|at| {
                    let at = (at * inner + column) * parts;
                    [source[at], if parts == 2 { source[at + 1] } else { 0.0 }]
                })
                .collect();
            for (at, c) in plan.run(&line).into_iter().enumerate() {
                let at = (at * inner + column) * output_parts;
                out[at..at + output_parts].copy_from_slice(&c[..output_parts]);
            }
        }
    });
    one(Tensor::computed(&out_shape, x.dtype(), out))
}

/// The length of the last dimension of a signal, 1 or 2.
fn float_parts(x: &Tensor) -> Result<usize> {
    if !x.dtype().is_float() {
        return Err(unsupported(0, x.dtype(), "a float"));
    }
    match x.shape() {
        [_, .., parts @ (1 | 2)] => Ok(*parts),
        found => Err(Error::invalid(format!(
            "expected a signal with 1 or 2 parts in the last dimension, found shape {found:?}"
        ))),
    }
}

fn positive(number: i64, what: &str) -> Result<usize> {
    usize::try_from(number)
        .ok()
        .filter(|&number| number > 0)
        .ok_or_else(|| Error::invalid(format!("{what} must be positive, found {number}")))
}

/// `signal: [batch, samples, 1 or 2]` to `[batch, frames, bins, 2]`.
fn stft(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let parts = float_parts(x)?;
    let &[batch, samples, _] = x.shape() else {
        return Err(Error::invalid(format!("expected rank 3, found {:?}", x.shape())));
    };
    let hop = positive(ctx.i64(1)?, "the step between frames")?;
    let window = ctx.optional_tensor(2)?.map(numbers).transpose()?;
    let len = match ctx.optional_i64s(3)? {
        Some(_) => positive(ctx.i64(3)?, "the length of a frame")?,
        None => match &window {
            Some(window) if !window.is_empty() => window.len(),
            _ => return Err(Error::invalid("a window or the length of a frame is required")),
        },
    };
    let window = window.unwrap_or_else(|| vec![1.0; len]);
    if window.len() != len || len > samples {
        return Err(Error::invalid(format!(
            "frames of {len} need a window as long (found {}) and at least as many samples (found {samples})",
            window.len()
        )));
    }
    let is_one_sided = ctx.flag("onesided", true)? && parts == 1;
    let plan = Transform { len, is_inverse: false, is_one_sided };
    let frames = (samples - len) / hop + 1;
    let out_shape = [batch, frames, plan.output_len(), 2];
    let elements = f64::widen(x)?;
    let mut out = vec![0.0; element_count(&out_shape, DType::F64)?];
    parallel::parts(&mut out, plan.output_len() * 2, &|frame, out| {
        let start = frame / frames * samples + frame % frames * hop;
        let line: Vec<C> = (start..start + len)
            .zip(&window)
            .map(|(at, w)| {
                let imaginary = if parts == 2 { elements[at * 2 + 1] } else { 0.0 };
                [elements[at * parts] * w, imaginary * w]
            })
            .collect();
        for (out, c) in out.chunks_mut(2).zip(plan.run(&line)) {
            out.copy_from_slice(&c);
        }
    });
    one(Tensor::computed(&out_shape, x.dtype(), out))
}

/// `a - b cos(2 pi n / m) + c cos(4 pi n / m)`, where `m` is the length for
/// periodic windows and one less for symmetric ones.
fn window(ctx: &mut OpContext<'_>, [a, b, c]: [f64; 3]) -> Result<Vec<Value>> {
    let len = usize::try_from(ctx.i64(0)?)
        .map_err(|_| Error::invalid("the length of a window must not be negative"))?;
    element_count(&[len], DType::F64)?;
    let period = if ctx.flag("periodic", true)? { len } else { len.saturating_sub(1).max(1) };
    let angle = |n: usize| 2.0 * PI * n as f64 / period as f64;
    let weights =
        (0..len).map(|n| a - b * angle(n).cos() + c * (2.0 * angle(n)).cos()).collect::<Vec<_>>();
    let dtype = ctx.dtype_attribute("output_datatype")?.unwrap_or(DType::F32);
    one(Tensor::computed(&[len], dtype, weights))
}

/// Triangular filters that are equally wide on the mel scale: `[bins, filters]`.
fn mel_weights(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let filters = positive(ctx.i64(0)?, "the number of filters")?;
    let len = positive(ctx.i64(1)?, "the length of the transform")?;
    let rate = positive(ctx.i64(2)?, "the sample rate")?;
    let edge = |index: usize| -> Result<f64> {
        let hertz = numbers(ctx.tensor(index)?)?.first().copied().unwrap_or(f64::NAN);
        let in_range = (0.0..=rate as f64).contains(&hertz);
        in_range.then_some(2595.0 * (1.0 + hertz / 700.0).log10()).ok_or_else(|| {
            Error::invalid(format!("input {index} must be a frequency up to {rate} Hz"))
        })
    };
    let (low, high) = (edge(3)?, edge(4)?);
    let step = (high - low) / (filters + 2) as f64;
    let bins = len / 2 + 1;
    let bin = |at: usize| {
        let hertz = 700.0 * (10f64.powf((low + step * at as f64) / 2595.0) - 1.0);
        ((len + 1) as f64 * hertz / rate as f64).floor().max(0.0) as usize
    };
    let mut out = vec![0.0; element_count(&[bins, filters], DType::F64)?];
    let mut set = |at: usize, filter: usize, weight: f64| {
        if at < bins {
            out[at * filters + filter] = weight;
        }
    };
    for filter in 0..filters {
        let (left, centre, right) = (bin(filter), bin(filter + 1), bin(filter + 2));
        if left == centre {
            set(centre, filter, 1.0);
        }
        for at in left..centre + usize::from(left < centre) {
            set(at, filter, (at - left) as f64 / (centre - left) as f64);
        }
        for at in centre..right {
            set(at, filter, (right - at) as f64 / (right - centre) as f64);
        }
    }
    let dtype = ctx.dtype_attribute("output_datatype")?.unwrap_or(DType::F32);
    one(Tensor::computed(&[bins, filters], dtype, out))
}
