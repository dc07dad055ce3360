//! Operations along one axis of which each element needs those before it, and
//! the triangles of matrices.

use super::elementwise::unsupported;
use crate::DTypeRule::Like;
use crate::Kind::Int;
use crate::convert::Compute;
use crate::movement::gather_runs;
use crate::{
    Class, Element, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op,
    parallel, shape, with_data,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("CumSum", 11..=LATEST)
        .inputs(2, 2)
        .attributes(&[("exclusive", Int), ("reverse", Int)])
        .result(Like(0), ShapeRule::Like(0))
        .run(|ctx| cumulate(ctx, &SUM)),
    op("CumProd", 26..=LATEST)
        .inputs(2, 2)
        .attributes(&[("exclusive", Int), ("reverse", Int)])
        .result(Like(0), ShapeRule::Like(0))
        .run(|ctx| cumulate(ctx, &PRODUCT)),
    op("Trilu", 14..=LATEST)
        .inputs(1, 2)
        .attributes(&[("upper", Int)])
        .result(Like(0), ShapeRule::Like(0))
        .run(triangle),
    op("ReverseSequence", 10..=LATEST)
        .inputs(2, 2)
        .attributes(&[("batch_axis", Int), ("time_axis", Int)])
        .result(Like(0), ShapeRule::Like(0))
        .run(reverse_sequence),
];

/// What joins elements, in each type that is computed in.
struct Join {
    f32: fn(f32, f32) -> f32,
    f64: fn(f64, f64) -> f64,
    i64: fn(i64, i64) -> i64,
    u64: fn(u64, u64) -> u64,
    /// What stands before the first element.
    start: u8,
}

const SUM: Join = Join {
    f32: |a, b| a + b,
    f64: |a, b| a + b,
    i64: i64::wrapping_add,
    u64: u64::wrapping_add,
    start: 0,
};

const PRODUCT: Join = Join {
    f32: |a, b| a * b,
    f64: |a, b| a * b,
    i64: i64::wrapping_mul,
    u64: u64::wrapping_mul,
    start: 1,
};

fn cumulate(ctx: &mut OpContext<'_>, join: &Join) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let axis = shape::axis(ctx.i64(1)?, x.rank())?;
    let start = join.start;
    one(match x.dtype().class() {
        Class::F32 => along(ctx, x, axis, join.f32, f32::from(start)),
        Class::F64 => along(ctx, x, axis, join.f64, f64::from(start)),
        Class::I64 => along(ctx, x, axis, join.i64, i64::from(start)),
        Class::U64 => along(ctx, x, axis, join.u64, u64::from(start)),
        _ => Err(unsupported(0, x.dtype(), "a number")),
    })
}

fn along<T: Compute>(
    ctx: &OpContext<'_>,
    x: &Tensor,
    axis: usize,
    join: fn(T, T) -> T,
    start: T,
) -> Result<Tensor> {
    let (is_exclusive, is_reverse) = (ctx.flag("exclusive", false)?, ctx.flag("reverse", false)?);
    let len = x.shape()[axis];
    let inner: usize = x.shape()[axis + 1..].iter().product();
    let mut y = T::widen(x)?.into_owned();
    parallel::parts(&mut y, len * inner, &|_, block| {
        let mut totals = vec![start; inner];
        for step in 0..len {
            let at = if is_reverse { len - 1 - step } else { step };
            for (x, total) in block[at * inner..(at + 1) * inner].iter_mut().zip(&mut totals) {
                let next = join(*total, *x);
                *x = if is_exclusive { *total } else { next };
                *total = next;
            }
        }
    });
    Tensor::computed(x.shape(), x.dtype(), y)
}

/// Keeps what lies above or below a diagonal of each matrix.
fn triangle(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    fn clear<T: Element>(_: &[T], x: &mut Tensor, diagonal: i64, is_upper: bool) -> Result<()> {
        let (rows, columns) = (x.shape()[x.rank() - 2], x.shape()[x.rank() - 1]);
        parallel::whole_rows(x.elements_mut::<T>()?, columns, &|at, line| {
            let row = (at % rows) as i64;
            let kept = row.saturating_add(diagonal);
            if is_upper {
                let first = kept.clamp(0, columns as i64) as usize;
                line[..first].fill(T::default());
            } else {
                let end = kept.saturating_add(1).clamp(0, columns as i64) as usize;
                line[end..].fill(T::default());
            }
        });
        Ok(())
    }
    let diagonal = if ctx.has(1) { ctx.i64(1)? } else { 0 };
    let is_upper = ctx.flag("upper", true)?;
    let mut x = ctx.take_tensor(0)?;
    if x.rank() < 2 {
        return Err(Error::invalid(format!("input 0 must hold matrices, found {:?}", x.shape())));
    }
    let kind = Tensor::from_data(&[0], x.dtype(), Tensor::zeros(&[0], x.dtype())?.into_data())?;
    with_data!(kind.data(), elements => clear(elements, &mut x, diagonal, is_upper))?;
    Ok(vec![x.into()])
}

/// Turns around the first elements of each sequence of a batch.
fn reverse_sequence(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (x, lens) = (ctx.tensor(0)?, ctx.i64s(1)?);
    let axes = (ctx.int("batch_axis", 1)?, ctx.int("time_axis", 0)?);
    let is_batch_first = match axes {
        (0, 1) => true,
        (1, 0) => false,
        _ => return Err(ctx.bad_attribute("batch_axis", "and time_axis must be 0 and 1")),
    };
    if x.rank() < 2 {
        return Err(Error::invalid(format!(
            "input 0 must have at least 2 dimensions, found shape {:?}",
            x.shape()
        )));
    }
    let (rows, columns) = (x.shape()[0], x.shape()[1]);
    let (batch, time) = if is_batch_first { (rows, columns) } else { (columns, rows) };
    if lens.len() != batch {
        return Err(Error::invalid(format!(
            "input 1 must have one length for each of {batch} sequences, found {}",
            lens.len()
        )));
    }
    let lens = lens.iter().map(|&len| match usize::try_from(len) {
        Ok(fits) if fits <= time => Ok(fits),
        _ => Err(Error::Index { index: len, len: time }),
    });
    let lens = lens.collect::<Result<Vec<_>>>()?;
    if x.is_empty() {
        return Ok(vec![x.clone().into()]);
    }
    let source = |entry: usize, step: usize| match lens[entry] {
        len if step < len => len - 1 - step,
        _ => step,
    };
    let starts: Vec<usize> = (0..rows * columns)
        .map(|at| match (at / columns, at % columns) {
            (entry, step) if is_batch_first => entry * columns + source(entry, step),
            (step, entry) => source(entry, step) * columns + entry,
        })
        .collect();
    let run_len = x.shape()[2..].iter().product();
    one(gather_runs(x, x.shape(), &starts, run_len))
}
