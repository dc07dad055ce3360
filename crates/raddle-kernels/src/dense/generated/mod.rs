//! Kernels that are written at run time: a chain of operations on elements, with
//! reductions of rows among them, in one launch.
//!
//! ```text
//! Expression --check--> Expression --emit--> PTX --driver--> kernel     on a GPU
//!                                  --encode--> words --kernels/expression     anywhere
//! ```
//!
//! An [`Expression`] is a list of steps, each a value for every element or for every row.
//! Its values have the bits that the kernels of [`crate::dense`] give one after the other,
//! reductions apart, whose terms are added in another order.
//! On the CPU device the steps are run by a kernel that reads them (`kernels/expression`),
//! which is what the PTX is held against as well.

mod emit;
mod encode;
mod library;
mod memory;
mod operate;
mod points;
mod rows;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use raddle::{AddressList, Addresses, ForeignKernel, ForeignModule, Grid, Stream};

use super::{Class, Function, Reduction, Scalar, Words, output};
use crate::{Error, Result};

pub use emit::{Written, write};

/// Most inputs of an expression.
pub const INPUTS_MAX: usize = 8;
/// Most values that a launch keeps.
pub const OUTPUTS_MAX: usize = 4;
/// Most steps.
pub const STEPS_MAX: usize = 48;

/// Most dimensions of [`Places`]: those of a value, and the elements of a row.
pub const PLACES_RANK_MAX: usize = super::RANK_MAX + 1;

const OPERATION: &str = "a generated kernel";

/// Where elements lie: an offset, and dimensions with strides, the innermost one last.
/// Their product is the number of elements, or of rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Places {
    /// The first element.
    pub offset: i64,
    /// Length and distance of neighbours, in elements.
    pub dims: Vec<(usize, i64)>,
}

/// What a step is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// The same number everywhere: the bits of an element.
    Number(u64),
    /// An element of an input, or of each row one.
    Read {
        /// Which input.
        input: usize,
        /// Where its elements lie.
        places: Places,
        /// Whether there is one for each row.
        is_row: bool,
    },
    /// A function of earlier steps.
    Apply {
        /// What it is computed in.
        class: Class,
        /// The function.
        function: Function,
        /// Its first parameter.
        alpha: f64,
        /// Its second parameter.
        beta: f64,
        /// Whether integers are unsigned.
        is_unsigned: bool,
        /// As many as the function has.
        operands: Vec<usize>,
    },
    /// A reduction of each row of an earlier step.
    Reduce {
        /// Which; see [`Expression::has_reduction`].
        reduction: Reduction,
        /// Of what.
        operand: usize,
        /// Whether integers are unsigned.
        is_unsigned: bool,
    },
}

/// A value of an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it is.
    pub kind: Kind,
    /// Type of its elements, which it is rounded to.
    pub scalar: Scalar,
}

/// What a launch computes: rows of elements, or just elements where nothing is reduced.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub columns: usize,
    /// Values, each of earlier ones.
    pub steps: Vec<Step>,
    /// Values that are kept.
    pub outputs: Vec<Output>,
}

/// A value that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its step.
    pub step: usize,
    /// Whether one is kept for each row; a row's value may be kept for each of its elements.
    pub is_row: bool,
}

impl Expression {
    /// Whether generated kernels have a function with operands in a class and a result of
    /// a type.
    #[must_use]
    pub fn has_function(class: Class, function: Function, from: &[Scalar], to: Scalar) -> bool {
        operate::has_function(class, function, from, to)
    }

    /// Whether generated kernels have a reduction.
    #[must_use]
    pub fn has_reduction(reduction: Reduction) -> bool {
        matches!(
            reduction,
            Reduction::Sum
                | Reduction::Mean
                | Reduction::Max
                | Reduction::Min
                | Reduction::L1
                | Reduction::L2
                | Reduction::SumSquare
        )
    }

    /// Whether a step has one value for each row, or one for all.
    fn is_row(&self, step: usize) -> bool {
        match &self.steps[step].kind {
            Kind::Number(_) | Kind::Reduce { .. } => true,
            Kind::Read { is_row, .. } => *is_row,
            Kind::Apply { operands, .. } => operands.iter().all(|&step| self.is_row(step)),
        }
    }

    fn has_reduce(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.kind, Kind::Reduce { .. }))
    }

    /// Elements of an output.
    #[must_use]
    pub fn output_len(&self, output: Output) -> usize {
        if output.is_row { self.rows } else { self.rows * self.columns }
    }

    /// Holds everything that a kernel trusts against the inputs' lengths in words.
    fn check(&self, inputs: &[usize]) -> Result<()> {
        let wrong = |why: String| Err(Error::Shape { operation: OPERATION, why });
        let len = self.rows.checked_mul(self.columns).filter(|&len| len <= i32::MAX as usize);
        if len.is_none_or(|len| len == 0) {
            return wrong(format!("{} rows of {} elements", self.rows, self.columns));
        }
        let counts = [
            ("inputs", inputs.len(), INPUTS_MAX),
            ("outputs", self.outputs.len(), OUTPUTS_MAX),
            ("steps", self.steps.len(), STEPS_MAX),
        ];
        for (what, count, max) in counts {
            if count > max {
                return wrong(format!("it has {count} {what}, expected at most {max}"));
            }
        }
        for (at, step) in self.steps.iter().enumerate() {
            match &step.kind {
                Kind::Number(_) => {}
                Kind::Read { is_row: true, .. } if !self.has_reduce() => {
                    return wrong(format!("step {at} reads rows, and nothing is reduced"));
                }
                Kind::Read { input, places, is_row } => {
                    let expected = if *is_row { self.rows } else { self.rows * self.columns };
                    let Some(&words) = inputs.get(*input) else {
                        return wrong(format!("step {at} reads input {input}, which is none"));
                    };
                    let held = (words << 3) >> step.scalar.shift();
                    places.check(expected, held)?;
                }
                Kind::Apply { class, function, operands, .. } => {
                    let is_earlier = operands.iter().all(|&operand| operand < at);
                    if operands.len() != function.arity() || !is_earlier {
                        return wrong(format!("step {at} has the operands {operands:?}"));
                    }
                    let from: Vec<_> = operands.iter().map(|&it| self.steps[it].scalar).collect();
                    if !Self::has_function(*class, *function, &from, step.scalar) {
                        return wrong(format!("there is no {function:?} in {class:?}"));
                    }
                }
                Kind::Reduce { reduction, operand, .. } => {
                    if *operand >= at {
                        return wrong(format!("step {at} reduces step {operand}"));
                    }
                    if !Self::has_reduction(*reduction) {
                        return wrong(format!("there is no {reduction:?} of rows"));
                    }
                }
            }
        }
        for Output { step, is_row } in &self.outputs {
            if *step >= self.steps.len() || *is_row && !self.is_row(*step) {
                return wrong(format!("it keeps step {step}, which is none or no row's"));
            }
        }
        Ok(())
    }
}

