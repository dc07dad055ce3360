//! Operations that order elements: the largest ones, the distinct ones.

use std::cmp::Ordering;

use super::elementwise::unsupported;
use super::indexing::select_along;
use crate::DTypeRule::Like;
use crate::Kind::Int;
use crate::convert::Compute;
use crate::infer::rules;
use crate::movement::{gather_runs, transpose};
use crate::shape::element_count;
use crate::{
    Class, DType, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, minifloat, op,
    parallel, shape, with_data,
};

const fn top_k(since: u32, until: u32, inputs: usize) -> Op {
    op("TopK", since..=until)
        .inputs(inputs, inputs)
        .outputs(2, 2)
        .result(Like(0), ShapeRule::Computed)
        .infer(rules::top_k)
        .run(largest)
}

/// Rows of this family.
pub const ROWS: &[Op] = &[
    top_k(1, 9, 1).attributes(&[("axis", Int), ("k", Int)]),
    top_k(10, 10, 2).attributes(&[("axis", Int)]),
    top_k(11, LATEST, 2).attributes(&[("axis", Int), ("largest", Int), ("sorted", Int)]),
    op("Unique", 11..=LATEST)
        .outputs(1, 4)
        .attributes(&[("axis", Int), ("sorted", Int)])
        .result(Like(0), ShapeRule::Computed)
        .infer(rules::unique)
        .run(unique),
];

/// A total order in which NaN is greater than every number.
fn order<T: PartialOrd>(a: &T, b: &T) -> Ordering {
    #[allow(clippy::eq_op)]
    let is_nan = |x: &T| x != x;
    a.partial_cmp(b).unwrap_or_else(|| is_nan(a).cmp(&is_nan(b)))
}

/// The `k` largest or smallest along an axis with their indices, in order;
/// equal ones in the order of their indices.
fn largest(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let k = match ctx.optional_int("k")? {
        Some(k) => k,
        None if ctx.opset() < 10 => return Err(ctx.bad_attribute("k", "is required")),
        None => ctx.i64(1)?,
    };
    let axis = ctx.axis("axis", -1, x.rank())?;
    let len = x.shape()[axis];
    let k = usize::try_from(k).ok().filter(|&k| k <= len).ok_or_else(|| {
        Error::invalid(format!("k must be within the dimension's {len} elements, found {k}"))
    })?;
    let is_largest = ctx.flag("largest", true)?;
    let indices = match x.dtype().class() {
        Class::F32 => choose::<f32>(x, axis, k, is_largest)?,
        Class::F64 => choose::<f64>(x, axis, k, is_largest)?,
        Class::I64 => choose::<i64>(x, axis, k, is_largest)?,
        Class::U64 => choose::<u64>(x, axis, k, is_largest)?,
        _ => return Err(unsupported(0, x.dtype(), "a number")),
    };
    let inner: usize = x.shape()[axis + 1..].iter().product();
    let positions: Vec<usize> = indices
        .iter()
        .enumerate()
        .map(|(at, &index)| (at / (k * inner) * len + index as usize) * inner + at % inner)
        .collect();
    let mut target = x.shape().to_vec();
    target[axis] = k;
    let values = gather_runs(x, &target, &positions, 1)?;
    Ok(vec![values.into(), Tensor::new(&target, indices)?.into()])
}

/// Indices along the axis: `[outer, k, inner]`.
fn choose<T: Compute>(x: &Tensor, axis: usize, k: usize, is_largest: bool) -> Result<Vec<i64>> {
    let elements = T::widen(x)?;
    let len = x.shape()[axis];
    let inner: usize = x.shape()[axis + 1..].iter().product();
    let outer: usize = x.shape()[..axis].iter().product();
    let mut out = vec![0i64; element_count(&[outer, k, inner], DType::I64)?];
    parallel::parts(&mut out, k * inner, &|block, out| {
        let block = &elements[block * len * inner..(block + 1) * len * inner];
        let mut line: Vec<(T, i64)> = Vec::with_capacity(len);
        let compare = |a: &(T, i64), b: &(T, i64)| {
            let by_value = if is_largest { order(&b.0, &a.0) } else { order(&a.0, &b.0) };
            by_value.then(a.1.cmp(&b.1))
        };
        for column in 0..inner {
            line.clear();
            line.extend((0..len).map(|at| (block[at * inner + column], at as i64)));
            if k < len {
                line.select_nth_unstable_by(k, compare);
            }
            line[..k].sort_unstable_by(compare);
            for (at, (_, index)) in line[..k].iter().enumerate() {
                out[at * inner + column] = *index;
            }
        }
    });
    Ok(out)
}

/// Distinct elements, or distinct parts along an axis; where each occurs first,
/// which one every element is, and how often each occurs.
fn unique(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    if x.dtype().is_float() && minifloat::values(x.dtype()).is_some() {
        return Err(unsupported(0, x.dtype(), "a type of at least 8 bits that is no float8"));
    }
    let flat;
    let (x, axis) = match ctx.optional_int("axis")? {
        Some(axis) => (x, shape::axis(axis, x.rank())?),
        None => {
            flat = x.clone().reshape(&[x.len()])?;
            (&flat, 0)
        }
    };
    let count = x.shape()[axis];
    let mut to_front: Vec<usize> = (0..x.rank()).collect();
    to_front.remove(axis);
    to_front.insert(0, axis);
    let parts = transpose(x, &to_front)?;
    let is_sorted = ctx.flag("sorted", true)?;
    let groups = with_data!(parts.data(), elements => group(elements, count, is_sorted));
    let mut inverse = vec![0i64; count];
    for (number, group) in groups.iter().enumerate() {
        for &item in group {
            inverse[item] = number as i64;
        }
    }
    let firsts: Vec<usize> = groups.iter().map(|group| group[0]).collect();
    let counts = groups.iter().map(|group| group.len() as i64).collect();
    let y = select_along(x, axis, &firsts)?;
    let firsts = firsts.into_iter().map(|first| first as i64).collect();
    Ok(vec![
        y.into(),
        Tensor::vector::<i64>(firsts).into(),
        Tensor::vector(inverse).into(),
        Tensor::vector::<i64>(counts).into(),
    ])
}

/// Equal items of `elements: [count, item]`, each group in ascending order;
/// groups by value, or by their first items.
fn group<T: PartialOrd>(elements: &[T], count: usize, is_sorted: bool) -> Vec<Vec<usize>> {
    let item_len = elements.len() / count.max(1);
    let item = |at: usize| &elements[at * item_len..(at + 1) * item_len];
    let compare = |&a: &usize, &b: &usize| {
        let differ = item(a).iter().zip(item(b)).map(|(a, b)| order(a, b));
        differ.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    };
    let mut items: Vec<usize> = (0..count).collect();
    items.sort_by(compare);
    let mut groups: Vec<Vec<usize>> =
        items.chunk_by(|a, b| compare(a, b).is_eq()).map(<[usize]>::to_vec).collect();
    if !is_sorted {
        groups.sort_by_key(|group| group[0]);
    }
    groups
}
