//! What an operation's reference function is given: operands, attributes, bodies.
//!
//! Every accessor says by a typed error what is missing or of a wrong kind; the
//! executor adds the node's name, operation and opset.

use crate::attributes::wrong_kind;
use crate::exec::{Plan, Scope};
use crate::graph::{Attribute, Node, Subgraph, ValueType};
use crate::{Error, Result, Sequence, Tensor, Value};

/// One call of an operation.
pub struct OpContext<'a> {
    /// The node.
    pub node: &'a Node,
    /// Plans of the node's bodies, in the order of [`Node::subgraphs`].
    pub(crate) bodies: &'a [Plan],
    pub(crate) inputs: Vec<Option<Value>>,
    pub(crate) scope: &'a Scope,
}

impl<'a> OpContext<'a> {
    /// A node without operands, to read its attributes.
    pub fn of_attributes(node: &'a Node) -> Self {
        Self { node, bodies: &[], inputs: Vec::new(), scope: &crate::exec::NOWHERE }
    }

    /// A node with operands but no bodies.
    pub fn with_inputs(node: &'a Node, inputs: Vec<Option<Value>>) -> Self {
        Self { node, bodies: &[], inputs, scope: &crate::exec::NOWHERE }
    }

    /// Version of the operator set.
    pub fn opset(&self) -> u32 {
        self.node.opset
    }

    /// Number of inputs, absent ones in the middle included.
    pub fn input_count(&self) -> usize {
        self.inputs.len()
    }

    /// Number of outputs that the node names, unwanted ones in the middle included.
    pub fn output_count(&self) -> usize {
        self.node.outputs.len()
    }

    /// Whether an output is wanted.
    pub fn wants(&self, index: usize) -> bool {
        self.node.outputs.get(index).is_some_and(Option::is_some)
    }

    /// Whether an input is present.
    pub fn has(&self, index: usize) -> bool {
        self.inputs.get(index).is_some_and(Option::is_some)
    }

    /// An input of any kind.
    ///
    /// ## Errors
    /// [`Error::MissingInput`].
    pub fn value(&self, index: usize) -> Result<&Value> {
        self.inputs.get(index).and_then(Option::as_ref).ok_or(Error::MissingInput { index })
    }

    /// An input of any kind, taken out. Its elements can be written in place if
    /// nobody else needs them.
    ///
    /// ## Errors
    /// [`Error::MissingInput`].
    pub fn take(&mut self, index: usize) -> Result<Value> {
        self.inputs.get_mut(index).and_then(Option::take).ok_or(Error::MissingInput { index })
    }

    /// A tensor input.
    ///
    /// ## Errors
    /// [`Error::MissingInput`], [`Error::ValueKind`].
    pub fn tensor(&self, index: usize) -> Result<&Tensor> {
        let value = self.value(index)?;
        value.as_tensor().ok_or(Error::ValueKind {
            index,
            expected: "a tensor",
            found: value.kind(),
        })
    }

    /// A tensor input, taken out; see [`Self::take`].
    ///
    /// ## Errors
    /// [`Error::MissingInput`], [`Error::ValueKind`].
    pub fn take_tensor(&mut self, index: usize) -> Result<Tensor> {
        let value = self.take(index)?;
        let found = value.kind();
        value.into_tensor().ok_or(Error::ValueKind { index, expected: "a tensor", found })
    }

    /// A tensor input that may be absent.
    ///
    /// ## Errors
    /// [`Error::ValueKind`].
    pub fn optional_tensor(&self, index: usize) -> Result<Option<&Tensor>> {
        if self.has(index) { self.tensor(index).map(Some) } else { Ok(None) }
    }

    /// All tensor inputs.
    ///
    /// ## Errors
    /// [`Error::MissingInput`], [`Error::ValueKind`].
    pub fn tensors(&self) -> Result<Vec<&Tensor>> {
        (0..self.input_count()).map(|index| self.tensor(index)).collect()
    }

    /// A sequence input.
    ///
    /// ## Errors
    /// [`Error::MissingInput`], [`Error::ValueKind`].
    pub fn sequence(&self, index: usize) -> Result<&Sequence> {
        match self.value(index)? {
            Value::Sequence(sequence) => Ok(sequence),
            other => Err(Error::ValueKind { index, expected: "a sequence", found: other.kind() }),
        }
    }

    /// The integers of a tensor input: a shape, axes, indices.
    ///
    /// ## Errors
    /// [`Error::MissingInput`], [`Error::ValueKind`], [`Error::UnsupportedType`].
    pub fn i64s(&self, index: usize) -> Result<Vec<i64>> {
        Ok(self.tensor(index)?.to_i64s()?.into_owned())
    }

