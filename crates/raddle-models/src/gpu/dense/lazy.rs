//! Values that are not computed yet.
//!
//! A function of elements, a view of them and a reduction of rows launch nothing: they note
//! what they are made of. The first launch that needs such a value in memory writes one
//! kernel for it and for everything that it is made of and that is not there yet
//! ([`raddle_kernels::dense::generated`]). What somebody else still holds of these values is
//! kept by the same launch, so that nothing is computed twice; who holds a value is what its
//! references count.
//!
//! Invariant: a value that is placed has let go of what it was made of, so memory goes back
//! to the pool at the last use of a value, as if each had its own launch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use raddle_kernels::dense::generated::{
    self, Expression, INPUTS_MAX, Kind, OUTPUTS_MAX, Output, Places, STEPS_MAX, Step,
};
use raddle_kernels::dense::{Class, Function, Reduction, Scalar, Words};
use raddle_tensor::DType;

use super::Failure;
use super::value::{Dense, Formula, Kit, Strided, merged, scalar};
use crate::gpu::{StepReport, lock};

/// Where a value's elements are.
#[derive(Clone, Debug)]
pub enum Content {
    /// In memory.
    Placed(Arc<Words>),
    /// Nowhere yet, perhaps.
    Lazy(Arc<Lazy>),
}

/// A value that was not computed when it was made.
#[derive(Debug)]
pub struct Lazy {
    scalar: Scalar,
    len: usize,
    /// Rows and columns of what is reduced in it or before it.
    grid: Option<[usize; 2]>,
    /// Whether it has one element for each row of that.
    is_row: bool,
    /// The element of a number, which stays one when it has been uploaded for somebody who
    /// needs it in memory, by whichever program is first.
    bits: Option<u64>,
    /// How many values were made before it.
    number: usize,
    /// The node that it is part of.
    origin: Arc<str>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Open(Made),
    Placed(Arc<Words>),
}

/// What an open value is made of.
#[derive(Clone, Debug)]
enum Made {
    Number(u64),
    Apply { class: Class, formula: Formula, is_unsigned: bool, operands: Vec<Part> },
    Reduce { reduction: Reduction, is_unsigned: bool, operand: Part },
}

/// An operand of an open value.
#[derive(Clone, Debug)]
enum Part {
    /// Elements in memory.
    Read { words: Arc<Words>, scalar: Scalar, places: Places },
    /// The element of another value, or of its row.
    Value(Arc<Lazy>),
}

impl Lazy {
    fn open(&self) -> Option<Made> {
        match &*lock(&self.state) {
            State::Open(made) => Some(made.clone()),
            State::Placed(_) => None,
        }
    }

    fn placed(&self) -> Option<Arc<Words>> {
        match &*lock(&self.state) {
            State::Open(_) => None,
            State::Placed(words) => Some(Arc::clone(words)),
        }
    }

    fn place(&self, words: Words) {
        let made = std::mem::replace(&mut *lock(&self.state), State::Placed(Arc::new(words)));
        // Values are dropped without the lock: they have locks of their own.
        drop(made);
    }

    fn is_number(&self) -> bool {
        self.bits.is_some()
    }

    /// As something to be read from memory.
    fn read(&self) -> Option<Part> {
        let places = Places { offset: 0, dims: vec![(self.len, 1)] };
        self.placed().map(|words| Part::Read { words, scalar: self.scalar, places })
    }
}

impl Content {
    /// How many values were made before it, if it is one that may not be computed yet.
    pub fn number(&self) -> usize {
        match self {
            Self::Placed(_) => 0,
            Self::Lazy(lazy) => lazy.number,
        }
    }

    /// Its memory, if it has some.
    pub fn placed(&self) -> Option<Arc<Words>> {
        match self {
            Self::Placed(words) => Some(Arc::clone(words)),
            Self::Lazy(lazy) => lazy.placed(),
        }
    }
}

/// What a new value is, as its operands decide it.
#[derive(Clone, Copy, PartialEq)]
struct Space {
    grid: Option<[usize; 2]>,
    is_row: bool,
}

impl Space {
    const PLAIN: Self = Self { grid: None, is_row: false };

