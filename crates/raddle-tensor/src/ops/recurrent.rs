//! Recurrent layers: RNN, GRU and LSTM in one frame.
//!
//! For each direction, the inputs of all steps are multiplied with the weights
//! at once; a step then adds the product of its state and updates the state.
//! Products are computed in the tensor's [`Class`], gates in `f64`.
//!
//! Gates: RNN one; GRU `z r h`; LSTM `i o f c`.

use super::activation::Activation;
use super::elementwise::unsupported;
use super::linear::{Scalar, gemm};
use crate::Kind::{Float, Floats, Int, String as Text, Strings};
use crate::infer::rules;
use crate::movement::{slice, transpose};
use crate::{
    Class, DTypeRule, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, op, shape,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("RNN", 1..=LATEST)
        .inputs(3, 6)
        .outputs(0, 2)
        .attributes(&[
            ("activation_alpha", Floats),
            ("activation_beta", Floats),
            ("activations", Strings),
            ("clip", Float),
            ("direction", Text),
            ("hidden_size", Int),
            ("layout", Int),
        ])
        .result(DTypeRule::Computed, ShapeRule::Computed)
        .infer(rules::recurrent)
        .run(|ctx| recurrent(ctx, Cell::Rnn)),
    op("GRU", 3..=LATEST)
        .inputs(3, 6)
        .outputs(0, 2)
        .attributes(&[
            ("activation_alpha", Floats),
            ("activation_beta", Floats),
            ("activations", Strings),
            ("clip", Float),
            ("direction", Text),
            ("hidden_size", Int),
            ("layout", Int),
            ("linear_before_reset", Int),
        ])
        .result(DTypeRule::Computed, ShapeRule::Computed)
        .infer(rules::recurrent)
        .run(|ctx| recurrent(ctx, Cell::Gru)),
    op("LSTM", 1..=LATEST)
        .inputs(3, 8)
        .outputs(0, 3)
        .attributes(&[
            ("activation_alpha", Floats),
            ("activation_beta", Floats),
            ("activations", Strings),
            ("clip", Float),
            ("direction", Text),
            ("hidden_size", Int),
            ("input_forget", Int),
            ("layout", Int),
        ])
        .result(DTypeRule::Computed, ShapeRule::Computed)
        .infer(rules::recurrent)
        .run(|ctx| recurrent(ctx, Cell::Lstm)),
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
    steps: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    /// Number of steps of each sequence.
    lens: Vec<usize>,
    /// For each direction: whether it runs backwards.
    directions: Vec<bool>,
    activations: Vec<Activation>,
    clip: Option<f64>,
    is_linear_before_reset: bool,
    couples_input_and_forget: bool,
}

fn recurrent(ctx: &mut OpContext<'_>, cell: Cell) -> Result<Vec<Value>> {
    match ctx.tensor(0)?.dtype().class() {
        Class::F32 => run::<f32>(ctx, cell),
        Class::F64 => run::<f64>(ctx, cell),
        _ => Err(unsupported(0, ctx.tensor(0)?.dtype(), "a float")),
    }
}

impl Layer {
    fn read(ctx: &OpContext<'_>, cell: Cell, x: &Tensor) -> Result<Self> {
        let &[steps, batch, input] = x.shape() else {
            return Err(Error::invalid(format!("input 0 must have rank 3, found {:?}", x.shape())));
        };
        let directions = match ctx.text("direction", "forward")? {
            "forward" => vec![false],
            "reverse" => vec![true],
            "bidirectional" => vec![false, true],
            other => return Err(ctx.bad_attribute("direction", format!("is unknown: {other:?}"))),
        };
        let recurrence = ctx.tensor(2)?;
        let hidden = recurrence.shape().last().copied().unwrap_or(0);
        if let Some(stated) = ctx.optional_int("hidden_size")?
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
            steps,
            batch,
            input,
            hidden,
            lens,
            directions,
            activations,
            clip: (clip > 0.0).then_some(clip.into()),
            is_linear_before_reset: ctx.flag("linear_before_reset", false)?,
            couples_input_and_forget: ctx.flag("input_forget", false)?,
        })
    }

    /// Number of columns of all gates.
    fn columns(&self) -> usize {
        self.cell.gates() * self.hidden
    }

    fn clipped(&self, x: f64) -> f64 {
        self.clip.map_or(x, |clip| x.clamp(-clip, clip))
    }
}

/// An input with one part for each direction, checked.
fn part(
    ctx: &OpContext<'_>,
    index: usize,
    direction: usize,
    expected: &[usize],
) -> Result<Option<Tensor>> {
    let Some(tensor) = ctx.optional_tensor(index)? else { return Ok(None) };
    if tensor.shape() != expected {
        return Err(Error::invalid(format!(
            "input {index} must have shape {expected:?}, found {:?}",
            tensor.shape()
        )));
    }
    slice(tensor, 0, direction, 1)?.reshape(&expected[1..]).map(Some)
}