    /// The integers of an input that may be absent.
    ///
    /// ## Errors
    /// [`Error::ValueKind`], [`Error::UnsupportedType`].
    pub fn optional_i64s(&self, index: usize) -> Result<Option<Vec<i64>>> {
        if self.has(index) { self.i64s(index).map(Some) } else { Ok(None) }
    }

    /// The single integer of a tensor input.
    ///
    /// ## Errors
    /// As [`Self::i64s`]; [`Error::Invalid`] if there is not exactly one.
    pub fn i64(&self, index: usize) -> Result<i64> {
        match self.i64s(index)?[..] {
            [only] => Ok(only),
            ref many => Err(Error::invalid(format!(
                "input {index} must hold one number, found {}",
                many.len()
            ))),
        }
    }

    /// An integer attribute.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn int(&self, name: &str, default: i64) -> Result<i64> {
        self.node.int(name, default)
    }

    /// A truth value that ONNX writes as an integer.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        self.node.flag(name, default)
    }

    /// An integer attribute that may be absent.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn optional_int(&self, name: &str) -> Result<Option<i64>> {
        self.node.optional_int(name)
    }

    /// A float attribute.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn float(&self, name: &str, default: f32) -> Result<f32> {
        self.node.float(name, default)
    }

    /// A text attribute.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn text<'s>(&'s self, name: &str, default: &'s str) -> Result<&'s str> {
        self.node.text(name, default)
    }

    /// A list of integers that may be absent.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn ints(&self, name: &str) -> Result<Option<&'a [i64]>> {
        self.node.ints(name)
    }

    /// A list of floats that may be absent.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn floats(&self, name: &str) -> Result<Option<&'a [f32]>> {
        self.node.floats(name)
    }

    /// A list of texts that may be absent.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn texts(&self, name: &str) -> Result<Option<&'a [String]>> {
        self.node.texts(name)
    }

    /// A tensor attribute that may be absent.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn tensor_attribute(&self, name: &str) -> Result<Option<&'a Tensor>> {
        self.node.tensor_attribute(name)
    }

    /// A type attribute that may be absent.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn type_attribute(&self, name: &str) -> Result<Option<&'a ValueType>> {
        self.node.type_attribute(name)
    }

    /// An element type that an attribute names by its number.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn dtype_attribute(&self, name: &str) -> Result<Option<crate::DType>> {
        self.node.dtype_attribute(name)
    }

    /// The axis that an integer attribute names, for a tensor of a rank.
    ///
    /// ## Errors
    /// [`Error::Attribute`], [`Error::Axis`].
    pub fn axis(&self, name: &str, default: i64, rank: usize) -> Result<usize> {
        self.node.axis(name, default, rank)
    }

    /// A required list attribute or input of integers, whichever the opset has:
    /// the attribute `name` if it is there, else input `index`.
    ///
    /// ## Errors
    /// [`Error::Attribute`], [`Error::ValueKind`], [`Error::UnsupportedType`].
    pub fn ints_or_input(&self, name: &str, index: usize) -> Result<Option<Vec<i64>>> {
        match self.ints(name)? {
            Some(list) => Ok(Some(list.to_vec())),
            None => self.optional_i64s(index),
        }
    }

    /// Runs a body that an attribute holds, with values for its inputs in order.
    ///
    /// ## Errors
    /// [`Error::Attribute`] if there is no such body; errors of its nodes.
    pub fn run_body(&self, name: &str, inputs: Vec<Value>) -> Result<Vec<Value>> {
        let wanted = match self.node.attribute(name) {
            Some(Attribute::Graph(body)) => &**body as *const Subgraph,
            Some(other) => return Err(wrong_kind(name, other, "Graph")),
            None => return Err(Error::Attribute { name: name.into(), why: "is required".into() }),
        };
        let body = self
            .node
            .subgraphs()
            .zip(self.bodies)
            .find(|(subgraph, _)| std::ptr::eq(*subgraph, wanted));
        let (subgraph, plan) = body.expect("a plan is made for every body");
        plan.run_body(subgraph, inputs, self.scope)
    }

    /// Number of inputs of a body.
    ///
    /// ## Errors
    /// [`Error::Attribute`] if there is no such body.
    pub fn body(&self, name: &str) -> Result<&'a Subgraph> {
        match self.node.attribute(name) {
            Some(Attribute::Graph(body)) => Ok(body),
            Some(other) => Err(wrong_kind(name, other, "Graph")),
            None => Err(Error::Attribute { name: name.into(), why: "is required".into() }),
        }
    }

    /// An error about an attribute's value.
    pub fn bad_attribute(&self, name: &str, why: impl Into<String>) -> Error {
        self.node.bad_attribute(name, why)
    }
}

/// The result of an operation with one output.
///
/// ## Errors
/// Those of `tensor`.
pub fn one(tensor: Result<Tensor>) -> Result<Vec<Value>> {
    tensor.map(|tensor| vec![tensor.into()])
}
