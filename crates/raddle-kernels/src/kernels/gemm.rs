//! Large products on Hopper's tensor cores: `out = clamp(left * rightᵀ + bias + residual)` in
//! 16 bits with sums in f32.
//!
//! ```text
//! left: [rows, k]   right: [columns, k], or packed   out, residual: [rows, columns]
//! ```
//!
//! A block computes tiles of 128×256. One warpgroup (the producer) has the copy
//! engine load 128×64 of the left operand and 256×64 of the right one into a ring of four
//! stages; two others (the consumers) multiply, each 64 rows of the tile, with the
//! accumulators in registers. Blocks are persistent: while the consumers write a tile out,
//! the producer already loads the next.
//!
//! Two blocks make a cluster and compute tiles below each other, which need the same
//! part of the right operand: each loads half of it into both. Each warp writes its 16
//! rows to shared memory by `stmatrix`, 64 columns at a time, and the copy engine stores
//! them while the warp goes on. What lies outside of a matrix is read as zeros and not
//! written, so all sizes are good whose rows are whole 16 bytes.
//!
//! The right operand comes as boxes of 64 rows, each a contiguous piece of shared memory:
//! so weights that are packed for convolutions, swizzled ahead, serve as they are.
#![allow(clippy::needless_range_loop)] // indices that unrolling makes constants

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

use super::conv::{Eight, Half, clamp};

/// Rows of the output in a tile.
pub const TILE_M: usize = 128;
/// Columns of the output in a tile.
pub const TILE_N: usize = 256;
/// Elements of `k` in a stage: 128 bytes, one swizzle span.
pub const TILE_K: usize = 64;
/// Rows of the right operand in a box.
pub const GROUP_N: usize = 64;
/// Stages of the ring.
const STAGES: usize = 4;
/// Threads of a block: a producer and two consumer warpgroups.
pub const THREADS: u32 = 384;
/// Rows and columns that a warp stores at a time: one swizzle span wide.
pub const STORE: [usize; 2] = [16, 64];

/// Accumulators of a thread.
const R: usize = TILE_N / 2;
const A_BYTES: usize = TILE_M * TILE_K * 2;
const B_BYTES: usize = TILE_N * TILE_K * 2;
const STAGE_BYTES: usize = A_BYTES + B_BYTES;
const GROUP_BYTES: usize = GROUP_N * TILE_K * 2;
const STORE_BYTES: usize = STORE[0] * STORE[1] * 2;
/// Boxes that a warp has room for, one to fill while others are stored.
const STORE_BUFFERS: usize = 2;
/// Warps that store.
const WARPS: usize = 8;
/// Blocks of a cluster.
pub const CLUSTER: usize = 2;
/// Tile rows of clusters that are walked together, so that their operands stay in L2.
const WALKED: u32 = 8;
/// Dynamic shared memory that a launch needs: the ring, the stores, and room to align.
pub const SHARED_BYTES: usize = STAGES * STAGE_BYTES + WARPS * STORE_BUFFERS * STORE_BYTES + 1024;

/// The numbers of a product.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Numbers {
    /// Rows of the output.
    pub rows: u32,
    /// Columns of the output, a multiple of 8.
    pub columns: u32,
    /// 64s of `k`, rounded up.
    pub steps: u32,
    /// Where the right operand's box of a step is, from that of the step before: elements
    /// along its map's first axis and its second.
    pub step: [u32; 2],
    /// Where the box of the next 64 columns is, along the second axis.
    pub group: u32,
    /// Whether there is a bias.
    pub has_bias: u32,
    /// Whether there is a residual.
    pub has_residual: u32,
    /// Bounds of the results.
    pub min: f32,
    /// The upper one.
    pub max: f32,
}

impl Numbers {
    /// Tiles of clusters: rows and columns of them.
    #[inline(always)]
    #[must_use]
    pub fn tiles(&self) -> [u32; 2] {
        [self.rows.div_ceil((CLUSTER * TILE_M) as u32), self.columns.div_ceil(TILE_N as u32)]
    }

    /// Where the cluster's tile number `tile` begins in the output, for the block with this
    /// rank: walks `WALKED` rows of tiles by columns. Never panics, for the sake of ptxas:
    /// next to `setmaxnreg` calls that do not return crash it, and those that do cost
    /// registers.
    #[inline(always)]
    fn place(&self, tile: u32, rank: u32) -> Place {
        let [rows, columns] = self.tiles();
        let walked = (WALKED * columns).max(1);
        let first = tile / walked * WALKED;
        let height = (rows - first).clamp(1, WALKED);
        let within = tile % walked;
        let (row, column) = (first + within % height, within / height);
        Place { row: (row * CLUSTER as u32 + rank) * TILE_M as u32, column: column * TILE_N as u32 }
    }
}

