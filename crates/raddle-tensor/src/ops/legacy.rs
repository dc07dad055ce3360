//! Operations of operator sets 1 to 7, as far as models of that time use them:
//! operands broadcast on request, some arguments are attributes, types have names.
//!
//! A row brings its operands into the form of the first modern version of the
//! operation and calls that.

use super::constants::convert;
use crate::DTypeRule::{Computed, Is, Like};
use crate::Kind::{Float, Int, Ints, String as Text};
use crate::convert::{Compute, Overflow};
use crate::graph::Node;
use crate::infer::{InferContext, TensorInfo, rules};
use crate::{
    DType, Error, Kind, MANY, Op, OpContext, Result, ShapeRule, Tensor, Value, movement, one, op,
};

/// Rows up to opset 5, which differ from later ones by a hint about memory only.
const fn unary(name: &'static str, attributes: &'static [(&'static str, Kind)]) -> Op {
    op(name, 1..=5)
        .attributes(attributes)
        .result(Like(0), ShapeRule::Like(0))
        .run(|ctx| modern(ctx, 6))
}

const HINT: &[(&str, Kind)] = &[("consumed_inputs", Ints)];

const BROADCAST: &[(&str, Kind)] = &[("axis", Int), ("broadcast", Int), ("consumed_inputs", Ints)];

const fn binary(name: &'static str) -> Op {
    op(name, 1..=6)
        .inputs(2, 2)
        .attributes(BROADCAST)
        .result(Like(0), ShapeRule::Like(0))
        .run(aligned)
}

const fn compare(name: &'static str) -> Op {
    binary(name).result(Is(DType::Bool), ShapeRule::Like(0))
}

/// Operands of one shape.
const fn variadic(name: &'static str) -> Op {
    op(name, 1..=7)
        .inputs(1, MANY)
        .attributes(HINT)
        .result(Like(0), ShapeRule::Like(0))
        .run(|ctx| modern(ctx, 8))
}

/// Rows of this family.
pub const ROWS: &[Op] = &[
    binary("Add"),
    binary("Sub"),
    binary("Mul"),
    binary("Div"),
    binary("Pow"),
    compare("And"),
    compare("Or"),
    compare("Xor"),
    compare("Equal"),
    compare("Greater"),
    compare("Less"),
    variadic("Max"),
    variadic("Min"),
    variadic("Sum"),
    variadic("Mean"),
    unary("Abs", HINT),
    unary("Neg", HINT),
    unary("Relu", HINT),
    unary("Sqrt", HINT),
    unary("Exp", HINT),
    unary("Log", HINT),
    unary("Tanh", HINT),
    unary("Sigmoid", HINT),
    unary("Reciprocal", HINT),
    unary("Floor", HINT),
    unary("Ceil", HINT),
    unary("Elu", &[("alpha", Float), ("consumed_inputs", Ints)]),
    unary("LeakyRelu", &[("alpha", Float), ("consumed_inputs", Ints)]),
    unary("HardSigmoid", &[("alpha", Float), ("beta", Float), ("consumed_inputs", Ints)]),
    unary("Clip", &[("consumed_inputs", Ints), ("max", Float), ("min", Float)]),
    unary("Selu", &[("alpha", Float), ("consumed_inputs", Ints), ("gamma", Float)]).run(selu),
    unary("InstanceNormalization", &[("consumed_inputs", Ints), ("epsilon", Float)]).inputs(3, 3),
    op("PRelu", 1..=6).inputs(2, 2).attributes(HINT).result(Like(0), ShapeRule::Like(0)).run(prelu),
    op("BatchNormalization", 1..=6)
        .inputs(5, 5)
        .outputs(1, 5)
        .attributes(&[
            ("consumed_inputs", Ints),
            ("epsilon", Float),
            ("is_test", Int),
            ("momentum", Float),
            ("spatial", Int),
        ])
        .result(Like(0), ShapeRule::Like(0))
        .infer(rules::batch_norm)
        .run(batch_normalization),
    op("Gemm", 1..=6)
        .inputs(3, 3)
        .attributes(&[
            ("alpha", Float),
            ("beta", Float),
            ("broadcast", Int),
            ("transA", Int),
            ("transB", Int),
        ])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::gemm)
        .run(|ctx| modern(ctx, 7)),
    op("Reshape", 1..=4)
        .attributes(&[("consumed_inputs", Ints), ("shape", Ints)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::reshape)
        .view()
        .run(reshape),
    op("Concat", 1..=3)
        .inputs(1, MANY)
        .attributes(&[("axis", Int)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::concat)
        .run(concat),
    op("Split", 1..=1)
        .inputs(1, 2)
        .outputs(1, MANY)
        .attributes(&[("axis", Int), ("split", Ints)])
        .result(Like(0), ShapeRule::Computed)
        .infer(rules::split)
        .run(|ctx| modern(ctx, 2)),
    op("Tile", 1..=5).inputs(3, 3).result(Like(0), ShapeRule::Computed).dims(rules::tile).run(tile),
    op("Cast", 1..=5)
        .attributes(&[("to", Text)])
        .result(Computed, ShapeRule::Like(0))
        .infer(cast_type)
        .run(cast),
];

/// Runs the operation as it is since opset `since`.
fn modern(ctx: &mut OpContext<'_>, since: u32) -> Result<Vec<Value>> {
    (super::find("", ctx.node.op.name, since)?.reference)(ctx)
}

/// With `broadcast`, the right operand's dimensions are a run of the left's
/// that begins at `axis`, or ends with the last one.
fn aligned(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (left, right) = (ctx.tensor(0)?.shape(), ctx.tensor(1)?.shape());
    let mismatch = |why| Error::ShapeMismatch { left: left.to_vec(), right: right.to_vec(), why };
    if !ctx.flag("broadcast", false)? {
        if left != right {
            return Err(mismatch("without broadcast both operands must be of one shape"));
        }
        return modern(ctx, 7);
    }
    let behind = match ctx.optional_int("axis")? {
        Some(_) if right.is_empty() => 0,
        Some(_) => {
            let axis = ctx.axis("axis", 0, left.len())?;
            (left.len() - axis)
                .checked_sub(right.len())
                .ok_or_else(|| mismatch("the right operand must end within the left"))?
        }
        None => 0,
    };
    let shape = [right, &vec![1; behind]].concat();
    if crate::shape::broadcast(left, &shape).ok().as_deref() != Some(left) {
        return Err(mismatch("the right operand must broadcast to the left"));
    }
    let right = ctx.take_tensor(1)?.reshape(&shape)?;
    ctx.inputs[1] = Some(right.into());
    modern(ctx, 7)
}

/// A slope for all or one for each channel, which is the second dimension.
fn prelu(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (rank, slope) = (ctx.tensor(0)?.rank(), ctx.tensor(1)?);
    if slope.rank() == 1 && slope.len() > 1 && rank > 2 {
        let mut shape = vec![1; rank - 1];
        shape[0] = slope.len();
        let slope = ctx.take_tensor(1)?.reshape(&shape)?;
        ctx.inputs[1] = Some(slope.into());
    }
    modern(ctx, 7)
}

/// The first version's constants have fewer digits.
fn selu(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let alpha = f64::from(ctx.float("alpha", 1.6732)?);
    let gamma = f64::from(ctx.float("gamma", 1.0507)?);
    let x = ctx.tensor(0)?;
    let selu = |&x: &f64| gamma * if x > 0.0 { x } else { alpha * x.exp_m1() };
    one(Tensor::computed(x.shape(), x.dtype(), f64::widen(x)?.iter().map(selu).collect()))
}

fn batch_normalization(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    for name in ["is_test", "spatial"] {
        if !ctx.flag(name, name == "spatial")? {
            return Err(ctx.bad_attribute(name, "must be 1: before opset 7 only inference works"));
        }
    }
    modern(ctx, 7)
}

/// The shape is an attribute.
fn reshape(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let shape = ctx.ints("shape")?.ok_or_else(|| ctx.bad_attribute("shape", "is required"))?;
    ctx.inputs.push(Some(Tensor::vector(shape.to_vec()).into()));
    modern(ctx, 5)
}

fn concat(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let parts = ctx.tensors()?;
    one(movement::concat(&parts, ctx.axis("axis", 1, parts[0].rank())?))
}

/// One axis is repeated, which an input names.
fn tile(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let number = |index: usize| match i64::widen(ctx.tensor(index)?)?[..] {
        [only] => Ok(only),
        ref many => {
            Err(Error::invalid(format!("input {index} must hold one number, found {}", many.len())))
        }
    };
    let rank = ctx.tensor(0)?.rank();
    let (tiles, axis) = (number(1)?, crate::shape::axis(number(2)?, rank)?);
    let mut repeats = vec![1; rank];
    repeats[axis] = tiles;
    ctx.inputs.truncate(1);
    ctx.inputs.push(Some(Tensor::vector(repeats).into()));
    modern(ctx, 6)
}

fn cast(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    one(convert(ctx.tensor(0)?, named_type(ctx.node)?, Overflow::Saturate))
}

fn cast_type(ctx: &InferContext<'_>) -> Result<rules::Infos> {
    let dims = ctx.dims(0).map(<[_]>::to_vec);
    Ok(vec![Some(TensorInfo::new(named_type(ctx.node)?, dims))])
}

/// The type is named as in `TensorProto.DataType`.
fn named_type(node: &Node) -> Result<DType> {
    Ok(match node.text("to", "")? {
        "FLOAT" => DType::F32,
        "UINT8" => DType::U8,
        "INT8" => DType::I8,
        "UINT16" => DType::U16,
        "INT16" => DType::I16,
        "INT32" => DType::I32,
        "INT64" => DType::I64,
        "BOOL" => DType::Bool,
        "FLOAT16" => DType::F16,
        "DOUBLE" => DType::F64,
        "UINT32" => DType::U32,
        "UINT64" => DType::U64,
        other => return Err(node.bad_attribute("to", format!("names no type: {other:?}"))),
    })
}
