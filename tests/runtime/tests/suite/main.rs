//! The runtime on the CPU device, the fake driver and, where there is one, a GPU.

mod completion;
mod costs;
mod cycles;
mod ends;
mod faults;
mod fuzz;
mod graphs;
mod holes;
mod loading;
mod memory;
mod missing;
mod panics;
mod spans;
