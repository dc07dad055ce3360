//! The text of a kernel: registers, labels, mathematics, and the order of steps.

use std::collections::{BTreeSet, HashMap};
use std::fmt::{Display, Write as _};

use super::library::{Found, Library};
use super::{Expression, Kind, Scalar, points, rows};
use crate::Result;

/// A kernel as text.
#[derive(Clone, Debug)]
pub struct Written {
    /// The whole module, for compute capability 8.0 and later.
    pub ptx: String,
    /// The kernel's name in it; its parameter is [`raddle::Addresses`] of the inputs and
    /// the outputs.
    pub entry: &'static str,
    /// Blocks of a launch.
    pub blocks: u32,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes from an input's first element to the first that is read at all, where the
    /// address that the kernel is given points: the text does not depend on it, so that
    /// parts of one value are read by one kernel.
    pub begins: Vec<u64>,
}

/// Writes the kernel of an expression that has been checked.
///
/// ## Errors
/// [`crate::Error::Shape`] where this crate was built without device code.
pub fn write(expression: &Expression) -> Result<Written> {
    let mut emitter = Emitter::new(expression);
    let (entry, blocks, threads) = if expression.has_reduce() {
        let (blocks, threads) = rows::emit(&mut emitter)?;
        ("generated_rows", blocks, threads)
    } else {
        let (blocks, threads) = points::emit(&mut emitter)?;
        ("generated_points", blocks, threads)
    };
    let begins = emitter.begins.clone();
    Ok(Written { ptx: emitter.finish(entry, threads)?, entry, blocks, threads, begins })
}

/// Bytes from each input's first element to the first that is read.
fn begins(expression: &Expression) -> Vec<u64> {
    let mut found: Vec<Option<(i64, u32)>> = Vec::new();
    for step in &expression.steps {
        let Kind::Read { input, places, .. } = &step.kind else { continue };
        if found.len() <= *input {
            found.resize(*input + 1, None);
        }
        let (own, shift) = (places.offset, step.scalar.shift());
        found[*input] = Some(match found[*input] {
            // Elements of several sizes are counted from the first one.
            Some((_, other)) if other != shift => (0, shift),
            Some((begin, _)) => (begin.min(own), shift),
            None => (own, shift),
        });
    }
    let bytes = |(begin, shift): (i64, u32)| (begin as u64) << shift;
    found.into_iter().map(|begin| begin.map_or(0, bytes)).collect()
}

/// Where a value is in registers: narrow floats as `f32`, integers and truth values as
/// `i64` with the sign or zeros above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    F32,
    F64,
    I64,
}

impl Type {
    pub fn of(scalar: Scalar) -> Self {
        match scalar {
            Scalar::F32 | Scalar::F16 | Scalar::BF16 => Self::F32,
            Scalar::F64 => Self::F64,
            _ => Self::I64,
        }
    }

    /// The suffix of arithmetic.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::I64 => "s64",
        }
    }

    /// The suffix of moves and of parameters.
    pub fn bits(self) -> &'static str {
        if self == Self::F32 { "b32" } else { "b64" }
    }
}

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    prefix: &'static str,
    number: usize,
}

impl Display for Register {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "%{}{}", self.prefix, self.number)
    }
}

/// Which element a value is of: one of those that a thread has, or its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slot {
    Row,
    Element(usize),
}

/// Prefixes of registers with their types.
const PREFIXES: [(&str, &str); 6] =
    [("xf", "f32"), ("xd", "f64"), ("xl", "b64"), ("xr", "b32"), ("xh", "b16"), ("xp", "pred")];

/// A kernel that is being written.
pub struct Emitter<'e> {
    pub expression: &'e Expression,
    /// Which steps are rows'.
    pub is_row: Vec<bool>,
    text: String,
    counts: HashMap<&'static str, usize>,
    labels: usize,
    called: [BTreeSet<String>; 2],
    /// Variables at the kernel's head.
    pub shared: String,
    /// Values that are in registers.
    known: HashMap<(usize, Slot), Register>,
    /// See [`Written::begins`].
    pub begins: Vec<u64>,
    /// Addresses of inputs and outputs.
    pub inputs: Vec<Register>,
    pub outputs: Vec<Register>,
}

/// Adds an instruction.
macro_rules! op {
    ($emitter:expr, $($format:tt)*) => { $emitter.line(format_args!($($format)*)) };
}
pub(super) use op;

