//! A graph of a random program, with what a replay does on vectors.
//!
//! The graph fills memory of its own, churns it with the target and a source,
//! exchanges it with the target, and drops it: so it has kernels, a fill, a copy from
//! the host and an allocation in it.

use std::rc::Rc;

use raddle_runtime::{Buffer, Error, Graph, Grid, Result, Stream};

use crate::kernels::{churn, churn_oracle, exchange, exchange_oracle};
use crate::random::numbers;
use crate::runner::{Expected, Pair};

/// A graph beside the vectors of the memory that it touches.
pub(crate) struct Captured {
    graph: Graph,
    model: Model,
}

struct Model {
    target: Expected,
    source: Option<Expected>,
    seed: u32,
}

impl Model {
    fn of(target: &Pair, source: Option<&Pair>, seed: u32) -> Self {
        let source = source.map(|pair| Rc::clone(&pair.expected));
        Self { target: Rc::clone(&target.expected), source, seed }
    }

    fn replay(&self) {
        let mut target = self.target.borrow_mut();
        let source = self.source.as_ref().map(|source| source.borrow());
        let source = source.as_ref().map_or(&[][..], |source| &source[..]);
        let mut own = vec![self.seed; target.len()];
        let half = own.len() / 2;
        own[..half].copy_from_slice(&numbers(half, self.seed));
        churn_oracle(&mut own, [&target, source, source], self.seed);
        exchange_oracle(&mut own, &mut target, self.seed);
    }
}

/// What is captured.
fn work(stream: &Stream, target: &mut Buffer<u32>, source: &Buffer<u32>, seed: u32) -> Result<()> {
    let len = target.len();
    let grid = Grid::new(1 + (len as u32 / 1024).min(64), 4);
    let mut own = stream.filled(len, seed)?;
    stream.write(own.slice_mut(..len / 2)?, &numbers(len / 2, seed))?;
    stream.launch(grid, churn(0, &mut own, [&*target, source, source], seed))?;
    stream.launch(grid, exchange(0, &mut own, target, seed))?;
    Ok(())
}

impl Captured {
    pub(crate) fn new(
        stream: &Stream,
        target: &mut Pair,
        source: Option<&Pair>,
        nothing: &Buffer<u32>,
        seed: u32,
    ) -> Result<Self> {
        let model = Model::of(target, source, seed);
        let source = source.map_or(nothing, |pair| &pair.buffer);
        let captured = stream.capture(|stream| work(stream, &mut target.buffer, source, seed));
        captured.map(|(graph, ())| Self { graph, model })
    }

    /// Captures over other memory in the graph's place. A graph of another shape
    /// (buffers without elements make fewer nodes) leaves it as it was.
    pub(crate) fn update(
        &mut self,
        stream: &Stream,
        target: &mut Pair,
        source: Option<&Pair>,
        nothing: &Buffer<u32>,
        seed: u32,
    ) -> Result<()> {
        let model = Model::of(target, source, seed);
        let source = source.map_or(nothing, |pair| &pair.buffer);
        let work = |stream: &Stream| work(stream, &mut target.buffer, source, seed);
        match self.graph.update(stream, work) {
            Ok(()) => self.model = model,
            Err(Error::GraphShape { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    pub(crate) fn replay(&mut self, stream: &Stream) -> Result<()> {
        self.graph.launch(stream)?;
        self.model.replay();
        Ok(())
    }
}
