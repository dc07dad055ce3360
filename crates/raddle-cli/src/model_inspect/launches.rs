//! What a model's nodes become on a GPU: the launches of a session, each with the nodes that
//! it computes.

use std::str::FromStr;

use raddle_models::Precision;
use raddle_models::gpu::{GpuSession, StepReport};
use raddle_tensor::graph::Graph;

/// A device with the kernels for GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Gpu(u32),
    /// The CPU device, which runs the same kernels slowly.
    Simulator,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let gpu = |number: &str| number.parse().ok().map(Self::Gpu);
        match text {
            "gpu" => Some(Self::Gpu(0)),
            "simulator" => Some(Self::Simulator),
            _ => text.strip_prefix("gpu:").and_then(gpu),
        }
        .ok_or_else(|| "expected gpu, gpu:N or simulator".into())
    }
}

/// The launches of a model for some shapes.
#[derive(Debug, Clone)]
pub struct Launches {
    /// The device in words.
    pub device: String,
    /// What floats are computed in.
    pub dtype: &'static str,
    pub steps: Vec<StepReport>,
}

impl Launches {
    /// Prepares the model for inputs of these shapes, in its order.
    ///
    /// ## Errors
    /// Why it cannot run there.
    pub fn of(
        graph: &Graph,
        target: Target,
        precision: Precision,
        shapes: &[Vec<usize>],
    ) -> Result<Self, String> {
        let device = match target {
            Target::Gpu(number) => {
                raddle::Device::cuda(number).map_err(|error| error.to_string())?
            }
            Target::Simulator => raddle::Device::cpu(),
        };
        let session = GpuSession::new(graph, &device, precision);
        let steps = session.and_then(|session| session.prepare(shapes));
        let steps = steps.map_err(|error| error.to_string())?;
        Ok(Self { device: device.to_string(), dtype: precision.name(), steps })
    }
}
