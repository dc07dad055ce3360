//! Who am I: thread, block and grid indices, and lanes and warps.
//!
//! *Source*: PTX ISA, "Special Registers".

macro_rules! special_registers {
    ($($(#[$doc:meta])* $name:ident, $intrinsic:literal, |$context:ident| $host:expr;)*) => { $(
        $(#[$doc])*
        #[inline(always)]
        #[must_use]
        #[cfg_attr(not(raddle_device), track_caller)]
        pub fn $name() -> u32 {
            #[cfg(raddle_device)]
            {
                unsafe extern "C" {
                    #[link_name = concat!("raddle.intrinsic:llvm.nvvm.read.ptx.sreg.", $intrinsic)]
                    safe fn read() -> u32;
                }
                read()
            }
            #[cfg(not(raddle_device))]
            {
                let $context = crate::host::current();
                $host
            }
        }
    )* };
}

special_registers! {
    /// `threadIdx.x`: this thread's place in its block along x (PTX `%tid.x`).
    thread_x, "tid.x", |c| c.thread[0];
    /// `threadIdx.y` (PTX `%tid.y`).
    thread_y, "tid.y", |c| c.thread[1];
    /// `threadIdx.z` (PTX `%tid.z`).
    thread_z, "tid.z", |c| c.thread[2];
    /// `blockIdx.x`: this block's place in the grid along x (PTX `%ctaid.x`).
    block_x, "ctaid.x", |c| c.block[0];
    /// `blockIdx.y` (PTX `%ctaid.y`).
    block_y, "ctaid.y", |c| c.block[1];
    /// `blockIdx.z` (PTX `%ctaid.z`).
    block_z, "ctaid.z", |c| c.block[2];
    /// `blockDim.x`: threads of a block along x (PTX `%ntid.x`).
    block_dim_x, "ntid.x", |c| c.block_dim[0];
    /// `blockDim.y` (PTX `%ntid.y`).
    block_dim_y, "ntid.y", |c| c.block_dim[1];
    /// `blockDim.z` (PTX `%ntid.z`).
    block_dim_z, "ntid.z", |c| c.block_dim[2];
    /// `gridDim.x`: blocks of the grid along x (PTX `%nctaid.x`).
    grid_dim_x, "nctaid.x", |c| c.grid_dim[0];
    /// `gridDim.y` (PTX `%nctaid.y`).
    grid_dim_y, "nctaid.y", |c| c.grid_dim[1];
    /// `gridDim.z` (PTX `%nctaid.z`).
    grid_dim_z, "nctaid.z", |c| c.grid_dim[2];
}

/// This thread's index in its block, counted along x, then y, then z.
#[inline(always)]
#[must_use]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn thread_linear() -> u32 {
    (thread_z() * block_dim_y() + thread_y()) * block_dim_x() + thread_x()
}

/// Threads in a block.
#[inline(always)]
#[must_use]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn block_threads() -> u32 {
    block_dim_x() * block_dim_y() * block_dim_z()
}

/// This thread's index in the grid along x: `blockIdx.x * blockDim.x + threadIdx.x`.
#[inline(always)]
#[must_use]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn global_x() -> usize {
    block_x() as usize * block_dim_x() as usize + thread_x() as usize
}

/// This thread's index in the grid along y.
#[inline(always)]
#[must_use]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn global_y() -> usize {
    block_y() as usize * block_dim_y() as usize + thread_y() as usize
}

/// Threads of the grid along x: `gridDim.x * blockDim.x`.
#[inline(always)]
#[must_use]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn global_dim_x() -> usize {
    grid_dim_x() as usize * block_dim_x() as usize
}

/// Threads in a warp, on every NVIDIA GPU.
pub const WARP: u32 = 32;

/// This thread's lane in its warp, 0 to 31 (PTX `%laneid`).
#[inline(always)]
#[must_use]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn lane() -> u32 {
    thread_linear() % WARP
}

/// This thread's warp in its block, counted from 0 by linear thread index.
#[inline(always)]
#[must_use]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn warp() -> u32 {
    thread_linear() / WARP
}
