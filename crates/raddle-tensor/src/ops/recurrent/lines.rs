//! Recurrent layers in `f32`, a line of units at a time.
//!
//! Weights lie in the order in which products read them; a pass brings constant ones
//! into it once, others are brought into it in each run. The sequences of a batch do
//! not depend on each other, nor do directions, so that threads take some sequences of
//! one direction each and meet at the end only. A single long state has its columns
//! shared out in every step instead.

use std::borrow::Cow;
use std::ops::Range;

use super::{Activation, Cell, Layer, States, expected};
use crate::convert::Compute;
use crate::product::{self, FewRows, Grid, Product, Right, pack_lines, packed_lines_len};
use crate::{Error, OpContext, Result, Tensor, parallel, spare};

/// Fewest products of a layer that are worth several threads.
const SHARED_MIN: usize = 1 << 18;

/// Fewest products of a step that are, and columns of such a task.
const SHARED_STEP_MIN: usize = 1 << 19;
const COLUMNS_PER_TASK: usize = 256;

/// The weights of all directions as `PackedRNN` and its like have them: of inputs, and
/// of the recurrence with a matrix for each gate. Weights begin where a cache line does,
/// since a step spends most of its time on reading them; their first number says where.
///
/// *Shapes*: `w: [directions, gates * hidden, input]`, `r: [directions, gates * hidden,
/// hidden]`, of `f32` and without empty dimensions.
///
/// ## Errors
/// [`Error::UnsupportedType`].
pub fn pack(w: &Tensor, r: &Tensor) -> Result<[Tensor; 2]> {
    let (&[_, columns, input], &[_, _, hidden]) = (w.shape(), r.shape()) else {
        return Err(Error::invalid("weights of recurrent layers have three dimensions"));
    };
    let inputs = pack_each(w.elements::<f32>()?, [columns, input]);
    let recurrence = pack_each(r.elements::<f32>()?, [hidden, hidden]);
    let packed = |all: Vec<f32>| {
        let aligned = aligned(&all);
        Tensor::new(&[aligned.len()], aligned)
    };
    Ok([packed(inputs)?, packed(recurrence)?])
}

/// Elements of a cache line.
const CACHE_LINE: usize = 16;

/// The number of elements ahead of those given, and these from a cache line's beginning on.
fn aligned(elements: &[f32]) -> Vec<f32> {
    let mut all = vec![0.0; elements.len() + CACHE_LINE];
    let start = 1 + all[1..].as_ptr().align_offset(CACHE_LINE * size_of::<f32>());
    let start = start.min(CACHE_LINE);
    all[0] = start as f32;
    all[start..start + elements.len()].copy_from_slice(elements);
    all
}

/// Packs matrices of `[rows, depth]`, each transposed, one after the other.
fn pack_each(matrices: &[f32], [rows, depth]: [usize; 2]) -> Vec<f32> {
    let matrices = matrices.chunks((rows * depth).max(1));
    matrices.flat_map(|matrix| pack_lines(&turned(matrix, depth), rows)).collect()
}

/// A matrix of rows of a length, transposed.
fn turned(matrix: &[f32], row_len: usize) -> Vec<f32> {
    (0..row_len).flat_map(|at| matrix[at..].iter().step_by(row_len).copied()).collect()
}

/// What the sequences of one direction share.
struct Direction<'a> {
    layer: &'a Layer,
    is_reversed: bool,
    activations: &'a [Activation],
    /// Products of the inputs of all steps, with the biases: `[steps, batch, gates, hidden]`.
    inputs: Vec<f32>,
    /// Recurrence weights, packed for each gate.
    recurrence: &'a [f32],
    /// Bias of the recurrence of the GRU's `h` gate, which lies within the reset.
    reset_bias: Option<Vec<f32>>,
    /// Weights from the cell state to the gates `i o f` of an LSTM.
    peepholes: Option<Vec<f32>>,
}

/// Some sequences of a direction.
struct Sequences<'d, 'o> {
    direction: &'d Direction<'d>,
    first_row: usize,
    /// `[rows, hidden]`; in the end the last state.
    state: &'o mut [f32],
    /// The cells of an LSTM, as `state`.
    cells: &'o mut [f32],
    /// For each step, `[rows, hidden]`.
    outs: Vec<&'o mut [f32]>,
}

/// What a thread works with.
#[derive(Default)]
struct Scratch {
    /// `[rows, gates, hidden]`.
    gates: Vec<f32>,
    /// The state of a GRU behind the reset, `[rows, hidden]`.
    resets: Vec<f32>,
}

