//! Serves models over HTTP and gRPC: the KServe v2 protocol as Triton extends it.
//!
//! The crate knows no file format and no device: it serves a small
//! [`Model`](model::Model) trait. A request goes through `protocol` (bytes to
//! tensors), `server` (which version), `queue` and `version` (batches), and back.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod canary;
pub mod check;
pub mod client;
pub mod config;
pub mod error;
pub mod front;
mod kernel;
pub mod load;
pub mod loading;
pub mod log;
mod metrics;
pub mod model;
mod page;
pub mod policy;
pub mod protocol;
mod queue;
pub mod repository;
#[cfg(test)]
mod scratch;
pub mod serve;
pub mod served;
pub mod server;
mod shared_memory;
pub mod state;
pub mod stats;
pub mod tensor;
pub mod tls;
pub mod trace;
pub mod version;

pub use error::{Error, Result, Status};
pub use server::Server;
