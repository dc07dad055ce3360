//! What flows along the edges of a graph: tensors, sequences and optionals.

use std::sync::Arc;

use crate::{DType, Tensor};

/// A value of a graph.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// A tensor.
    Tensor(Tensor),
    /// A list of values of one kind, shared until someone writes.
    Sequence(Sequence),
    /// A value or none.
    Optional(Option<Box<Value>>),
}

/// A list of values; an empty one still knows the type of its tensors.
#[derive(Clone, PartialEq, Debug)]
pub struct Sequence {
    /// Element type of the tensors in the list.
    pub dtype: DType,
    /// The values.
    pub items: Arc<Vec<Value>>,
}

impl Value {
    /// What kind of value it is, in words with an article.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tensor(_) => "a tensor",
            Self::Sequence(_) => "a sequence",
            Self::Optional(_) => "an optional",
        }
    }

    /// The tensor, if it is one.
    pub fn as_tensor(&self) -> Option<&Tensor> {
        if let Self::Tensor(tensor) = self { Some(tensor) } else { None }
    }

    /// The tensor, if it is one.
    pub fn into_tensor(self) -> Option<Tensor> {
        if let Self::Tensor(tensor) = self { Some(tensor) } else { None }
    }
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Self {
        Self::Tensor(tensor)
    }
}
