//! Well-known networks as ONNX files, from our own model code.
//!
//! The weights are seeded: the same name and seed make the same bytes on every
//! machine. They can also come from a file of trained ones under torchvision's
//! names. Every batch size works; the batch is the first dimension, `n`.
//! Stands above `raddle-weights`; `raddle-onnx` reads what is written here.
#![forbid(unsafe_code)]

mod builder;
mod error;
mod head;
mod layers;
mod models;
mod parameters;
mod proto;
mod random;

pub use error::{Error, Result};
pub use head::{Head, HeadLayer};
pub use models::{MODELS, Model, find};
pub use parameters::Source;