/// The first row and column of a block's tile.
#[derive(Clone, Copy)]
struct Place {
    row: u32,
    column: u32,
}

/// The barriers and the memory of a block's ring.
struct Ring<'a> {
    full: &'a [Mbarrier; STAGES],
    empty: &'a [Mbarrier; STAGES],
    memory: *mut u8,
    rank: u32,
}

impl Ring<'_> {
    #[inline(always)]
    fn left(&self, stage: usize) -> *mut u8 {
        self.memory.wrapping_add(stage * STAGE_BYTES)
    }

    #[inline(always)]
    fn right(&self, stage: usize) -> *mut u8 {
        self.left(stage).wrapping_add(A_BYTES)
    }

    /// Gives a stage back to the producers of all blocks.
    #[inline(always)]
    fn release(&self, step: u32) {
        let lane = thread_x() % 128;
        if lane < CLUSTER as u32 {
            let empty = &self.empty[(step % STAGES as u32) as usize];
            // SAFETY: the cluster has that block, and ends together.
            unsafe { empty.arrive_remote_release_block(lane) };
        }
    }
}

/// The product; see the module.
///
/// # Safety
///
/// The maps are of matrices with those numbers: the left one with boxes of 128×64 and the
/// right one of 64×64 that lie in shared memory swizzled in spans of 128 bytes, `out` with
/// boxes of 16×64 so swizzled. `bias` has `columns` numbers if there is one, `residual` the
/// elements of the output. The launch gives `SHARED_BYTES` of dynamic shared memory and a
/// grid of whole clusters.
#[kernel(block = THREADS, min_blocks = 1, cluster = CLUSTER as u32, arch = 90, instances(f16, bf16))]
pub unsafe fn gemm<T: Half>(
    left: &TensorMap,
    right: &TensorMap,
    out: TensorMapMut,
    numbers: Numbers,
    bias: *const f32,
    residual: *const T,
) {
    // SAFETY: the caller's contract.
    unsafe { compute(left, right, &out, &numbers, bias, residual) };
}

/// In line, since ptxas waits for each product on its own where they are in a function that
/// is called.
#[inline(always)]
unsafe fn compute<T: Half>(
    left: &TensorMap,
    right: &TensorMap,
    out: &TensorMapMut,
    numbers: &Numbers,
    bias: *const f32,
    residual: *const T,
) {
    let mut full = shared!([Mbarrier; STAGES]);
    let mut empty = shared!([Mbarrier; STAGES]);
    let full = full.init_cluster_mbarriers(|_| 1);
    // The consumers of all blocks: a block's stage is written by all of them.
    let empty = empty.init_cluster_mbarriers(|_| 2 * CLUSTER as u32);
    let (memory, _) = dynamic_shared::<u8>();
    let memory = memory.wrapping_add(memory.align_offset(1024));
    let rank = block_x() % CLUSTER as u32;
    let ring = Ring { full, empty, memory, rank };
    let clusters = grid_dim_x() / CLUSTER as u32;
    let [rows, columns] = numbers.tiles();
    let tiles = (block_x() / CLUSTER as u32..rows * columns).step_by(clusters.max(1) as usize);
    let group = warp() / 4;
    // SAFETY: the caller's contract; the three warpgroups ask for 40 + 2 * 232 registers
    // of the 3 * 168 that the block begins with.
    unsafe {
        if group == 0 {
            registers_decrease::<40>();
            if thread_x() == 0 {
                produce(&ring, numbers, tiles, left, right);
            }
        } else {
            registers_increase::<232>();
            let half = group as usize - 1;
            let stores = (warp() as usize - 4) * STORE_BUFFERS * STORE_BYTES;
            let stores = memory.wrapping_add(STAGES * STAGE_BYTES + stores);
            let ending = Ending { numbers, out, bias, residual, stores };
            let mut step = 0;
            for tile in tiles {
                let place = numbers.place(tile, rank);
                let shares = ending.bias_shares(place.column);
                let mut acc = [0.0f32; R];
                sum::<T>(&ring, half, numbers.steps, &mut step, &mut acc);
                ending.store(&acc, &shares, half, place);
            }
            tma_wait_read::<0>();
        }
    }
    // Nobody leaves while the other blocks may still write here.
    cluster_barrier_unaligned();
}

