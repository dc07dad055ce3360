//! Runs whose inputs are written where the copy to the device reads them, and whose
//! outputs stay where the copy from the device put them: for whoever has the bytes of
//! several requests and wants each of them copied once.

use std::time::{Duration, Instant};

use raddle::Pinned;
use raddle_tensor::graph::{Dim, ValueType};
use raddle_tensor::{DType, Error as GraphError};

use super::{GpuSession, Program, Typed, lock};
use crate::Result;

/// An input.
pub struct Feed<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its shape.
    pub shape: &'a [usize],
    /// Writes all its elements.
    pub write: &'a (dyn Fn(&mut [f32]) + Sync),
}

/// An output in pinned memory.
#[derive(Debug)]
pub struct Fetched {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements.
    pub elements: Pinned<f32>,
}

/// Times of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// To write the inputs and bring them to the device.
    pub copy_in: Duration,
    /// To compute.
    pub compute: Duration,
    /// To bring the outputs back.
    pub copy_out: Duration,
}

impl GpuSession {
    /// Whether [`Self::run_pinned`] can be used: the session computes in 16 bits.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        !matches!(self.weights, Typed::Dense(_))
    }

    /// Runs the model; gives its outputs in its order. Blocks until they are there.
    ///
    /// ## Errors
    /// As [`crate::Session::run`], and for a session in [`crate::Precision::F32`].
    pub fn run_pinned(&self, feeds: &[Feed<'_>]) -> Result<(Vec<Fetched>, Phases)> {
        if !self.is_pinned() {
            let why = "pinned runs are for sessions in 16 bits".to_owned();
            return Err(GraphError::Invalid(why).into());
        }
        let inputs = self.graph.inputs.iter().map(|&id| {
            let name = self.graph.name_of(id);
            let feed = feeds.iter().find(|feed| feed.name == name);
            feed.ok_or_else(|| GraphError::Invalid(format!("input {name} is missing")))
        });
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        for (&id, feed) in self.graph.inputs.iter().zip(&inputs) {
            let declared = self.graph.values[id.index()].declared.as_ref();
            if !is_declared(feed.shape, declared) {
                let why = format!("input {} has shape {:?}", feed.name, feed.shape);
                return Err(GraphError::Invalid(format!("{why}, expected {declared:?}")).into());
            }
        }
        let shapes: Vec<_> = inputs.iter().map(|feed| feed.shape.to_vec()).collect();
        let program = self.program(&shapes)?;
        self.replay(&mut lock(&program), &inputs)
    }

    fn replay(&self, program: &mut Program, feeds: &[&Feed<'_>]) -> Result<(Vec<Fetched>, Phases)> {
        let began = Instant::now();
        let Program { captured, inputs, outputs, staging, .. } = program;
        for ((buffer, staged), feed) in inputs.iter_mut().zip(&mut *staging).zip(feeds) {
            let mut pinned = match staged.take() {
                Some(pinned) => pinned,
                None => self.device.pinned_zeros(buffer.len())?,
            };
            (feed.write)(&mut pinned);
            let copy = self.stream.write_pinned(&mut *buffer, pinned)?;
            *staged = Some(copy.wait()?);
        }
        let copied = Instant::now();
        captured.launch(&self.stream)?.wait()?;
        let computed = Instant::now();
        let fetched = outputs.iter().map(|(shape, buffer)| {
            let target = self.device.pinned_zeros(buffer.len())?;
            let elements = self.stream.read_pinned(buffer, target)?.wait()?;
            Ok(Fetched { shape: shape.clone(), elements })
        });
        let fetched = fetched.collect::<Result<_>>()?;
        let phases = Phases {
            copy_in: copied - began,
            compute: computed - copied,
            copy_out: computed.elapsed(),
        };
        Ok((fetched, phases))
    }
}

/// Whether elements of `f32` in a shape are what is declared.
fn is_declared(shape: &[usize], declared: Option<&ValueType>) -> bool {
    match declared {
        None | Some(ValueType::Tensor(DType::F32, None)) => true,
        Some(ValueType::Tensor(DType::F32, Some(dims))) => {
            let fits = |(dim, len): (&Dim, &usize)| match dim {
                Dim::Fixed(fixed) => fixed == len,
                Dim::Symbol(_) | Dim::Unknown => true,
            };
            dims.len() == shape.len() && dims.iter().zip(shape).all(fits)
        }
        Some(_) => false,
    }
}
