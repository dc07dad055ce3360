//! The NVIDIA driver, loaded at run time, as safe Rust objects.
//!
//! Nothing of CUDA is needed to build: the functions used are declared here by
//! hand, looked up in the driver's library when [`Driver::load`] is first called,
//! and an absent library or function is an [`Error`], never a panic. Each driver
//! function has one wrapper, which makes its context current, calls, and turns
//! the result code into an error that says what to do.
//!
//! The crate knows contexts, streams, modules and addresses. Who may use which
//! memory when is decided one level up, in `raddle-runtime`; what needs that
//! knowledge is `unsafe` here.

mod context;
mod device;
mod driver;
mod error;
pub mod fork;
mod functions;
mod graph;
mod launch;
mod managed;
mod memory;
mod module;
mod nvml;
mod nvrtc;
mod peer;
mod status;
mod stream;
mod sys;
mod tensor_map;
mod virtual_memory;

pub use context::Context;
pub use device::{Attribute, Device, PciAddress};
pub use driver::Driver;
pub use error::{Error, Result};
pub use graph::{Graph, GraphExec, GraphNode};
pub use launch::Shape;
pub use managed::{Advice, Side, advise, allocate_managed};
pub use memory::{CopyRows, Pinned, Pool, PoolUse, allocate_blocking, free_blocking};
pub use module::{Function, FunctionAttribute, Module, assemble};
pub use nvml::{GpuUse, Nvml};
pub use nvrtc::{Compiled, Nvrtc};
pub use status::{Severity, Status};
pub use stream::{Event, Stream};
pub use tensor_map::{
    L2Promotion, Swizzle, TensorElement, TensorMap, TensorMapDescription, TensorWindow,
};
pub use virtual_memory::{AddressRange, PhysicalMemory, granularity};
