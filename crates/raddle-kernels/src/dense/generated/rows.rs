//! Kernels with reductions: a row to each warp, or to each block.
//!
//! A row of up to [`KEPT_MAX`] elements a thread is read once and kept in registers; of a
//! longer one each reduction, and what follows the last, reads the inputs again.
//! Sums are of `f64`, first of a thread's elements, then of a warp's threads, then of the
//! warps, always in the same order.

use super::emit::{Emitter, Register, Slot, Type, op};
use super::{Kind, Reduction, Scalar};
use crate::Result;

/// Elements of a row that a thread keeps.
const KEPT_MAX: usize = 16;
/// Threads of a block whose warps have a row each.
const WARPS_THREADS: u32 = 128;
/// Threads to a row that is kept.
const KEPT_THREADS_MAX: usize = 512;
/// Threads to a longer row.
const LONG_THREADS: usize = 1024;

/// How a kernel is laid out.
struct Layout {
    /// Elements that lie together.
    width: usize,
    /// Groups of so many elements in a row.
    groups: usize,
    /// Threads to a row.
    threads: usize,
    /// Groups of a thread; the last ones may be beyond the row.
    steps: usize,
    is_kept: bool,
    /// The thread in its row.
    thread: Register,
    /// The row's first element.
    origin: Register,
}

/// Writes the kernel's body; gives blocks and threads.
pub fn emit(emitter: &mut Emitter<'_>) -> Result<(u32, u32)> {
    let expression = emitter.expression;
    let columns = expression.columns;
    let steps = expression.steps.iter().filter(|step| !matches!(step.kind, Kind::Number(_)));
    let widest = if steps.clone().all(|step| step.scalar.shift() < 2) { 8 } else { 4 };
    let width =
        [8, 4, 2, 1].into_iter().find(|&width| width <= widest && columns.is_multiple_of(width));
    let width = width.unwrap_or(1);
    let groups = columns / width;
    let kept = [32, 64, 128, 256, KEPT_THREADS_MAX].into_iter();
    let kept = kept.into_iter().find(|&threads| groups.div_ceil(threads) * width <= KEPT_MAX);
    let threads = kept.unwrap_or(LONG_THREADS);
    let block_threads = if threads == 32 { WARPS_THREADS } else { threads as u32 };
    let (block, thread) = (emitter.half_word(), emitter.half_word());
    op!(emitter, "mov.u32 {block}, %ctaid.x;");
    op!(emitter, "mov.u32 {thread}, %tid.x;");
    let (mut row, mut own) = (block, thread);
    let mut blocks = expression.rows;
    let end = emitter.label();
    if threads == 32 {
        let rows = WARPS_THREADS / 32;
        blocks = expression.rows.div_ceil(rows as usize);
        let warp = emitter.half_word();
        (row, own) = (emitter.half_word(), emitter.half_word());
        op!(emitter, "shr.u32 {warp}, {thread}, 5;");
        op!(emitter, "mad.lo.u32 {row}, {block}, {rows}, {warp};");
        op!(emitter, "and.b32 {own}, {thread}, 31;");
        // Whole warps leave, and no barrier waits for them.
        let is_beyond = emitter.predicate();
        op!(emitter, "setp.ge.u32 {is_beyond}, {row}, {};", expression.rows);
        op!(emitter, "@{is_beyond} bra {end};");
    }
    let origin = emitter.half_word();
    op!(emitter, "mul.lo.u32 {origin}, {row}, {columns};");
    let layout = Layout {
        width,
        groups,
        threads,
        steps: groups.div_ceil(threads),
        is_kept: kept.is_some(),
        thread: own,
        origin,
    };
    for (step, kind) in expression.steps.iter().map(|step| &step.kind).enumerate() {
        match kind {
            Kind::Number(bits) => emitter.constant(step, expression.steps[step].scalar, *bits),
            Kind::Read { is_row: true, .. } => emitter.read(step, row, &[Slot::Row], None),
            Kind::Read { .. } => {}
            Kind::Apply { .. } if emitter.is_row[step] => drop(emitter.value(step, Slot::Row)?),
            Kind::Apply { .. } => {}
            Kind::Reduce { reduction, operand, is_unsigned } => {
                let of = (*reduction, *operand, *is_unsigned);
                reduce(emitter, &layout, step, of)?;
            }
        }
    }
    let is_first = emitter.predicate();
    op!(emitter, "setp.eq.u32 {is_first}, {own}, 0;");
    let mut wide = Vec::new();
    for (output, kept) in expression.outputs.iter().enumerate() {
        if kept.is_row {
            let value = emitter.value(kept.step, Slot::Row)?;
            emitter.store(output, row, &[value], Some(is_first));
        } else {
            wide.push((output, kept.step));
        }
    }
    if !wide.is_empty() {
        let steps: Vec<_> = wide.iter().map(|it| it.1).collect();
        each_group(emitter, &layout, &steps, |emitter, index, slots, guard| {
            for &(output, step) in &wide {
                let mut values = Vec::new();
                for &slot in slots {
                    values.push(emitter.value(step, slot)?);
                }
                emitter.store(output, index, &values, guard);
            }
            Ok(())
        })?;
    }
    emitter.place_label(&end);
    Ok((blocks as u32, block_threads))
}

