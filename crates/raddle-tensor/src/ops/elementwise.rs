//! Operations on one element at a time: arithmetic, comparison, logic,
//! activations. Operands broadcast; narrow types are computed in `f32`, `i64`
//! or `u64` (see [`crate::Class`]).

use crate::DTypeRule::{Is, Like};
use crate::Kind::{Float, Int, String as Text};
use crate::convert::Compute;
use crate::infer::rules;
use crate::shape::Broadcast;
use crate::{
    Class, DType, Element, Error, LATEST, MANY, Op, OpContext, Result, ShapeRule, Tensor, Value,
    one, op, parallel, spare, vector,
};

const fn unary(name: &'static str, since: u32) -> Op {
    op(name, since..=LATEST).result(Like(0), ShapeRule::Like(0)).over()
}

const fn binary(name: &'static str, since: u32) -> Op {
    op(name, since..=LATEST).inputs(2, 2).result(Like(0), ShapeRule::Broadcast).over()
}

const fn compare(name: &'static str, since: u32) -> Op {
    op(name, since..=LATEST).inputs(2, 2).result(Is(DType::Bool), ShapeRule::Broadcast)
}

const fn variadic(name: &'static str, since: u32) -> Op {
    op(name, since..=LATEST).inputs(1, MANY).result(Like(0), ShapeRule::Broadcast).over()
}

/// A unary operation of floats from the same formula in `f32` and `f64`.
macro_rules! float {
    ($x:ident => $body:expr) => {
        |ctx| map_float(ctx, |$x: f32| $body, |$x: f64| $body)
    };
}

/// A unary operation of floats with the attributes `$name`.
macro_rules! float_with {
    ([$($name:ident = $default:expr),*], $x:ident => $body:expr) => {
        |ctx| {
            $(let $name = ctx.float(stringify!($name), $default)?;)*
            let narrow = move |$x: f32| $body;
            $(let $name = f64::from($name);)*
            map_float(ctx, narrow, move |$x: f64| $body)
        }
    };
}

/// A binary operation of numbers: formulas for floats and for integers.
macro_rules! number {
    (|$a:ident, $b:ident| $float:expr, $int:expr) => {
        |ctx| {
            map_numbers(
                ctx,
                &Binary {
                    f32: |out, operands| pairs_f32(out, operands, |$a: f32, $b: f32| $float),
                    f64: |$a, $b| $float,
                    i64: |$a, $b| $int,
                    u64: |$a, $b| $int,
                },
            )
        }
    };
}

/// A comparison from the same formula in all types.
macro_rules! comparison {
    (|$a:ident, $b:ident| $body:expr) => {
        |ctx| {
            compare_all(
                ctx,
                &Comparison {
                    f32: |$a, $b| $body,
                    f64: |$a, $b| $body,
                    i64: |$a, $b| $body,
                    u64: |$a, $b| $body,
                    bool: |$a, $b| {
                        // Truth values compare as the numbers 0 and 1.
                        let ($a, $b) = (u8::from($a), u8::from($b));
                        $body
                    },
                    text: |$a, $b| $body,
                },
            )
        }
    };
}

/// `max(x, 0)` that keeps NaN.
macro_rules! relu {
    ($x:ident) => {
        if $x < 0.0 { 0.0 } else { $x }
    };
}