/// Loads the tiles' operands, stage after stage.
#[inline(always)]
unsafe fn produce(
    ring: &Ring<'_>,
    numbers: &Numbers,
    tiles: impl Iterator<Item = u32>,
    left: &TensorMap,
    right: &TensorMap,
) {
    const SHARE: usize = TILE_N / GROUP_N / CLUSTER;
    let mut ring_step = 0u32;
    for tile in tiles {
        let place = numbers.place(tile, ring.rank);
        let first = place.column / GROUP_N as u32 + ring.rank * SHARE as u32;
        for step in 0..numbers.steps {
            let stage = (ring_step % STAGES as u32) as usize;
            ring.empty[stage].suspend_parity((ring_step / STAGES as u32 + 1) % 2);
            let full = &ring.full[stage];
            let _ = full.arrive_expect_tx(STAGE_BYTES as u32);
            let at = [(step * TILE_K as u32) as i32, place.row as i32];
            let part = ring.right(stage).wrapping_add(ring.rank as usize * SHARE * GROUP_BYTES);
            // SAFETY: the stage is empty in all blocks, aligned to 1024 bytes and as large
            // as the boxes.
            unsafe {
                tma_load(ring.left(stage), left, at, full);
                unroll::<SHARE>(|group| {
                    let row = (first + group as u32) * numbers.group + step * numbers.step[1];
                    let at = [(step * numbers.step[0]) as i32, row as i32];
                    let part = part.wrapping_add(group * GROUP_BYTES);
                    tma_load_multicast(part, right, at, full, (1 << CLUSTER) - 1);
                });
            }
            ring_step += 1;
        }
    }
}

/// Sums a warpgroup's half of a tile.
#[inline(always)]
unsafe fn sum<T: Half>(
    ring: &Ring<'_>,
    half: usize,
    steps: u32,
    ring_step: &mut u32,
    acc: &mut [f32; R],
) {
    // SAFETY: all threads of the warpgroup come here; the operands are full stages that
    // nobody writes before they are given back.
    unsafe {
        wgmma_fence(acc);
        for step in 0..steps {
            let stage = (*ring_step % STAGES as u32) as usize;
            ring.full[stage].suspend_parity(*ring_step / STAGES as u32 % 2);
            let layout = SharedLayout::dense(Swizzle::Span128);
            let left = ring.left(stage).wrapping_add(half * A_BYTES / 2);
            let left = Operand::<T, KMajor>::new(MatrixDescriptor::new(left, layout));
            let right = MatrixDescriptor::new(ring.right(stage), layout);
            let right = Operand::<T, KMajor>::new(right);
            wgmma_fence_running();
            for slice in 0..TILE_K as u32 / 16 {
                wgmma(acc, left.advance(32 * slice), right.advance(32 * slice), true);
            }
            wgmma_commit();
            if step > 0 {
                // The products of the step before are done.
                wgmma_wait_running::<1>();
                ring.release(*ring_step - 1);
            }
            *ring_step += 1;
        }
        wgmma_wait::<0, _>(acc);
    }
    ring.release(*ring_step - 1);
}

/// What becomes of sums.
struct Ending<'a, T> {
    numbers: &'a Numbers,
    out: &'a TensorMapMut,
    bias: *const f32,
    residual: *const T,
    /// This warp's, with room for `STORE_BUFFERS` boxes.
    stores: *mut u8,
}

