//! What can go wrong with a graph or an operation, with its place and numbers.

use crate::DType;

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a graph, of an operation or of a tensor.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something failed at a node of the graph; the source says what.
    #[error("node {node} ({op}, opset {opset}): {source}")]
    Node {
        /// Name of the node, or its outputs if it has no name.
        node: String,
        /// Name of the operation with its domain, unless that is ONNX's own.
        op: String,
        /// Version of the operator set that the node is of.
        opset: u32,
        /// What went wrong.
        source: Box<Error>,
    },
    /// The operation is not in the table at all.
    #[error("operation {op} is not supported")]
    UnknownOp {
        /// Name of the operation with its domain.
        op: String,
    },
    /// The operation is in the table, but not for this opset.
    #[error("operation {op} is supported for opsets {supported}, found opset {opset}")]
    UnsupportedOpset {
        /// Name of the operation with its domain.
        op: String,
        /// Version that the model asks for.
        opset: u32,
        /// Versions in the table.
        supported: String,
    },
    /// The operation does not work on this element type.
    #[error("{what} has type {found}, expected {expected}")]
    UnsupportedType {
        /// Which input, output or attribute.
        what: String,
        /// The type it has.
        found: DType,
        /// The types that would do.
        expected: String,
    },
    /// Shapes that cannot go together.
    #[error("shapes {left:?} and {right:?} do not fit: {why}")]
    ShapeMismatch {
        /// Shape of the first tensor.
        left: Vec<usize>,
        /// Shape of the second tensor.
        right: Vec<usize>,
        /// What would have to hold.
        why: &'static str,
    },
    /// The number of elements of a tensor is not that of its shape.
    #[error("shape {shape:?} needs {expected} elements, found {found}")]
    ElementCount {
        /// The shape.
        shape: Vec<usize>,
        /// Its number of elements.
        expected: usize,
        /// The elements there are.
        found: usize,
    },
    /// A tensor too large to be held.
    #[error("a tensor of shape {shape:?} and type {dtype} is larger than {bytes_max} bytes")]
    TooLarge {
        /// The shape.
        shape: Vec<usize>,
        /// Type of the elements.
        dtype: DType,
        /// The limit.
        bytes_max: usize,
    },
    /// An axis out of range.
    #[error("axis {axis} is out of range for a tensor of rank {rank}")]
    Axis {
        /// The axis, negative ones counting from the end.
        axis: i64,
        /// Number of dimensions.
        rank: usize,
    },
    /// An index out of range.
    #[error("index {index} is out of range for a dimension of {len}")]
    Index {
        /// The index.
        index: i64,
        /// Length of the dimension.
        len: usize,
    },
    /// A wrong number of inputs or outputs.
    #[error("expected {expected} {what}, found {found}")]
    Arity {
        /// `inputs` or `outputs`.
        what: &'static str,
        /// Numbers that would do.
        expected: String,
        /// The number there is.
        found: usize,
    },
    /// A required input is missing.
    #[error("input {index} is required")]
    MissingInput {
        /// Index of the input.
        index: usize,
    },
    /// An input is a tensor, sequence or optional where another is expected.
    #[error("input {index} is {found}, expected {expected}")]
    ValueKind {
        /// Index of the input.
        index: usize,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// An attribute is missing, of a wrong kind or unknown.
    #[error("attribute {name} {why}")]
    Attribute {
        /// Name of the attribute.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The operation cannot do what is asked, for a reason in words.
    #[error("{0}")]
    Invalid(String),
    /// Nodes that wait for each other.
    #[error("the graph has a cycle through node {node}")]
    Cycle {
        /// One of the nodes.
        node: String,
    },
    /// A value that no node makes.
    #[error("{what} {name} has no producer")]
    Undefined {
        /// `input` or `output`.
        what: &'static str,
        /// Name of the value.
        name: String,
    },
    /// A value that is made twice.
    #[error("value {name} is defined twice")]
    Duplicate {
        /// Name of the value.
        name: String,
    },
    /// A run was called with a name that is no input of the graph.
    #[error("the graph has no input {name}; its inputs are {inputs}")]
    UnknownInput {
        /// The name.
        name: String,
        /// Names of the inputs there are.
        inputs: String,
    },
    /// A run was called without one of the inputs.
    #[error("input {name} was not given")]
    InputNotGiven {
        /// Name of the input.
        name: String,
    },
    /// An input that is not what the graph declares.
    #[error("input {name} is declared as {expected}, found {found}")]
    InputType {
        /// Name of the input.
        name: String,
        /// Declared type and shape.
        expected: String,
        /// Type and shape of the value that was given.
        found: String,
    },
    /// An operation's result breaks the rule of its row: a bug of this crate.
    #[error("output {index} breaks the rule of the op table: {why}")]
    Rule {
        /// Index of the output.
        index: usize,
        /// What the rule says and what was made.
        why: String,
    },
}

impl Error {
    /// An [`Error::Invalid`] with this text.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }
}