/// Does something with each group of elements that a thread has, once what `wanted` steps
/// read of it has been read: the group's first element, its slots, and whether it is in the
/// row if it may not be.
fn each_group(
    emitter: &mut Emitter<'_>,
    layout: &Layout,
    wanted: &[usize],
    mut visit: impl FnMut(&mut Emitter<'_>, Register, &[Slot], Option<Register>) -> Result<()>,
) -> Result<()> {
    let needed = emitter.ancestors(wanted);
    let expression = emitter.expression;
    let reads = needed
        .into_iter()
        .filter(|&step| matches!(expression.steps[step].kind, Kind::Read { is_row: false, .. }));
    let reads: Vec<_> = reads.collect();
    let mut group =
        |emitter: &mut Emitter<'_>, number: Register, at: usize, may_be_beyond: bool| {
            let slots: Vec<_> =
                (0..layout.width).map(|lane| Slot::Element(at * layout.width + lane)).collect();
            let guard = may_be_beyond.then(|| {
                let guard = emitter.predicate();
                op!(emitter, "setp.lt.u32 {guard}, {number}, {};", layout.groups);
                guard
            });
            let index = emitter.half_word();
            op!(emitter, "mad.lo.u32 {index}, {number}, {}, {};", layout.width, layout.origin);
            for &step in &reads {
                if emitter.known(step, slots[0]).is_none() {
                    emitter.read(step, index, &slots, guard);
                }
            }
            visit(emitter, index, &slots, guard)
        };
    if layout.is_kept {
        for at in 0..layout.steps {
            let number = emitter.half_word();
            op!(emitter, "add.u32 {number}, {}, {};", layout.thread, at * layout.threads);
            group(emitter, number, at, (at + 1) * layout.threads > layout.groups)?;
        }
        return Ok(());
    }
    let (number, again, end) = (emitter.half_word(), emitter.label(), emitter.label());
    let is_beyond = emitter.predicate();
    op!(emitter, "mov.u32 {number}, {};", layout.thread);
    emitter.place_label(&again);
    op!(emitter, "setp.ge.u32 {is_beyond}, {number}, {};", layout.groups);
    op!(emitter, "@{is_beyond} bra {end};");
    emitter.forget_elements();
    group(emitter, number, 0, false)?;
    emitter.forget_elements();
    op!(emitter, "add.u32 {number}, {number}, {};", layout.threads);
    op!(emitter, "bra {again};");
    emitter.place_label(&end);
    Ok(())
}

