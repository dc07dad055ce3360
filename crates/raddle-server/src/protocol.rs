//! Bytes to requests and replies to bytes: the KServe v2 protocol with Triton's
//! extensions, as protobuf and as JSON.

pub mod json;
mod parameter;
pub mod proto;
pub mod wire;

use crate::tensor::Tensor;

/// Extensions of the protocol that this server has.
pub const EXTENSIONS: [&str; 8] = [
    "model_repository",
    "model_configuration",
    "schedule_policy",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "logging",
    "system_shared_memory",
];

/// An inference request, whichever way it came.
#[derive(Debug, Clone, Default)]
pub struct InferRequest {
    /// Name of the model.
    pub model: String,
    /// Number or label of the version; empty for the server's choice.
    pub version: String,
    /// The client's id; comes back in the reply.
    pub id: String,
    /// Priority, 1 being the highest; 0 for the model's default.
    pub priority: u64,
    /// Microseconds that the request may take; 0 for no limit.
    pub timeout_us: u64,
    /// Inputs.
    pub inputs: Vec<Input>,
    /// Outputs that are wanted; all if empty.
    pub outputs: Vec<OutputRequest>,
    /// Whether outputs that do not say it are binary; over HTTP.
    pub is_binary_output: bool,
}

/// An input of a request.
#[derive(Debug, Clone)]
pub struct Input {
    /// The tensor; without data if it lies in shared memory.
    pub tensor: Tensor,
    /// Where in shared memory the data is.
    pub region: Option<Region>,
}

/// A part of a registered region of shared memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Region {
    /// Name of the region.
    pub name: String,
    /// Where in it the tensor begins.
    pub offset: u64,
    /// Bytes of the tensor, or most bytes of an output.
    pub bytes: u64,
}

/// An output that is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputRequest {
    /// Name of the output.
    pub name: String,
    /// Whether it is binary; over HTTP.
    pub is_binary: Option<bool>,
    /// Where in shared memory it goes.
    pub region: Option<Region>,
}

/// An inference reply.
#[derive(Debug)]
pub struct InferReply {
    /// Name of the model.
    pub model: String,
    /// The version that answered.
    pub version: u64,
    /// The client's id.
    pub id: String,
    /// Outputs.
    pub outputs: Vec<Answered>,
}

/// An output of a reply.
#[derive(Debug)]
pub struct Answered {
    /// The tensor; without data if it went to shared memory.
    pub tensor: Tensor,
    /// Whether it is binary over HTTP.
    pub is_binary: bool,
    /// Where in shared memory it went.
    pub region: Option<Region>,
}
