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
//! part of B: each loads half of it into both. Each warp writes its 16 rows of C to
//! shared memory by `stmatrix`, 64 columns at a time, and the copy engine stores them
//! while the warp goes on.

use raddle::device::matrix::{
    KMajor, MatrixDescriptor, Operand, SharedLayout, Swizzle, registers_decrease,
    registers_increase, stmatrix_x4, wgmma, wgmma_commit, wgmma_fence, wgmma_fence_running,
    wgmma_wait, wgmma_wait_running,
};
use raddle::device::mbarrier::Mbarrier;
use raddle::device::tma::{
    TensorMap, TensorMapMut, tma_commit, tma_load, tma_load_multicast, tma_store, tma_wait_read,
};
use raddle::device::unroll::{unroll, unrolled};
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
/// Rows and columns of C that a warp stores at a time: one swizzle span wide.
pub const STORE: [usize; 2] = [16, 64];

const A_BYTES: usize = TILE_M * TILE_K * 2;
const B_BYTES: usize = TILE_N * TILE_K * 2;
const STORE_BYTES: usize = STORE[0] * STORE[1] * 2;
/// Boxes that a warp has room for, one to fill while others are stored.
const STORE_BUFFERS: usize = 2;
/// Warps that store.
const WARPS: usize = 8;
/// Blocks of a cluster.
pub const CLUSTER: usize = 2;
/// Tile rows of clusters that are walked together, so that their operands stay in L2.
const GROUP: u32 = 8;
/// Dynamic shared memory that a launch needs: the ring, the stores, and room to align.
pub const SHARED_BYTES: usize =
    STAGES * (A_BYTES + B_BYTES) + WARPS * STORE_BUFFERS * STORE_BYTES + 1024;

/// Where the cluster's tile number `tile` lies, in clusters' tiles: walks `GROUP`
/// rows of them by columns. Never panics, for the sake of ptxas: next to `setmaxnreg`
/// calls that do not return crash it, and those that do cost registers.
fn place(tile: u32, rows: u32, columns: u32) -> (u32, u32) {
    let per_group = (GROUP * columns).max(1);
    let first = tile / per_group * GROUP;
    let height = (rows - first).clamp(1, GROUP);
    let within = tile % per_group;
    (first + within % height, within / height)
}

/// `c = a * bᵀ`; `m` is a multiple of 256, `n` of 256, `k` of 64.
///
/// # Safety
///
/// `a` and `b` are maps of [m, k] and [n, k] with boxes of 128×64, `c` one of [m, n]
/// with boxes of 16×64, all with a swizzle of 128 bytes; the launch gives
/// `SHARED_BYTES` of dynamic shared memory and a grid of whole clusters.
#[kernel(block = THREADS, min_blocks = 1, cluster = CLUSTER as u32, arch = 90)]
pub unsafe fn gemm_f16(a: &TensorMap, b: &TensorMap, c: TensorMapMut, m: u32, n: u32, k: u32) {
    let mut full = shared!([Mbarrier; STAGES]);
    let mut empty = shared!([Mbarrier; STAGES]);
    let full = full.init_cluster_mbarriers(|_| 1);
    // The consumers of all blocks: a block's stage is written by all of them.
    let empty = empty.init_cluster_mbarriers(|_| 2 * CLUSTER as u32);
    let (memory, _) = dynamic_shared::<u8>();
    let ring = memory.wrapping_add(memory.align_offset(1024));
    let stage_a = |stage: usize| ring.wrapping_add(stage * (A_BYTES + B_BYTES));
    let stage_b = |stage: usize| stage_a(stage).wrapping_add(A_BYTES);
    let rank = block_x() % CLUSTER as u32;
    let (rows, columns) = (m / (CLUSTER * TILE_M) as u32, n / TILE_N as u32);
    let steps = k / TILE_K as u32;
    let clusters = grid_dim_x() / CLUSTER as u32;
    let tiles = (block_x() / CLUSTER as u32..rows * columns).step_by(clusters.max(1) as usize);
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
                    let part = stage_b(stage).wrapping_add(rank as usize * B_BYTES / CLUSTER);
                    let everyone = (1 << CLUSTER) - 1;
                    // SAFETY: the stage is empty in all blocks, aligned to 1024
                    // bytes and as large as the boxes.
                    unsafe {
                        tma_load(stage_a(stage), a, [at, at_row], &full[stage]);
                        tma_load_multicast(part, b, [at, at_column], &full[stage], everyone);
                    }
                    ring_step += 1;
                }
            }
        }
    } else {
        // SAFETY: as above.
        unsafe { registers_increase::<232>() };
        let half = group as usize - 1;
        let stores = ring.wrapping_add(
            STAGES * (A_BYTES + B_BYTES) + (warp() as usize - 4) * STORE_BUFFERS * STORE_BYTES,
        );
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
                let first = tile_row(row) as usize * TILE_M + half * 64 + warp() as usize % 4 * 16;
                store(&acc, &c, stores, first, column as usize * TILE_N);
            }
        }
        tma_wait_read::<0>();
    }
    // Nobody leaves while the other blocks may still write here.
    cluster_barrier_unaligned();
}

/// Stores a warp's 16×256 of the accumulator as f16, 64 columns at a time.
///
/// # Safety
///
/// The place lies within `c`, whose boxes are 16×64; `buffers` is this warp's, with
/// room for `STORE_BUFFERS` boxes; all lanes make the call.
#[inline(always)]
unsafe fn store(
    acc: &[f32; TILE_N / 2],
    c: &TensorMapMut,
    buffers: *mut u8,
    row: usize,
    column: usize,
) {
    let lane = lane() as usize;
    // `stmatrix` takes the address of row `r` of 8×8 matrix `m` from lane `8 * m + r`:
    // the matrices lie below each other, then beside.
    let (matrix, r) = (lane / 8, lane % 8);
    let line = (r + matrix % 2 * 8) * 128;
    unroll::<{ TILE_N / STORE[1] }>(|part| {
        let buffer = buffers.wrapping_add(part % STORE_BUFFERS * STORE_BYTES);
        // The store that used the buffer before has read it.
        tma_wait_read::<{ STORE_BUFFERS as u32 - 1 }>();
        warp_barrier(u32::MAX);
        unroll::<4>(|pair| {
            let values = &acc[32 * part + 8 * pair..][..8];
            let fragment =
                unrolled(|i| f16x2::from_f32s(values[2 * i], values[2 * i + 1]).to_bits());
            let chunk = 2 * pair + matrix / 2;
            // SAFETY: a row of the box, swizzled as its map is; nobody else has it.
            unsafe { stmatrix_x4(buffer.wrapping_add(line + (chunk ^ r) * 16), fragment) };
        });
        fence_proxy_async_shared();
        warp_barrier(u32::MAX);
        if lane == 0 {
            let at = [(column + part * STORE[1]) as i32, row as i32];
            // SAFETY: the box is written and nobody else stores there.
            unsafe { tma_store(c, at, buffer) };
            tma_commit();
        }
    });
}