/// Reduces a step over its row, to a value that all threads of the row have.
fn reduce(
    emitter: &mut Emitter<'_>,
    layout: &Layout,
    step: usize,
    (reduction, operand, is_unsigned): (Reduction, usize, bool),
) -> Result<()> {
    let scalar = emitter.expression.steps[operand].scalar;
    let is_extreme = matches!(reduction, Reduction::Max | Reduction::Min);
    let ty = match Type::of(scalar) {
        Type::F32 if !is_extreme => Type::F64,
        ty => ty,
    };
    let neutral = neutral(emitter, ty, scalar, reduction, is_unsigned);
    let sum = emitter.apply(ty, mov(ty), &[neutral]);
    each_group(emitter, layout, &[operand], |emitter, _, slots, guard| {
        for &slot in slots {
            let mut x = emitter.value(operand, slot)?;
            if Type::of(scalar) != ty {
                x = emitter.apply(ty, "cvt.f64.f32", &[x]);
            }
            let mut x = term(emitter, ty, reduction, x);
            if let Some(guard) = guard {
                x = emitter.select(ty, guard, x, neutral);
            }
            let next = combine(emitter, ty, reduction, is_unsigned, sum, x);
            op!(emitter, "{} {sum}, {next};", mov(ty));
        }
        Ok(())
    })?;
    let mut all = across_warp(emitter, ty, 32, sum, (reduction, is_unsigned));
    if layout.threads > 32 {
        let warps = layout.threads / 32;
        let (buffer, number) = (format!("partial{step}"), layout.thread);
        let shared = &mut emitter.shared;
        shared.push_str(&format!("\t.shared .align 8 .b8 {buffer}[{}];\n", warps * 8));
        let (lane, warp, base) = (emitter.half_word(), emitter.half_word(), emitter.half_word());
        let (is_first, is_warp, place) =
            (emitter.predicate(), emitter.predicate(), emitter.half_word());
        op!(emitter, "and.b32 {lane}, {number}, 31;");
        op!(emitter, "shr.u32 {warp}, {number}, 5;");
        op!(emitter, "mov.u32 {base}, {buffer};");
        op!(emitter, "mad.lo.u32 {place}, {warp}, 8, {base};");
        op!(emitter, "setp.eq.u32 {is_first}, {lane}, 0;");
        op!(emitter, "@{is_first} st.shared.{} [{place}], {all};", ty.bits_or_float());
        op!(emitter, "bar.sync 0;");
        op!(emitter, "setp.lt.u32 {is_warp}, {lane}, {warps};");
        op!(emitter, "mad.lo.u32 {place}, {lane}, 8, {base};");
        let part = emitter.apply(ty, mov(ty), &[neutral]);
        op!(emitter, "@{is_warp} ld.shared.{} {part}, [{place}];", ty.bits_or_float());
        all = across_warp(emitter, ty, warps.next_power_of_two(), part, (reduction, is_unsigned));
        if warps < 32 {
            // Lanes beyond the warps have summed nothing.
            all = from_first_lane(emitter, ty, all);
        }
    }
    let result = finished(emitter, ty, reduction, all, emitter.expression.columns);
    let result = emitter.kept(ty, result, emitter.expression.steps[step].scalar);
    emitter.know(step, Slot::Row, result);
    Ok(())
}

fn mov(ty: Type) -> &'static str {
    match ty {
        Type::F32 => "mov.f32",
        Type::F64 => "mov.f64",
        Type::I64 => "mov.b64",
    }
}

impl Type {
    /// The suffix of accesses that a register of the type takes.
    fn bits_or_float(self) -> &'static str {
        if self == Self::I64 { "b64" } else { self.suffix() }
    }
}

/// What changes no reduction.
fn neutral(
    emitter: &mut Emitter<'_>,
    ty: Type,
    scalar: Scalar,
    reduction: Reduction,
    is_unsigned: bool,
) -> Register {
    let value = match (reduction, ty) {
        (Reduction::Max, Type::F32 | Type::F64) => f64::NEG_INFINITY,
        (Reduction::Min, Type::F32 | Type::F64) => f64::INFINITY,
        (Reduction::Max | Reduction::Min, Type::I64) => {
            let is_max = reduction == Reduction::Max;
            let register = emitter.register(ty);
            let value = match (is_max, is_unsigned) {
                (true, true) => 0,
                (false, true) => -1,
                (true, false) => i64::MIN,
                (false, false) => i64::MAX,
            };
            op!(emitter, "mov.b64 {register}, {value};");
            return register;
        }
        _ => 0.0,
    };
    debug_assert!(ty == Type::I64 || scalar.is_float());
    emitter.number(ty, value)
}

