//! ONNX files in, graphs out.
//!
//! The files are read by a small reader of the protobuf wire format
//! ([`wire`]), without generated code. [`Model`] is what a program uses; the
//! operations live in `raddle-tensor`'s op table.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod error;
mod import;
mod model;
mod outline;
mod tensor;
#[cfg(test)]
mod tests;
pub mod wire;

pub use error::{Error, Result};
pub use model::{Model, load_graph, read_graph};
pub use outline::Outline;
pub use raddle_tensor::{DType, Plan, Tensor, Value};
pub use tensor::{decode_optional, decode_sequence, decode_tensor};