/// Runs all directions.
pub fn run(ctx: &OpContext<'_>, layer: &Layer, x: &Tensor) -> Result<States<f32>> {
    let Layer { steps, batch, hidden, .. } = *layer;
    let count = layer.directions.len();
    let weights = weights(ctx, layer)?;
    let directions = directions(ctx, layer, x, &weights)?;
    let mut all = vec![0.0; steps * count * batch * hidden];
    let mut last = layer.initial::<f32>(ctx, 5)?;
    let is_lstm = layer.cell == Cell::Lstm;
    let mut last_cells = if is_lstm { layer.initial::<f32>(ctx, 6)? } else { Vec::new() };
    if last.is_empty() {
        return Ok(States { all, last, last_cells });
    }
    let products = steps * count * batch * hidden * layer.columns();
    let threads = if products < SHARED_MIN { 1 } else { rayon::current_num_threads() };
    let rows = batch.div_ceil(threads.div_ceil(count));
    let parts = batch.div_ceil(rows);
    let plane_len = batch * hidden;
    let mut cells = last_cells.chunks_mut(plane_len).flat_map(|it| it.chunks_mut(rows * hidden));
    let states = last.chunks_mut(plane_len).flat_map(|it| it.chunks_mut(rows * hidden));
    let mut tasks: Vec<Sequences<'_, '_>> = states
        .enumerate()
        .map(|(at, state)| Sequences {
            direction: &directions[at / parts],
            first_row: at % parts * rows,
            state,
            cells: cells.next().unwrap_or_default(),
            outs: Vec::with_capacity(steps),
        })
        .collect();
    for (at, plane) in all.chunks_mut(plane_len).enumerate() {
        let own = &mut tasks[at % count * parts..][..parts];
        for (task, rows) in own.iter_mut().zip(plane.chunks_mut(rows * hidden)) {
            task.outs.push(rows);
        }
    }
    if threads == 1 {
        let mut scratch = Scratch::default();
        tasks.into_iter().for_each(|task| task.run(&mut scratch));
    } else {
        parallel::each(
            tasks,
            &Scratch::default,
            &|scratch: &mut Scratch, task: Sequences<'_, '_>| {
                task.run(scratch);
            },
        );
    }
    directions.into_iter().for_each(|direction| spare::keep_elements(direction.inputs));
    Ok(States { all, last, last_cells })
}

/// The weights of inputs and of the recurrence of all directions, packed.
fn weights<'a>(ctx: &'a OpContext<'_>, layer: &Layer) -> Result<[Cow<'a, [f32]>; 2]> {
    let Layer { cell, input, hidden, .. } = *layer;
    let (count, columns) = (layer.directions.len(), layer.columns());
    let (w, r) = (ctx.tensor(1)?, ctx.tensor(2)?);
    if columns == 0 {
        return Ok([Cow::default(), Cow::default()]);
    }
    if layer.is_packed {
        let lens =
            [packed_lines_len(input, columns), cell.gates() * packed_lines_len(hidden, hidden)];
        let own = |tensor: &'a Tensor, len: usize| -> Result<Cow<'a, [f32]>> {
            // A model in another type holds these numbers in that type too.
            let all = f32::widen(tensor)?;
            let start = all.first().map_or(0, |&start| start as usize);
            let end = start + count * len;
            if all.len() < end {
                let why = "is not that of the packed weights";
                return Err(ctx.bad_attribute("hidden_size", why));
            }
            Ok(match all {
                Cow::Borrowed(all) => Cow::Borrowed(&all[start..end]),
                Cow::Owned(all) => Cow::Owned(all[start..end].to_vec()),
            })
        };
        return Ok([own(w, lens[0])?, own(r, lens[1])?]);
    }
    let w = f32::widen(expected(1, w, &[count, columns, input])?)?;
    let r = f32::widen(expected(2, r, &[count, columns, hidden])?)?;
    Ok([pack_each(&w, [columns, input]).into(), pack_each(&r, [hidden, hidden]).into()])
}

