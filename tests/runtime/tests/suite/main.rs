//! The runtime on the CPU device, the fake driver and, where there is one, a GPU.

mod completion;
mod faults;
mod fuzz;
mod graphs;
mod memory;
mod holes;