/// Rows of this family.
pub const ROWS: &[Op] = &[
    binary("Add", 7).elements(rules::sums).run(number!(|a, b| a + b, a.wrapping_add(b))),
    binary("Sub", 7).elements(rules::differences).run(number!(|a, b| a - b, a.wrapping_sub(b))),
    binary("Mul", 7).elements(rules::products).run(number!(|a, b| a * b, a.wrapping_mul(b))),
    binary("Div", 7)
        .elements(rules::quotients)
        .run(number!(|a, b| a / b, a.checked_div(b).unwrap_or(0))),
    binary("Mod", 10).attributes(&[("fmod", Int)]).elements(rules::remainders).run(modulo),
    binary("Pow", 7).run(pow),
    binary("PRelu", 7).run(number!(
        |x, slope| if x < 0.0 { slope * x } else { x },
        if (x as i64) < 0 { slope.wrapping_mul(x) } else { x }
    )),
    binary("BitShift", 11).attributes(&[("direction", Text)]).run(shift),
    binary("BitwiseAnd", 18).run(|ctx| bits(ctx, |a, b| a & b)),
    binary("BitwiseOr", 18).run(|ctx| bits(ctx, |a, b| a | b)),
    binary("BitwiseXor", 18).run(|ctx| bits(ctx, |a, b| a ^ b)),
    unary("BitwiseNot", 18)
        .run(|ctx| map_all(ctx, |x: f32| x, |x: f64| x, |x: i64| !x, |x: u64| !x)),
    compare("Equal", 7).elements(rules::equal).run(comparison!(|a, b| a == b)),
    compare("Less", 7).run(comparison!(|a, b| a < b)),
    compare("Greater", 7).run(comparison!(|a, b| a > b)),
    compare("LessOrEqual", 12).run(comparison!(|a, b| a <= b)),
    compare("GreaterOrEqual", 12).run(comparison!(|a, b| a >= b)),
    compare("And", 7).elements(rules::products).run(|ctx| logic(ctx, |a, b| a & b)),
    compare("Or", 7).run(|ctx| logic(ctx, |a, b| a | b)),
    compare("Xor", 7).run(|ctx| logic(ctx, |a, b| a ^ b)),
    unary("Not", 1).elements(rules::complement).run(not),
    variadic("Max", 8).elements(rules::maxima).run(|ctx| fold(ctx, &MAX)),
    variadic("Min", 8).elements(rules::minima).run(|ctx| fold(ctx, &MIN)),
    variadic("Sum", 8).run(|ctx| fold(ctx, &ADD)),
    variadic("Mean", 8).run(mean),
    unary("Abs", 6).run(|ctx| map_all(ctx, f32::abs, f64::abs, i64::wrapping_abs, |x: u64| x)),
    unary("Neg", 6)
        .run(|ctx| map_all(ctx, |x: f32| -x, |x: f64| -x, i64::wrapping_neg, u64::wrapping_neg)),
    unary("Sign", 9).run(|ctx| {
        map_all(
            ctx,
            |x: f32| if x == 0.0 { x } else { x.signum() },
            |x: f64| if x == 0.0 { x } else { x.signum() },
            i64::signum,
            |x: u64| x.min(1),
        )
    }),
    unary("Relu", 6).run(|ctx| {
        map_all(ctx, |x: f32| relu!(x), |x: f64| relu!(x), |x: i64| x.max(0), |x: u64| x)
    }),
    unary("Sqrt", 6).run(float!(x => x.sqrt())),
    unary("Exp", 6).run(|ctx| map_lines(ctx, vector::exp, f64::exp)),
    unary("Log", 6).run(float!(x => x.ln())),
    unary("Sin", 7).run(float!(x => x.sin())),
    unary("Cos", 7).run(float!(x => x.cos())),
    unary("Tan", 7).run(float!(x => x.tan())),
    unary("Asin", 7).run(float!(x => x.asin())),
    unary("Acos", 7).run(float!(x => x.acos())),
    unary("Atan", 7).run(float!(x => x.atan())),
    unary("Sinh", 9).run(float!(x => x.sinh())),
    unary("Cosh", 9).run(float!(x => x.cosh())),
    unary("Tanh", 6).run(|ctx| map_lines(ctx, vector::tanh, f64::tanh)),
    unary("Asinh", 9).run(float!(x => x.asinh())),
    unary("Acosh", 9).run(float!(x => x.acosh())),
    unary("Atanh", 9).run(float!(x => x.atanh())),
    unary("Reciprocal", 6).run(float!(x => x.recip())),
    unary("Floor", 6).elements(rules::floors).run(float!(x => x.floor())),
    unary("Ceil", 6).elements(rules::floors).run(float!(x => x.ceil())),
    unary("Round", 11).run(float!(x => x.round_ties_even())),
    unary("Sigmoid", 6)
        .run(|ctx| map_lines(ctx, vector::sigmoid, |x: f64| ((-x).exp() + 1.0).recip())),
    unary("Softplus", 1).run(float!(x => x.max(0.0) + (-x.abs()).exp().ln_1p())),
    unary("Softsign", 1).run(float!(x => x / (x.abs() + 1.0))),
    unary("HardSwish", 14).run(float!(x => x * (x / 6.0 + 0.5).clamp(0.0, 1.0))),
    unary("Mish", 18).run(float!(x => x * (x.max(0.0) + (-x.abs()).exp().ln_1p()).tanh())),
    unary("Elu", 6)
        .attributes(&[("alpha", Float)])
        .run(float_with!([alpha = 1.0], x => if x < 0.0 { alpha * x.exp_m1() } else { x })),
    unary("Celu", 12)
        .attributes(&[("alpha", Float)])
        .run(float_with!([alpha = 1.0], x => x.max(0.0) + (alpha * (x / alpha).exp_m1()).min(0.0))),
    unary("Selu", 6).attributes(&[("alpha", Float), ("gamma", Float)]).run(float_with!(
        [alpha = 1.673_263_2, gamma = 1.050_701],
        x => gamma * if x > 0.0 { x } else { alpha * x.exp_m1() }
    )),
    unary("LeakyRelu", 6)
        .attributes(&[("alpha", Float)])
        .run(float_with!([alpha = 0.01], x => if x < 0.0 { alpha * x } else { x })),
    unary("ThresholdedRelu", 10)
        .attributes(&[("alpha", Float)])
        .run(float_with!([alpha = 1.0], x => if x > alpha { x } else { 0.0 })),
    unary("HardSigmoid", 6)
        .attributes(&[("alpha", Float), ("beta", Float)])
        .run(float_with!([alpha = 0.2, beta = 0.5], x => (alpha * x + beta).clamp(0.0, 1.0))),
    unary("Shrink", 9).attributes(&[("bias", Float), ("lambd", Float)]).run(shrink),
    unary("Swish", 24)
        .attributes(&[("alpha", Float)])
        .run(float_with!([alpha = 1.0], x => x / ((-(alpha * x)).exp() + 1.0))),
    op("IsNaN", 9..=LATEST)
        .result(Is(DType::Bool), ShapeRule::Like(0))
        .run(|ctx| test(ctx, f32::is_nan, f64::is_nan)),
    op("IsInf", 10..=LATEST)
        .attributes(&[("detect_negative", Int), ("detect_positive", Int)])
        .result(Is(DType::Bool), ShapeRule::Like(0))
        .run(is_inf),
    unary("Clip", 6).inputs(1, 3).attributes(&[("min", Float), ("max", Float)]).run(clip),
    op("Where", 9..=LATEST)
        .inputs(3, 3)
        .result(Like(1), ShapeRule::Broadcast)
        .elements(rules::selected)
        .over()
        .run(select),
];