/// What an element adds.
fn term(emitter: &mut Emitter<'_>, ty: Type, reduction: Reduction, x: Register) -> Register {
    let suffix = ty.suffix();
    match reduction {
        Reduction::L1 => emitter.apply(ty, &format!("abs.{suffix}"), &[x]),
        Reduction::L2 | Reduction::SumSquare if ty == Type::I64 => {
            emitter.apply(ty, "mul.lo.s64", &[x, x])
        }
        Reduction::L2 | Reduction::SumSquare => {
            emitter.apply(ty, &format!("mul.rn.{suffix}"), &[x, x])
        }
        _ => x,
    }
}

fn combine(
    emitter: &mut Emitter<'_>,
    ty: Type,
    reduction: Reduction,
    is_unsigned: bool,
    sum: Register,
    x: Register,
) -> Register {
    let is_max = match reduction {
        Reduction::Max => true,
        Reduction::Min => false,
        _ => {
            let name = if ty == Type::I64 { "add.s64" } else { "add.rn.f64" };
            return emitter.apply(ty, name, &[sum, x]);
        }
    };
    let name = if is_max { "max" } else { "min" };
    match ty {
        Type::F32 => emitter.apply(ty, &format!("{name}.NaN.f32"), &[sum, x]),
        Type::I64 => {
            let suffix = if is_unsigned { "u64" } else { "s64" };
            emitter.apply(ty, &format!("{name}.{suffix}"), &[sum, x])
        }
        Type::F64 => emitter.extreme(ty, is_max, sum, x),
    }
}

/// Reduces the values of so many lanes next to each other, for each of them.
fn across_warp(
    emitter: &mut Emitter<'_>,
    ty: Type,
    lanes: usize,
    value: Register,
    (reduction, is_unsigned): (Reduction, bool),
) -> Register {
    let (mut value, mut distance) = (value, lanes / 2);
    while distance > 0 {
        let other = shuffled(emitter, ty, &format!("bfly.b32 {{}}, {{}}, {distance}, 31"), value);
        value = combine(emitter, ty, reduction, is_unsigned, value, other);
        distance /= 2;
    }
    value
}

fn from_first_lane(emitter: &mut Emitter<'_>, ty: Type, value: Register) -> Register {
    shuffled(emitter, ty, "idx.b32 {}, {}, 0, 31", value)
}

/// A value of another lane.
fn shuffled(emitter: &mut Emitter<'_>, ty: Type, form: &str, value: Register) -> Register {
    let result = emitter.register(ty);
    let move_half = |emitter: &mut Emitter<'_>, from: Register, to: Register| {
        let form = form.replacen("{}", &to.to_string(), 1).replacen("{}", &from.to_string(), 1);
        op!(emitter, "shfl.sync.{form}, 0xffffffff;");
    };
    let halves = |emitter: &mut Emitter<'_>| (emitter.half_word(), emitter.half_word());
    if ty == Type::F32 {
        let (from, to) = halves(emitter);
        op!(emitter, "mov.b32 {from}, {value};");
        move_half(emitter, from, to);
        op!(emitter, "mov.b32 {result}, {to};");
    } else {
        let ((low, high), (to_low, to_high)) = (halves(emitter), halves(emitter));
        op!(emitter, "mov.b64 {{{low}, {high}}}, {value};");
        move_half(emitter, low, to_low);
        move_half(emitter, high, to_high);
        op!(emitter, "mov.b64 {result}, {{{to_low}, {to_high}}};");
    }
    result
}

/// What a reduction makes of the sum of a row.
fn finished(
    emitter: &mut Emitter<'_>,
    ty: Type,
    reduction: Reduction,
    sum: Register,
    columns: usize,
) -> Register {
    match (reduction, ty) {
        (Reduction::Mean, Type::I64) => {
            let count = emitter.number(ty, columns as f64);
            emitter.apply(ty, "div.s64", &[sum, count])
        }
        (Reduction::Mean, _) => {
            let count = emitter.number(ty, columns as f64);
            emitter.apply(ty, "div.rn.f64", &[sum, count])
        }
        (Reduction::L2, Type::F64) => emitter.apply(ty, "sqrt.rn.f64", &[sum]),
        _ => sum,
    }
}
