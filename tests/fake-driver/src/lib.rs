//! A stand-in for `libcuda.so.1`, to be named by `RADDLE_CUDA_LIBRARY`.
//!
//! It is built twice from one source: as a shared library that `raddle-cuda`
//! loads as the driver, and as a Rust library whose [`Fake`] steers the loaded
//! one. What a GPU does in parallel and by chance, this driver does one piece
//! after the other in an order that a seed decides:
//!
//! - Work is queued per stream. The scheduler (`schedule`) runs the next piece of
//!   a random stream, starves some streams for a while, and does as little as
//!   it may until somebody waits. A dependency that was forgotten shows as wrong
//!   data under some seed.
//! - Independent of luck, `races` gives each piece of work a vector clock and
//!   reports two uses of the same bytes of which neither comes after the other.
//! - `memory` keeps a ledger of every allocation, mapping and handle: uses
//!   before allocation, after the free and beyond the end, double frees, and
//!   frees under pending work are reported, and what is alive can be listed.
//! - `calls` counts the calls of each function and lets the n-th one fail with
//!   any code; functions can be hidden, as an older driver lacks them. `forward`
//!   does the same in front of another driver, a real one for example.
//!
//! Device memory has addresses that the host cannot touch. Kernels are host
//! functions registered by name; they reach memory through the ledger.
//!
//! What it is not: a GPU. It has no notion of time, blocks or threads, and
//! refuses what Raddle does not use (`cuMemAllocAsync` during capture, say).

mod api;
mod calls;
mod client;
mod control;
mod entry;
mod forward;
mod graphs;
mod handles;
mod ledger;
mod memory;
mod objects;
mod ptx;
mod races;
mod random;
mod schedule;
mod work;
mod world;

#[cfg(test)]
mod tests;

pub use client::{Fake, Kernel, Ledger, Parameters, Words, library};