/// A binary operation in each type that is computed in.
struct Binary {
    /// Of whole lines, so that the loop is compiled with the formula in it.
    f32: fn(&mut [f32], Operands<'_, f32>),
    f64: fn(f64, f64) -> f64,
    i64: fn(i64, i64) -> i64,
    u64: fn(u64, u64) -> u64,
}

const ADD: Binary = Binary {
    f32: |out, operands| pairs_f32(out, operands, |a, b| a + b),
    f64: |a, b| a + b,
    i64: i64::wrapping_add,
    u64: u64::wrapping_add,
};

// NaN wins, as in numpy.
const MAX: Binary = Binary {
    f32: |out, operands| pairs_f32(out, operands, |a, b| if a > b || a.is_nan() { a } else { b }),
    f64: |a, b| if a > b || a.is_nan() { a } else { b },
    i64: |a, b| a.max(b),
    u64: |a, b| a.max(b),
};

const MIN: Binary = Binary {
    f32: |out, operands| pairs_f32(out, operands, |a, b| if a < b || a.is_nan() { a } else { b }),
    f64: |a, b| if a < b || a.is_nan() { a } else { b },
    i64: |a, b| a.min(b),
    u64: |a, b| a.min(b),
};

/// A comparison in each type.
struct Comparison {
    f32: fn(f32, f32) -> bool,
    f64: fn(f64, f64) -> bool,
    i64: fn(i64, i64) -> bool,
    u64: fn(u64, u64) -> bool,
    bool: fn(bool, bool) -> bool,
    text: fn(&str, &str) -> bool,
}

/// Applies a function to each element.
fn map<T: Copy + Sync, R: Clone + Default + Send>(
    source: &[T],
    function: &(impl Fn(T) -> R + Sync),
) -> Vec<R> {
    let mut out = vec![R::default(); source.len()];
    parallel::rows(&mut out, source.len(), &|_, column, piece| {
        for (out, &x) in piece.iter_mut().zip(&source[column..]) {
            *out = function(x);
        }
    });
    out
}

/// The operands of a line, each walked with a step of 0 or 1.
struct Operands<'a, T> {
    left: &'a [T],
    right: &'a [T],
    steps: [usize; 2],
}

