//! A tensor-core GEMM for Hopper: `C = A * Bᵀ` in f16 with f32 accumulation.
//!
//! ```text
//! A: [m, k]   B: [n, k]   C: [m, n]     all row-major
//! ```
//!
//! A block computes tiles of 128×256. One warpgroup (the producer) has the copy
//! engine load 128×64 of A and 256×64 of B into a ring of four stages; two others
//! (the consumers) multiply, each 64 rows of the tile, with the accumulators in
//! registers. Blocks are persistent: while the consumers write a tile out, the
//! producer already loads the next.
//!
//! Two blocks make a cluster and compute tiles below each other, which need the same
//! part of B: each loads half of it into both.

use raddle::device::matrix::{KMajor, MatrixDescriptor, Operand, SharedLayout, Swizzle};
use raddle::device::matrix::{
    registers_decrease, registers_increase, wgmma, wgmma_commit, wgmma_fence, wgmma_fence_running,
    wgmma_wait, wgmma_wait_running,
};
use raddle::device::mbarrier::Mbarrier;
use raddle::device::tma::{TensorMap, tma_load, tma_load_multicast};
use raddle::prelude::*;

/// Rows of C in a tile.
pub const TILE_M: usize = 128;
/// Columns of C in a tile.
pub const TILE_N: usize = 256;
/// Elements of `k` in a stage: 128 bytes, one swizzle span.
pub const TILE_K: usize = 64;
/// Stages of the ring.
pub const STAGES: usize = 4;
/// Threads of a block: a producer and two consumer warpgroups.
pub const THREADS: u32 = 384;

const A_BYTES: usize = TILE_M * TILE_K * 2;
const B_BYTES: usize = TILE_N * TILE_K * 2;
/// Dynamic shared memory that a launch needs: the ring, and room to align it.
pub const SHARED_BYTES: usize = STAGES * (A_BYTES + B_BYTES) + 1024;
/// Blocks of a cluster.
pub const CLUSTER: usize = 2;
/// Tile rows that are walked together, so that their operands stay in L2.
const GROUP: u32 = 16;

/// Where the cluster's tile number `tile` lies, in clusters' tiles: walks `GROUP`
/// rows of them by columns.
fn place(tile: u32, rows: u32, columns: u32) -> (u32, u32) {
    let per_group = GROUP * columns;
    let first = tile / per_group * GROUP;
    let height = (rows - first).min(GROUP);
    let within = tile % per_group;
    (first + within % height, within / height)
}

