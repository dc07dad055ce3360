//! A graph in the making: nodes, parameters and constants by name, and the file
//! at the end.
//!
//! A node's output has the node's name, `layer1.0.conv1`, and its parameters lie
//! below it, `layer1.0.conv1.weight`, so that every name is that of torchvision.

use raddle_tensor::DType;

use crate::head::Head;
use crate::parameters::{Init, Parameters, Source};
use crate::proto::Message;
use crate::{Error, Result};

/// Version of ONNX's operator set that the models are written in.
const OPSET: i64 = 17;
/// Version of the file format that goes with it.
const IR_VERSION: i64 = 8;
/// Protobuf's own limit for a message.
const FILE_BYTES_MAX: usize = i32::MAX as usize;

/// A value that flows between nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value(String);

/// A dimension of an input or output.
#[derive(Debug, Clone, Copy)]
pub enum Dim {
    /// As long as this.
    Fixed(usize),
    /// As long as a run wants it.
    Free(&'static str),
}

/// An attribute of a node.
#[derive(Debug, Clone, Copy)]
pub enum Attribute<'a> {
    Int(i64),
    Float(f32),
    Ints(&'a [i64]),
}

/// A graph in the making.
#[derive(Debug)]
pub struct Builder<'a> {
    parameters: Parameters<'a>,
    /// The classifier in place of the network's own, until it is built.
    head: Option<Head>,
    nodes: Vec<Node>,
    /// Encoded tensors.
    tensors: Vec<Message>,
    inputs: Vec<Message>,
    outputs: Vec<Message>,
}

#[derive(Debug)]
struct Node {
    op: &'static str,
    name: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
    attributes: Vec<Message>,
}

impl<'a> Builder<'a> {
    /// An empty graph.
    pub fn new(source: Source<'a>) -> Self {
        Self {
            parameters: Parameters::new(source),
            head: None,
            nodes: Vec::new(),
            tensors: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// An empty graph of a network with this classifier.
    pub fn with_head(source: Source<'a>, head: Head) -> Self {
        Self { head: Some(head), ..Self::new(source) }
    }

    /// The classifier in place of the network's own, once.
    pub fn take_head(&mut self) -> Option<Head> {
        self.head.take()
    }

    /// The source of the parameters.
    pub fn parameters(&mut self) -> &mut Parameters<'a> {
        &mut self.parameters
    }

    /// Adds an input.
    pub fn input(&mut self, name: &str, dtype: DType, dims: &[Dim]) -> Value {
        self.inputs.push(value_info(name, dtype, dims));
        Value(name.into())
    }

    /// Adds a parameter.
    pub fn parameter(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Value> {
        let bytes = self.parameters.bytes(name, shape, init)?;
        Ok(self.tensor(name, DType::F32, shape, &bytes))
    }

    /// Adds a list of integers, as reshapes need them.
    pub fn ints(&mut self, name: &str, values: &[i64]) -> Value {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor(name, DType::I64, &[values.len()], &bytes)
    }

    /// Adds one number.
    pub fn scalar(&mut self, name: &str, value: f32) -> Value {
        self.tensor(name, DType::F32, &[], &value.to_le_bytes())
    }

    fn tensor(&mut self, name: &str, dtype: DType, shape: &[usize], bytes: &[u8]) -> Value {
        let tensor = Message::default()
            .each(shape, |message, &dim| message.int(1, dim as i64))
            .int(2, dtype.onnx_number().into())
            .data(8, name)
            .data(9, bytes);
        self.tensors.push(tensor);
        Value(name.into())
    }

    /// Adds a node with one output.
    pub fn node(
        &mut self,
        op: &'static str,
        name: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute<'_>)],
    ) -> Value {
        let inputs = inputs.iter().map(|value| value.0.clone()).collect();
        self.push(op, name, inputs, vec![name.to_owned()], attributes);
        Value(name.into())
    }

    /// Adds a node of which one output is used, and inputs may be left out.
    pub fn node_with_gaps(
        &mut self,
        op: &'static str,
        name: &str,
        inputs: &[Option<&Value>],
        output: usize,
        attributes: &[(&str, Attribute<'_>)],
    ) -> Value {
        let inputs = inputs.iter().map(|value| value.map_or(String::new(), |it| it.0.clone()));
        let mut outputs = vec![String::new(); output];
        outputs.push(name.to_owned());
        self.push(op, name, inputs.collect(), outputs, attributes);
        Value(name.into())
    }

    fn push(
        &mut self,
        op: &'static str,
        name: &str,
        inputs: Vec<String>,
        outputs: Vec<String>,
        attributes: &[(&str, Attribute<'_>)],
    ) {
        let attributes = attributes.iter().map(|(name, value)| attribute(name, *value)).collect();
        self.nodes.push(Node { op, name: name.into(), inputs, outputs, attributes });
    }

    /// Makes a value that nothing has used yet an output under a name of its own.
    pub fn output(&mut self, name: &str, value: &Value, dtype: DType, dims: &[Dim]) {
        for node in &mut self.nodes {
            for output in node.outputs.iter_mut().filter(|output| **output == value.0) {
                *output = name.to_owned();
            }
        }
        self.outputs.push(value_info(name, dtype, dims));
    }

    /// The file.
    ///
    /// ## Errors
    /// [`Error::UnusedParameters`], [`Error::TooLarge`].
    pub fn finish(self, name: &str) -> Result<Vec<u8>> {
        self.parameters.finish()?;
        let mut graph = Message::default();
        for node in &self.nodes {
            let node = Message::default()
                .each(&node.inputs, |message, input| message.data(1, input))
                .each(&node.outputs, |message, output| message.data(2, output))
                .data(3, &node.name)
                .data(4, node.op)
                .each(&node.attributes, |message, attribute| message.message(5, attribute));
            graph = graph.message(1, &node);
        }
        let graph = graph
            .data(2, name)
            .each(&self.tensors, |message, tensor| message.message(5, tensor))
            .each(&self.inputs, |message, input| message.message(11, input))
            .each(&self.outputs, |message, output| message.message(12, output));
        let opset = Message::default().data(1, "").int(2, OPSET);
        let bytes = Message::default()
            .int(1, IR_VERSION)
            .data(2, "raddle")
            .message(7, &graph)
            .message(8, &opset)
            .into_bytes();
        match bytes.len() {
            ..=FILE_BYTES_MAX => Ok(bytes),
            bytes => Err(Error::TooLarge { bytes }),
        }
    }
}

/// A `ValueInfoProto` with a tensor's type.
fn value_info(name: &str, dtype: DType, dims: &[Dim]) -> Message {
    let shape = Message::default().each(dims, |message, dim| {
        let dim = match *dim {
            Dim::Fixed(len) => Message::default().int(1, len as i64),
            Dim::Free(name) => Message::default().data(2, name),
        };
        message.message(1, &dim)
    });
    let tensor = Message::default().int(1, dtype.onnx_number().into()).message(2, &shape);
    Message::default().data(1, name).message(2, &Message::default().message(1, &tensor))
}

/// An `AttributeProto`.
fn attribute(name: &str, value: Attribute<'_>) -> Message {
    let named = Message::default().data(1, name);
    match value {
        Attribute::Float(value) => named.float(2, value).int(20, 1),
        Attribute::Int(value) => named.int(3, value).int(20, 2),
        Attribute::Ints(values) => {
            named.each(values, |message, &value| message.int(8, value)).int(20, 7)
        }
    }
}
