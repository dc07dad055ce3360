//! The thread, warp, block and cluster vocabulary: its PTX as `ptxas` sees it,
//! and its host bodies as kernels on the CPU device see them.

mod atomics;
mod barriers;
mod blocks;
mod clusters;
mod harness;
mod mbarriers;
mod outputs;
mod prints;
mod ptx;
mod shared;
mod tensors;
mod warps;
