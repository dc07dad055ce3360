//! Recurrent layers: RNN, GRU and LSTM in one frame.
//!
//! For each direction, the inputs of all steps are multiplied with the weights
//! at once; a step then adds the product of its state and updates the state. Types
//! that are computed in `f32` go through `lines`, `f64` through `wide`.
//!
//! Gates: RNN one; GRU `z r h`; LSTM `i o f c`.

mod lines;
#[cfg(test)]
mod tests;
mod wide;

pub use lines::pack;

use super::activation::Activation;
use super::elementwise::unsupported;
use super::fused::DOMAIN;
use crate::Kind::{self, Float, Floats, Int, String as Text, Strings};
use crate::convert::Compute;
use crate::infer::rules;
use crate::movement::{slice, transpose};
use crate::{
    Class, DTypeRule, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, op, shape,
};

/// Rows of this family. Those of our own domain have packed weights, see [`pack`].
pub const ROWS: &[Op] = &[
    row("RNN", 1, 6, 2, RNN).run(|ctx| recurrent(ctx, Cell::Rnn)),
    row("GRU", 3, 6, 2, GRU).run(|ctx| recurrent(ctx, Cell::Gru)),
    row("LSTM", 1, 8, 3, LSTM).run(|ctx| recurrent(ctx, Cell::Lstm)),
    row("PackedRNN", 1, 6, 2, RNN).domain(DOMAIN).run(|ctx| recurrent(ctx, Cell::Rnn)),
    row("PackedGRU", 1, 6, 2, GRU).domain(DOMAIN).run(|ctx| recurrent(ctx, Cell::Gru)),
    row("PackedLSTM", 1, 8, 3, LSTM).domain(DOMAIN).run(|ctx| recurrent(ctx, Cell::Lstm)),
];

const fn row(
    name: &'static str,
    first_opset: u32,
    inputs_max: usize,
    outputs_max: usize,
    attributes: &'static [(&'static str, Kind)],
) -> Op {
    op(name, first_opset..=LATEST)
        .inputs(3, inputs_max)
        .outputs(0, outputs_max)
        .attributes(attributes)
        .result(DTypeRule::Computed, ShapeRule::Computed)
        .infer(rules::recurrent)
}

const RNN: &[(&str, Kind)] = &[
    ("activation_alpha", Floats),
    ("activation_beta", Floats),
    ("activations", Strings),
    ("clip", Float),
    ("direction", Text),
    ("hidden_size", Int),
    ("layout", Int),
];

const GRU: &[(&str, Kind)] = &[
    ("activation_alpha", Floats),
    ("activation_beta", Floats),
    ("activations", Strings),
    ("clip", Float),
    ("direction", Text),
    ("hidden_size", Int),
    ("layout", Int),
    ("linear_before_reset", Int),
];

const LSTM: &[(&str, Kind)] = &[
    ("activation_alpha", Floats),
    ("activation_beta", Floats),
    ("activations", Strings),
    ("clip", Float),
    ("direction", Text),
    ("hidden_size", Int),
    ("input_forget", Int),
    ("layout", Int),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cell {
    Rnn,
    Gru,
    Lstm,
}

impl Cell {
    fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Gru => 3,
            Self::Lstm => 4,
        }
    }

    /// The activations of a direction if none are named.
    fn activations(self) -> &'static [&'static str] {
        match self {
            Self::Rnn => &["Tanh"],
            Self::Gru => &["Sigmoid", "Tanh"],
            Self::Lstm => &["Sigmoid", "Tanh", "Tanh"],
        }
    }
}

/// What all steps of a node have in common.
struct Layer {
    cell: Cell,
    is_packed: bool,
    is_batch_first: bool,
    steps: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    /// Number of steps of each sequence.
    lens: Vec<usize>,
    /// For each direction: whether it runs backwards.
    directions: Vec<bool>,
    activations: Vec<Activation>,
    clip: Option<f32>,
    is_linear_before_reset: bool,
    couples_input_and_forget: bool,
}

/// What a layer gives.
struct States<T> {
    /// `[steps, directions, batch, hidden]`; zero behind the end of a sequence.
    all: Vec<T>,
    /// `[directions, batch, hidden]`.
    last: Vec<T>,
    /// The cells of an LSTM, as `last`.
    last_cells: Vec<T>,
}

fn recurrent(ctx: &mut OpContext<'_>, cell: Cell) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let is_batch_first = ctx.flag("layout", false)?;
    let x = if is_batch_first && x.rank() == 3 { swapped(x)? } else { x.clone() };
    let layer = Layer::read(ctx, cell, &x, is_batch_first)?;
    match x.dtype().class() {
        Class::F32 => layer.outputs(&x, lines::run(ctx, &layer, &x)?),
        Class::F64 if !layer.is_packed => layer.outputs(&x, wide::run(ctx, &layer, &x)?),
        _ => Err(unsupported(0, x.dtype(), "a float")),
    }
}

/// Steps and sequences in the other order.
fn swapped(tensor: &Tensor) -> Result<Tensor> {
    transpose(tensor, &[1, 0, 2])
}

