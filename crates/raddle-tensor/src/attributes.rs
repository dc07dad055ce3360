//! Attributes of a node, read as what an operation expects them to be.
//!
//! Every accessor says by a typed error what is of a wrong kind.

use crate::graph::{Attribute, Node, ValueType};
use crate::{DType, Error, Result, Tensor, shape};

impl Node {
    /// An integer attribute.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn int(&self, name: &str, default: i64) -> Result<i64> {
        Ok(self.optional_int(name)?.unwrap_or(default))
    }

    /// A truth value that ONNX writes as an integer.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        Ok(self.int(name, default.into())? != 0)
    }

    /// An integer attribute that may be absent.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn optional_int(&self, name: &str) -> Result<Option<i64>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Int(value)) => Ok(Some(*value)),
            Some(other) => Err(wrong_kind(name, other, "Int")),
        }
    }

    /// A float attribute.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn float(&self, name: &str, default: f32) -> Result<f32> {
        match self.attribute(name) {
            None => Ok(default),
            Some(Attribute::Float(value)) => Ok(*value),
            Some(other) => Err(wrong_kind(name, other, "Float")),
        }
    }

    /// A text attribute.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn text<'s>(&'s self, name: &str, default: &'s str) -> Result<&'s str> {
        match self.attribute(name) {
            None => Ok(default),
            Some(Attribute::String(value)) => Ok(value),
            Some(other) => Err(wrong_kind(name, other, "String")),
        }
    }

    /// A list of integers that may be absent.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn ints(&self, name: &str) -> Result<Option<&[i64]>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Ints(values)) => Ok(Some(values)),
            Some(other) => Err(wrong_kind(name, other, "Ints")),
        }
    }

    /// A list of floats that may be absent.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn floats(&self, name: &str) -> Result<Option<&[f32]>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Floats(values)) => Ok(Some(values)),
            Some(Attribute::Ints(values)) if values.is_empty() => Ok(Some(&[])),
            Some(other) => Err(wrong_kind(name, other, "Floats")),
        }
    }

    /// A list of texts that may be absent.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn texts(&self, name: &str) -> Result<Option<&[String]>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Strings(values)) => Ok(Some(values)),
            Some(Attribute::Ints(values)) if values.is_empty() => Ok(Some(&[])),
            Some(other) => Err(wrong_kind(name, other, "Strings")),
        }
    }

    /// A tensor attribute that may be absent.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn tensor_attribute(&self, name: &str) -> Result<Option<&Tensor>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Tensor(tensor)) => Ok(Some(tensor)),
            Some(other) => Err(wrong_kind(name, other, "Tensor")),
        }
    }

    /// A type attribute that may be absent.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn type_attribute(&self, name: &str) -> Result<Option<&ValueType>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Type(value_type)) => Ok(Some(value_type)),
            Some(other) => Err(wrong_kind(name, other, "Type")),
        }
    }

    /// An element type that an attribute names by its number.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn dtype_attribute(&self, name: &str) -> Result<Option<DType>> {
        let Some(number) = self.optional_int(name)? else { return Ok(None) };
        let unknown = || Error::Attribute {
            name: name.into(),
            why: format!("names element type {number}, which does not exist"),
        };
        DType::from_onnx(number).map(Some).ok_or_else(unknown)
    }

    /// The axis that an integer attribute names, for a tensor of a rank.
    ///
    /// ## Errors
    /// [`Error::Attribute`], [`Error::Axis`].
    pub fn axis(&self, name: &str, default: i64, rank: usize) -> Result<usize> {
        shape::axis(self.int(name, default)?, rank)
    }

    /// An error about an attribute's value.
    pub fn bad_attribute(&self, name: &str, why: impl Into<String>) -> Error {
        Error::Attribute { name: name.into(), why: why.into() }
    }
}

/// The error that an attribute is of another kind than its operation knows.
pub fn wrong_kind(name: &str, found: &Attribute, expected: &str) -> Error {
    let why = format!("is of kind {:?}, expected {expected}", found.kind());
    Error::Attribute { name: name.into(), why }
}
