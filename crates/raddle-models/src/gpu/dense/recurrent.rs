//! Recurrent layers: one product for all inputs, then a few launches for each step of
//! time. Gates have their usual activations.

use raddle_kernels::dense::Function;

use super::Failure;
use super::Made;
use super::call::Call;
use super::value::Dense;

/// What all steps of one direction read.
struct Direction {
    /// Products of inputs and weights with their bias: `[time, batch, gates * hidden]`.
    inputs: Dense,
    /// `[hidden, gates * hidden]`.
    recurrence: Dense,
    /// The third gate's weights, where it has a product of its own.
    candidate: Option<Dense>,
    /// The bias of the recurrence, `[gates * hidden]`, where it is not in the inputs.
    bias: Option<Dense>,
    /// Peepholes, `[3 * hidden]`.
    peepholes: Option<Dense>,
    hidden: usize,
}

/// The state between steps: `[batch, hidden]`.
struct State {
    h: Dense,
    c: Option<Dense>,
}

impl Call<'_, '_> {
    pub fn recurrent(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let (gates, usual): (usize, &[&str]) = match self.node.op.name {
            "LSTM" => (4, &["Sigmoid", "Tanh", "Tanh"]),
            "GRU" => (3, &["Sigmoid", "Tanh"]),
            "RNN" => (1, &["Tanh"]),
            _ => return Ok(None),
        };
        let directions = match self.ctx.text("direction", "forward")? {
            "forward" => vec![false],
            "reverse" => vec![true],
            _ => vec![false, true],
        };
        let activations = self.ctx.texts("activations")?;
        let is_usual = activations.is_none_or(|names| {
            names.iter().map(String::as_str).eq(usual.repeat(directions.len()))
        });
        if !is_usual || self.node.attribute("clip").is_some() {
            return Err(Failure::why("other activations than the usual have no kernel"));
        }
        if self.ctx.flag("input_forget", false)? || self.has(4) {
            return Err(Failure::why("lengths of sequences and coupled gates have no kernel"));
        }
        let is_batch_first = self.ctx.flag("layout", false)?;
        let mut x = self.x(0)?;
        if x.rank() != 3 {
            return Err(Failure::why(format!("its operand has shape {:?}", x.shape)));
        }
        if is_batch_first {
            x = self.kit().transposed(&x, &[1, 0, 2])?;
        }
        let (time, batch) = (x.shape[0], x.shape[1]);
        let (mut all, mut last_h, mut last_c) = (Vec::new(), Vec::new(), Vec::new());
        for (at, &is_reverse) in directions.iter().enumerate() {
            let direction = self.direction(&x, at, gates)?;
            let hidden = direction.hidden;
            let h = self.initial(5, at, is_batch_first, [batch, hidden], &x)?;
            let c = match gates {
                4 => Some(self.initial(6, at, is_batch_first, [batch, hidden], &x)?),
                _ => None,
            };
            let mut state = State { h, c };
            let mut steps = Vec::new();
            for step in 0..time {
                let step = if is_reverse { time - 1 - step } else { step };
                state = self.step(&direction, state, step)?;
                steps.push(state.h.reshaped(&[1, 1, batch, hidden])?);
            }
            if is_reverse {
                steps.reverse();
            }
            all.push(self.kit().concatenated(&steps.iter().collect::<Vec<_>>(), 0)?);
            last_h.push(state.h.reshaped(&[1, batch, hidden])?);
            if let Some(c) = state.c {
                last_c.push(c.reshaped(&[1, batch, hidden])?);
            }
        }
        let mut made = vec![self.joined(&all, 1, is_batch_first.then_some(&[2, 0, 1, 3]))?];
        for last in [last_h, last_c] {
            if !last.is_empty() {
                made.push(self.joined(&last, 0, is_batch_first.then_some(&[1, 0, 2]))?);
            }
        }
        Ok(Some(made))
    }

    fn joined(
        &mut self,
        parts: &[Dense],
        axis: usize,
        order: Option<&[usize]>,
    ) -> Result<Made, Failure> {
        let joined = self.kit().concatenated(&parts.iter().collect::<Vec<_>>(), axis)?;
        match order {
            Some(order) => Ok(self.kit().transposed(&joined, order)?.into()),
            None => Ok(joined.into()),
        }
    }

    /// One direction's part of an operand whose first dimension are directions.
    fn of_direction(&mut self, x: &Dense, at: usize) -> Result<Dense, Failure> {
        let part = self.kit().part(x, 0, at, 1)?;
        part.reshaped(&x.shape[1..])
    }

    fn direction(&mut self, x: &Dense, at: usize, gates: usize) -> Result<Direction, Failure> {
        let (w, r) = (self.x(1)?, self.x(2)?);
        let (w, r) = (self.of_direction(&w, at)?, self.of_direction(&r, at)?);
        let rows = w.shape[0];
        if w.rank() != 2 || r.shape != [rows, rows / gates] {
            return Err(Failure::why(format!(
                "weights {:?} and {:?} do not fit",
                w.shape, r.shape
            )));
        }
        let w = self.kit().transposed(&w, &[1, 0])?;
        let recurrence = self.kit().transposed(&r, &[1, 0])?;
        let mut inputs = self.kit().matmul(x, &w, x.dtype)?;
        let mut bias = None;
        if let Some(both) = self.maybe(3)? {
            let both = self.of_direction(&both, at)?;
            let own = self.kit().part(&both, 0, 0, rows)?;
            inputs = self.two(Function::Add, &inputs, &own)?;
            let other = self.kit().part(&both, 0, rows, rows)?;
            match gates {
                3 => bias = Some(other),
                // What is added to all steps alike is added once.
                _ => inputs = self.two(Function::Add, &inputs, &other)?,
            }
        }
        let candidate = match gates == 3 && !self.ctx.flag("linear_before_reset", false)? {
            true => Some(self.gate(&recurrence, 2, rows / gates)?),
            false => None,
        };
        let peepholes = match gates == 4 && self.has(7) {
            true => {
                let all = self.x(7)?;
                Some(self.of_direction(&all, at)?)
            }
            false => None,
        };
        Ok(Direction { inputs, recurrence, candidate, bias, peepholes, hidden: rows / gates })
    }

