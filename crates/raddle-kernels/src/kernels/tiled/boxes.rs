//! Products and convolutions of `f32` whose operands the copy engine brings, 32 terms of
//! each row at a time, for devices of compute capability 9.0.
//!
//! ```text
//! out[row, column] = clamp(sum over k of left[row, k] * right[column, k] + bias[column] + residual[row, column])
//! block = ((row tile * column tiles + column tile) * split + part) * cluster + rank
//! ```
//!
//! Rows are the pixels of all images of the output and columns its channels, both operands
//! and the output with channels last: `k` runs over the elements of the window and, within
//! one, over channels. The left operand is loaded by the engine's walk over pixels (im2col),
//! which puts zeros where a window reaches out of its image; a product of matrices is a
//! convolution of single pixels of one long row. The right operand is `[column, tap,
//! channel]`, packed ahead where it is constant; that of a product may lie `[k, column]`, for
//! which there are kernels `by_depth`.
//!
//! One thread loads stage after stage of a ring, and warps multiply: as tf32 on tensor cores,
//! for which the engine rounds operands on the way ([`tensor`]), or by fused multiplications
//! and additions of `f32` ([`fused`]). Rows of a stage are 128 bytes, swizzled.
//!
//! Where there are fewer tiles than the device holds blocks, `split` blocks share the depth
//! of one, each with sums of its own in a copy of the output, which [`add_parts`] adds up.

#![allow(clippy::needless_range_loop)] // indices that unrolling makes constants

mod fused;
mod tensor;

use raddle::device::mbarrier::Mbarrier;
use raddle::device::tma::{TensorMap, tma_load, tma_load_im2col, tma_load_multicast};
use raddle::device::unroll::{unroll, unrolled};
use raddle::prelude::*;

use super::divided;
use super::ending::{clamp, read};

/// Terms of a step: one swizzle span.
pub const STEP: usize = 32;
/// Columns of a box of a right operand that lies `[k, column]`: one swizzle span.
pub const SIDE: usize = 32;
/// Bytes of a row of a stage.
const SPAN: usize = STEP * 4;
/// Threads of a warp.
const WARP: usize = 32;

/// How a convolution is cut into tiles.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Numbers {
    /// Pixels of all images of the output.
    pub rows: u32,
    /// Channels of the output, a multiple of 4.
    pub columns: u32,
    /// Rows and columns of an image of the output.
    pub size: [u32; 2],
    /// Rows and columns of the window.
    pub window: [u32; 2],
    /// Steps of the window.
    pub strides: [u32; 2],
    /// Distance of the window's elements.
    pub dilations: [u32; 2],
    /// Where the first window begins in an image of the input, at most zero.
    pub begins: [i32; 2],
    /// 32s of channels of the input, rounded up.
    pub slices: u32,
    /// Steps of all of `k`: slices for each element of the window.
    pub steps: u32,
    /// Tiles that cover the columns.
    pub column_tiles: u32,
    /// Blocks that share a tile.
    pub split: u32,
    /// Whether there is a bias for each column.
    pub has_bias: u32,
    /// Whether there is a residual, which lies as the output does.
    pub has_residual: u32,
    /// Bounds of the results.
    pub min: f32,
    /// The upper one.
    pub max: f32,
}

/// What a block computes.
#[derive(Clone, Copy)]
struct Place {
    row: u32,
    column: u32,
    part: u32,
    /// First step and the one behind the last.
    begin: u32,
    end: u32,
    /// Its number among the blocks of its cluster.
    rank: u32,
}

impl Numbers {
    /// The tile of this block, of so many rows and columns.
    #[inline(always)]
    fn place(&self, [rows, columns]: [usize; 2], cluster: usize) -> Place {
        let [block, rank] = divided(block_x(), cluster as u32);
        let [tile, part] = divided(block, self.split);
        let [row, column] = divided(tile, self.column_tiles);
        let step = |part: u32| divided(self.steps * part, self.split)[0];
        Place {
            row: (row * cluster as u32 + rank) * rows as u32,
            column: column * columns as u32,
            part,
            begin: step(part),
            end: step(part + 1),
            rank,
        }
    }
}

