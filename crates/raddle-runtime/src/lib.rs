//! Devices, streams, buffers and typed launches.

pub mod call;
