//! What a rule of inference is given: a node with what is known of its inputs.

use super::{Dims, Expr, TensorInfo, Walk, of_body, run};
use crate::graph::{Attribute, Node};
use crate::{DType, Error, Result, Tensor, Value};

/// A node of which the types of outputs are wanted.
pub struct InferContext<'a> {
    /// The node.
    pub node: &'a Node,
    /// What is known of all values of the graph.
    values: &'a [Option<TensorInfo>],
    walk: &'a Walk,
}

impl<'a> InferContext<'a> {
    pub(super) fn new(node: &'a Node, values: &'a [Option<TensorInfo>], walk: &'a Walk) -> Self {
        Self { node, values, walk }
    }

    /// Number of inputs, absent ones in the middle included.
    pub fn input_count(&self) -> usize {
        self.node.inputs.len()
    }

    /// Number of outputs that the node names.
    pub fn output_count(&self) -> usize {
        self.node.outputs.len()
    }

    /// Whether an input is present.
    pub fn has(&self, index: usize) -> bool {
        self.node.inputs.get(index).is_some_and(Option::is_some)
    }

    /// What is known of an input.
    pub fn input(&self, index: usize) -> Option<&'a TensorInfo> {
        let id = self.node.inputs.get(index).copied().flatten()?;
        self.values[id.index()].as_ref()
    }

    /// Element type of an input.
    pub fn dtype(&self, index: usize) -> Option<DType> {
        self.input(index).map(|info| info.dtype)
    }

    /// Dimensions of an input.
    pub fn dims(&self, index: usize) -> Option<&'a [Expr]> {
        self.input(index)?.dims.as_deref()
    }

    /// Number of elements of an input with one dimension: that of a list of
    /// axes tells the rank of a result even if the axes are not known.
    pub fn list_len(&self, index: usize) -> Option<usize> {
        match self.dims(index)? {
            [] => Some(1),
            [len] => len.as_len(),
            _ => None,
        }
    }

    /// Whole numbers that an input holds.
    pub fn elements(&self, index: usize) -> Option<Vec<Expr>> {
        self.input(index)?.elements()
    }

    /// Whole numbers that an input holds, if they depend on nothing.
    pub fn numbers(&self, index: usize) -> Option<Vec<i64>> {
        self.elements(index)?.iter().map(Expr::number).collect()
    }

    /// Known elements of an input.
    pub fn tensor(&self, index: usize) -> Option<&'a Tensor> {
        self.input(index)?.tensor()
    }

    /// The list that an attribute gives, or else an input. `Ok(None)` if the
    /// input's elements are not known; `Ok(Some(None))` if there is neither.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    #[allow(clippy::option_option)] // Three answers that a rule must tell apart.
    pub fn list(&self, name: &str, index: usize) -> Result<Option<Option<Vec<i64>>>> {
        match self.node.ints(name)? {
            Some(list) => Ok(Some(Some(list.to_vec()))),
            None if self.has(index) => Ok(self.numbers(index).map(Some)),
            None => Ok(Some(None)),
        }
    }

    /// A length that only a run knows.
    pub fn unknown(&self) -> Expr {
        self.walk.unknown()
    }

    /// Dimensions that only a run knows.
    pub fn unknowns(&self, rank: usize) -> Dims {
        (0..rank).map(|_| self.unknown()).collect()
    }

    /// The results, if all inputs are known and few.
    pub fn evaluate(&self) -> Option<Vec<Value>> {
        let tensor = |at: usize| match self.has(at) {
            true => self.tensor(at).map(Some),
            false => Some(None),
        };
        let inputs = (0..self.input_count()).map(tensor).collect::<Option<Vec<_>>>()?;
        run(self.node, inputs)
    }

    /// The types of the outputs of a body for types of its inputs; `None` for
    /// those of which nothing is known.
    ///
    /// ## Errors
    /// [`Error::Attribute`] if there is no such body; what its nodes find wrong.
    pub fn body(
        &self,
        name: &str,
        inputs: Vec<Option<TensorInfo>>,
    ) -> Result<Vec<Option<TensorInfo>>> {
        match self.node.attribute(name) {
            Some(Attribute::Graph(body)) => of_body(body, inputs, self.values, self.walk),
            _ => Err(Error::Attribute { name: name.into(), why: "must hold a graph".into() }),
        }
    }
}