/// Dynamic shared memory of a block whose tile has so many rows and columns.
#[must_use]
pub const fn shared_bytes(rows: usize, columns: usize, stages: usize) -> usize {
    stages * (rows + columns) * SPAN + 1024
}

/// The ring of stages of a block, each `[row][32]` of the left operand and then `[column][32]`
/// of the right one, or `[32 columns][k][column]` of one that lies `[k, column]`. A stage
/// belongs to the producer from the consumers' arrival at `empty` until its bytes have arrived
/// at `full`.
#[derive(Clone, Copy)]
struct Ring<'a, const ROWS: usize, const COLUMNS: usize, const STAGES: usize> {
    full: &'a [Mbarrier; STAGES],
    empty: &'a [Mbarrier; STAGES],
    memory: *mut u8,
    /// Blocks of a cluster, which share the right operand.
    cluster: usize,
    /// Whether the right operand lies `[k, column]`.
    by_depth: bool,
}

impl<const ROWS: usize, const COLUMNS: usize, const STAGES: usize> Ring<'_, ROWS, COLUMNS, STAGES> {
    #[inline(always)]
    fn left(&self, stage: usize) -> *mut u8 {
        self.memory.wrapping_add(stage * (ROWS + COLUMNS) * SPAN)
    }

    #[inline(always)]
    fn right(&self, stage: usize) -> *mut u8 {
        self.left(stage).wrapping_add(ROWS * SPAN)
    }

    /// Waits until the stage of a turn is full, and gives its number.
    #[inline(always)]
    fn filled(&self, turn: u32) -> usize {
        let stage = (turn % STAGES as u32) as usize;
        self.full[stage].suspend_parity(turn / STAGES as u32 % 2);
        stage
    }

    /// Gives the stage of a turn back to the producers of all blocks that fill it; the
    /// thread speaks for `threads` neighbours.
    #[inline(always)]
    fn release(&self, turn: u32, threads: usize) {
        let empty = &self.empty[(turn % STAGES as u32) as usize];
        let thread = thread_x() % threads as u32;
        if self.cluster == 1 {
            if thread == 0 {
                let _ = empty.arrive();
            }
        } else if thread < self.cluster as u32 {
            // SAFETY: the cluster has that block, and ends together.
            unsafe { empty.arrive_remote_release_block(thread) };
        }
    }
}

/// Loads the operands of a block's steps, stage after stage.
#[derive(Clone, Copy)]
struct Loader<'a> {
    left: &'a TensorMap,
    right: &'a TensorMap,
    /// Column and row of the input where the first pixel's window begins, and the image.
    first: [i32; 3],
    window_width: u32,
    dilations: [u32; 2],
    slices: u32,
    /// The first column of the right operand, and the block's number in its cluster.
    column: i32,
    rank: usize,
    /// The step's place in `k`: the element of the window, its row and column, and the 32
    /// channels.
    tap: u32,
    down: u32,
    along: u32,
    slice: u32,
}

impl<'a> Loader<'a> {
    #[inline(always)]
    fn new(numbers: &Numbers, place: Place, left: &'a TensorMap, right: &'a TensorMap) -> Self {
        let [height, width] = numbers.size;
        let [line, x] = divided(place.row, width);
        let [image, y] = divided(line, height);
        let [tap, slice] = divided(place.begin, numbers.slices);
        let [down, along] = divided(tap, numbers.window[1]);
        let first = [
            (x * numbers.strides[1]) as i32 + numbers.begins[1],
            (y * numbers.strides[0]) as i32 + numbers.begins[0],
            image as i32,
        ];
        Self {
            left,
            right,
            first,
            window_width: numbers.window[1],
            dilations: numbers.dilations,
            slices: numbers.slices,
            column: place.column as i32,
            rank: place.rank as usize,
            tap,
            down,
            along,
            slice,
        }
    }