/// `c = a * bᵀ`; `m` is a multiple of 256, `n` of 256, `k` of 64.
///
/// # Safety
///
/// `a` and `b` are maps of [m, k] and [n, k] with boxes of 128×64 and a swizzle of
/// 128 bytes; `c` has `m * n` elements and nobody else uses it; the launch gives
/// `SHARED_BYTES` of dynamic shared memory and a grid of whole clusters.
#[kernel(block = THREADS, min_blocks = 1, cluster = CLUSTER as u32, arch = 90)]
pub unsafe fn gemm_f16(a: &TensorMap, b: &TensorMap, c: *mut f16, m: u32, n: u32, k: u32) {
    let mut full = shared!([Mbarrier; STAGES]);
    let mut empty = shared!([Mbarrier; STAGES]);
    let full = full.init_cluster_mbarriers(|_| 1);
    // Both consumers of both blocks: a block's stage is written by both.
    let empty = empty.init_cluster_mbarriers(|_| 2 * CLUSTER as u32);
    let (memory, _) = dynamic_shared::<u8>();
    let ring = memory.wrapping_add(memory.align_offset(1024));
    let stage_a = |stage: usize| ring.wrapping_add(stage * (A_BYTES + B_BYTES));
    let stage_b = |stage: usize| stage_a(stage).wrapping_add(A_BYTES);
    let rank = block_x() % CLUSTER as u32;
    let (rows, columns) = (m / (CLUSTER * TILE_M) as u32, n / TILE_N as u32);
    let steps = k / TILE_K as u32;
    let clusters = grid_dim_x() / CLUSTER as u32;
    let tiles = (block_x() / CLUSTER as u32..rows * columns).step_by(clusters as usize);
    let tile_row = |row: u32| row * CLUSTER as u32 + rank;
    let group = warp() / 4;
    let mut ring_step = 0u32;
    if group == 0 {
        // SAFETY: the three warpgroups ask for 40 + 2 * 232 registers of the
        // 3 * 168 that the block begins with.
        unsafe { registers_decrease::<40>() };
        if thread_x() == 0 {
            for tile in tiles {
                let (row, column) = place(tile, rows, columns);
                let at_row = (tile_row(row) as usize * TILE_M) as i32;
                let share = TILE_N / CLUSTER;
                let at_column = (column as usize * TILE_N + rank as usize * share) as i32;
                for step in 0..steps {
                    let stage = (ring_step % STAGES as u32) as usize;
                    empty[stage].suspend_parity((ring_step / STAGES as u32 + 1) % 2);
                    let _ = full[stage].arrive_expect_tx((A_BYTES + B_BYTES) as u32);
                    let at = (step * TILE_K as u32) as i32;
                    let half = stage_b(stage).wrapping_add(rank as usize * B_BYTES / CLUSTER);
                    let everyone = (1 << CLUSTER) - 1;
                    // SAFETY: the stage is empty in both blocks, aligned to 1024
                    // bytes and as large as the boxes.
                    unsafe {
                        tma_load(stage_a(stage), a, [at, at_row], &full[stage]);
                        tma_load_multicast(half, b, [at, at_column], &full[stage], everyone);
                    }
                    ring_step += 1;
                }
            }
        }
    } else {
        // SAFETY: as above.
        unsafe { registers_increase::<232>() };
        let half = group as usize - 1;
        let release = |step: u32| {
            let lane = thread_x() % 128;
            if lane < CLUSTER as u32 {
                // SAFETY: the cluster has that block, and ends together.
                unsafe { empty[(step % STAGES as u32) as usize].arrive_remote_release_block(lane) };
            }
        };
        for tile in tiles {
            let (row, column) = place(tile, rows, columns);
            let mut acc = [0.0f32; TILE_N / 2];
            // SAFETY: all threads of the warpgroup come here; the operands are
            // full stages that nobody writes before they are given back.
            unsafe {
                wgmma_fence(&mut acc);
                for step in 0..steps {
                    let stage = (ring_step % STAGES as u32) as usize;
                    full[stage].suspend_parity(ring_step / STAGES as u32 % 2);
                    let layout = SharedLayout::dense(Swizzle::Span128);
                    let left = stage_a(stage).wrapping_add(half * A_BYTES / 2);
                    let left = Operand::<f16, KMajor>::new(MatrixDescriptor::new(left, layout));
                    let right = MatrixDescriptor::new(stage_b(stage), layout);
                    let right = Operand::<f16, KMajor>::new(right);
                    wgmma_fence_running();
                    for slice in 0..TILE_K as u32 / 16 {
                        wgmma(&mut acc, left.advance(32 * slice), right.advance(32 * slice), true);
                    }
                    wgmma_commit();
                    if step > 0 {
                        // The products of the step before are done.
                        wgmma_wait_running::<1>();
                        release(ring_step - 1);
                    }
                    ring_step += 1;
                }
                wgmma_wait::<0, _>(&mut acc);
                release(ring_step - 1);
                let first = tile_row(row) as usize * TILE_M + half * 64;
                store(&acc, c, n as usize, first, column as usize * TILE_N);
            }
        }
    }
    // Nobody leaves while the other block may still write here.
    cluster_barrier_unaligned();
}

/// Writes a consumer's 64×256 accumulator as f16.
///
/// # Safety
///
/// The place lies within `c`, which has `n` columns.
#[inline(always)]
unsafe fn store(acc: &[f32; TILE_N / 2], c: *mut f16, n: usize, row: usize, column: usize) {
    let (lane, warp) = (lane() as usize, warp() as usize % 4);
    let row = row + warp * 16 + lane / 4;
    let column = column + lane % 4 * 2;
    for (j, quad) in acc.chunks_exact(4).enumerate() {
        for (low, pair) in quad.chunks_exact(2).enumerate() {
            let pair = f16x2::from_f32s(pair[0], pair[1]);
            let at = (row + 8 * low) * n + column + 8 * j;
            // SAFETY: by the caller's contract; `at` is even, as the pair wants.
            unsafe { c.add(at).cast::<f16x2>().write(pair) };
        }
    }
}
