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

/// Blocks of a cluster along an axis; a launch without clusters has ones.
#[cfg(not(raddle_device))]
fn cluster_dim(context: &crate::host::ThreadContext, axis: usize) -> u32 {
    context.cluster_dim[axis].max(1)
}

special_registers! {
    /// This block's place in its cluster along x (PTX `%cluster_ctaid.x`, sm_90).
    cluster_block_x, "cluster.ctaid.x", |c| c.block[0] % cluster_dim(c, 0);
    /// This block's place in its cluster along y (PTX `%cluster_ctaid.y`, sm_90).
    cluster_block_y, "cluster.ctaid.y", |c| c.block[1] % cluster_dim(c, 1);
    /// This block's place in its cluster along z (PTX `%cluster_ctaid.z`, sm_90).
    cluster_block_z, "cluster.ctaid.z", |c| c.block[2] % cluster_dim(c, 2);
    /// Blocks of a cluster along x (PTX `%cluster_nctaid.x`, sm_90).
    cluster_dim_x, "cluster.nctaid.x", |c| cluster_dim(c, 0);
    /// Blocks of a cluster along y (PTX `%cluster_nctaid.y`, sm_90).
    cluster_dim_y, "cluster.nctaid.y", |c| cluster_dim(c, 1);
    /// Blocks of a cluster along z (PTX `%cluster_nctaid.z`, sm_90).
    cluster_dim_z, "cluster.nctaid.z", |c| cluster_dim(c, 2);
    /// This cluster's place in the grid along x (PTX `%clusterid.x`, sm_90).
    cluster_x, "clusterid.x", |c| c.block[0] / cluster_dim(c, 0);
    /// This cluster's place in the grid along y (PTX `%clusterid.y`, sm_90).
    cluster_y, "clusterid.y", |c| c.block[1] / cluster_dim(c, 1);
    /// This cluster's place in the grid along z (PTX `%clusterid.z`, sm_90).
    cluster_z, "clusterid.z", |c| c.block[2] / cluster_dim(c, 2);
    /// Clusters of the grid along x (PTX `%nclusterid.x`, sm_90).
    grid_clusters_x, "nclusterid.x", |c| c.grid_dim[0] / cluster_dim(c, 0);
    /// Clusters of the grid along y (PTX `%nclusterid.y`, sm_90).
    grid_clusters_y, "nclusterid.y", |c| c.grid_dim[1] / cluster_dim(c, 1);
    /// Clusters of the grid along z (PTX `%nclusterid.z`, sm_90).
    grid_clusters_z, "nclusterid.z", |c| c.grid_dim[2] / cluster_dim(c, 2);
    /// This block's rank in its cluster, counted along x, then y, then z (PTX
    /// `%cluster_ctarank`, sm_90).
    cluster_rank, "cluster.ctarank", |c| cluster_rank_of(c);
    /// Blocks of a cluster (PTX `%cluster_nctarank`, sm_90).
    cluster_blocks, "cluster.nctarank", |c| cluster_dim(c, 0) * cluster_dim(c, 1) * cluster_dim(c, 2);
    /// The multiprocessor this thread runs on just now (PTX `%smid`); 0 on the CPU
    /// device. For measurements, not for decisions: a thread may move.
    multiprocessor, "smid", |_c| 0;
    /// Multiprocessors of the GPU, or one more than the highest number of one (PTX
    /// `%nsmid`); 1 on the CPU device.
    multiprocessors, "nsmid", |_c| 1;
    /// This thread's lane in its warp, 0 to 31 (PTX `%laneid`).
    lane, "laneid", |c| linear(c.thread, c.block_dim) % WARP;
}

/// The rank of the running block in its cluster.
#[cfg(not(raddle_device))]
fn cluster_rank_of(context: &crate::host::ThreadContext) -> u32 {
    let dims = [0, 1, 2].map(|axis| cluster_dim(context, axis));
    linear([0, 1, 2].map(|axis| context.block[axis] % dims[axis]), dims)
}

/// Place of `index` in a box of `dims`, counted along x, then y, then z.
#[cfg(not(raddle_device))]
fn linear(index: [u32; 3], dims: [u32; 3]) -> u32 {
    (index[2] * dims[1] + index[1]) * dims[0] + index[0]
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

/// This thread's warp in its block, counted from 0 by linear thread index.
#[inline(always)]
#[must_use]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn warp() -> u32 {
    thread_linear() / WARP
}
