//! Tensor-core instructions: fragments between shared memory and registers
//! (`ldmatrix`, `stmatrix`), products by one warp (`mma.sync`) and by a
//! warpgroup of four (`wgmma`).
//!
//! # Fragments
//!
//! A matrix operand is spread over the lanes of a warp. With `g = lane / 4` and
//! `q = lane % 4`, lane `lane` holds these elements, in order of `i`:
//!
//! | operand | elements | row | column |
//! |---|--:|---|---|
//! | accumulator 16×8 (`f32`, `s32`, `f64`; `f16` in pairs) | 4 | `g + 8 * (i / 2)` | `2q + i % 2` |
//! | A 16×16, 16-bit | 8 | `g + 8 * (i / 2 % 2)` | `2q + i % 2 + 8 * (i / 4)` |
//! | B 16×8, 16-bit | 4 | `2q + i % 2 + 8 * (i / 2)` | `g` |
//! | A 16×8, tf32 | 4 | `g + 8 * (i % 2)` | `q + 4 * (i / 2)` |
//! | B 8×8, tf32 | 2 | `q + 4 * i` | `g` |
//! | A 16×32, 8-bit | 16 | `g + 8 * (i / 4 % 2)` | `4q + i % 4 + 16 * (i / 8)` |
//! | B 32×8, 8-bit | 8 | `4q + i % 4 + 16 * (i / 4)` | `g` |
//! | A 8×4, B 4×8, `f64` | 1 | A: `g`, B: `q` | A: `q`, B: `g` |
//! | accumulator 8×8, `f64` | 2 | `g` | `2q + i` |
//! | A 16×16, `f64` | 8 | `g + 8 * (i % 2)` | `q + 4 * (i / 2)` |
//! | B 16×8, `f64` | 4 | `q + 4 * i` | `g` |
//!
//! The accumulator of a `wgmma` m64nNkK is N/8 such 16×8 accumulators side by
//! side in each of the four warps, whose 16 rows lie below each other.
//!
//! *Source*: PTX ISA, "Warp Level Matrix Multiply-Accumulate Instructions" and
//! "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions".

pub mod descriptor;
mod ldmatrix;
mod mma;
mod registers;
pub(crate) mod wgmma;

pub use descriptor::{KMajor, Major, MatrixDescriptor, MnMajor, SharedLayout, Swizzle};
pub use ldmatrix::*;
pub use mma::*;
pub use registers::*;
pub use wgmma::*;

/// Row and column of element `i` of a 16×8 accumulator in `lane`.
#[inline(always)]
#[must_use]
pub const fn accumulator_place(lane: u32, i: u32) -> (u32, u32) {
    (lane / 4 + 8 * (i / 2), lane % 4 * 2 + i % 2)
}