    /// The space of values of both, if there is one.
    fn with(self, other: Self) -> Option<Self> {
        match (self.grid, other.grid) {
            (None, _) => Some(other),
            (_, None) => Some(self),
            (Some(a), Some(b)) => (a == b && self.is_row == other.is_row).then_some(self),
        }
    }
}

/// An expression that is being collected, with what its numbers stand for.
#[derive(Default)]
struct Collected {
    steps: Vec<Step>,
    inputs: Vec<Arc<Words>>,
    /// Open values in order.
    values: Vec<Named>,
    reads: HashMap<(usize, Scalar, Places, bool), usize>,
    /// Of an expression in which nothing is reduced any more: how many elements there are
    /// of each row's value.
    spread: Option<usize>,
}

/// An open value of an expression.
struct Named {
    value: Arc<Lazy>,
    step: usize,
    /// Whether it has an element for each row.
    is_row: bool,
    /// How many parts of others name it, and the expression itself its last value.
    names: usize,
}

impl Collected {
    /// The step of an open value, and of everything that it is made of. `grid` is the whole
    /// expression's, and `is_row` whether the value is wanted for each row.
    fn value(&mut self, lazy: &Arc<Lazy>, grid: Option<[usize; 2]>, is_row: bool) -> usize {
        if let Some(found) = self.values.iter_mut().find(|it| Arc::ptr_eq(&it.value, lazy)) {
            found.names += 1;
            return found.step;
        }
        let Some(made) = lazy.bits.map(Made::Number).or_else(|| lazy.open()) else {
            let part = lazy.read().expect("what is not open is placed");
            return self.part(&part, grid, is_row);
        };
        let kind = match made {
            Made::Number(bits) => Kind::Number(bits),
            Made::Apply { class, formula, is_unsigned, operands } => {
                let operands = operands.iter().map(|part| self.part(part, grid, is_row)).collect();
                let Formula { function, alpha, beta } = formula;
                Kind::Apply { class, function, alpha, beta, is_unsigned, operands }
            }
            Made::Reduce { reduction, is_unsigned, operand } => {
                let operand = self.part(&operand, grid, false);
                Kind::Reduce { reduction, operand, is_unsigned }
            }
        };
        self.steps.push(Step { kind, scalar: lazy.scalar });
        let step = self.steps.len() - 1;
        self.values.push(Named { value: Arc::clone(lazy), step, is_row, names: 1 });
        step
    }

    fn part(&mut self, part: &Part, grid: Option<[usize; 2]>, is_row: bool) -> usize {
        match part {
            Part::Value(lazy) => {
                // A row's value among elements is the row's.
                let is_row = is_row || grid.is_some() && lazy.is_row;
                self.value(lazy, grid, is_row)
            }
            Part::Read { words, scalar, places } => {
                let (mut places, mut is_row) = (places.clone(), is_row);
                if let (true, Some(columns)) = (is_row, self.spread) {
                    is_row = false;
                    if columns > 1 {
                        places.dims.push((columns, 0));
                    }
                }
                let key = (Arc::as_ptr(words).addr(), *scalar, places.clone(), is_row);
                if let Some(&step) = self.reads.get(&key) {
                    return step;
                }
                let input = self.inputs.iter().position(|own| Arc::ptr_eq(own, words));
                let input = input.unwrap_or_else(|| {
                    self.inputs.push(Arc::clone(words));
                    self.inputs.len() - 1
                });
                let kind = Kind::Read { input, places, is_row };
                self.steps.push(Step { kind, scalar: *scalar });
                self.reads.insert(key, self.steps.len() - 1);
                self.steps.len() - 1
            }
        }
    }

    fn has_reduction(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.kind, Kind::Reduce { .. }))
    }

    fn is_small(&self) -> bool {
        self.steps.len() <= STEPS_MAX && self.inputs.len() <= INPUTS_MAX
    }
}

