//! A model on a device.

use raddle::Device;
use raddle_tensor::graph::Graph;
use raddle_tensor::{Plan, Value};

use crate::gpu::GpuSession;
use crate::{Error, Result};

/// How a model is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The type that a GPU computes in.
    pub precision: Precision,
}

/// The float type that a GPU stores and multiplies; sums are in `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Each value in the type that the model gives it, products of `f32` in `f32`: any
    /// model whose operations have kernels.
    #[default]
    F32,
    /// As [`F32`](Self::F32), but large products and convolutions of `f32` go through tensor
    /// cores, which round factors to 10 bits of mantissa: a sum is off by at most 1e-3 of the
    /// sum of its terms' sizes.
    TF32,
    /// IEEE's 16 bits: convolutional networks all through, other models where range and
    /// precision allow; see [`Route`](crate::gpu::Route).
    F16,
    /// The upper half of an `f32`, as [`F16`](Self::F16).
    BF16,
}

impl Precision {
    /// The name in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::TF32 => "tf32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
        }
    }
}

/// A model that is ready to run on a device, from any number of threads.
#[derive(Debug)]
pub struct Session {
    backend: Backend,
}

#[derive(Debug)]
enum Backend {
    Cpu(Box<Plan>),
    Gpu(Box<GpuSession>),
}

impl Session {
    pub(crate) fn new(graph: &Graph, device: &Device, options: Options) -> Result<Self> {
        let backend = match device.is_gpu() {
            true => Backend::Gpu(Box::new(GpuSession::new(graph, device, options.precision)?)),
            false => Backend::Cpu(Box::new(Plan::new(graph.clone())?.optimised()?)),
        };
        Ok(Self { backend })
    }

    /// Runs the model with values for its inputs by name; gives its outputs by name, in
    /// the model's order.
    ///
    /// ## Errors
    /// [`Error::Graph`] for wrong inputs, [`Error::NotOnGpu`] for shapes that a kernel
    /// does not have, a failure of the runtime.
    pub fn run<N: AsRef<str>>(
        &self,
        inputs: impl IntoIterator<Item = (N, Value)>,
    ) -> Result<Vec<(String, Value)>> {
        match &self.backend {
            Backend::Gpu(session) => session.run(inputs),
            Backend::Cpu(plan) => {
                let values = plan.run(inputs).map_err(Error::from)?;
                let graph = plan.graph();
                let names = graph.outputs.iter().map(|&id| graph.name_of(id).to_owned());
                Ok(names.zip(values).collect())
            }
        }
    }

    /// The session on the GPU, if the model is on one.
    #[must_use]
    pub fn gpu(&self) -> Option<&GpuSession> {
        match &self.backend {
            Backend::Gpu(session) => Some(session),
            Backend::Cpu(_) => None,
        }
    }
}
