//! Elements of small tensors that shapes are made of: the usual chains from
//! `Shape` to the argument of a `Reshape`, with symbols among them.

use super::broadcast;
use super::places::cuts;
use super::shaping::shape_part;
use crate::DType;
use crate::convert::Compute;
use crate::graph::Attribute;
use crate::infer::{Expr, InferContext};
use crate::shape::{axis, strides};

/// Elements in row-major order.
type Elements = Option<Vec<Expr>>;

/// The input's elements in the same order.
pub fn same(ctx: &InferContext<'_>, _: &[usize]) -> Elements {
    ctx.elements(0)
}

/// `Cast` between types that hold lengths.
pub fn cast(ctx: &InferContext<'_>, _: &[usize]) -> Elements {
    let to = ctx.node.dtype_attribute("to").ok()??;
    let is_wide = |dtype: DType| dtype.bits() >= 32 && dtype.is_number();
    (is_wide(to) && ctx.dtype(0).is_some_and(is_wide)).then(|| ctx.elements(0))?
}

/// `Floor` and `Ceil` of what is whole already.
pub fn floors(ctx: &InferContext<'_>, _: &[usize]) -> Elements {
    ctx.elements(0)
}

/// `Shape`.
pub fn shape_elements(ctx: &InferContext<'_>, _: &[usize]) -> Elements {
    shape_part(ctx).map(<[Expr]>::to_vec)
}

/// `Size`.
pub fn total(ctx: &InferContext<'_>, _: &[usize]) -> Elements {
    Some(vec![super::count(ctx.dims(0)?)])
}

/// `Gather` along the first axis.
pub fn gathered(ctx: &InferContext<'_>, _: &[usize]) -> Elements {
    let (elements, places) = (ctx.elements(0)?, ctx.numbers(1)?);
    let dims = ctx.input(0)?.shape()?;
    if axis(ctx.node.int("axis", 0).ok()?, dims.len()).ok()? != 0 {
        return None;
    }
    let part: usize = dims[1..].iter().product();
    let place = |&at: &i64| {
        let at = crate::shape::index(at, dims[0]).ok()?;
        elements.get(at * part..(at + 1) * part)
    };
    Some(places.iter().map(place).collect::<Option<Vec<_>>>()?.concat())
}

/// `Concat` along the first axis.
pub fn joined(ctx: &InferContext<'_>, shape: &[usize]) -> Elements {
    let at = axis(ctx.node.int("axis", 0).ok()?, shape.len()).ok()?;
    if at != 0 {
        return None;
    }
    let parts = (0..ctx.input_count()).map(|at| ctx.elements(at)).collect::<Option<Vec<_>>>()?;
    Some(parts.concat())
}

/// `Slice` of a list.
pub fn sliced(ctx: &InferContext<'_>, shape: &[usize]) -> Elements {
    let (elements, [_]) = (ctx.elements(0)?, shape) else { return None };
    let cuts = cuts(ctx, ctx.dims(0)?).ok()??;
    let [cut] = &cuts[..] else { return cuts.is_empty().then_some(elements) };
    let (start, len) = (cut.start.as_len()?, cut.len.as_len()?);
    let place = |at: usize| {
        let at = start as i64 + (at as i64).checked_mul(cut.step)?;
        elements.get(usize::try_from(at).ok()?).cloned()
    };
    (0..len).map(place).collect()
}

/// An element of each input for each of the result, which they broadcast to.
fn pairwise(
    ctx: &InferContext<'_>,
    shape: &[usize],
    each: impl Fn(&Expr, &Expr) -> Option<Expr>,
) -> Elements {
    let (left, right) = (spread(ctx, 0, shape)?, spread(ctx, 1, shape)?);
    left.iter().zip(&right).map(|(a, b)| each(a, b)).collect()
}

/// The elements of an input, broadcast to a shape.
fn spread(ctx: &InferContext<'_>, index: usize, shape: &[usize]) -> Elements {
    let (elements, own) = (ctx.elements(index)?, ctx.input(index)?.shape()?);
    let as_dims = |shape: &[usize]| shape.iter().map(|&len| Expr::from(len)).collect::<Vec<_>>();
    let target = as_dims(shape);
    if broadcast(&as_dims(&own), &target)? != target {
        return None;
    }
    let (steps, outer) = (crate::shape::broadcast_strides(&own, shape), strides(shape));
    let place = |at: usize| {
        let index = (0..shape.len()).map(|axis| at / outer[axis] % shape[axis] * steps[axis]);
        elements.get(index.sum::<usize>()).cloned()
    };
    (0..shape.iter().product()).map(place).collect()
}

