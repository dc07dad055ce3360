//! Elements written to places that other tensors name.

use super::elementwise::unsupported;
use super::indexing::{element_positions, tuple_positions};
use crate::DTypeRule::Like;
use crate::Kind::{Int, String as Text};
use crate::convert::Compute;
use crate::{
    Class, Element, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, op, with_data,
};

const fn scatter(name: &'static str) -> Op {
    op(name, 11..=15).inputs(3, 3).result(Like(0), ShapeRule::Like(0))
}

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("Scatter", 9..=10)
        .inputs(3, 3)
        .attributes(&[("axis", Int)])
        .result(Like(0), ShapeRule::Like(0))
        .run(scatter_elements),
    scatter("ScatterElements").attributes(&[("axis", Int)]).run(scatter_elements),
    op("ScatterElements", 16..=LATEST)
        .inputs(3, 3)
        .attributes(&[("axis", Int), ("reduction", Text)])
        .result(Like(0), ShapeRule::Like(0))
        .run(scatter_elements),
    scatter("ScatterND").run(scatter_nd),
    op("ScatterND", 16..=LATEST)
        .inputs(3, 3)
        .attributes(&[("reduction", Text)])
        .result(Like(0), ShapeRule::Like(0))
        .run(scatter_nd),
];

/// How an update joins what is there.
#[derive(Clone, Copy)]
enum Reduction {
    Replace,
    Add,
    Mul,
    Min,
    Max,
}

fn reduction(ctx: &OpContext<'_>) -> Result<Reduction> {
    match (ctx.text("reduction", "none")?, ctx.opset()) {
        ("none", _) => Ok(Reduction::Replace),
        ("add", _) => Ok(Reduction::Add),
        ("mul", _) => Ok(Reduction::Mul),
        ("min", 18..) => Ok(Reduction::Min),
        ("max", 18..) => Ok(Reduction::Max),
        (other, opset) => {
            let why = format!("is {other:?}, which opset {opset} does not know");
            Err(ctx.bad_attribute("reduction", why))
        }
    }
}

fn scatter_elements(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let axis = ctx.axis("axis", 0, ctx.tensor(0)?.rank())?;
    let (indices, updates) = (ctx.tensor(1)?, ctx.tensor(2)?);
    if indices.shape() != updates.shape() {
        return Err(Error::ShapeMismatch {
            left: indices.shape().to_vec(),
            right: updates.shape().to_vec(),
            why: "there must be one update for each index",
        });
    }
    let positions = element_positions(ctx.tensor(0)?.shape(), indices, axis)?;
    write(ctx, &positions, 1)
}

fn scatter_nd(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (x, indices, updates) = (ctx.tensor(0)?, ctx.tensor(1)?, ctx.tensor(2)?);
    let positions = tuple_positions(x.shape(), indices, 0)?;
    let (&tuple_len, outer) = indices.shape().split_last().expect("positions were found");
    let rest = &x.shape()[tuple_len..];
    if *updates.shape() != [outer, rest].concat() {
        return Err(Error::ShapeMismatch {
            left: [outer, rest].concat(),
            right: updates.shape().to_vec(),
            why: "updates must have the indices' shape without the last, and the data's rest",
        });
    }
    let run_len = rest.iter().product();
    write(ctx, &positions, run_len)
}

/// Writes runs of updates to the first input; position `p` begins at `p * run_len`.
fn write(ctx: &mut OpContext<'_>, positions: &[usize], run_len: usize) -> Result<Vec<Value>> {
    let reduction = reduction(ctx)?;
    let mut x = ctx.take_tensor(0)?;
    let updates = ctx.tensor(2)?;
    if updates.dtype() != x.dtype() {
        return Err(unsupported(2, updates.dtype(), x.dtype().name()));
    }
    let runs = Runs { positions, run_len };
    match (reduction, x.dtype().class()) {
        (Reduction::Replace, _) => {
            with_data!(updates.data(), elements => replace(elements, &mut x, &runs))?;
        }
        (_, Class::F32) => {
            x = reduce::<f32>(&x, updates, &runs, reduction, [|a, b| a + b, |a, b| a * b])?;
        }
        (_, Class::F64) => {
            x = reduce::<f64>(&x, updates, &runs, reduction, [|a, b| a + b, |a, b| a * b])?;
        }
        (_, Class::I64) => {
            x = reduce(&x, updates, &runs, reduction, [i64::wrapping_add, i64::wrapping_mul])?;
        }
        // Of truth values the sum is the disjunction and the product the conjunction.
        (_, Class::U64 | Class::Bool) => {
            x = reduce(&x, updates, &runs, reduction, [u64::wrapping_add, u64::wrapping_mul])?;
        }
        (_, Class::String | Class::Complex) => {
            return Err(unsupported(0, x.dtype(), "a number for a reduction"));
        }
    }
    Ok(vec![x.into()])
}

/// Where runs of updates go.
struct Runs<'a> {
    positions: &'a [usize],
    run_len: usize,
}

impl Runs<'_> {
    /// Calls `join` with each run of the target and of the updates.
    fn visit<T>(&self, out: &mut [T], updates: &[T], mut join: impl FnMut(&mut [T], &[T])) {
        let len = self.run_len;
        for (at, position) in self.positions.iter().enumerate() {
            join(&mut out[position * len..][..len], &updates[at * len..][..len]);
        }
    }
}

fn replace<T: Element>(updates: &[T], x: &mut Tensor, runs: &Runs<'_>) -> Result<()> {
    let out = x.elements_mut::<T>()?;
    runs.visit(out, updates, |out, updates| out.clone_from_slice(updates));
    Ok(())
}

fn reduce<T: Compute>(
    x: &Tensor,
    updates: &Tensor,
    runs: &Runs<'_>,
    reduction: Reduction,
    [add, mul]: [fn(T, T) -> T; 2],
) -> Result<Tensor> {
    #[allow(clippy::eq_op)]
    let is_nan = |x: T| x != x;
    let function: &dyn Fn(T, T) -> T = match reduction {
        Reduction::Replace => &|_, b| b,
        Reduction::Add => &add,
        Reduction::Mul => &mul,
        // NaN wins, as in numpy.
        Reduction::Min => &|a, b| if b < a || is_nan(b) { b } else { a },
        Reduction::Max => &|a, b| if b > a || is_nan(b) { b } else { a },
    };
    let mut out = T::widen(x)?.into_owned();
    runs.visit(&mut out, &T::widen(updates)?, |out, updates| {
        out.iter_mut().zip(updates).for_each(|(x, &update)| *x = function(*x, update));
    });
    Tensor::computed(x.shape(), x.dtype(), out)
}
