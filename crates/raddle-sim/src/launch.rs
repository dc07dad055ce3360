//! What is launched, its limits, and how blocks, clusters and threads are
//! numbered.
//!
//! Invariant: a [`Shape`] only exists for a launch whose sizes CUDA allows, so
//! that everything behind it multiplies without overflow.

use crate::fault::Fault;

/// A kernel with its grid, as the simulator runs it.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    /// Blocks along each axis.
    pub grid: [u32; 3],
    /// Threads of a block along each axis.
    pub block: [u32; 3],
    /// Blocks of a cluster along each axis; all ones or all zeros for none.
    pub cluster: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub dynamic_shared_bytes: usize,
    /// Whether threads of a block may wait for each other. If not, the threads
    /// of a block run one after the other in a plain loop.
    pub synchronizes: bool,
    /// Runs the body for the current thread; takes `params`.
    pub body: unsafe fn(*const u8),
    /// The parameter block.
    pub params: *const u8,
    /// The kernel's name, for messages.
    pub kernel: &'static str,
}

// SAFETY: `run` is unsafe and its caller promises that `body` may be called with
// `params` from any OS thread.
unsafe impl Send for Launch {}
// SAFETY: as above.
unsafe impl Sync for Launch {}

/// The checked sizes of a launch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub cluster: [u32; 3],
    /// Threads of a block.
    pub block_threads: u32,
    /// Blocks of a cluster.
    pub cluster_blocks: u32,
    /// Clusters of the grid; blocks if there are no clusters.
    pub clusters: u64,
}

impl Shape {
    /// Checks the sizes of `launch`.
    pub fn new(launch: &Launch) -> Result<Self, Fault> {
        let cluster = if launch.cluster == [0; 3] { [1; 3] } else { launch.cluster };
        for axis in 0..3 {
            check(GRID_NAMES[axis], launch.grid[axis].into(), GRID_MAX[axis])?;
            check(BLOCK_NAMES[axis], launch.block[axis].into(), BLOCK_MAX[axis])?;
            check(CLUSTER_NAMES[axis], cluster[axis].into(), CLUSTER_BLOCKS_MAX)?;
        }
        let block_threads = volume(launch.block);
        check("threads of a block", block_threads, BLOCK_THREADS_MAX)?;
        let cluster_blocks = volume(cluster);
        check("blocks of a cluster", cluster_blocks, CLUSTER_BLOCKS_MAX)?;
        if (0..3).any(|axis| !launch.grid[axis].is_multiple_of(cluster[axis])) {
            return Err(Fault::ClusterShape { grid: launch.grid, cluster });
        }
        Ok(Self {
            grid: launch.grid,
            block: launch.block,
            cluster,
            block_threads: block_threads as u32,
            cluster_blocks: cluster_blocks as u32,
            clusters: volume(launch.grid) / cluster_blocks,
        })
    }

    /// Threads of a cluster.
    pub fn cluster_threads(&self) -> u32 {
        self.block_threads * self.cluster_blocks
    }

    /// `blockIdx` of the block of rank `rank` in cluster number `cluster`.
    pub fn block_index(&self, cluster: u64, rank: u32) -> [u32; 3] {
        let per_axis: [u32; 3] = std::array::from_fn(|axis| self.grid[axis] / self.cluster[axis]);
        let outer = unravel(cluster, per_axis);
        let inner = unravel(rank.into(), self.cluster);
        std::array::from_fn(|axis| outer[axis] * self.cluster[axis] + inner[axis])
    }

    /// `threadIdx` of the thread with linear index `thread`.
    pub fn thread_index(&self, thread: u32) -> [u32; 3] {
        unravel(thread.into(), self.block)
    }
}

/// The coordinates of element `index` of a box, `x` fastest.
fn unravel(index: u64, sizes: [u32; 3]) -> [u32; 3] {
    let (x, y) = (u64::from(sizes[0]), u64::from(sizes[1]));
    [(index % x) as u32, (index / x % y) as u32, (index / x / y) as u32]
}

fn volume(sizes: [u32; 3]) -> u64 {
    sizes.iter().map(|&size| u64::from(size)).product()
}

fn check(what: &'static str, found: u64, max: u64) -> Result<(), Fault> {
    if (1..=max).contains(&found) {
        Ok(())
    } else {
        Err(Fault::LaunchSize { what, min: 1, max, found })
    }
}

/// Threads of a warp.
pub(crate) const WARP: u32 = 32;
/// Most threads of a block.
const BLOCK_THREADS_MAX: u64 = 1024;
/// Most blocks of a cluster (the non-portable limit).
const CLUSTER_BLOCKS_MAX: u64 = 16;
const GRID_MAX: [u64; 3] = [(1 << 31) - 1, 65_535, 65_535];
const BLOCK_MAX: [u64; 3] = [1024, 1024, 64];
const GRID_NAMES: [&str; 3] = ["grid x", "grid y", "grid z"];
const BLOCK_NAMES: [&str; 3] = ["block x", "block y", "block z"];
const CLUSTER_NAMES: [&str; 3] = ["cluster x", "cluster y", "cluster z"];