/// `Add`.
pub fn sums(ctx: &InferContext<'_>, shape: &[usize]) -> Elements {
    pairwise(ctx, shape, |a, b| Some(a.plus(b)))
}

/// `Sub`.
pub fn differences(ctx: &InferContext<'_>, shape: &[usize]) -> Elements {
    pairwise(ctx, shape, |a, b| Some(a.minus(b)))
}

/// `Mul`, and `And` of truth values.
pub fn products(ctx: &InferContext<'_>, shape: &[usize]) -> Elements {
    pairwise(ctx, shape, |a, b| Some(a.times(b)))
}

/// `Div`: integers are rounded towards zero; floats must divide without rest.
pub fn quotients(ctx: &InferContext<'_>, shape: &[usize]) -> Elements {
    let rounds = ctx.dtype(0)?.is_integer();
    pairwise(ctx, shape, |a, b| match a.exact_div(b) {
        Some(quotient) => Some(quotient),
        None if rounds && a.is_natural() && b.is_natural() && !b.is(0) => Some(a.floor_div(b)),
        None => None,
    })
}

/// `Mod` of what is not negative.
pub fn remainders(ctx: &InferContext<'_>, shape: &[usize]) -> Elements {
    pairwise(ctx, shape, |a, b| (a.is_natural() && b.is_natural() && !b.is(0)).then(|| a.modulo(b)))
}

/// `Max` of two.
pub fn maxima(ctx: &InferContext<'_>, shape: &[usize]) -> Elements {
    if ctx.input_count() == 2 { pairwise(ctx, shape, |a, b| Some(a.larger(b))) } else { None }
}

/// `Min` of two.
pub fn minima(ctx: &InferContext<'_>, shape: &[usize]) -> Elements {
    if ctx.input_count() == 2 { pairwise(ctx, shape, |a, b| Some(a.smaller(b))) } else { None }
}

/// `Equal`, where it is the same for all lengths of symbols.
pub fn equal(ctx: &InferContext<'_>, shape: &[usize]) -> Elements {
    pairwise(ctx, shape, |a, b| match () {
        () if a == b => Some(1usize.into()),
        () if a.differs(b) => Some(0usize.into()),
        () => None,
    })
}

/// `Not`.
pub fn complement(ctx: &InferContext<'_>, _: &[usize]) -> Elements {
    let one = Expr::from(1usize);
    Some(ctx.elements(0)?.iter().map(|x| one.minus(x)).collect())
}

/// `Where`.
pub fn selected(ctx: &InferContext<'_>, shape: &[usize]) -> Elements {
    let condition = spread(ctx, 0, shape)?;
    let (yes, no) = (spread(ctx, 1, shape)?, spread(ctx, 2, shape)?);
    let choose = |at: usize| match condition[at].number()? {
        0 => Some(no[at].clone()),
        _ => Some(yes[at].clone()),
    };
    (0..condition.len()).map(choose).collect()
}

/// `ConstantOfShape` and `Expand` of one number.
pub fn constant_fill(ctx: &InferContext<'_>, shape: &[usize]) -> Elements {
    let value = match (ctx.node.op.name, ctx.node.attribute("value")) {
        ("Expand", _) => ctx.elements(0).filter(|all| all.len() == 1)?.swap_remove(0),
        (_, Some(Attribute::Tensor(value))) => match i64::widen(value).ok()?[..] {
            [only] if value.dtype().is_integer() => only.into(),
            _ => return None,
        },
        _ => return None,
    };
    Some(vec![value; shape.iter().product()])
}

/// `Range` of known length.
pub fn range_elements(ctx: &InferContext<'_>, shape: &[usize]) -> Elements {
    let (start, step) = (ctx.elements(0)?, ctx.elements(2)?);
    let [start, step] = [start.first()?, step.first()?];
    Some((0..*shape.first()?).map(|at| start.plus(&step.times(&at.into()))).collect())
}

/// `ReduceProd` of all elements.
pub fn product_of_axis(ctx: &InferContext<'_>, shape: &[usize]) -> Elements {
    let is_single = shape.iter().all(|&len| len == 1);
    is_single.then(|| ctx.elements(0)).flatten().map(|all| vec![super::count(&all)])
}
