//! Tensors, graphs, the op table and the executor for the CPU.
//!
//! An operation is one row of a table ([`ops::find`]) with its reference
//! function; a [`Graph`](graph::Graph) is data; a [`Plan`] checks and runs it.
//! The crate knows nothing of files: `raddle-onnx` reads them.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod attributes;
mod blocked;
mod context;
pub mod convert;
mod data;
mod dtype;
mod error;
mod exec;
pub mod graph;
pub mod infer;
pub mod memory_plan;
pub mod minifloat;
pub mod movement;
mod op;
pub mod ops;
mod parallel;
pub mod passes;
mod product;
pub mod shape;
mod spare;
mod tensor;
mod value;
mod vector;

pub use context::{OpContext, one};
pub use data::{Complex, Data, Element, storage};
pub use dtype::{Class, DType};
pub use error::{Error, Result};
pub use exec::{Plan, evaluate};
pub use op::{
    DTypeRule, ElementsRule, InferRule, Kind, LATEST, MANY, Op, Placement, Reference, ShapeRule,
    full_name, op,
};
pub use tensor::Tensor;
pub use value::{Sequence, Value};