/// Reads the parameters of all directions and multiplies the inputs.
fn directions<'a>(
    ctx: &OpContext<'_>,
    layer: &'a Layer,
    x: &Tensor,
    weights: &'a [Cow<'_, [f32]>; 2],
) -> Result<Vec<Direction<'a>>> {
    let Layer { cell, steps, batch, input, hidden, .. } = *layer;
    let (count, columns) = (layer.directions.len(), layer.columns());
    let bias = layer.rows::<f32>(ctx, 3, 2 * columns)?;
    let is_lstm = cell == Cell::Lstm;
    let peepholes = if is_lstm { layer.rows::<f32>(ctx, 7, 3 * hidden)? } else { None };
    let rows = steps * batch;
    let elements = f32::widen(x)?;
    let left =
        if rows * columns > 0 { product::pack_now(&elements, rows, input) } else { Vec::new() };
    // Of a GRU, the bias of the recurrence of gate `h` may lie within the reset.
    let has_reset_bias = cell == Cell::Gru && layer.is_linear_before_reset;
    let outer = if has_reset_bias { 2 * hidden } else { columns };
    let read = |at: usize| -> Direction<'a> {
        let own = |all: &'a [f32]| &all[all.len() / count * at..][..all.len() / count];
        let bias =
            bias.as_ref().map(|all| all[at * 2 * columns..][..2 * columns].split_at(columns));
        let column_bias = bias.map(|(own, recurrence)| {
            let mut sum = own.to_vec();
            sum[..outer].iter_mut().zip(recurrence).for_each(|(x, y)| *x += y);
            sum
        });
        let mut inputs = spare::take(rows * columns);
        let product = Product {
            packed: &left,
            rows,
            right: Right::Packed { lines: own(&weights[0]), depth: input },
            grid: Grid { wide: columns, width: columns, height: 1 },
            bias: None,
            column_bias: column_bias.as_deref(),
            residual: None,
            activation: product::Activation::Identity,
        };
        product::run(vec![(product, &mut inputs)]);
        let reset_bias = bias.filter(|_| has_reset_bias);
        Direction {
            layer,
            is_reversed: layer.directions[at],
            activations: layer.activations(at),
            inputs,
            recurrence: own(&weights[1]),
            reset_bias: reset_bias.map(|(_, recurrence)| recurrence[outer..].to_vec()),
            peepholes: peepholes.as_ref().map(|it| it[at * 3 * hidden..][..3 * hidden].to_vec()),
        }
    };
    let directions = (0..count).map(read).collect();
    spare::keep_elements(left);
    Ok(directions)
}

impl Sequences<'_, '_> {
    fn run(mut self, scratch: &mut Scratch) {
        let Direction { layer, is_reversed, .. } = *self.direction;
        let (hidden, columns) = (layer.hidden, layer.columns());
        let rows = self.state.len() / hidden;
        scratch.gates.resize(rows * columns, 0.0);
        scratch.resets.resize(rows * hidden, 0.0);
        for turn in 0..layer.steps {
            // Sequences that are not over: a row, and the step that it is at.
            let places = (0..rows).filter_map(|row| {
                let step = layer.place(is_reversed, self.first_row + row, turn)?;
                Some((row, step))
            });
            let places: Vec<(usize, usize)> = places.collect();
            if places.is_empty() {
                return;
            }
            self.step(&places, scratch);
            for (row, step) in places {
                let line = row * hidden..(row + 1) * hidden;
                self.outs[step][line.clone()].copy_from_slice(&self.state[line]);
            }
        }
    }

    /// Advances sequences by a step.
    fn step(&mut self, places: &[(usize, usize)], scratch: &mut Scratch) {
        let direction = self.direction;
        let Layer { cell, batch, hidden, .. } = *direction.layer;
        let columns = direction.layer.columns();
        let is_reset_first = cell == Cell::Gru && !direction.layer.is_linear_before_reset;
        let gates = if is_reset_first { 0..2 } else { 0..cell.gates() };
        let Scratch { gates: all, resets } = scratch;
        direction.multiply(self.state, gates, all);
        for &(row, step) in places {
            let gates = &mut all[row * columns..(row + 1) * columns];
            let inputs =
                &direction.inputs[(step * batch + self.first_row + row) * columns..][..columns];
            let line = row * hidden..(row + 1) * hidden;
            let state = &mut self.state[line.clone()];
            match cell {
                Cell::Rnn => {
                    add(gates, inputs);
                    direction.activate(0, gates);
                    state.copy_from_slice(gates);
                }
                Cell::Gru => direction.reset(gates, inputs, state, &mut resets[line]),
                Cell::Lstm => direction.lstm(gates, inputs, state, &mut self.cells[line]),
            }
        }
        if cell != Cell::Gru {
            return;
        }
        if is_reset_first {
            direction.multiply(resets, 2..3, all);
        }
        for &(row, step) in places {
            let gates = &mut all[row * columns..(row + 1) * columns];
            let inputs = (step * batch + self.first_row + row) * columns + 2 * hidden;
            let inputs = &direction.inputs[inputs..][..hidden];
            let (z, h) = gates.split_at_mut(2 * hidden);
            add(h, inputs);
            direction.activate(1, h);
            let state = &mut self.state[row * hidden..(row + 1) * hidden];
            for ((state, z), h) in state.iter_mut().zip(z).zip(h) {
                *state = (1.0 - *z) * *h + *z * *state;
            }
        }
    }
}

