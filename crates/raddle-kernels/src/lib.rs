//! Kernels of neural networks with checked calls: what a graph is lowered to on a GPU.
//!
//! Device code is in `kernels/`, and most of it is `unsafe`, since it moves tiles by
//! address. The functions here are its only callers: each holds sizes, strides and
//! alignments against the buffers before it launches, so that no call of this crate's
//! interface reaches memory it should not.
//!
//! Images are `[image, row, column, channel]` (NHWC) with channels rounded up to a
//! multiple of 8, the unused ones zero.

#![warn(missing_docs)]

pub mod attention;
pub mod conv;
pub mod dense;
mod error;
pub mod gemm;
pub mod grouped;
pub mod head;
pub mod image;
pub(crate) mod kernels;

/// Tells versions of the kernels apart: what was measured with one says nothing of
/// another.
pub const DIGEST: &str = env!("KERNELS_DIGEST");

pub use error::{Error, Result};
pub use kernels::conv::{Activation, Half};