impl<'e> Emitter<'e> {
    fn new(expression: &'e Expression) -> Self {
        let is_row = (0..expression.steps.len()).map(|step| expression.is_row(step)).collect();
        let mut emitter = Self {
            expression,
            is_row,
            text: String::new(),
            counts: HashMap::new(),
            labels: 0,
            called: Default::default(),
            shared: String::new(),
            known: HashMap::new(),
            begins: begins(expression),
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        let inputs = emitter.begins.len();
        for at in 0..inputs + expression.outputs.len() {
            let address = emitter.word();
            op!(emitter, "ld.param.b64 {address}, [buffers+{}];", at * 8);
            op!(emitter, "cvta.to.global.u64 {address}, {address};");
            if at < inputs { emitter.inputs.push(address) } else { emitter.outputs.push(address) }
        }
        emitter
    }

    pub fn line(&mut self, text: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.text, "\t{text}");
    }

    fn new_register(&mut self, prefix: &'static str) -> Register {
        let count = self.counts.entry(prefix).or_default();
        *count += 1;
        Register { prefix, number: *count - 1 }
    }

    /// A register for a value of a type.
    pub fn register(&mut self, ty: Type) -> Register {
        self.new_register(match ty {
            Type::F32 => "xf",
            Type::F64 => "xd",
            Type::I64 => "xl",
        })
    }

    /// A register for an address, or any 64 bits.
    pub fn word(&mut self) -> Register {
        self.new_register("xl")
    }

    /// A register for 32 bits.
    pub fn half_word(&mut self) -> Register {
        self.new_register("xr")
    }

    /// A register for 16 bits.
    pub fn short(&mut self) -> Register {
        self.new_register("xh")
    }

    pub fn predicate(&mut self) -> Register {
        self.new_register("xp")
    }

    pub fn label(&mut self) -> String {
        self.labels += 1;
        format!("$G{}", self.labels)
    }

    pub fn place_label(&mut self, label: &str) {
        let _ = writeln!(self.text, "{label}:");
    }

    /// A number in a new register.
    pub fn number(&mut self, ty: Type, value: f64) -> Register {
        let register = self.register(ty);
        match ty {
            Type::F32 => op!(self, "mov.f32 {register}, 0f{:08X};", (value as f32).to_bits()),
            Type::F64 => op!(self, "mov.f64 {register}, 0d{:016X};", value.to_bits()),
            Type::I64 => op!(self, "mov.b64 {register}, {};", value as i64),
        }
        register
    }

    /// An instruction with a result of a type: its name, then its operands.
    pub fn apply(&mut self, ty: Type, name: &str, operands: &[Register]) -> Register {
        let to = self.register(ty);
        let operands: Vec<_> = operands.iter().map(ToString::to_string).collect();
        op!(self, "{name} {to}, {};", operands.join(", "));
        to
    }

    /// A comparison.
    pub fn test(&mut self, name: &str, x: Register, y: Register) -> Register {
        let to = self.predicate();
        op!(self, "setp.{name} {to}, {x}, {y};");
        to
    }

    /// One of two values.
    pub fn select(&mut self, ty: Type, is: Register, then: Register, other: Register) -> Register {
        let to = self.register(ty);
        op!(
            self,
            "selp.{} {to}, {then}, {other}, {is};",
            if ty == Type::I64 { "b64" } else { ty.suffix() }
        );
        to
    }

    /// A mathematical function of one or two numbers.
    pub fn mathematics(&mut self, ty: Type, name: &str, operands: &[Register]) -> Result<Register> {
        let library = Library::of(ty)?;
        let missing = || crate::Error::Shape {
            operation: super::OPERATION,
            why: format!("there is no function {name}"),
        };
        let to = self.register(ty);
        match library.find(name).ok_or_else(missing)? {
            Found::Body(text) => self.copy(text, ty, operands, to),
            Found::Name(symbol) => {
                op!(self, "{{ .param .{} result;", ty.bits());
                let mut names = Vec::new();
                for (at, operand) in operands.iter().enumerate() {
                    op!(self, ".param .{} operand{at};", ty.bits());
                    op!(self, "st.param.{} [operand{at}], {operand};", ty.suffix());
                    names.push(format!("operand{at}"));
                }
                op!(self, "call.uni (result), {symbol}, ({});", names.join(", "));
                op!(self, "ld.param.{} {to}, [result]; }}", ty.suffix());
                self.called[usize::from(ty == Type::F64)].insert(symbol.to_owned());
            }
        }
        Ok(to)
    }

