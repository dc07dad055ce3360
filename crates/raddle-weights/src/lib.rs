//! Arrays in files: NumPy's `.npy` and `.npz`, safetensors, and the state dicts
//! of PyTorch's `.pt` and `.pth`, both zip archives and the older pickle streams.
//!
//! A file is data. No reader runs code that a file names, trusts a length before
//! the bytes for it are there, or expands a file beyond what its size accounts
//! for ([`Budget`]); what is wrong is an [`Error`] with file, entry and byte.
//! Stands between the tensors of `raddle-tensor` and whoever loads or saves them.
#![forbid(unsafe_code)]

mod array;
mod budget;
mod cursor;
mod error;
mod names;
pub mod npy;
pub mod npz;
pub mod safetensors;
pub mod torch;
mod weights;
mod zip;

pub use array::Array;
pub use budget::Budget;
pub use error::{Error, Place, Result};
pub use weights::{Format, Weights};
