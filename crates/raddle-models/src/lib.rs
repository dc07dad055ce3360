//! Models on a device: ONNX in, a plan for a GPU or the CPU out.
//!
//! ```ignore
//! let model = Model::load("resnet18.onnx")?;
//! let session = model.on(&Device::best()?, Options::default())?;
//! let outputs = session.run([("x", Value::Tensor(x))])?;
//! ```
//!
//! On the CPU a session runs `raddle-tensor`'s plan. On a GPU the graph is cut into
//! steps, each one launch of a kernel with what follows it fused in, and the steps are
//! captured as one CUDA graph for each set of input shapes (see [`gpu`]). What a GPU
//! cannot run is an error that names the node; nothing falls back silently.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod error;
pub mod gpu;
mod model;
mod session;

pub use error::{Error, Result};
pub use model::Model;
pub use session::{Options, Precision, Session};