    /// Loads the next step into the stage of a turn when it is empty.
    ///
    /// # Safety
    ///
    /// One thread makes the calls, one for each turn; the maps are those of the numbers.
    #[inline(always)]
    unsafe fn load<const ROWS: usize, const COLUMNS: usize, const STAGES: usize>(
        &mut self,
        ring: &Ring<'_, ROWS, COLUMNS, STAGES>,
        turn: u32,
    ) {
        let stage = (turn % STAGES as u32) as usize;
        ring.empty[stage].suspend_parity((turn / STAGES as u32 + 1) % 2);
        let full = &ring.full[stage];
        let _ = full.arrive_expect_tx(((ROWS + COLUMNS) * SPAN) as u32);
        let channel = (self.slice * STEP as u32) as i32;
        let at = [channel, self.first[0], self.first[1], self.first[2]];
        let [down, along] = [self.down * self.dilations[0], self.along * self.dilations[1]];
        let share = COLUMNS / ring.cluster;
        let part = ring.right(stage).wrapping_add(self.rank * share * SPAN);
        // SAFETY: the stage is empty in all blocks, aligned and as large as the boxes.
        unsafe {
            tma_load_im2col(ring.left(stage), self.left, at, [along as u16, down as u16], full);
            if ring.by_depth {
                for group in 0..COLUMNS / SIDE {
                    let to = ring.right(stage).wrapping_add(group * SIDE * SPAN);
                    let at = [self.column + (group * SIDE) as i32, channel];
                    tma_load(to, self.right, at, full);
                }
                self.slice += 1;
                return;
            }
            let at = [channel, self.tap as i32, self.column + (self.rank * share) as i32];
            if ring.cluster == 1 {
                tma_load(part, self.right, at, full);
            } else {
                tma_load_multicast(part, self.right, at, full, (1 << ring.cluster) - 1);
            }
        }
        self.slice += 1;
        if self.slice == self.slices {
            (self.slice, self.tap, self.along) = (0, self.tap + 1, self.along + 1);
            if self.along == self.window_width {
                (self.along, self.down) = (0, self.down + 1);
            }
        }
    }
}

/// Where sums go.
#[derive(Clone, Copy)]
struct Ending<'a> {
    numbers: &'a Numbers,
    place: Place,
    bias: *const f32,
    residual: *const f32,
    out: *mut f32,
}

impl Ending<'_> {
    /// Writes sums of a row, or what becomes of them: `N` neighbours at each of some places, so
    /// many columns apart, those that are there. All that is added is asked for at first, so
    /// that nobody waits for one after the other.
    ///
    /// # Safety
    ///
    /// The operands have the places of the numbers, and `out` those of each part.
    #[inline(always)]
    unsafe fn put<const N: usize, const PLACES: usize>(
        &self,
        row: u32,
        column: u32,
        apart: u32,
        mut sums: [[f32; N]; PLACES],
    ) {
        let numbers = self.numbers;
        let columns = numbers.columns;
        if row >= numbers.rows {
            return;
        }
        let line = (row * columns) as usize;
        // Those that are not there read the first place, which always is.
        let at: [usize; PLACES] = unrolled(|j| {
            let column = column + apart * j as u32;
            if column < columns { column as usize } else { 0 }
        });
        let mut residual = [[0.0; N]; PLACES];
        let mut out = self.out.wrapping_add(line);
        // SAFETY: the caller's contract; neighbours are whole twos of a row, whose length is
        // a multiple of four.
        unsafe {
            if numbers.split > 1 {
                let len = (numbers.rows * columns) as usize;
                out = out.wrapping_add(self.place.part as usize * len);
            } else {
                if numbers.has_bias != 0 {
                    sums = unrolled(|j| added(sums[j], read(self.bias.wrapping_add(at[j]))));
                }
                if numbers.has_residual != 0 {
                    let residue = self.residual.wrapping_add(line);
                    residual = unrolled(|j| read(residue.wrapping_add(at[j])));
                }
            }
            // The parts of sums have no bounds.
            let [min, max] = match numbers.split {
                1 => [numbers.min, numbers.max],
                _ => [f32::NEG_INFINITY, f32::INFINITY],
            };
            unroll::<PLACES>(|j| {
                let all = added(sums[j], residual[j]).map(|sum| clamp(sum, min, max));
                if column + apart * (j as u32) < columns {
                    write(out.wrapping_add(at[j]), all);
                }
            });
        }
    }
}