impl<T: Half> Ending<'_, T> {
    /// This lane's share of a tile's bias, asked for before the sums that hide how long it
    /// takes: of every eighth 8 columns, two.
    #[inline(always)]
    unsafe fn bias_shares(&self, column: u32) -> [f32; 8] {
        let mut shares = [0.0; 8];
        if self.numbers.has_bias != 0 {
            let first = column + lane() / 4 * 8 + lane() % 4 * 2;
            unroll::<4>(|i| {
                let at = first + 64 * i as u32;
                if at < self.numbers.columns {
                    // SAFETY: the bias has all columns, and they are whole eights.
                    let pair = unsafe { self.bias.add(at as usize).cast::<F32x2>().read() };
                    [shares[2 * i], shares[2 * i + 1]] = pair.to_array();
                }
            });
        }
        shares
    }

    /// Stores a warp's 16×256 of the accumulator in 16 bits, 64 columns at a time.
    ///
    /// # Safety
    ///
    /// All lanes make the call.
    #[inline(always)]
    unsafe fn store(&self, acc: &[f32; R], shares: &[f32; 8], half: usize, place: Place) {
        let row = place.row as usize + half * 64 + warp() as usize % 4 * 16;
        let at = [row, place.column as usize];
        // SAFETY: the caller's contract.
        unsafe {
            self.store_box::<0>(acc, shares, at);
            self.store_box::<1>(acc, shares, at);
            self.store_box::<2>(acc, shares, at);
            self.store_box::<3>(acc, shares, at);
        }
    }

    #[inline(always)]
    unsafe fn store_box<const PART: usize>(
        &self,
        acc: &[f32; R],
        shares: &[f32; 8],
        [row, column]: [usize; 2],
    ) {
        let (lane, numbers) = (lane() as usize, self.numbers);
        let is_late = numbers.has_residual != 0;
        let [min, max] =
            if is_late { [f32::NEG_INFINITY, f32::INFINITY] } else { [numbers.min, numbers.max] };
        // `stmatrix` takes the address of row `r` of 8×8 matrix `m` from lane `8 * m + r`:
        // the matrices lie below each other, then beside.
        let (matrix, r) = (lane / 8, lane % 8);
        let line = (r + matrix % 2 * 8) * 128;
        let buffer = self.stores.wrapping_add(PART % STORE_BUFFERS * STORE_BYTES);
        // The store that used the buffer before has read it.
        tma_wait_read::<{ STORE_BUFFERS as u32 - 1 }>();
        warp_barrier(u32::MAX);
        unroll::<4>(|pair| {
            // Pairs of a row: of 8 columns in two rows, then of the next 8.
            let fragment = unrolled(|i| {
                let eight = 8 * PART + 2 * pair + i / 2;
                let from = (eight % 8 * 4 + lane % 4) as u32;
                let at = 32 * PART + 8 * pair + 2 * i;
                let finished = |e: usize| {
                    let bias = Lanes::ALL.shuffle(shares[eight / 8 * 2 + e], from);
                    clamp(acc[at + e] + bias, min, max)
                };
                T::pack(finished(0), finished(1))
            });
            let chunk = 2 * pair + matrix / 2;
            // SAFETY: a row of the box, swizzled as its map is; nobody else has it.
            unsafe { stmatrix_x4(buffer.wrapping_add(line + (chunk ^ r) * 16), fragment) };
        });
        let column = column + PART * STORE[1];
        if is_late {
            warp_barrier(u32::MAX);
            // SAFETY: the box is written.
            unsafe { self.add_residual(buffer, row, column) };
        }
        fence_proxy_async_shared();
        warp_barrier(u32::MAX);
        if lane == 0 {
            // SAFETY: the box is written and nobody else stores there.
            unsafe { tma_store(self.out, [column as i32, row as i32], buffer) };
            tma_commit();
        }
    }

    /// Adds the residual to the rounded sums of a box and keeps the results in bounds.
    ///
    /// # Safety
    ///
    /// The box is written, and all lanes make the call.
    #[inline(always)]
    unsafe fn add_residual(&self, buffer: *mut u8, row: usize, column: usize) {
        let numbers = self.numbers;
        let (line, chunk) = (lane() as usize / 8, lane() as usize % 8);
        let column = column + 8 * chunk;
        if column >= numbers.columns as usize {
            return;
        }
        for i in 0..STORE[0] / 4 {
            let line = line + 4 * i;
            let row = row + line;
            if row < numbers.rows as usize {
                let staged = buffer.wrapping_add(line * 128 + (chunk ^ (line % 8)) * 16);
                let staged = staged.cast::<Eight<T>>();
                let residual = self.residual.wrapping_add(row * numbers.columns as usize + column);
                // SAFETY: this lane alone has these eight of the box, and the residual has
                // all elements of the output.
                unsafe {
                    let (mut result, residual) =
                        (staged.read(), residual.cast::<Eight<T>>().read());
                    for k in 0..8 {
                        let sum = result.0[k].to_f32() + residual.0[k].to_f32();
                        result.0[k] = T::from_f32(clamp(sum, numbers.min, numbers.max));
                    }
                    staged.write(result);
                }
            }
        }
    }
}
