//! Graphs: values that nodes make from values.
//!
//! A graph is data without behaviour; [`crate::Plan`] checks and runs it. Bodies
//! of control flow are graphs of their own whose captured outer values are
//! listed, so that lifetimes of values are known without looking at names.

use crate::{DType, Error, Op, Result, Tensor};

/// Index of a value in its graph.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ValueId(pub u32);

/// Index of a node in its graph.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u32);

impl ValueId {
    /// The index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A length of a dimension as a model declares it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Dim {
    /// Always this long.
    Fixed(usize),
    /// The same for all dimensions of this name within one run.
    Symbol(String),
    /// Anything.
    Unknown,
}

/// The type that a model declares for a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ValueType {
    /// A tensor; without dimensions if its rank is open.
    Tensor(DType, Option<Vec<Dim>>),
    /// A list of values of a type.
    Sequence(Box<ValueType>),
    /// A value of a type or none.
    Optional(Box<ValueType>),
}

/// What is known about a value.
#[derive(Clone, Debug)]
pub struct ValueInfo {
    /// Name in the model; unique within the graph.
    pub name: String,
    /// Declared type, if there is one.
    pub declared: Option<ValueType>,
}

/// An argument of a node that is known when the graph is made.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Attribute {
    Int(i64),
    Float(f32),
    String(String),
    Tensor(Tensor),
    Graph(Box<Subgraph>),
    Type(ValueType),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Strings(Vec<String>),
    Tensors(Vec<Tensor>),
    Graphs(Vec<Subgraph>),
}

/// The body of control flow.
#[derive(Clone, Debug)]
pub struct Subgraph {
    /// The body; its plan is made together with the outer one's.
    pub graph: Graph,
    /// Values of the enclosing graph that the body reads.
    pub captures: Vec<Capture>,
}

/// A value of an enclosing graph that a body reads.
#[derive(Clone, Copy, Debug)]
pub struct Capture {
    /// The value in the enclosing graph.
    pub outer: ValueId,
    /// The value in the body.
    pub inner: ValueId,
}

/// An operation with its operands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Name in the model; may be empty.
    pub name: String,
    /// Its row in the op table.
    pub op: &'static Op,
    /// Operands; `None` where an optional one is left out.
    pub inputs: Vec<Option<ValueId>>,
    /// Results; `None` where one is not wanted.
    pub outputs: Vec<Option<ValueId>>,
    /// Attributes by name.
    pub attributes: Vec<(String, Attribute)>,
    /// Version of the operator set.
    pub opset: u32,
}

impl Node {
    /// The attribute of a name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|(own, _)| own == name).map(|(_, attribute)| attribute)
    }

    /// The bodies among the attributes.
    pub fn subgraphs(&self) -> impl Iterator<Item = &Subgraph> {
        self.attributes.iter().flat_map(|(_, attribute)| match attribute {
            Attribute::Graph(subgraph) => std::slice::from_ref(&**subgraph),
            Attribute::Graphs(subgraphs) => subgraphs,
            _ => &[],
        })
    }

    /// Every value that must exist before the node can run.
    pub fn reads(&self) -> impl Iterator<Item = ValueId> {
        let captured = self.subgraphs().flat_map(|body| body.captures.iter().map(|it| it.outer));
        self.inputs.iter().flatten().copied().chain(captured)
    }
}

/// Values and the nodes that make them.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Name in the model; may be empty.
    pub name: String,
    /// All values, by [`ValueId`].
    pub values: Vec<ValueInfo>,
    /// Values that a run is given, in order.
    pub inputs: Vec<ValueId>,
    /// Values that a run returns, in order.
    pub outputs: Vec<ValueId>,
    /// Values that are known when the graph is made: weights and defaults of inputs.
    pub constants: Vec<(ValueId, Tensor)>,
    /// All nodes, by [`NodeId`], in any order.
    pub nodes: Vec<Node>,
}

impl Graph {
    /// Adds a value without a producer.
    pub fn add_value(&mut self, name: impl Into<String>, declared: Option<ValueType>) -> ValueId {
        self.values.push(ValueInfo { name: name.into(), declared });
        ValueId((self.values.len() - 1) as u32)
    }

    /// Adds a known value.
    pub fn add_constant(&mut self, name: impl Into<String>, tensor: Tensor) -> ValueId {
        let id = self.add_value(name, None);
        self.constants.push((id, tensor));
        id
    }

    /// Adds a node after checking it against its row: numbers of inputs and
    /// outputs, names and kinds of attributes.
    ///
    /// ## Errors
    /// [`Error::Node`] around [`Error::Arity`] or [`Error::Attribute`].
    pub fn add_node(&mut self, node: Node) -> Result<NodeId> {
        node.op.check(&node).map_err(|source| self.at(&node, source))?;
        self.nodes.push(node);
        Ok(NodeId((self.nodes.len() - 1) as u32))
    }

    /// Name of a value.
    pub fn name_of(&self, value: ValueId) -> &str {
        &self.values[value.index()].name
    }

    /// A node's name, or its first output's if it has none.
    pub fn node_name(&self, node: &Node) -> String {
        let output = node.outputs.iter().flatten().next();
        match output {
            _ if !node.name.is_empty() => node.name.clone(),
            Some(&output) => format!("that makes {}", self.name_of(output)),
            None => "without a name".into(),
        }
    }

    /// The error with its place.
    pub fn at(&self, node: &Node, source: Error) -> Error {
        Error::Node {
            node: self.node_name(node),
            op: node.op.full_name(),
            opset: node.opset,
            source: Box::new(source),
        }
    }
}