impl Kit<'_> {
    fn lazy(&mut self, scalar: Scalar, len: usize, space: Space, made: Made) -> Arc<Lazy> {
        let Space { grid, is_row } = space;
        let origin = Arc::clone(&self.origin);
        let bits = match made {
            Made::Number(bits) => Some(bits),
            Made::Apply { .. } | Made::Reduce { .. } => None,
        };
        let state = Mutex::new(State::Open(made));
        self.values += 1;
        let number = self.values;
        Arc::new(Lazy { scalar, len, grid, is_row, bits, number, origin, state })
    }

    /// A number as a value of one element.
    pub fn lazy_number(
        &mut self,
        bits: u64,
        shape: &[usize],
        dtype: DType,
        scalar: Scalar,
    ) -> Dense {
        let lazy = self.lazy(scalar, 1, Space::PLAIN, Made::Number(bits));
        Dense { shape: shape.to_vec(), dtype, content: Content::Lazy(lazy) }
    }

    /// A value's memory, which is computed now if it was not.
    pub fn words(&mut self, dense: &Dense) -> Result<Arc<Words>, Failure> {
        match &dense.content {
            Content::Placed(words) => Ok(Arc::clone(words)),
            Content::Lazy(lazy) => self.place(lazy),
        }
    }

    fn place(&mut self, lazy: &Arc<Lazy>) -> Result<Arc<Words>, Failure> {
        if let Some(words) = lazy.placed() {
            if lazy.is_number() {
                self.uploads.push(Arc::clone(&words));
            }
            return Ok(words);
        }
        if let Some(Made::Number(bits)) = lazy.open() {
            let words = self.setup.upload(&[bits])?;
            self.wait_for_setup()?;
            lazy.place(words);
            return self.place(lazy);
        }
        let mut all = Collected::default();
        let mut wanted = all.value(lazy, lazy.grid, lazy.is_row);
        let mut grid = lazy.grid.unwrap_or([1, lazy.len]);
        if lazy.grid.is_some() && !all.has_reduction() {
            // Its rows were reduced for somebody else.
            let spread = if lazy.is_row { 1 } else { grid[1] };
            all = Collected { spread: Some(spread), ..Collected::default() };
            wanted = all.value(lazy, lazy.grid, lazy.is_row);
            grid = [1, lazy.len];
        }
        let is_plain = !all.has_reduction();
        let [rows, columns] = grid;
        let mut kept = vec![Output { step: wanted, is_row: lazy.is_row && !is_plain }];
        let mut outputs = vec![Arc::clone(lazy)];
        for Named { value, step, is_row, names } in &all.values {
            // One reference is the list's own.
            let is_held = Arc::strong_count(value) > names + 1;
            let is_fit = !is_plain || *is_row == lazy.is_row;
            let is_held = is_held && is_fit;
            if is_held && *step != wanted && !value.is_number() && kept.len() < OUTPUTS_MAX {
                kept.push(Output { step: *step, is_row: *is_row && !is_plain });
                outputs.push(Arc::clone(value));
            }
        }
        self.note(&all);
        let steps = std::mem::take(&mut all.steps);
        let expression = Expression { rows, columns, steps, outputs: kept };
        let inputs: Vec<_> = all.inputs.iter().map(|words| &**words).collect();
        let streams = (self.stream, self.setup);
        let made =
            generated::evaluate(streams, self.shelf, generated::Way::Fast, &expression, &inputs)?;
        self.launches += 1;
        drop(all);
        self.uploads.extend(made.held.map(Arc::new));
        for (value, words) in outputs.iter().zip(made.outputs) {
            value.place(words);
        }
        lazy.placed().ok_or_else(|| Failure::why("a launch has left out its own value"))
    }

    /// Notes in the report what a written kernel computes.
    fn note(&mut self, all: &Collected) {
        let mut nodes: Vec<&str> = Vec::new();
        for Named { value, .. } in &all.values {
            if !nodes.contains(&&*value.origin) && !value.is_number() {
                nodes.push(&value.origin);
            }
        }
        let count = |is: fn(&Kind) -> bool| all.steps.iter().filter(|step| is(&step.kind)).count();
        let operations = count(|kind| matches!(kind, Kind::Apply { .. }));
        let reductions = count(|kind| matches!(kind, Kind::Reduce { .. }));
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let mut kernel = format!("written: {operations} operation{}", plural(operations));
        if reductions > 0 {
            kernel += &format!(", {reductions} reduction{} of rows", plural(reductions));
        }
        let nodes = nodes.join(" + ");
        self.written.push(StepReport { nodes, kernel, flops: 0.0, seconds: None });
    }

    /// What is captured cannot wait for work that is not.
    pub fn wait_for_setup(&self) -> Result<(), Failure> {
        if !std::ptr::eq(self.setup, self.stream) {
            self.setup.synchronize()?;
        }
        Ok(())
    }

    /// A function of operands with strides along `shape`, to be computed when it is needed;
    /// `None` where written kernels do not have it.
    pub fn lazy_function(
        &mut self,
        (formula, class, is_unsigned): (Formula, Class, bool),
        (shape, dtype): (&[usize], DType),
        operands: &[Strided<'_>],
    ) -> Result<Option<Dense>, Failure> {
        let len = shape.iter().product();
        let to = scalar(dtype).ok_or_else(|| Failure::why(format!("{dtype} has no kernel")))?;
        let from: Vec<_> = operands.iter().map(|operand| operand.dense.scalar()).collect();
        if len == 0 || !Expression::has_function(class, formula.function, &from, to) {
            return Ok(None);
        }
        let mut space = Space::PLAIN;
        let mut parts = Vec::new();
        for operand in operands {
            let (part, own) = self.operand(operand, shape, space)?;
            space = own;
            parts.push(part);
        }
        let is_number = |part: &Part| matches!(part, Part::Value(value) if value.is_number());
        if len > 1 && parts.iter().all(is_number) {
            // The same everywhere: nothing that could be read says how many there are.
            return Ok(None);
        }
        let made = |operands| Made::Apply { class, formula, is_unsigned, operands };
        let mut lazy = self.lazy(to, len, space, made(parts.clone()));
        let mut all = Collected::default();
        all.value(&lazy, space.grid, space.is_row);
        if !all.is_small() {
            // What is too long for one kernel is begun with another.
            drop(lazy);
            drop(all);
            for part in &mut parts {
                if let Part::Value(value) = part
                    && !value.is_number()
                {
                    *part = self.placed_part(value, shape, space)?;
                }
            }
            lazy = self.lazy(to, len, Space::PLAIN, made(parts));
        }
        Ok(Some(Dense { shape: shape.to_vec(), dtype, content: Content::Lazy(lazy) }))
    }

    /// A value's memory as an operand; of a row's value among elements, its row's.
    fn placed_part(
        &mut self,
        value: &Arc<Lazy>,
        shape: &[usize],
        space: Space,
    ) -> Result<Part, Failure> {
        let words = self.place(value)?;
        let len: usize = shape.iter().product();
        let dims = match space.grid {
            Some([rows, columns]) if value.len == rows && len != rows => {
                vec![(rows, 1), (columns, 0)]
            }
            _ => vec![(value.len, 1)],
        };
        Ok(Part::Read { words, scalar: value.scalar, places: Places { offset: 0, dims } })
    }

    /// An operand, and what the value is with it that was in `space` without it.
    fn operand(
        &mut self,
        operand: &Strided<'_>,
        shape: &[usize],
        space: Space,
    ) -> Result<(Part, Space), Failure> {
        if let Content::Lazy(lazy) = &operand.dense.content
            && lazy.is_number()
        {
            return Ok((Part::Value(Arc::clone(lazy)), space));
        }
        if let Content::Lazy(lazy) = &operand.dense.content
            && lazy.placed().is_none()
        {
            let own =
                lies_as(operand, shape).then_some(Space { grid: lazy.grid, is_row: lazy.is_row });
            let own = own.or_else(|| {
                // One of each row among elements.
                let [rows, columns] = lazy.grid.filter(|_| lazy.is_row)?;
                let is_fit = spreads(operand, shape, rows, columns);
                is_fit.then_some(Space { grid: lazy.grid, is_row: false })
            });
            if let Some(both) = own.and_then(|own| space.with(own)) {
                return Ok((Part::Value(Arc::clone(lazy)), both));
            }
        }
        let words = self.words(operand.dense)?;
        let (dims, strides) = merged(shape, &[operand]);
        let dims = dims.into_iter().zip(strides.into_iter().next().unwrap_or_default()).collect();
        let places = Places { offset: operand.offset, dims };
        Ok((Part::Read { words, scalar: operand.dense.scalar(), places }, space))
    }

    /// A reduction of rows, to be computed when it is needed.
    pub fn lazy_reduction(
        &mut self,
        x: &Dense,
        [rows, columns]: [usize; 2],
        (reduction, is_unsigned): (Reduction, bool),
        (shape, dtype): (Vec<usize>, DType),
    ) -> Result<Dense, Failure> {
        let to = scalar(dtype).ok_or_else(|| Failure::why(format!("{dtype} has no kernel")))?;
        let space = Space { grid: Some([rows, columns]), is_row: true };
        let is_fit = |lazy: &Lazy| match lazy.grid {
            None => true,
            Some(grid) => grid == [rows, columns] && !lazy.is_row,
        };
        let mut operand = None;
        if let Content::Lazy(lazy) = &x.content
            && lazy.placed().is_none()
            && !lazy.is_number()
            && is_fit(lazy)
        {
            let mut all = Collected::default();
            all.value(lazy, space.grid, false);
            if all.steps.len() < STEPS_MAX && all.inputs.len() <= INPUTS_MAX {
                operand = Some(Part::Value(Arc::clone(lazy)));
            }
        }
        let operand = match operand {
            Some(operand) => operand,
            None => {
                let places = Places { offset: 0, dims: vec![(rows * columns, 1)] };
                Part::Read { words: self.words(x)?, scalar: x.scalar(), places }
            }
        };
        let made = Made::Reduce { reduction, is_unsigned, operand };
        let lazy = self.lazy(to, rows, space, made);
        Ok(Dense { shape, dtype, content: Content::Lazy(lazy) })
    }
}

