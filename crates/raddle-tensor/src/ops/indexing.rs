//! Elements at places that other tensors name: gathering and selecting.

use super::elementwise::unsupported;
use crate::DTypeRule::{Is, Like};
use crate::Kind::Int;
use crate::convert::Compute;
use crate::infer::rules;
use crate::movement::gather_runs;
use crate::shape::{element_count, strides};
use crate::{
    Class, DType, Data, Element, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value,
    one, op, shape, with_data,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("GatherElements", 11..=LATEST)
        .inputs(2, 2)
        .attributes(&[("axis", Int)])
        .result(Like(0), ShapeRule::Like(1))
        .run(gather_elements),
    op("GatherND", 11..=LATEST)
        .inputs(2, 2)
        .attributes(&[("batch_dims", Int)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::gather_nd)
        .run(gather_nd),
    op("Compress", 9..=LATEST)
        .inputs(2, 2)
        .attributes(&[("axis", Int)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::compress)
        .run(compress),
    op("NonZero", 9..=LATEST)
        .result(Is(DType::I64), ShapeRule::Computed)
        .dims(rules::non_zero)
        .run(non_zero),
    op("OneHot", 9..=LATEST)
        .inputs(3, 3)
        .attributes(&[("axis", Int)])
        .result(Like(2), ShapeRule::Computed)
        .dims(rules::one_hot)
        .run(one_hot),
];

fn mismatch(left: &[usize], right: &[usize], why: &'static str) -> Error {
    Error::ShapeMismatch { left: left.to_vec(), right: right.to_vec(), why }
}

/// For each element of `indices` the flat position in a tensor of `shape` that
/// has its coordinates, except along `axis`, where it is the index itself.
///
/// ## Errors
/// [`Error::ShapeMismatch`], [`Error::Index`], [`Error::UnsupportedType`].
pub fn element_positions(shape: &[usize], indices: &Tensor, axis: usize) -> Result<Vec<usize>> {
    let fits = |at: usize| at == axis || indices.shape()[at] <= shape[at];
    if indices.rank() != shape.len() || !(0..shape.len()).all(fits) {
        let why = "indices must have the rank of the data and be no larger off the axis";
        return Err(mismatch(shape, indices.shape(), why));
    }
    let strides = strides(shape);
    let mut at = vec![0usize; shape.len()];
    // Position of the current coordinates with 0 along the axis.
    let mut base = 0;
    let mut positions = Vec::with_capacity(indices.len());
    for &index in indices.to_i64s()?.iter() {
        positions.push(base + shape::index(index, shape[axis])? * strides[axis]);
        for (dim, &len) in indices.shape().iter().enumerate().rev() {
            let step = if dim == axis { 0 } else { strides[dim] };
            at[dim] += 1;
            base += step;
            if at[dim] < len {
                break;
            }
            base -= step * len;
            at[dim] = 0;
        }
    }
    Ok(positions)
}

fn gather_elements(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (x, indices) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let axis = ctx.axis("axis", 0, x.rank())?;
    let positions = element_positions(x.shape(), indices, axis)?;
    one(gather_runs(x, indices.shape(), &positions, 1))
}

/// The flat number of the part of a tensor that each tuple of indices names.
/// Tuples lie along the last dimension of `indices`; the first `batch_dims`
/// dimensions of both tensors go together.
///
/// ## Errors
/// [`Error::ShapeMismatch`], [`Error::Index`], [`Error::UnsupportedType`].
pub fn tuple_positions(shape: &[usize], indices: &Tensor, batch_dims: usize) -> Result<Vec<usize>> {
    let why = "the last dimension of the indices must be at most the rank of the data";
    let unfit = || mismatch(shape, indices.shape(), why);
    let (&tuple_len, outer) = indices.shape().split_last().ok_or_else(unfit)?;
    if batch_dims > outer.len()
        || batch_dims.saturating_add(tuple_len) > shape.len()
        || outer[..batch_dims] != shape[..batch_dims]
    {
        return Err(unfit());
    }
    let count = element_count(outer, DType::I64)?;
    let dims = &shape[batch_dims..batch_dims + tuple_len];
    let tuples_per_batch: usize = outer[batch_dims..].iter().product();
    let elements = indices.to_i64s()?;
    (0..count)
        .map(|tuple| {
            let indices = &elements[tuple * tuple_len..(tuple + 1) * tuple_len];
            indices.iter().zip(dims).try_fold(tuple / tuples_per_batch, |at, (&index, &len)| {
                Ok(at * len + shape::index(index, len)?)
            })
        })
        .collect()
}

fn gather_nd(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (x, indices) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let batch_dims = match (ctx.int("batch_dims", 0)?, ctx.opset()) {
        (0, 11) => 0,
        (dims, 12..) if dims >= 0 => dims as usize,
        (other, opset) => {
            let why = format!("cannot be {other} in opset {opset}");
            return Err(ctx.bad_attribute("batch_dims", why));
        }
    };
    let starts = tuple_positions(x.shape(), indices, batch_dims)?;
    let (&tuple_len, outer) = indices.shape().split_last().expect("positions were found");
    let rest = &x.shape()[batch_dims + tuple_len..];
    let target = [outer, rest].concat();
    element_count(&target, x.dtype())?;
    one(gather_runs(x, &target, &starts, rest.iter().product()))
}

/// The parts along an axis, or the elements, for which the condition holds. A
/// short condition drops what it does not reach.
fn compress(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (x, condition) = (ctx.tensor(0)?, ctx.tensor(1)?);
    if condition.rank() != 1 {
        return Err(mismatch(x.shape(), condition.shape(), "the condition must be a vector"));
    }
    let flat;
    let (x, axis) = match ctx.optional_int("axis")? {
        Some(axis) => (x, shape::axis(axis, x.rank())?),
        None => {
            flat = x.clone().reshape(&[x.len()])?;
            (&flat, 0)
        }
    };
    let len = x.shape()[axis];
    let kept: Vec<usize> = condition
        .elements::<bool>()?
        .iter()
        .enumerate()
        .filter_map(|(at, &holds)| holds.then_some(at))
        .collect();
    if let Some(&last) = kept.last().filter(|&&last| last >= len) {
        return Err(Error::Index { index: last as i64, len });
    }
    one(select_along(x, axis, &kept))
}

/// The parts of a tensor at `places` along an axis; all must be in range.
///
/// ## Errors
/// [`Error::TooLarge`].
pub fn select_along(x: &Tensor, axis: usize, places: &[usize]) -> Result<Tensor> {
    let mut target = x.shape().to_vec();
    let len = std::mem::replace(&mut target[axis], places.len());
    if element_count(&target, x.dtype())? == 0 {
        return Tensor::zeros(&target, x.dtype());
    }
    let outer: usize = x.shape()[..axis].iter().product();
    let run_len = x.shape()[axis + 1..].iter().product();
    let starts: Vec<usize> =
        (0..outer).flat_map(|row| places.iter().map(move |at| row * len + at)).collect();
    gather_runs(x, &target, &starts, run_len)
}

/// Coordinates of the elements that are not zero, one row for each dimension.
fn non_zero(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    fn places<T: Element>(elements: &[T]) -> Vec<usize> {
        let zero = T::default();
        let found = elements.iter().enumerate().filter(|(_, x)| **x != zero);
        found.map(|(at, _)| at).collect()
    }
    let x = ctx.tensor(0)?;
    let places = match x.dtype().class() {
        Class::F32 => places::<f32>(&f32::widen(x)?),
        _ => with_data!(x.data(), elements => places(elements)),
    };
    let strides = strides(x.shape());
    let mut coordinates = Vec::with_capacity(places.len() * x.rank());
    for (&stride, &dim) in strides.iter().zip(x.shape()) {
        coordinates.extend(places.iter().map(|at| (at / stride % dim) as i64));
    }
    one(Tensor::new(&[x.rank(), places.len()], coordinates))
}

/// `on` at the index along a new axis, `off` elsewhere.
fn one_hot(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    fn fill<T: Element>(values: &[T], len: usize, places: &[usize]) -> Data {
        let mut out = vec![values[0].clone(); len];
        for &at in places {
            out[at] = values[1].clone();
        }
        Data::new(out)
    }
    let (indices, values) = (ctx.tensor(0)?, ctx.tensor(2)?);
    let depth = match truncated(ctx, 1)?[..] {
        [depth] => depth,
        ref many => {
            return Err(Error::invalid(format!("expected one depth, found {}", many.len())));
        }
    };
    let count = usize::try_from(depth)
        .map_err(|_| Error::invalid(format!("the depth must not be negative, found {depth}")))?;
    if values.len() != 2 {
        return Err(Error::invalid(format!("expected two values, found {}", values.len())));
    }
    let axis = ctx.axis("axis", -1, indices.rank() + 1)?;
    let mut target = indices.shape().to_vec();
    target.insert(axis, count);
    let len = element_count(&target, values.dtype())?;
    let inner: usize = indices.shape()[axis..].iter().product();
    let lowest = if ctx.opset() < 11 { 0 } else { -depth };
    let places: Vec<usize> = truncated(ctx, 0)?
        .iter()
        .enumerate()
        .filter(|(_, index)| (lowest..depth).contains(index))
        .map(|(at, &index)| {
            let index = (if index < 0 { index + depth } else { index }) as usize;
            (at / inner * count + index) * inner + at % inner
        })
        .collect();
    let data = with_data!(values.data(), elements => fill(elements, len, &places));
    one(Tensor::from_data(&target, values.dtype(), data))
}

/// The numbers of an input, without what stands behind the point.
fn truncated(ctx: &OpContext<'_>, index: usize) -> Result<Vec<i64>> {
    let x = ctx.tensor(index)?;
    if !x.dtype().is_number() {
        return Err(unsupported(index, x.dtype(), "a number"));
    }
    Ok(i64::widen(x)?.into_owned())
}