/// Numbers and what is added to each.
#[inline(always)]
fn added<const N: usize>(mut sums: [f32; N], more: [f32; N]) -> [f32; N] {
    for k in 0..N {
        sums[k] += more[k];
    }
    sums
}

/// Writes neighbours that are aligned as one.
///
/// # Safety
///
/// Their places are there.
#[inline(always)]
unsafe fn write<const N: usize>(to: *mut f32, all: [f32; N]) {
    // SAFETY: the caller's contract.
    unsafe {
        match N {
            4 => to.cast::<F32x4>().write(F32x4::new([all[0], all[1 % N], all[2 % N], all[3 % N]])),
            2 => to.cast::<F32x2>().write(F32x2::new([all[0], all[1 % N]])),
            _ => to.write(all[0]),
        }
    }
}

/// Declares the kernel of a tile and a module with its numbers.
macro_rules! tile {
    ($(#[$doc:meta])* $kernel:ident, $name:ident: $rows:literal x $columns:literal, $stages:literal stages,
        $warps:literal warps, $consumers:literal consumers, $blocks:literal blocks
        $(, clusters of $cluster:literal)? $(, by depth: $by_depth:literal)?; $multiply:expr
    ) => {
        /// The numbers of the kernel of this tile.
        pub mod $name {
            /// Rows and columns of a tile.
            pub const SIZE: [usize; 2] = [$rows, $columns];
            /// Threads of a block.
            pub const THREADS: u32 = $warps * super::WARP as u32;
            /// Dynamic shared memory of a block.
            pub const SHARED_BYTES: usize = super::shared_bytes($rows, $columns, $stages);
            /// Blocks that a multiprocessor holds.
            pub const BLOCKS: usize = $blocks;
            /// Blocks of a cluster.
            pub const CLUSTER: usize = 1 $( - 1 + $cluster)?;
            /// Whether the right operand lies `[k, column]`.
            pub const BY_DEPTH: bool = false $( || $by_depth)?;
        }

        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// The maps are of operands that the numbers describe, the left one for im2col loads
        /// of 32 channels of the tile's rows, the right one with boxes of 32 channels of the
        /// tile's columns, or a block's share of them in a cluster, or by depth with boxes of 32
        /// columns of 32 `k`, both swizzled in spans of 128 bytes. `bias` has the columns if there is one, `residual` the elements of the
        /// output, and `out` these for each part. The launch has the threads, shared memory
        /// and clusters of its module, and a block for each part of each tile.
        #[kernel(block = $name::THREADS, min_blocks = $blocks, $(cluster = $cluster,)? arch = 90)]
        #[inline(always)]
        pub unsafe fn $kernel(
            left: &TensorMap,
            right: &TensorMap,
            numbers: Numbers,
            bias: *const f32,
            residual: *const f32,
            out: *mut f32,
        ) {
            let mut full = shared!([Mbarrier; $stages]);
            let mut empty = shared!([Mbarrier; $stages]);
            let (full, empty) = if $name::CLUSTER == 1 {
                let all = (full.init_mbarriers(|_| 1), empty.init_mbarriers(|_| $consumers));
                // Of the first thread, which initialised them, before another one has the
                // copy engine count there.
                fence_mbarrier_init();
                barrier();
                all
            } else {
                let arrivals = $consumers * $name::CLUSTER as u32;
                (full.init_cluster_mbarriers(|_| 1), empty.init_cluster_mbarriers(|_| arrivals))
            };
            let (memory, _) = dynamic_shared::<u8>();
            let memory = memory.wrapping_add(memory.align_offset(1024));
            let (cluster, by_depth) = ($name::CLUSTER, $name::BY_DEPTH);
            let ring = Ring::<$rows, $columns, $stages> { full, empty, memory, cluster, by_depth };
            let place = numbers.place($name::SIZE, cluster);
            let loader = Loader::new(&numbers, place, left, right);
            let ending = Ending { numbers: &numbers, place, bias, residual, out };
            // SAFETY: the caller's contract.
            unsafe { $multiply(&ring, loader, ending) };
            if $name::CLUSTER > 1 {
                // Nobody leaves while the other block may still write here.
                cluster_barrier_unaligned();
            }
        }
    };
}

tile! {
    /// As tf32 in tiles of 64×64.
    multiply_tf32_64x64, tf32_64x64: 64 x 64, 6 stages, 5 warps, 1 consumers, 2 blocks; tensor::multiply::<64, 64, 6, 32>
}
tile! {
    /// As tf32 in tiles of 128×64.
    multiply_tf32_128x64, tf32_128x64: 128 x 64, 4 stages, 9 warps, 2 consumers, 2 blocks; tensor::multiply::<128, 64, 4, 32>
}
tile! {
    /// As tf32 in tiles of 128×128.
    multiply_tf32_128x128, tf32_128x128: 128 x 128, 3 stages, 9 warps, 2 consumers, 2 blocks; tensor::multiply::<128, 128, 3, 64>
}
tile! {
    /// As tf32 in tiles of 128×256; the two blocks of a cluster, whose tiles lie below each
    /// other, load half of the right operand each, for both.
    multiply_tf32_128x256, tf32_128x256: 128 x 256, 4 stages, 9 warps, 2 consumers, 1 blocks, clusters of 2;
        tensor::multiply::<128, 256, 4, 128>
}
tile! {
    /// In tiles of 64×64, whose terms four warps share.
    multiply_f32_64x64, f32_64x64: 64 x 64, 4 stages, 4 warps, 4 consumers, 2 blocks; fused::multiply_shared::<4>
}
tile! {
    /// In tiles of 128×128.
    multiply_f32_128x128, f32_128x128: 128 x 128, 3 stages, 4 warps, 4 consumers, 2 blocks; fused::multiply::<128, 128, 3>
}
tile! {
    /// In tiles of 256×64.
    multiply_f32_256x64, f32_256x64: 256 x 64, 2 stages, 4 warps, 4 consumers, 2 blocks; fused::multiply::<256, 64, 2>
}
tile! {
    /// In tiles of 64×64, whose terms four warps share, of a right operand that lies `[k, column]`.
    multiply_f32_64x64_by_depth, f32_64x64_by_depth: 64 x 64, 4 stages, 4 warps, 4 consumers, 2 blocks, by depth: true;
        fused::multiply_shared::<4>
}
tile! {
    /// In tiles of 128×128, of a right operand that lies `[k, column]`.
    multiply_f32_128x128_by_depth, f32_128x128_by_depth: 128 x 128, 3 stages, 4 warps, 4 consumers, 2 blocks, by depth: true;
        fused::multiply::<128, 128, 3>
}
tile! {
    /// As tf32 in tiles of 64×128, of a right operand that lies `[k, column]`.
    multiply_tf32_64x128_by_depth, tf32_64x128_by_depth: 64 x 128, 4 stages, 5 warps, 4 consumers, 2 blocks, by depth: true;
        tensor::multiply_by_depth::<4>
}

/// Elements from the parts of their sums, four to a thread.
///
/// # Safety
///
/// `parts` has the elements of the output for each part, `out` as many; bias and residual
/// have theirs, if there are any.
#[kernel(block = 256)]
pub unsafe fn add_parts(
    numbers: Numbers,
    parts: *const f32,
    bias: *const f32,
    residual: *const f32,
    out: *mut f32,
) {
    let len = numbers.rows * numbers.columns;
    let at = (block_x() * 256 + thread_x()) * 4;
    if at < len {
        let mut sums = [0.0f32; 4];
        for part in 0..numbers.split {
            let from = parts.wrapping_add(part as usize * len as usize + at as usize);
            // SAFETY: the caller's contract.
            sums = added(sums, unsafe { read(from) });
        }
        let column = divided(at, numbers.columns)[1] as usize;
        // SAFETY: the caller's contract.
        unsafe {
            if numbers.has_bias != 0 {
                sums = added(sums, read(bias.wrapping_add(column)));
            }
            if numbers.has_residual != 0 {
                sums = added(sums, read(residual.wrapping_add(at as usize)));
            }
            let results = sums.map(|sum| clamp(sum, numbers.min, numbers.max));
            write(out.wrapping_add(at as usize), results);
        }
    }
}