/// Parameters and the running state of one direction.
struct Direction<T> {
    /// Products of the inputs of all steps, with the biases: `[steps, batch, gates, hidden]`.
    inputs: Vec<T>,
    /// Recurrence weights, transposed: `[hidden, gates * hidden]`.
    recurrence: Vec<T>,
    /// Bias of the recurrence of the GRU's `h` gate, which may lie within the reset.
    reset_bias: Vec<f64>,
    /// Weights from the cell state to the gates `i o f` of an LSTM.
    peepholes: Vec<f64>,
    state: Vec<T>,
    cell_state: Vec<f64>,
}

fn run<T: Scalar + Into<f64> + FromWide>(
    ctx: &mut OpContext<'_>,
    cell: Cell,
) -> Result<Vec<Value>> {
    let is_batch_first = ctx.flag("layout", false)?;
    let swap = |tensor: &Tensor| transpose(tensor, &[1, 0, 2]);
    let x = ctx.tensor(0)?;
    let x = if is_batch_first && x.rank() == 3 { swap(x)? } else { x.clone() };
    let layer = Layer::read(ctx, cell, &x)?;
    let Layer { steps, batch, hidden, .. } = layer;
    let count = layer.directions.len();
    let per_step = batch * hidden;
    let mut y = vec![T::default(); steps * count * per_step];
    let (mut last, mut last_cell) = (Vec::new(), Vec::new());
    for (at, &is_reversed) in layer.directions.iter().enumerate() {
        let mut direction = Direction::<T>::read(ctx, &layer, &x, at, is_batch_first)?;
        let activations = &layer.activations[at * cell.activations().len()..];
        for step in 0..steps {
            let source: Vec<usize> = layer
                .lens
                .iter()
                .map(|&len| if is_reversed { len.saturating_sub(step + 1) } else { step })
                .collect();
            direction.step(&layer, activations, step, &source);
            for (row, &from) in source.iter().enumerate().filter(|(row, _)| step < layer.lens[*row])
            {
                let to = ((from * count + at) * batch + row) * hidden;
                y[to..to + hidden]
                    .copy_from_slice(&direction.state[row * hidden..(row + 1) * hidden]);
            }
        }
        last.extend_from_slice(&direction.state);
        last_cell.extend(direction.cell_state.iter().map(|&c| T::from_wide(c)));
    }
    let dtype = x.dtype();
    let y = Tensor::computed(&[steps, count, batch, hidden], dtype, y)?;
    let state = |elements: Vec<T>| -> Result<Tensor> {
        let state = Tensor::computed(&[count, batch, hidden], dtype, elements)?;
        if is_batch_first { swap(&state) } else { Ok(state) }
    };
    let y = if is_batch_first { transpose(&y, &[2, 0, 1, 3])? } else { y };
    let mut outputs = vec![y.into(), state(last)?.into()];
    if cell == Cell::Lstm {
        outputs.push(state(last_cell)?.into());
    }
    Ok(outputs)
}

impl<T: Scalar + Into<f64> + FromWide> Direction<T> {
    fn read(
        ctx: &OpContext<'_>,
        layer: &Layer,
        x: &Tensor,
        at: usize,
        is_batch_first: bool,
    ) -> Result<Self> {
        let Layer { cell, steps, batch, input, hidden, .. } = *layer;
        let (count, columns) = (layer.directions.len(), layer.columns());
        let required = |index: usize, shape: &[usize]| -> Result<Vec<T>> {
            let part = part(ctx, index, at, shape)?.ok_or(Error::MissingInput { index })?;
            Ok(T::widen(&transpose(&part, &[1, 0])?)?.into_owned())
        };
        let weights = required(1, &[count, columns, input])?;
        let recurrence = required(2, &[count, columns, hidden])?;
        let bias = part(ctx, 3, at, &[count, 2 * columns])?;
        let bias =
            bias.map_or(Ok(vec![0.0; 2 * columns]), |bias| super::control::numbers(&bias))?;
        let is_inner = |column: usize| {
            cell == Cell::Gru && layer.is_linear_before_reset && column >= 2 * hidden
        };
        let mut inputs = vec![T::default(); steps * batch * columns];
        gemm(&T::widen(x)?, &weights, &mut inputs, [steps * batch, input, columns]);
        for row in inputs.chunks_mut(columns.max(1)) {
            for (column, x) in row.iter_mut().enumerate() {
                let inner = if is_inner(column) { 0.0 } else { bias[columns + column] };
                *x = T::from_wide((*x).into() + bias[column] + inner);
            }
        }
        let initial = |index: usize| -> Result<Vec<T>> {
            let Some(tensor) = ctx.optional_tensor(index)? else {
                return Ok(vec![T::default(); batch * hidden]);
            };
            let tensor = match is_batch_first && tensor.rank() == 3 {
                true => transpose(tensor, &[1, 0, 2])?,
                false => tensor.clone(),
            };
            if tensor.shape() != [count, batch, hidden] {
                return Err(Error::invalid(format!(
                    "input {index} must have shape {:?}, found {:?}",
                    [count, batch, hidden],
                    tensor.shape()
                )));
            }
            Ok(T::widen(&slice(&tensor, 0, at, 1)?)?.into_owned())
        };
        let is_lstm = cell == Cell::Lstm;
        let cell_state = if is_lstm { initial(6)? } else { Vec::new() };
        let peepholes = if is_lstm { part(ctx, 7, at, &[count, 3 * hidden])? } else { None };
        Ok(Self {
            inputs,
            recurrence,
            reset_bias: bias[columns + columns - hidden..].to_vec(),
            peepholes: peepholes
                .map_or(Ok(vec![0.0; 3 * hidden]), |it| super::control::numbers(&it))?,
            state: initial(5)?,
            cell_state: cell_state.into_iter().map(Into::into).collect(),
        })
    }

