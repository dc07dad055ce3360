//! The vocabulary of device code: what a kernel may say about threads,
//! memory and tensor cores, in CUDA's own terms.
//!
//! Every intrinsic has two bodies. Under `cfg(raddle_device)` (set by
//! `raddle-build`) it is PTX, declared through `asm_intrinsic!` or a
//! `raddle.intrinsic:` link name that the compiler resolves. Otherwise it is a
//! host body that asks the running [`host::Engine`] (see `raddle-sim`).
//! The crate depends on nothing else of ours and is `no_std` in device builds.
#![no_std]

#[cfg(not(raddle_device))]
extern crate std;

#[macro_use]
mod asm;
#[macro_use]
pub mod table;

pub mod approx;
pub mod async_copy;
pub mod atomic;
pub mod barrier;
pub mod bits;
pub mod block;
pub mod cache;
pub mod cluster;
pub mod dependent;
pub mod fence;
pub mod float;
pub mod hint;
pub mod index;
pub mod kernel;
pub mod matrix;
pub mod mbarrier;
pub mod message;
pub mod output;
pub mod param;
pub mod print;
pub mod shared;
pub mod tile;
pub mod timer;
pub mod tma;
pub mod unroll;
pub mod vector;
pub mod warp;

/// The device's half of [`message`], for its tests.
#[cfg(all(test, not(raddle_device)))]
#[path = "rt/format.rs"]
#[allow(dead_code)]
mod device_format;
/// The device's conversions of 128-bit integers, for their tests.
#[cfg(all(test, not(raddle_device)))]
#[path = "rt/wide.rs"]
mod device_wide;
#[cfg(not(raddle_device))]
pub mod host;
#[cfg(raddle_device)]
pub mod launch;
#[cfg(raddle_device)]
pub mod rt;

pub use async_copy::*;
pub use atomic::*;
pub use barrier::*;
pub use bits::AnyBits;
pub use block::*;
pub use cache::*;
pub use cluster::*;
pub use dependent::*;
pub use fence::*;
pub use float::*;
pub use hint::is_hopper;
pub use index::*;
pub use mbarrier::*;
pub use output::*;
pub use param::{DeviceType, Zeroable};
pub use shared::*;
pub use timer::*;
pub use tma::*;
pub use unroll::*;
pub use vector::*;
pub use warp::*;
