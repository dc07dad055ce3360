//! Padding and cropping of any dimension in any mode.
//!
//! Each axis gets a list that says for every position of the result which
//! position of the input it shows, if any; rows are then copied.

use super::elementwise::unsupported;
use crate::DTypeRule::Like;
use crate::Kind::{Float, Ints, String as Text};
use crate::infer::rules;
use crate::shape::{element_count, strides};
use crate::{
    Data, Element, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op,
    parallel, shape, with_data,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("Pad", 1..=1)
        .attributes(&[("mode", Text), ("paddings", Ints), ("value", Float)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::pad)
        .run(pad),
    op("Pad", 2..=10)
        .attributes(&[("mode", Text), ("pads", Ints), ("value", Float)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::pad)
        .run(pad),
    op("Pad", 11..=17)
        .inputs(2, 3)
        .attributes(&[("mode", Text)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::pad)
        .run(pad),
    op("Pad", 18..=LATEST)
        .inputs(2, 4)
        .attributes(&[("mode", Text)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::pad)
        .run(pad),
];

/// What stands outside the input.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Constant,
    Edge,
    Reflect,
    Wrap,
}

/// Elements before and after a dimension; negative ones are cut off.
#[derive(Clone, Copy, Default)]
struct Margin {
    before: i64,
    after: i64,
}

fn pad(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let name = if ctx.opset() == 1 { "paddings" } else { "pads" };
    let pads = ctx.ints_or_input(name, 1)?.ok_or_else(|| ctx.bad_attribute(name, "is required"))?;
    let axes = match ctx.optional_i64s(3)? {
        Some(axes) => shape::axes(&axes, x.rank())?,
        None => (0..x.rank()).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(Error::invalid(format!(
            "expected {} pads for {} axes, found {}",
            2 * axes.len(),
            axes.len(),
            pads.len()
        )));
    }
    let mut margins = vec![Margin::default(); x.rank()];
    for (at, &axis) in axes.iter().enumerate() {
        margins[axis] = Margin { before: pads[at], after: pads[axes.len() + at] };
    }
    let mode = match ctx.text("mode", "constant")? {
        "constant" => Mode::Constant,
        "edge" => Mode::Edge,
        "reflect" => Mode::Reflect,
        "wrap" if ctx.opset() >= 19 => Mode::Wrap,
        other => return Err(ctx.bad_attribute("mode", format!("is unknown: {other:?}"))),
    };
    let fill = match ctx.optional_tensor(2)? {
        Some(value) if value.dtype() != x.dtype() => {
            return Err(unsupported(2, value.dtype(), x.dtype().name()));
        }
        Some(value) if value.len() != 1 => {
            return Err(Error::invalid(format!("expected one constant, found {}", value.len())));
        }
        Some(value) => value.clone(),
        None => match ctx.float("value", 0.0)? {
            0.0 => Tensor::zeros(&[1], x.dtype())?,
            value => Tensor::computed(&[1], x.dtype(), vec![value])?,
        },
    };
    one(with_margins(x, &margins, mode, &fill))
}

fn with_margins(x: &Tensor, margins: &[Margin], mode: Mode, fill: &Tensor) -> Result<Tensor> {
    let mut target = Vec::with_capacity(x.rank());
    for (axis, (&len, margin)) in x.shape().iter().zip(margins).enumerate() {
        let padded = (len as i64)
            .checked_add(margin.before)
            .and_then(|len| len.checked_add(margin.after))
            .and_then(|len| usize::try_from(len).ok());
        let Some(padded) = padded else {
            return Err(Error::invalid(format!(
                "pads {} and {} do not fit dimension {axis} of {len}",
                margin.before, margin.after
            )));
        };
        target.push(padded);
    }
    if element_count(&target, x.dtype())? == 0 {
        return Tensor::zeros(&target, x.dtype());
    }
    let sources = (0..x.rank())
        .map(|axis| sources(x.shape()[axis], target[axis], margins[axis], mode))
        .collect::<Result<Vec<_>>>()?;
    let data = with_data!(x.data(), elements => copy(elements, x.shape(), &sources, fill)?);
    Tensor::from_data(&target, x.dtype(), data)
}

/// For each position along an axis of the result the one that it shows.
fn sources(len: usize, target: usize, margin: Margin, mode: Mode) -> Result<Vec<Option<usize>>> {
    // What is left after cutting is all that can be shown.
    let low = margin.before.min(0).saturating_neg();
    let high = len as i64 + margin.after.min(0);
    let kept = high - low;
    if kept <= 0 && mode != Mode::Constant {
        return Err(Error::invalid(format!("a dimension of {len} has nothing to repeat")));
    }
    let source = |at: usize| {
        let x = (at as i64).saturating_sub(margin.before);
        if (low..high).contains(&x) {
            return Some(x as usize);
        }
        let shown = match mode {
            Mode::Constant => return None,
            Mode::Edge => x.clamp(low, high - 1),
            Mode::Wrap => low + (x - low).rem_euclid(kept),
            Mode::Reflect if kept == 1 => low,
            Mode::Reflect => {
                let at = (x - low).rem_euclid(2 * (kept - 1));
                low + at.min(2 * (kept - 1) - at)
            }
        };
        Some(shown as usize)
    };
    Ok((0..target).map(source).collect())
}

fn copy<T: Element>(
    x: &[T],
    shape: &[usize],
    sources: &[Vec<Option<usize>>],
    fill: &Tensor,
) -> Result<Data> {
    let fill = fill.elements::<T>()?[0].clone();
    let len = sources.iter().map(Vec::len).product();
    let mut out = vec![fill; len];
    let Some((last, outer)) = sources.split_last() else {
        out.clone_from_slice(x);
        return Ok(Data::new(out));
    };
    let strides = strides(shape);
    // The longest part of a row that is a part of the input's row.
    let first = last.iter().position(Option::is_some).unwrap_or(last.len());
    let straight = (first..last.len())
        .take_while(|&at| last[at] == last[first].map(|source| source + at - first))
        .count();
    parallel::whole_rows(&mut out, last.len(), &|row, line| {
        let mut rest = row;
        let start = (0..outer.len()).rev().try_fold(0, |start, axis| {
            let at = rest % outer[axis].len();
            rest /= outer[axis].len();
            outer[axis][at].map(|source| start + source * strides[axis])
        });
        let Some(start) = start else { return };
        if let Some(Some(source)) = last.get(first) {
            let from = start + source;
            line[first..first + straight].clone_from_slice(&x[from..from + straight]);
        }
        for at in first + straight..last.len() {
            if let Some(source) = last[at] {
                line[at] = x[start + source].clone();
            }
        }
    });
    Ok(Data::new(out))
}