    /// Advances every sequence that is not over; row `b` reads its input at `source[b]`.
    fn step(&mut self, layer: &Layer, f: &[Activation], step: usize, source: &[usize]) {
        let Layer { cell, batch, hidden, .. } = *layer;
        let columns = layer.columns();
        let mut products = vec![T::default(); batch * columns];
        gemm(&self.state, &self.recurrence, &mut products, [batch, hidden, columns]);
        // What the GRU's `h` gate gets from the state after the reset.
        let mut resets = vec![T::default(); batch * hidden];
        for row in (0..batch).filter(|&row| step < layer.lens[row]) {
            let inputs = &self.inputs[(source[row] * batch + row) * columns..][..columns];
            let products = &products[row * columns..(row + 1) * columns];
            let gate = |gate: usize, unit: usize| -> f64 {
                inputs[gate * hidden + unit].into() + products[gate * hidden + unit].into()
            };
            for unit in 0..hidden {
                let at = row * hidden + unit;
                match cell {
                    Cell::Rnn => {
                        self.state[at] = T::from_wide(f[0].apply(layer.clipped(gate(0, unit))));
                    }
                    Cell::Gru => {
                        let r = f[0].apply(layer.clipped(gate(1, unit)));
                        let inner = match layer.is_linear_before_reset {
                            true => products[2 * hidden + unit].into() + self.reset_bias[unit],
                            false => self.state[at].into(),
                        };
                        resets[at] = T::from_wide(r * inner);
                    }
                    Cell::Lstm => {
                        let gates = std::array::from_fn(|which| gate(which, unit));
                        let (cell_state, peepholes) = (&mut self.cell_state[at], &self.peepholes);
                        let peepholes =
                            std::array::from_fn(|which| peepholes[which * hidden + unit]);
                        let state = step_lstm(layer, f, gates, peepholes, cell_state);
                        self.state[at] = T::from_wide(state);
                    }
                }
            }
        }
        if cell == Cell::Gru {
            self.step_gru(layer, f, step, source, &products, resets);
        }
    }

    fn step_gru(
        &mut self,
        layer: &Layer,
        f: &[Activation],
        step: usize,
        source: &[usize],
        products: &[T],
        resets: Vec<T>,
    ) {
        let Layer { batch, hidden, .. } = *layer;
        let columns = layer.columns();
        let inner = if layer.is_linear_before_reset {
            resets
        } else {
            let weights: Vec<T> = self
                .recurrence
                .chunks(columns.max(1))
                .flat_map(|row| row[2 * hidden..].iter().copied())
                .collect();
            let mut inner = vec![T::default(); batch * hidden];
            gemm(&resets, &weights, &mut inner, [batch, hidden, hidden]);
            inner
        };
        for row in (0..batch).filter(|&row| step < layer.lens[row]) {
            let inputs = &self.inputs[(source[row] * batch + row) * columns..][..columns];
            for unit in 0..hidden {
                let at = row * hidden + unit;
                let z: f64 = inputs[unit].into() + products[row * columns + unit].into();
                let z = f[0].apply(layer.clipped(z));
                let h: f64 = inputs[2 * hidden + unit].into() + inner[at].into();
                let h = f[1].apply(layer.clipped(h));
                self.state[at] = T::from_wide((1.0 - z) * h + z * self.state[at].into());
            }
        }
    }
}

/// Updates the cell state of a unit from its gates `i o f c`; returns the state.
fn step_lstm(
    layer: &Layer,
    f: &[Activation],
    [i, o, forget, c]: [f64; 4],
    [peephole_i, peephole_o, peephole_f]: [f64; 3],
    cell_state: &mut f64,
) -> f64 {
    let old = *cell_state;
    let input = f[0].apply(layer.clipped(i + peephole_i * old));
    let forget = match layer.couples_input_and_forget {
        true => 1.0 - input,
        false => f[0].apply(layer.clipped(forget + peephole_f * old)),
    };
    *cell_state = forget * old + input * f[1].apply(layer.clipped(c));
    let output = f[0].apply(layer.clipped(o + peephole_o * *cell_state));
    output * f[2].apply(*cell_state)
}

/// Back from the type that gates are computed in.
trait FromWide {
    fn from_wide(wide: f64) -> Self;
}

impl FromWide for f32 {
    fn from_wide(wide: f64) -> Self {
        wide as Self
    }
}

impl FromWide for f64 {
    fn from_wide(wide: f64) -> Self {
        wide
    }
}