/// Applies a function to pairs of elements of a line.
#[inline(always)]
fn pairs<T: Copy, R>(out: &mut [R], operands: Operands<'_, T>, function: impl Fn(T, T) -> R) {
    let Operands { left, right, steps } = operands;
    match steps {
        [0, _] => {
            let a = left[0];
            out.iter_mut().zip(right).for_each(|(out, &b)| *out = function(a, b));
        }
        [_, 0] => {
            let b = right[0];
            out.iter_mut().zip(left).for_each(|(out, &a)| *out = function(a, b));
        }
        _ => {
            let operands = left.iter().zip(right);
            out.iter_mut().zip(operands).for_each(|(out, (&a, &b))| *out = function(a, b));
        }
    }
}

/// The same of numbers, with the widest instructions.
fn pairs_f32(out: &mut [f32], operands: Operands<'_, f32>, function: impl Fn(f32, f32) -> f32) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || pairs(out, operands, &function),
    );
}

/// Applies a function to pairs of elements of two tensors that broadcast.
fn map_pairs<T: Copy + Sync, R: Clone + Default + Send>(
    plan: &Broadcast<2>,
    left: &[T],
    right: &[T],
    function: &(impl Fn(T, T) -> R + Sync + ?Sized),
) -> Vec<R> {
    map_operands(plan, left, right, &|out: &mut [R], operands: Operands<'_, T>| {
        pairs(out, operands, function);
    })
}