impl Places {
    /// Holds the places of `expected` elements against the elements that are there.
    fn check(&self, expected: usize, held: usize) -> Result<()> {
        let wrong = |why: String| Err(Error::Shape { operation: OPERATION, why });
        let len: usize = self.dims.iter().map(|dim| dim.0).product();
        if len != expected || self.dims.len() > PLACES_RANK_MAX {
            return wrong(format!("it reads {expected} elements at {:?}", self.dims));
        }
        let (mut first, mut last) = (i128::from(self.offset), i128::from(self.offset));
        for &(len, stride) in &self.dims {
            let reach = i128::from(stride) * (len as i128 - 1);
            if reach < 0 { first += reach } else { last += reach }
        }
        if first < 0 || last >= held as i128 {
            return wrong(format!("it reads from {first} to {last} of {held} elements"));
        }
        Ok(())
    }
}

type Loaded = Arc<ForeignKernel<(Addresses,)>>;

/// Kernels that were written and loaded, by their text.
#[derive(Default)]
pub struct Shelf {
    kernels: Mutex<HashMap<String, Loaded>>,
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shelf").finish_non_exhaustive()
    }
}

impl Shelf {
    /// Most kernels that are kept; of a model whose shapes keep changing there is no end.
    const KERNELS_MAX: usize = 512;

    fn get(&self, stream: &Stream, written: &Written) -> Result<Loaded> {
        let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = kernels.get(&written.ptx) {
            return Ok(Arc::clone(kernel));
        }
        let module = ForeignModule::from_ptx_cached(stream.device(), &written.ptx)?;
        let kernel = Arc::new(module.function_as_written(written.entry)?);
        if kernels.len() >= Self::KERNELS_MAX {
            // Graphs hold those that they launch.
            kernels.clear();
        }
        kernels.insert(written.ptx.clone(), Arc::clone(&kernel));
        Ok(kernel)
    }
}

/// How an expression is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a kernel that is written for it, on a GPU; step by step on the CPU device.
    Fast,
    /// Step by step.
    Reference,
}

/// What a launch gives.
#[derive(Debug)]
pub struct Evaluated {
    /// The values that the expression keeps, in the order of its outputs.
    pub outputs: Vec<Words>,
    /// What the launch reads beside its inputs: to be kept as long as a graph that it is
    /// captured in.
    pub held: Option<Words>,
}

/// The values that an expression keeps, in the order of its outputs. What the way needs
/// beside the inputs is uploaded on `setup`, which is not the stream that is captured if one
/// is.
///
/// ## Errors
/// [`Error::Shape`] for an expression that is none or reads beyond its inputs; what a
/// launch refuses.
pub fn evaluate(
    (stream, setup): (&Stream, &Stream),
    shelf: &Shelf,
    way: Way,
    expression: &Expression,
    inputs: &[&Words],
) -> Result<Evaluated> {
    let lens: Vec<_> = inputs.iter().map(|words| words.len()).collect();
    expression.check(&lens)?;
    if way == Way::Reference || stream.device().compute_capability().is_none() {
        let program = encode::uploaded(setup, expression)?;
        if !std::ptr::eq(stream, setup) {
            // What is captured cannot wait for work that is not.
            setup.synchronize()?;
        }
        let run = |&output: &Output| encode::run(stream, &program, expression, output, inputs);
        let outputs = expression.outputs.iter().map(run).collect::<Result<_>>()?;
        return Ok(Evaluated { outputs, held: Some(program) });
    }
    let written = write(expression)?;
    let kernel = shelf.get(stream, &written)?;
    let mut outputs = Vec::new();
    for &kept in &expression.outputs {
        // What lies behind the last element in its word stays as it is.
        let (scalar, len) = (expression.steps[kept.step].scalar, expression.output_len(kept));
        outputs.push(output(stream, scalar, len as u32)?);
    }
    let mut addresses = AddressList::new();
    for (words, &begin) in inputs.iter().zip(&written.begins) {
        addresses = addresses.read_from(words.as_slice(), begin);
    }
    for words in &mut outputs {
        addresses = addresses.write(words.as_slice_mut());
    }
    // SAFETY: `check` held every place that is read against the inputs; the outputs have
    // room for the elements that each thread writes, and no element has two writers.
    let call = unsafe { kernel.call((addresses,)) };
    let grid = Grid::new([written.blocks, 1, 1], [written.threads, 1, 1]);
    stream.launch(grid, call)?;
    Ok(Evaluated { outputs, held: None })
}