impl Layer {
    fn read(ctx: &OpContext<'_>, cell: Cell, x: &Tensor, is_batch_first: bool) -> Result<Self> {
        let &[steps, batch, input] = x.shape() else {
            return Err(Error::invalid(format!("input 0 must have rank 3, found {:?}", x.shape())));
        };
        let directions = match ctx.text("direction", "forward")? {
            "forward" => vec![false],
            "reverse" => vec![true],
            "bidirectional" => vec![false, true],
            other => return Err(ctx.bad_attribute("direction", format!("is unknown: {other:?}"))),
        };
        let is_packed = ctx.node.op.domain == DOMAIN;
        let stated = ctx.optional_int("hidden_size")?;
        let found = ctx.tensor(2)?.shape().last().copied().unwrap_or(0);
        let hidden = match stated {
            // The packed matrix is held against it.
            Some(stated) if is_packed => usize::try_from(stated).unwrap_or(0),
            _ => found,
        };
        if let Some(stated) = stated
            && usize::try_from(stated) != Ok(hidden)
        {
            let why = format!("is {stated}, but the recurrence weights are for {hidden}");
            return Err(ctx.bad_attribute("hidden_size", why));
        }
        let lens = match ctx.optional_i64s(4)? {
            None => vec![steps; batch],
            Some(lens) => shape::dims(&lens)?,
        };
        if lens.len() != batch || lens.iter().any(|&len| len > steps) {
            return Err(Error::invalid(format!(
                "input 4 must hold {batch} lengths up to {steps}, found {lens:?}"
            )));
        }
        let activations = Activation::list(ctx, cell.activations(), directions.len())?;
        let clip = ctx.float("clip", 0.0)?;
        Ok(Self {
            cell,
            is_packed,
            is_batch_first,
            steps,
            batch,
            input,
            hidden,
            lens,
            directions,
            activations,
            clip: (clip > 0.0).then_some(clip),
            is_linear_before_reset: ctx.flag("linear_before_reset", false)?,
            couples_input_and_forget: ctx.flag("input_forget", false)?,
        })
    }

    /// Number of columns of all gates.
    fn columns(&self) -> usize {
        self.cell.gates() * self.hidden
    }

    /// The activations of a direction.
    fn activations(&self, direction: usize) -> &[Activation] {
        let count = self.cell.activations().len();
        &self.activations[direction * count..(direction + 1) * count]
    }

    /// The step of a sequence that a direction comes to in a turn, if it is not over.
    fn place(&self, is_reversed: bool, row: usize, turn: usize) -> Option<usize> {
        let len = self.lens[row];
        (turn < len).then(|| if is_reversed { len - 1 - turn } else { turn })
    }

    /// Initial states of all directions, `[directions, batch, hidden]`.
    fn initial<T: Compute>(&self, ctx: &OpContext<'_>, index: usize) -> Result<Vec<T>> {
        let shape = [self.directions.len(), self.batch, self.hidden];
        let Some(tensor) = ctx.optional_tensor(index)? else {
            return Ok(vec![T::default(); shape.iter().product()]);
        };
        let tensor = match self.is_batch_first && tensor.rank() == 3 {
            true => swapped(tensor)?,
            false => tensor.clone(),
        };
        Ok(T::widen(expected(index, &tensor, &shape)?)?.into_owned())
    }

    /// A row of numbers of each direction, so many for each gate; none if it is absent.
    fn rows<T: Compute>(
        &self,
        ctx: &OpContext<'_>,
        index: usize,
        len: usize,
    ) -> Result<Option<Vec<T>>> {
        let Some(tensor) = ctx.optional_tensor(index)? else { return Ok(None) };
        let tensor = expected(index, tensor, &[self.directions.len(), len])?;
        Ok(Some(T::widen(tensor)?.into_owned()))
    }

    /// Weights of a direction with a row for each column of the gates, turned:
    /// `[depth, gates * hidden]`.
    fn turned(&self, ctx: &OpContext<'_>, index: usize, at: usize, depth: usize) -> Result<Tensor> {
        let shape = [self.directions.len(), self.columns(), depth];
        let tensor = expected(index, ctx.tensor(index)?, &shape)?;
        transpose(&slice(tensor, 0, at, 1)?.reshape(&shape[1..])?, &[1, 0])
    }

    fn outputs<T: Compute>(&self, x: &Tensor, states: States<T>) -> Result<Vec<Value>> {
        let (count, dtype) = (self.directions.len(), x.dtype());
        let y = Tensor::computed(&[self.steps, count, self.batch, self.hidden], dtype, states.all)?;
        let state = |elements: Vec<T>| -> Result<Tensor> {
            let state = Tensor::computed(&[count, self.batch, self.hidden], dtype, elements)?;
            if self.is_batch_first { swapped(&state) } else { Ok(state) }
        };
        let y = if self.is_batch_first { transpose(&y, &[2, 0, 1, 3])? } else { y };
        let mut outputs = vec![y.into(), state(states.last)?.into()];
        if self.cell == Cell::Lstm {
            outputs.push(state(states.last_cells)?.into());
        }
        Ok(outputs)
    }
}

/// An input, if it has the shape.
fn expected<'t>(index: usize, tensor: &'t Tensor, shape: &[usize]) -> Result<&'t Tensor> {
    if tensor.shape() == shape {
        return Ok(tensor);
    }
    let found = tensor.shape();
    Err(Error::invalid(format!("input {index} must have shape {shape:?}, found {found:?}")))
}
