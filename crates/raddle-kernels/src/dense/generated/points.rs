//! Kernels that reduce nothing: a thread has a few elements that lie together.

use super::emit::{Emitter, Register, Slot, Type, op};
use super::{Kind, Scalar};
use crate::Result;

const THREADS: u32 = 256;

/// Writes the kernel's body; gives blocks and threads.
pub fn emit(emitter: &mut Emitter<'_>) -> Result<(u32, u32)> {
    let expression = emitter.expression;
    let len = expression.rows * expression.columns;
    let width = width(emitter);
    let (groups, rest) = (len / width, len % width);
    let threads = groups + rest;
    let (index, block) = (emitter.half_word(), emitter.half_word());
    op!(emitter, "mov.u32 {block}, %ctaid.x;");
    let thread = emitter.half_word();
    op!(emitter, "mov.u32 {thread}, %tid.x;");
    op!(emitter, "mad.lo.u32 {index}, {block}, {THREADS}, {thread};");
    let end = emitter.label();
    let predicate = emitter.predicate();
    op!(emitter, "setp.ge.u32 {predicate}, {index}, {threads};");
    op!(emitter, "@{predicate} bra {end};");
    let single = emitter.label();
    if rest > 0 {
        let is_single = emitter.predicate();
        op!(emitter, "setp.ge.u32 {is_single}, {index}, {groups};");
        op!(emitter, "@{is_single} bra {single};");
    }
    if groups > 0 {
        let first = emitter.half_word();
        op!(emitter, "mul.lo.u32 {first}, {index}, {width};");
        elements(emitter, first, width)?;
    }
    if rest > 0 && width > 1 {
        // The last elements have a thread each.
        op!(emitter, "bra {end};");
        emitter.place_label(&single);
        emitter.forget();
        let element = emitter.half_word();
        op!(emitter, "add.u32 {element}, {index}, {};", groups * width - groups);
        elements(emitter, element, 1)?;
    }
    emitter.place_label(&end);
    Ok((threads.div_ceil(THREADS as usize) as u32, THREADS))
}

/// Elements of a thread: eight of narrow types, else four.
fn width(emitter: &Emitter<'_>) -> usize {
    let steps = &emitter.expression.steps;
    let mut scalars = steps.iter().filter(|step| !matches!(step.kind, Kind::Number(_)));
    if scalars.all(|step| step.scalar.shift() < 2) { 8 } else { 4 }
}

/// Reads, computes and writes so many elements.
fn elements(emitter: &mut Emitter<'_>, first: Register, count: usize) -> Result<()> {
    let expression = emitter.expression;
    let slots: Vec<_> = (0..count).map(Slot::Element).collect();
    for (step, own) in expression.steps.iter().enumerate() {
        match own.kind {
            Kind::Number(bits) => emitter.constant(step, own.scalar, bits),
            // Without reductions a row is an element.
            Kind::Read { is_row: false, .. } => emitter.read(step, first, &slots, None),
            _ => {}
        }
    }
    for (output, kept) in expression.outputs.iter().enumerate() {
        let mut values = Vec::new();
        for &slot in &slots {
            values.push(emitter.value(kept.step, slot)?);
        }
        emitter.store(output, first, &values, None);
    }
    Ok(())
}

impl Emitter<'_> {
    /// A number's bits as a value.
    pub fn constant(&mut self, step: usize, scalar: Scalar, bits: u64) {
        let register = match Type::of(scalar) {
            Type::F32 => {
                let raw = self.half_word();
                op!(self, "mov.b32 {raw}, {};", bits as u32);
                self.narrow(scalar, raw)
            }
            ty => {
                let register = self.register(ty);
                let bits = match scalar {
                    Scalar::I8 => i64::from(bits as i8),
                    Scalar::I16 => i64::from(bits as i16),
                    Scalar::I32 => i64::from(bits as i32),
                    _ => bits as i64,
                };
                op!(self, "mov.b64 {register}, {bits};");
                register
            }
        };
        self.know(step, Slot::Row, register);
    }
}