impl Direction<'_> {
    /// Products of states, `[rows, hidden]`, with the recurrence of some gates.
    fn multiply(&self, states: &[f32], gates: Range<usize>, out: &mut [f32]) {
        let (hidden, columns) = (self.layer.hidden, self.layer.columns());
        let matrix_len = self.recurrence.len() / self.layer.cell.gates();
        let product = |gate: usize, first: usize, len: usize, out: &mut [f32]| {
            let lines = &self.recurrence[gate * matrix_len + first * hidden..];
            let (depth, stride) = (hidden, columns);
            FewRows { left: states, depth, lines, columns: len, out, stride }.run();
        };
        let is_single = states.len() == hidden;
        if is_single && gates.len() * matrix_len >= SHARED_STEP_MIN {
            let own = &mut out[gates.start * hidden..gates.end * hidden];
            let gates = gates.zip(own.chunks_mut(hidden));
            let tasks = gates.flat_map(|(gate, line)| {
                let parts = line.chunks_mut(COLUMNS_PER_TASK).enumerate();
                parts.map(move |(at, part)| (gate, at * COLUMNS_PER_TASK, part))
            });
            let run = |(gate, first, part): (usize, usize, &mut [f32])| {
                product(gate, first, part.len(), part);
            };
            return parallel::each(tasks.collect(), &|| (), &|(), task| run(task));
        }
        gates.for_each(|gate| product(gate, 0, hidden, &mut out[gate * hidden..]));
    }

    /// Clips numbers and replaces them by an activation of theirs.
    fn activate(&self, which: usize, line: &mut [f32]) {
        if let Some(clip) = self.layer.clip {
            line.iter_mut().for_each(|x| *x = x.clamp(-clip, clip));
        }
        self.activations[which].apply_all(line);
    }

    /// The first half of a step of a GRU: its gates `z r`, and what its gate `h` gets of
    /// the state, either in `gates` or as what is yet to be multiplied, in `resets`.
    fn reset(&self, gates: &mut [f32], inputs: &[f32], state: &[f32], resets: &mut [f32]) {
        let hidden = state.len();
        let (zr, h) = gates.split_at_mut(2 * hidden);
        add(zr, &inputs[..2 * hidden]);
        self.activate(0, zr);
        let r = &zr[hidden..];
        if !self.layer.is_linear_before_reset {
            for ((reset, r), state) in resets.iter_mut().zip(r).zip(state) {
                *reset = r * state;
            }
            return;
        }
        if let Some(bias) = &self.reset_bias {
            add(h, bias);
        }
        h.iter_mut().zip(r).for_each(|(h, r)| *h *= r);
    }

    /// A step of an LSTM from the products of its state.
    fn lstm(&self, gates: &mut [f32], inputs: &[f32], state: &mut [f32], cells: &mut [f32]) {
        let hidden = state.len();
        add(gates, inputs);
        let (io, fc) = gates.split_at_mut(2 * hidden);
        let (i, o) = io.split_at_mut(hidden);
        let (forget, c) = fc.split_at_mut(hidden);
        let look = |which: usize, gate: &mut [f32], cells: &[f32]| {
            if let Some(peepholes) = &self.peepholes {
                let weights = &peepholes[which * hidden..][..hidden];
                for ((x, weight), cell) in gate.iter_mut().zip(weights).zip(cells) {
                    *x += weight * cell;
                }
            }
        };
        look(0, i, cells);
        self.activate(0, i);
        if self.layer.couples_input_and_forget {
            forget.iter_mut().zip(&*i).for_each(|(forget, i)| *forget = 1.0 - i);
        } else {
            look(2, forget, cells);
            self.activate(0, forget);
        }
        self.activate(1, c);
        for ((cell, forget), (i, c)) in cells.iter_mut().zip(forget).zip(i.iter().zip(c)) {
            *cell = *forget * *cell + i * *c;
        }
        look(1, o, cells);
        self.activate(0, o);
        state.copy_from_slice(cells);
        self.activations[2].apply_all(state);
        state.iter_mut().zip(o).for_each(|(state, o)| *state *= *o);
    }
}

fn add(to: &mut [f32], from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(x, y)| *x += y);
}
