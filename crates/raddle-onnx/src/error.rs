//! What can be wrong with a file, with the place.

use std::path::PathBuf;

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of an ONNX file or of running what it holds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes are not the protobuf encoding that they should be.
    #[error("byte {offset}: {what}")]
    Wire {
        /// Offset in the file; 0 if unknown.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The file is valid protobuf, but no valid model.
    #[error("{place}: {what}")]
    Model {
        /// The node, tensor or value.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// The model needs an operator set that is not declared.
    #[error("node {node}: no version is declared for operator set {domain:?}")]
    NoOpset {
        /// The node.
        node: String,
        /// The domain of its operation.
        domain: String,
    },
    /// External data that lies outside the model's folder.
    #[error("tensor {tensor}: external data {location:?} must be a file below the model's folder")]
    OutsideFolder {
        /// The tensor.
        tensor: String,
        /// The path in the file.
        location: String,
    },
    /// An error of the graph or of an operation.
    #[error(transparent)]
    Graph(#[from] raddle_tensor::Error),
}

impl Error {
    /// An [`Error::Model`].
    pub fn model(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Model { place: place.into(), what: what.into() }
    }
}
