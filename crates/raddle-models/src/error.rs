//! What can go wrong between a model's file and its outputs.

/// A model that cannot be loaded, planned or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is damaged or needs what is not supported anywhere.
    #[error(transparent)]
    Model(#[from] raddle_onnx::Error),
    /// The graph or a run of it is wrong.
    #[error(transparent)]
    Graph(#[from] raddle_tensor::Error),
    /// The GPU has no kernel for a node. Run the model on the CPU.
    #[error("node {node} ({op}, opset {opset}) cannot run on the GPU: {why}")]
    NotOnGpu {
        /// The node.
        node: String,
        /// Its operation.
        op: String,
        /// Version of the operator set.
        opset: u32,
        /// What is missing.
        why: String,
    },
    /// A call of a kernel failed.
    #[error(transparent)]
    Kernel(#[from] raddle_kernels::Error),
    /// The runtime failed.
    #[error(transparent)]
    Runtime(#[from] raddle::Error),
}

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