    fn initial(
        &mut self,
        index: usize,
        at: usize,
        is_batch_first: bool,
        shape: [usize; 2],
        like: &Dense,
    ) -> Result<Dense, Failure> {
        if !self.has(index) {
            let zero = self.kit().number(0.0, like.dtype)?;
            return self.kit().expanded(&zero, &shape);
        }
        let mut all = self.x(index)?;
        if is_batch_first {
            all = self.kit().transposed(&all, &[1, 0, 2])?;
        }
        self.of_direction(&all, at)?.reshaped(&shape)
    }

    fn step(&mut self, own: &Direction, state: State, at: usize) -> Result<State, Failure> {
        let inputs = self.of_direction(&own.inputs, at)?;
        let product = self.kit().matmul(&state.h, &own.recurrence, state.h.dtype)?;
        match state.c {
            Some(c) => self.lstm_step(own, &inputs, &product, &c),
            None if own.recurrence.shape[1] == own.hidden => {
                let sum = self.two(Function::Add, &inputs, &product)?;
                Ok(State { h: self.one(Function::Tanh, &sum)?, c: None })
            }
            None => self.gru_step(own, &inputs, &product, &state.h),
        }
    }

    /// Part `at` of values that lie side by side in the last dimension.
    fn gate(&mut self, x: &Dense, at: usize, hidden: usize) -> Result<Dense, Failure> {
        let axis = x.rank() - 1;
        self.kit().part(x, axis, at * hidden, hidden)
    }

    fn lstm_step(
        &mut self,
        own: &Direction,
        inputs: &Dense,
        product: &Dense,
        c: &Dense,
    ) -> Result<State, Failure> {
        let mut gates = Vec::new();
        for at in 0..4 {
            // Parts of what is in memory are part of the step's one kernel.
            let (a, b) = (self.gate(inputs, at, own.hidden)?, self.gate(product, at, own.hidden)?);
            gates.push(self.two(Function::Add, &a, &b)?);
        }
        // Input, output and forget gate look at the state before and after.
        let look = |call: &mut Self, gate: &Dense, at: usize, c: &Dense| match &own.peepholes {
            Some(peepholes) => {
                let peephole = call.gate(peepholes, at, own.hidden)?;
                let seen = call.two(Function::Mul, c, &peephole)?;
                call.two(Function::Add, gate, &seen)
            }
            None => Ok(gate.clone()),
        };
        let input = look(self, &gates[0], 0, c)?;
        let input = self.one(Function::Sigmoid, &input)?;
        let forget = look(self, &gates[2], 2, c)?;
        let forget = self.one(Function::Sigmoid, &forget)?;
        let candidate = self.one(Function::Tanh, &gates[3])?;
        let kept = self.two(Function::Mul, &forget, c)?;
        let added = self.two(Function::Mul, &input, &candidate)?;
        let c = self.two(Function::Add, &kept, &added)?;
        let output = look(self, &gates[1], 1, &c)?;
        let output = self.one(Function::Sigmoid, &output)?;
        let shown = self.one(Function::Tanh, &c)?;
        Ok(State { h: self.two(Function::Mul, &output, &shown)?, c: Some(c) })
    }

    fn gru_step(
        &mut self,
        own: &Direction,
        inputs: &Dense,
        product: &Dense,
        h: &Dense,
    ) -> Result<State, Failure> {
        let hidden = own.hidden;
        let mut gates = Vec::new();
        for at in 0..2 {
            let (a, b) = (self.gate(inputs, at, hidden)?, self.gate(product, at, hidden)?);
            let mut sum = self.two(Function::Add, &a, &b)?;
            if let Some(bias) = &own.bias {
                let bias = self.gate(bias, at, hidden)?;
                sum = self.two(Function::Add, &sum, &bias)?;
            }
            gates.push(self.one(Function::Sigmoid, &sum)?);
        }
        let (update, reset) = (&gates[0], &gates[1]);
        let seen = match self.ctx.flag("linear_before_reset", false)? {
            true => {
                let mut all = self.gate(product, 2, hidden)?;
                if let Some(bias) = &own.bias {
                    let bias = self.gate(bias, 2, hidden)?;
                    all = self.two(Function::Add, &all, &bias)?;
                }
                self.two(Function::Mul, reset, &all)?
            }
            false => {
                let part = self.two(Function::Mul, reset, h)?;
                let weights = own.candidate.as_ref().unwrap_or(&own.recurrence);
                let mut all = self.kit().matmul(&part, weights, h.dtype)?;
                if let Some(bias) = &own.bias {
                    let bias = self.gate(bias, 2, hidden)?;
                    all = self.two(Function::Add, &all, &bias)?;
                }
                all
            }
        };
        let input = self.gate(inputs, 2, hidden)?;
        let sum = self.two(Function::Add, &input, &seen)?;
        let candidate = self.one(Function::Tanh, &sum)?;
        // (1 - update) * candidate + update * h.
        let difference = self.two(Function::Sub, h, &candidate)?;
        let moved = self.two(Function::Mul, update, &difference)?;
        Ok(State { h: self.two(Function::Add, &candidate, &moved)?, c: None })
    }
}