/// Applies a function to lines of two tensors that broadcast.
fn map_operands<T: Copy + Sync, R: Clone + Default + Send>(
    plan: &Broadcast<2>,
    left: &[T],
    right: &[T],
    function: &(impl Fn(&mut [R], Operands<'_, T>) + Sync),
) -> Vec<R> {
    let mut out = vec![R::default(); plan.len];
    map_operands_to(&mut out, plan, left, right, function);
    out
}

/// The same into elements that are there. Rows next to each other are walked together.
fn map_operands_to<T: Copy + Sync, R: Send>(
    out: &mut [R],
    plan: &Broadcast<2>,
    left: &[T],
    right: &[T],
    function: &(impl Fn(&mut [R], Operands<'_, T>) + Sync),
) {
    let (rows, row_steps) = plan.rows();
    let is_short = plan.row_len <= SHORT_ROW_LEN && rows > 1;
    let steps = [plan.steps, row_steps];
    let is_whole = |at: usize| [steps[0][at], steps[1][at]] == [1, plan.row_len];
    let is_again = |at: usize| [steps[0][at], steps[1][at]] == [1, 0];
    let repeats = if is_short { REPEATED_LEN / plan.row_len } else { 1 };
    parallel::rows(out, plan.row_len * rows, &|at, column, mut piece| {
        let [a, b] = plan.starts(at * rows);
        let (mut row, mut column) = (column / plan.row_len, column % plan.row_len);
        // A short row that is read again and again is written out a few times.
        if is_short && column == 0 && (is_whole(0) && is_again(1) || is_again(0) && is_whole(1)) {
            let repeated = |it: &[T], from| it[from..from + plan.row_len].repeat(repeats);
            let (from, len) = (row * plan.row_len, plan.row_len * repeats);
            let steps = [1, 1];
            if is_again(1) {
                let right = &repeated(right, b)[..];
                for (line, left) in piece.chunks_mut(len).zip(left[a + from..].chunks(len)) {
                    function(line, Operands { left, right, steps });
                }
            } else {
                let left = &repeated(left, a)[..];
                for (line, right) in piece.chunks_mut(len).zip(right[b + from..].chunks(len)) {
                    function(line, Operands { left, right, steps });
                }
            }
            return;
        }
        while !piece.is_empty() {
            let len = piece.len().min(plan.row_len - column);
            let (line, rest) = std::mem::take(&mut piece).split_at_mut(len);
            let left = &left[a + row * row_steps[0] + column * plan.steps[0]..];
            let right = &right[b + row * row_steps[1] + column * plan.steps[1]..];
            function(line, Operands { left, right, steps: plan.steps });
            (piece, row, column) = (rest, row + 1, 0);
        }
    });
}

/// Longest row that is written out several times when it is read again and again.
const SHORT_ROW_LEN: usize = 64;

/// About as many elements are then written.
const REPEATED_LEN: usize = 1024;

/// An error for a type that the operation does not work on.
pub fn unsupported(index: usize, found: DType, expected: &str) -> Error {
    Error::UnsupportedType { what: format!("input {index}"), found, expected: expected.into() }
}

/// A unary operation of floats with a function for whole lines in `f32`.
pub fn map_lines(
    ctx: &mut OpContext<'_>,
    narrow: fn(&mut [f32]),
    wide: impl Fn(f64) -> f64 + Sync,
) -> Result<Vec<Value>> {
    let mut x = ctx.take_tensor(0)?;
    let (shape, dtype) = (x.shape().to_vec(), x.dtype());
    let run = |elements: &mut Vec<f32>| {
        let len = elements.len();
        parallel::rows(elements, len, &|_, _, piece| narrow(piece));
    };
    one(match dtype.class() {
        Class::F32 if dtype == DType::F32 => {
            run(x.elements_mut::<f32>()?);
            Ok(x)
        }
        Class::F32 => {
            let mut elements = f32::widen(&x)?.into_owned();
            run(&mut elements);
            Tensor::computed(&shape, dtype, elements)
        }
        Class::F64 => Tensor::computed(&shape, dtype, map(&f64::widen(&x)?, &wide)),
        _ => Err(unsupported(0, dtype, "a float")),
    })
}

fn map_float(
    ctx: &mut OpContext<'_>,
    narrow: impl Fn(f32) -> f32 + Sync,
    wide: impl Fn(f64) -> f64 + Sync,
) -> Result<Vec<Value>> {
    let mut x = ctx.take_tensor(0)?;
    let (shape, dtype) = (x.shape().to_vec(), x.dtype());
    one(match dtype.class() {
        Class::F32 if dtype == DType::F32 && x.is_unique() => {
            let elements = x.elements_mut::<f32>()?;
            let len = elements.len();
            parallel::rows(elements, len, &|_, _, piece| {
                for x in piece {
                    *x = narrow(*x);
                }
            });
            Ok(x)
        }
        Class::F32 => Tensor::computed(&shape, dtype, map(&f32::widen(&x)?, &narrow)),
        Class::F64 => Tensor::computed(&shape, dtype, map(&f64::widen(&x)?, &wide)),
        _ => Err(unsupported(0, dtype, "a float")),
    })
}

fn map_all(
    ctx: &mut OpContext<'_>,
    narrow: impl Fn(f32) -> f32 + Sync,
    wide: impl Fn(f64) -> f64 + Sync,
    signed: impl Fn(i64) -> i64 + Sync,
    unsigned: impl Fn(u64) -> u64 + Sync,
) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    match x.dtype().class() {
        Class::I64 => one(Tensor::computed(x.shape(), x.dtype(), map(&i64::widen(x)?, &signed))),
        Class::U64 => one(Tensor::computed(x.shape(), x.dtype(), map(&u64::widen(x)?, &unsigned))),
        _ => map_float(ctx, narrow, wide),
    }
}

/// A binary operation on two tensors of one type.
fn apply(a: &Tensor, b: &Tensor, function: &Binary) -> Result<Tensor> {
    fn each<W: Compute>(a: &Tensor, b: &Tensor, function: fn(W, W) -> W) -> Result<Tensor> {
        let plan = Broadcast::new([a.shape(), b.shape()])?;
        let out = map_pairs(&plan, &W::widen(a)?, &W::widen(b)?, &function);
        Tensor::computed(&plan.shape, a.dtype(), out)
    }
    if a.dtype() != b.dtype() {
        return Err(unsupported(1, b.dtype(), a.dtype().name()));
    }
    match a.dtype().class() {
        Class::F32 => {
            let plan = Broadcast::new([a.shape(), b.shape()])?;
            let mut out = spare::take(plan.len);
            map_operands_to(&mut out, &plan, &f32::widen(a)?, &f32::widen(b)?, &function.f32);
            Tensor::computed(&plan.shape, a.dtype(), out)
        }
        Class::F64 => each(a, b, function.f64),
        Class::I64 => each(a, b, function.i64),
        Class::U64 => each(a, b, function.u64),
        _ => Err(unsupported(0, a.dtype(), "a number")),
    }
}

fn map_numbers(ctx: &mut OpContext<'_>, function: &Binary) -> Result<Vec<Value>> {
    one(apply(ctx.tensor(0)?, ctx.tensor(1)?, function))
}

fn fold(ctx: &mut OpContext<'_>, function: &Binary) -> Result<Vec<Value>> {
    let mut result = ctx.take_tensor(0)?;
    for index in 1..ctx.input_count() {
        result = apply(&result, ctx.tensor(index)?, function)?;
    }
    Ok(vec![result.into()])
}

fn mean(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let count = ctx.input_count();
    let sum = fold(ctx, &ADD)?.remove(0).into_tensor().expect("fold makes a tensor");
    let divisor = Tensor::computed(&[], sum.dtype(), vec![count as f64])?;
    let divide = Binary {
        f32: |out, operands| pairs_f32(out, operands, |a, b| a / b),
        f64: |a, b| a / b,
        i64: |a, b| a / b,
        u64: |a, b| a / b,
    };
    one(apply(&sum, &divisor, &divide))
}

fn bits(ctx: &mut OpContext<'_>, function: fn(u64, u64) -> u64) -> Result<Vec<Value>> {
    let (a, b) = (ctx.tensor(0)?, ctx.tensor(1)?);
    if !a.dtype().is_integer() || a.dtype() != b.dtype() {
        return Err(unsupported(1, b.dtype(), "the integer type of the other"));
    }
    let plan = Broadcast::new([a.shape(), b.shape()])?;
    let out = map_pairs(&plan, &u64::widen(a)?, &u64::widen(b)?, &function);
    one(Tensor::computed(&plan.shape, a.dtype(), out))
}

fn shift(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let function: fn(u64, u64) -> u64 = match ctx.text("direction", "")? {
        "LEFT" => |a, b| if b < 64 { a << b } else { 0 },
        "RIGHT" => |a, b| if b < 64 { a >> b } else { 0 },
        other => {
            return Err(
                ctx.bad_attribute("direction", format!("must be LEFT or RIGHT, found {other:?}"))
            );
        }
    };
    bits(ctx, function)
}

fn modulo(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let keeps_sign = ctx.flag("fmod", false)?;
    let function = if keeps_sign {
        Binary {
            f32: |out, operands| pairs_f32(out, operands, |a, b| a % b),
            f64: |a, b| a % b,
            i64: |a, b| a.checked_rem(b).unwrap_or(0),
            u64: |a, b| a.checked_rem(b).unwrap_or(0),
        }
    } else {
        // The result has the divisor's sign.
        Binary {
            f32: |out, operands| pairs_f32(out, operands, |a, b| a - (a / b).floor() * b),
            f64: |a, b| a - (a / b).floor() * b,
            i64: |a, b| {
                let rest = a.checked_rem(b).unwrap_or(0);
                if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }
            },
            u64: |a, b| a.checked_rem(b).unwrap_or(0),
        }
    };
    map_numbers(ctx, &function)
}

/// `a ^ b`, where the exponent may have another type than the result.
fn pow(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (a, b) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let plan = Broadcast::new([a.shape(), b.shape()])?;
    let is_wide = a.dtype() != DType::F32 || b.dtype() != DType::F32;
    one(if a.dtype().is_integer() && b.dtype().is_integer() {
        let power = |a: i64, b: i64| match u32::try_from(b) {
            Ok(b) => a.wrapping_pow(b),
            Err(_) if b > 0 => a.wrapping_pow(u32::MAX),
            Err(_) => match a {
                1 => 1,
                -1 => {
                    if b % 2 == 0 {
                        1
                    } else {
                        -1
                    }
                }
                _ => 0,
            },
        };
        let out = map_pairs(&plan, &i64::widen(a)?, &i64::widen(b)?, &power);
        Tensor::computed(&plan.shape, a.dtype(), out)
    } else if is_wide {
        let out = map_pairs(&plan, &f64::widen(a)?, &f64::widen(b)?, &f64::powf);
        Tensor::computed(&plan.shape, a.dtype(), out)
    } else {
        let out = map_pairs(&plan, &f32::widen(a)?, &f32::widen(b)?, &f32::powf);
        Tensor::computed(&plan.shape, a.dtype(), out)
    })
}

fn compare_all(ctx: &mut OpContext<'_>, function: &Comparison) -> Result<Vec<Value>> {
    let (a, b) = (ctx.tensor(0)?, ctx.tensor(1)?);
    if a.dtype() != b.dtype() {
        return Err(unsupported(1, b.dtype(), a.dtype().name()));
    }
    let plan = Broadcast::new([a.shape(), b.shape()])?;
    let out = match a.dtype().class() {
        Class::F32 => map_pairs(&plan, &f32::widen(a)?, &f32::widen(b)?, &function.f32),
        Class::F64 => map_pairs(&plan, &f64::widen(a)?, &f64::widen(b)?, &function.f64),
        Class::I64 => map_pairs(&plan, &i64::widen(a)?, &i64::widen(b)?, &function.i64),
        Class::U64 => map_pairs(&plan, &u64::widen(a)?, &u64::widen(b)?, &function.u64),
        Class::Bool => map_pairs(&plan, a.elements()?, b.elements()?, &function.bool),
        Class::String => {
            let texts = |tensor: &Tensor| -> Result<Vec<_>> {
                Ok(tensor.elements::<String>()?.iter().map(|text| text.to_owned()).collect())
            };
            let (a, b) = (texts(a)?, texts(b)?);
            let a: Vec<&str> = a.iter().map(String::as_str).collect();
            let b: Vec<&str> = b.iter().map(String::as_str).collect();
            map_pairs(&plan, &a, &b, &|a, b| (function.text)(a, b))
        }
        Class::Complex => return Err(unsupported(0, a.dtype(), "a number, bool or string")),
    };
    one(Tensor::new(&plan.shape, out))
}

fn logic(ctx: &mut OpContext<'_>, function: fn(bool, bool) -> bool) -> Result<Vec<Value>> {
    let (a, b) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let plan = Broadcast::new([a.shape(), b.shape()])?;
    let out = map_pairs(&plan, a.elements::<bool>()?, b.elements()?, &function);
    one(Tensor::new(&plan.shape, out))
}

fn not(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    one(Tensor::new(x.shape(), map(x.elements::<bool>()?, &|x| !x)))
}

fn test(
    ctx: &mut OpContext<'_>,
    narrow: impl Fn(f32) -> bool + Sync,
    wide: impl Fn(f64) -> bool + Sync,
) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let out = match x.dtype().class() {
        Class::F32 => map(&f32::widen(x)?, &narrow),
        Class::F64 => map(&f64::widen(x)?, &wide),
        _ => return Err(unsupported(0, x.dtype(), "a float")),
    };
    one(Tensor::new(x.shape(), out))
}

fn is_inf(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let negative = ctx.flag("detect_negative", true)?;
    let positive = ctx.flag("detect_positive", true)?;
    test(
        ctx,
        move |x| x.is_infinite() && if x > 0.0 { positive } else { negative },
        move |x| x.is_infinite() && if x > 0.0 { positive } else { negative },
    )
}

fn shrink(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (bias, lambda) = (f64::from(ctx.float("bias", 0.0)?), f64::from(ctx.float("lambd", 0.5)?));
    let x = ctx.tensor(0)?;
    let shrink = move |x: f64| {
        if x < -lambda {
            x + bias
        } else if x > lambda {
            x - bias
        } else {
            0.0
        }
    };
    one(Tensor::computed(x.shape(), x.dtype(), map(&f64::widen(x)?, &shrink)))
}

/// Limits are attributes up to opset 10 and inputs since.
fn clip(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let limit = |ctx: &OpContext<'_>, name: &str, index: usize| -> Result<Option<Tensor>> {
        let dtype = ctx.tensor(0)?.dtype();
        match ctx.node.attribute(name) {
            Some(_) => Tensor::computed(&[], dtype, vec![ctx.float(name, 0.0)?]).map(Some),
            None => Ok(ctx.optional_tensor(index)?.cloned()),
        }
    };
    let (low, high) = (limit(ctx, "min", 1)?, limit(ctx, "max", 2)?);
    let mut x = ctx.take_tensor(0)?;
    for (limit, function) in [(low, &MAX), (high, &MIN)] {
        if let Some(limit) = limit {
            if limit.len() != 1 {
                return Err(Error::invalid("the limits of Clip must be scalars"));
            }
            x = apply(&x, &limit.reshape(&[])?, function)?;
        }
    }
    Ok(vec![x.into()])
}

fn select(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    fn pick<T: Element>(
        condition: &[bool],
        a: &[T],
        b: &Tensor,
        plan: &Broadcast<3>,
    ) -> Result<crate::Data> {
        let b = b.elements::<T>()?;
        let mut out = vec![T::default(); plan.len];
        parallel::rows(&mut out, plan.row_len, &|row, column, piece| {
            let starts = plan.starts(row);
            for (at, out) in piece.iter_mut().enumerate() {
                let at = |operand: usize| starts[operand] + (column + at) * plan.steps[operand];
                *out = if condition[at(0)] { a[at(1)].clone() } else { b[at(2)].clone() };
            }
        });
        Ok(crate::Data::new(out))
    }
    let (condition, a, b) = (ctx.tensor(0)?, ctx.tensor(1)?, ctx.tensor(2)?);
    if a.dtype() != b.dtype() {
        return Err(unsupported(2, b.dtype(), a.dtype().name()));
    }
    let plan = Broadcast::new([condition.shape(), a.shape(), b.shape()])?;
    let condition = condition.elements::<bool>()?;
    let data = crate::with_data!(a.data(), elements => pick(condition, elements, b, &plan)?);
    one(Tensor::from_data(&plan.shape, a.dtype(), data))
}
