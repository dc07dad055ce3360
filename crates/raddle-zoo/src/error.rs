//! Why a model could not be made.

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a model could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no model of this name; see [`MODELS`](crate::MODELS).
    #[error("no model is called {name:?}; there are {known}")]
    UnknownModel {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The weights lack a parameter of the model: they are of another model, or
    /// under other names than torchvision's.
    #[error("the weights have no {name:?}; they begin with {examples}")]
    MissingParameter {
        /// Name of the parameter.
        name: String,
        /// Some names that the weights have.
        examples: String,
    },
    /// A parameter has another shape in the weights than in the model.
    #[error("parameter {name:?}: shape {expected:?} expected, {found:?} found in the weights")]
    ParameterShape {
        /// Name of the parameter.
        name: String,
        /// Shape in the model.
        expected: Vec<usize>,
        /// Shape in the weights.
        found: Vec<usize>,
    },
    /// A parameter whose elements are no floats of at most 32 bits.
    #[error("parameter {name:?}: f32, f16 or bf16 expected, {found} found in the weights")]
    ParameterType {
        /// Name of the parameter.
        name: String,
        /// Type in the weights.
        found: raddle_tensor::DType,
    },
    /// The weights have parameters that the model does not: they are of another model.
    #[error("the weights have {count} arrays that the model does not, such as {examples}")]
    UnusedParameters {
        /// How many.
        count: usize,
        /// Some of their names.
        examples: String,
    },
    /// A layer that classifiers are not made of.
    #[error("no layer of a classifier is called {name:?}; there are dropout, linear, relu")]
    HeadLayer {
        /// The name asked for.
        name: String,
    },
    /// A classifier needs a layer with parameters.
    #[error("a classifier needs a linear layer")]
    HeadWithoutLinear,
    /// The sizes of the layers of a classifier come from the weights.
    #[error(
        "a classifier of several layers takes their sizes from trained weights; name a file of them"
    )]
    HeadNeedsWeights,
    /// The network has no classifier that could be replaced.
    #[error("{name} has no classifier of pictures that other layers could stand in for")]
    NoHead {
        /// The network.
        name: &'static str,
    },
    /// The model and its weights are larger than a protobuf file can be.
    #[error("the model has {bytes} bytes, more than the 2 GiB that an ONNX file can have")]
    TooLarge {
        /// Bytes of the file.
        bytes: usize,
    },
}