impl Dense {
    /// Where its elements lie along its dimensions: in the value that it shows, or in itself.
    pub fn lying(&self) -> (Self, i64, Vec<i64>) {
        self.seen().unwrap_or_else(|| (self.clone(), 0, self.strides()))
    }

    /// The value that this one only shows, in memory, and where its elements lie there along
    /// this one's dimensions; `None` if it is no view that is not computed yet.
    pub fn seen(&self) -> Option<(Self, i64, Vec<i64>)> {
        let Content::Lazy(lazy) = &self.content else { return None };
        let Some(Made::Apply { formula, operands, .. }) = lazy.open() else { return None };
        let [Part::Read { words, scalar, places }] = &operands[..] else { return None };
        if formula.function != Function::Copy || *scalar != lazy.scalar {
            return None;
        }
        // The dimensions of places are several of this value's.
        let mut rest = places.dims.clone();
        let mut strides = vec![0; self.rank()];
        for (own, &dim) in strides.iter_mut().zip(&self.shape).rev() {
            if dim == 1 {
                continue;
            }
            let (len, stride) = rest.last_mut()?;
            if !len.is_multiple_of(dim) {
                return None;
            }
            *own = *stride;
            *len /= dim;
            *stride *= dim as i64;
            if *len == 1 {
                rest.pop();
            }
        }
        let content = Content::Placed(Arc::clone(words));
        let shape = vec![(words.len() << 3) >> scalar.shift()];
        Some((Self { shape, dtype: self.dtype, content }, places.offset, strides))
    }
}

/// Whether an operand has an element for each of `shape`, in the same order.
fn lies_as(operand: &Strided<'_>, shape: &[usize]) -> bool {
    spreads(operand, shape, shape.iter().product(), 1)
}

/// Whether an operand has an element for each of the rows that `shape` has in this order,
/// the same for all of its columns.
fn spreads(operand: &Strided<'_>, shape: &[usize], rows: usize, columns: usize) -> bool {
    if operand.offset != 0 || operand.dense.len() != rows {
        return false;
    }
    let (mut inner, mut expected) = (1, 1);
    for (&dim, &stride) in shape.iter().zip(&operand.strides).rev() {
        if dim == 1 {
            continue;
        }
        if inner < columns {
            // The columns are whole dimensions.
            inner *= dim;
            if stride != 0 || inner > columns {
                return false;
            }
        } else if stride == expected {
            expected *= dim as i64;
        } else {
            return false;
        }
    }
    inner == columns && expected == rows as i64
}
