//! Recurrent layers in `f64`, one unit after the other.

use super::{Activation, Cell, Layer, States};
use crate::convert::Compute;
use crate::ops::linear::gemm;
use crate::{OpContext, Result, Tensor};

/// Parameters and the running state of one direction.
struct Direction {
    is_reversed: bool,
    /// Products of the inputs of all steps, with the biases: `[steps, batch, gates, hidden]`.
    inputs: Vec<f64>,
    /// Recurrence weights, transposed: `[hidden, gates * hidden]`.
    recurrence: Vec<f64>,
    /// Bias of the recurrence of the GRU's `h` gate, which may lie within the reset.
    reset_bias: Vec<f64>,
    /// Weights from the cell state to the gates `i o f` of an LSTM.
    peepholes: Vec<f64>,
    state: Vec<f64>,
    cells: Vec<f64>,
}

/// Runs all directions.
pub fn run(ctx: &OpContext<'_>, layer: &Layer, x: &Tensor) -> Result<States<f64>> {
    let Layer { steps, batch, hidden, .. } = *layer;
    let count = layer.directions.len();
    let mut all = vec![0.0; steps * count * batch * hidden];
    let (mut last, mut last_cells) = (Vec::new(), Vec::new());
    for at in 0..count {
        let mut direction = Direction::read(ctx, layer, x, at)?;
        for turn in 0..steps {
            direction.step(layer, layer.activations(at), turn);
            for row in 0..batch {
                if let Some(step) = layer.place(direction.is_reversed, row, turn) {
                    let to = ((step * count + at) * batch + row) * hidden;
                    let state = &direction.state[row * hidden..(row + 1) * hidden];
                    all[to..to + hidden].copy_from_slice(state);
                }
            }
        }
        last.extend(direction.state);
        last_cells.extend(direction.cells);
    }
    Ok(States { all, last, last_cells })
}

impl Direction {
    fn read(ctx: &OpContext<'_>, layer: &Layer, x: &Tensor, at: usize) -> Result<Self> {
        let Layer { cell, steps, batch, input, hidden, .. } = *layer;
        let columns = layer.columns();
        let part = |all: Option<Vec<f64>>, len: usize| match all {
            Some(all) => all[at * len..(at + 1) * len].to_vec(),
            None => vec![0.0; len],
        };
        let weights = layer.turned(ctx, 1, at, input)?;
        let recurrence = layer.turned(ctx, 2, at, hidden)?;
        let bias = part(layer.rows(ctx, 3, 2 * columns)?, 2 * columns);
        let is_inner = |column: usize| {
            cell == Cell::Gru && layer.is_linear_before_reset && column >= 2 * hidden
        };
        let mut inputs = vec![0.0; steps * batch * columns];
        let dims = [steps * batch, input, columns];
        gemm(&f64::widen(x)?, &f64::widen(&weights)?, &mut inputs, dims);
        for row in inputs.chunks_mut(columns.max(1)) {
            for (column, x) in row.iter_mut().enumerate() {
                let inner = if is_inner(column) { 0.0 } else { bias[columns + column] };
                *x += bias[column] + inner;
            }
        }
        let is_lstm = cell == Cell::Lstm;
        let cells = if is_lstm { Some(layer.initial(ctx, 6)?) } else { None };
        let peepholes = if is_lstm { layer.rows(ctx, 7, 3 * hidden)? } else { None };
        Ok(Self {
            is_reversed: layer.directions[at],
            inputs,
            recurrence: f64::widen(&recurrence)?.into_owned(),
            reset_bias: bias[columns + columns - hidden..].to_vec(),
            peepholes: part(peepholes, 3 * hidden),
            state: part(Some(layer.initial(ctx, 5)?), batch * hidden),
            cells: part(cells, if is_lstm { batch * hidden } else { 0 }),
        })
    }

    /// Advances every sequence that is not over.
    fn step(&mut self, layer: &Layer, f: &[Activation], turn: usize) {
        let Layer { cell, batch, hidden, .. } = *layer;
        let columns = layer.columns();
        let mut products = vec![0.0; batch * columns];
        gemm(&self.state, &self.recurrence, &mut products, [batch, hidden, columns]);
        // What the GRU's `h` gate gets from the state after the reset.
        let mut resets = vec![0.0; batch * hidden];
        for row in 0..batch {
            let Some(step) = layer.place(self.is_reversed, row, turn) else { continue };
            let inputs = &self.inputs[(step * batch + row) * columns..][..columns];
            let products = &products[row * columns..(row + 1) * columns];
            let gate = |gate: usize, unit: usize| -> f64 {
                inputs[gate * hidden + unit] + products[gate * hidden + unit]
            };
            for unit in 0..hidden {
                let at = row * hidden + unit;
                match cell {
                    Cell::Rnn => {
                        self.state[at] = f[0].apply(layer.clipped(gate(0, unit)));
                    }
                    Cell::Gru => {
                        let r = f[0].apply(layer.clipped(gate(1, unit)));
                        let inner = match layer.is_linear_before_reset {
                            true => products[2 * hidden + unit] + self.reset_bias[unit],
                            false => self.state[at],
                        };
                        resets[at] = r * inner;
                    }
                    Cell::Lstm => {
                        let gates = std::array::from_fn(|which| gate(which, unit));
                        let (cell, peepholes) = (&mut self.cells[at], &self.peepholes);
                        let peepholes =
                            std::array::from_fn(|which| peepholes[which * hidden + unit]);
                        self.state[at] = step_lstm(layer, f, gates, peepholes, cell);
                    }
                }
            }
        }
        if cell == Cell::Gru {
            self.step_gru(layer, f, turn, &products, resets);
        }
    }

    fn step_gru(
        &mut self,
        layer: &Layer,
        f: &[Activation],
        turn: usize,
        products: &[f64],
        resets: Vec<f64>,
    ) {
        let Layer { batch, hidden, .. } = *layer;
        let columns = layer.columns();
        let inner = if layer.is_linear_before_reset {
            resets
        } else {
            let weights: Vec<f64> = self
                .recurrence
                .chunks(columns.max(1))
                .flat_map(|row| row[2 * hidden..].iter().copied())
                .collect();
            let mut inner = vec![0.0; batch * hidden];
            gemm(&resets, &weights, &mut inner, [batch, hidden, hidden]);
            inner
        };
        for row in 0..batch {
            let Some(step) = layer.place(self.is_reversed, row, turn) else { continue };
            let inputs = &self.inputs[(step * batch + row) * columns..][..columns];
            for unit in 0..hidden {
                let at = row * hidden + unit;
                let z = inputs[unit] + products[row * columns + unit];
                let z = f[0].apply(layer.clipped(z));
                let h = inputs[2 * hidden + unit] + inner[at];
                let h = f[1].apply(layer.clipped(h));
                self.state[at] = (1.0 - z) * h + z * self.state[at];
            }
        }
    }
}

impl Layer {
    fn clipped(&self, x: f64) -> f64 {
        self.clip.map_or(x, |clip| x.clamp(-f64::from(clip), clip.into()))
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