    /// Copies a function's statements, with its parameters and its result in registers.
    fn copy(&mut self, text: &str, ty: Type, operands: &[Register], to: Register) {
        self.labels += 1;
        let (number, end) = (self.labels, format!("$E{}", self.labels));
        let body = text.split_once('{').map_or("", |(_, body)| body);
        op!(self, "{{");
        for line in body.trim_end().trim_end_matches('}').lines() {
            let line = line.trim();
            if line.is_empty() || line.starts_with("//") {
                continue;
            }
            if line.starts_with("ld.param")
                && let Some((target, source)) = line.split_once(", [")
            {
                let target = target.rsplit(['\t', ' ']).next().unwrap_or_default();
                let at = source.trim_end_matches("];").rsplit('_').next();
                let at: usize = at.and_then(|at| at.parse().ok()).unwrap_or(0);
                op!(self, "mov.{} {target}, {};", ty.bits(), operands[at.min(operands.len() - 1)]);
            } else if line.starts_with("st.param")
                && let Some((_, value)) = line.split_once("], ")
            {
                op!(self, "mov.{} {to}, {value}", ty.bits());
            } else if line == "ret;" {
                op!(self, "bra {end};");
            } else {
                op!(self, "{}", line.replace("$L", &format!("$L{number}_")));
            }
        }
        op!(self, "}}");
        self.place_label(&end);
    }

    /// Forgets what all registers hold.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// Forgets what elements' registers hold.
    pub fn forget_elements(&mut self) {
        self.known.retain(|(_, slot), _| *slot == Slot::Row);
    }

    pub fn known(&self, step: usize, slot: Slot) -> Option<Register> {
        self.known.get(&(step, slot)).copied()
    }

    pub fn know(&mut self, step: usize, slot: Slot, register: Register) {
        self.known.insert((step, slot), register);
    }

    /// The value of a step, which has been read if it is an input's.
    pub fn value(&mut self, step: usize, slot: Slot) -> Result<Register> {
        let slot = if self.is_row[step] { Slot::Row } else { slot };
        if let Some(register) = self.known(step, slot) {
            return Ok(register);
        }
        let expression = self.expression;
        let Kind::Apply { operands, .. } = &expression.steps[step].kind else {
            unreachable!("numbers, elements and reductions come before what uses them")
        };
        let mut values = Vec::new();
        for &operand in operands {
            values.push(self.value(operand, slot)?);
        }
        let register = self.operate(step, &values)?;
        self.know(step, slot, register);
        Ok(register)
    }

    /// The steps that a step is made of, itself among them, in order.
    pub fn ancestors(&self, wanted: &[usize]) -> Vec<usize> {
        let mut needed = vec![false; self.expression.steps.len()];
        wanted.iter().for_each(|&step| needed[step] = true);
        for step in (0..needed.len()).rev() {
            if needed[step]
                && let Kind::Apply { operands, .. } = &self.expression.steps[step].kind
            {
                operands.iter().for_each(|&operand| needed[operand] = true);
            }
        }
        (0..needed.len()).filter(|&step| needed[step]).collect()
    }

    /// The whole module.
    fn finish(self, entry: &str, threads: u32) -> Result<String> {
        let mut text = String::from(".version 8.0\n.target sm_80\n.address_size 64\n");
        for (ty, names) in [Type::F32, Type::F64].into_iter().zip(&self.called) {
            if !names.is_empty() {
                text.push_str(&Library::of(ty)?.closure(names));
            }
        }
        let _ = writeln!(text, ".visible .entry {entry}(.param .align 8 .b8 buffers[128])");
        let _ = writeln!(text, ".reqntid {threads}\n{{");
        for (prefix, ty) in PREFIXES {
            let count = self.counts.get(prefix).copied().unwrap_or(0);
            let _ = writeln!(text, "\t.reg .{ty} %{prefix}<{}>;", count.max(1));
        }
        text.push_str(&self.shared);
        text.push_str(&self.text);
        text.push_str("\tret;\n}\n");
        Ok(text)
    }
}
