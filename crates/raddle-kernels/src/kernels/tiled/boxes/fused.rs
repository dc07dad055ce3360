//! Products by fused multiplications and additions of `f32`: a warp has 64×64, each lane 16
//! rows, 4 apart, and 8 columns, 8 apart.
//!
//! Lanes read four terms of a row at once. Rows that the lanes of a warp read together are
//! different ones of eight neighbours, so that the swizzle puts their terms in different
//! banks. Of a right operand that lies `[k, column]` they read four columns of a row at once,
//! and a lane's columns are twice four neighbours, 32 apart.
#![allow(clippy::needless_range_loop)] // indices that unrolling makes constants

use raddle::device::unroll::{unroll, unrolled};
use raddle::prelude::*;

use super::{Ending, Loader, Ring, SPAN, STEP, WARP};
use crate::kernels::tiled::ending::read;

/// Rows and columns of a lane.
const ROWS: usize = 16;
const COLUMNS: usize = 8;
/// Rows and columns of a warp.
const SIDE: usize = 64;
/// Terms that are read at once.
const TERMS: usize = 4;
/// Groups of these in a step.
const CHUNKS: usize = STEP / TERMS;

/// A lane's sums.
type Sums = [[f32; COLUMNS]; ROWS];

/// A lane's first row, and its number among the lanes with other columns.
#[inline(always)]
fn first() -> [usize; 2] {
    let lane = lane() as usize;
    [lane / 8, lane % 8]
}

/// Adds the products of four terms; a warp's rows begin at `left`, its columns at `right`,
/// `by_depth` if they are neighbours.
///
/// # Safety
///
/// They are rows of a stage that nobody writes.
#[inline(always)]
unsafe fn add(sums: &mut Sums, left: *const u8, right: *const u8, chunk: usize, by_depth: bool) {
    let [row, column] = first();
    // Of even rows of the lane, and of odd ones, which are 4 further in the pattern of 8.
    let even = left.wrapping_add(row * SPAN + (chunk ^ row) * 16);
    let odd = left.wrapping_add(row * SPAN + (chunk ^ (row + 4)) * 16);
    // SAFETY: the caller's contract.
    unsafe {
        let b: [[f32; TERMS]; COLUMNS] = if by_depth {
            let rows: [[[f32; 4]; 2]; TERMS] = unrolled(|k| {
                // A chunk has one half of a pattern of 8 rows.
                let line = TERMS * (chunk % 2) + k;
                let from = right.wrapping_add((TERMS * chunk + k) * SPAN + (column ^ line) * 16);
                unrolled(|half| read(from.wrapping_add(half * SIDE / 2 * SPAN).cast::<f32>()))
            });
            unrolled(|j| unrolled(|k| rows[k][j / 4][j % 4]))
        } else {
            let right = right.wrapping_add(column * SPAN + (chunk ^ column) * 16);
            unrolled(|j| read(right.wrapping_add(8 * j * SPAN).cast::<f32>()))
        };
        unroll::<ROWS>(|i| {
            let from = if i % 2 == 0 { even } else { odd };
            let a: [f32; TERMS] = read(from.wrapping_add(4 * i * SPAN).cast::<f32>());
            unroll::<TERMS>(|k| {
                unroll::<COLUMNS>(|j| sums[i][j] = a[k].mul_add(b[j][k], sums[i][j]));
            });
        });
    }
}

/// Writes a lane's sums of a row, whose warp's part begins at a column.
///
/// # Safety
///
/// As for [`Ending::put`].
#[inline(always)]
unsafe fn put(ending: &Ending<'_>, row: u32, column: u32, sums: [f32; COLUMNS], by_depth: bool) {
    let own = first()[1] as u32;
    // SAFETY: the caller's contract.
    unsafe {
        if by_depth {
            let fours: [[f32; 4]; 2] = unrolled(|half| unrolled(|j| sums[4 * half + j]));
            ending.put(row, column + 4 * own, SIDE as u32 / 2, fours);
        } else {
            ending.put(row, column + own, 8, sums.map(|sum| [sum]));
        }
    }
}

/// Starts the loads of the first turns, in the first thread.
///
/// # Safety
///
/// As for [`Loader::load`].
#[inline(always)]
unsafe fn load_first<const TILE_ROWS: usize, const TILE_COLUMNS: usize, const STAGES: usize>(
    ring: &Ring<'_, TILE_ROWS, TILE_COLUMNS, STAGES>,
    loader: &mut Loader<'_>,
    turns: u32,
) {
    if thread_x() == 0 {
        for turn in 0..turns.min(STAGES as u32) {
            // SAFETY: the caller's contract.
            unsafe { loader.load(ring, turn) };
        }
    }
}

/// Gives the stage of a turn back, and has the first thread fill that of the turn before,
/// which the other warps have most likely read.
///
/// # Safety
///
/// As for [`Loader::load`].
#[inline(always)]
unsafe fn pass_on<const TILE_ROWS: usize, const TILE_COLUMNS: usize, const STAGES: usize>(
    ring: &Ring<'_, TILE_ROWS, TILE_COLUMNS, STAGES>,
    loader: &mut Loader<'_>,
    turn: u32,
    turns: u32,
) {
    // All lanes have read.
    warp_barrier(u32::MAX);
    ring.release(turn, WARP);
    let next = turn + STAGES as u32 - 1;
    if thread_x() == 0 && turn > 0 && next < turns {
        // SAFETY: the caller's contract.
        unsafe { loader.load(ring, next) };
    }
}

/// Multiplies what the ring brings and writes the warp's part of the tile.
///
/// # Safety
///
/// All lanes of a warp come here together; the ending has the tile's places.
#[inline(always)]
pub(super) unsafe fn multiply<
    const TILE_ROWS: usize,
    const TILE_COLUMNS: usize,
    const STAGES: usize,
>(
    ring: &Ring<'_, TILE_ROWS, TILE_COLUMNS, STAGES>,
    mut loader: Loader<'_>,
    ending: Ending<'_>,
) {
    let place = ending.place;
    let across = TILE_COLUMNS / SIDE;
    let (down, along) = (warp() as usize / across * SIDE, warp() as usize % across * SIDE);
    let mut sums: Sums = [[0.0; COLUMNS]; ROWS];
    let turns = place.end - place.begin;
    // SAFETY: the caller's contract.
    unsafe { load_first(ring, &mut loader, turns) };
    for turn in 0..turns {
        let stage = ring.filled(turn);
        let left = ring.left(stage).wrapping_add(down * SPAN);
        let right = ring.right(stage).wrapping_add(along * SPAN);
        for chunk in 0..CHUNKS {
            // SAFETY: the stage is full until it is given back.
            unsafe { add(&mut sums, left, right, chunk, ring.by_depth) };
        }
        // SAFETY: the caller's contract.
        unsafe { pass_on(ring, &mut loader, turn, turns) };
    }
    let row = place.row + (down + first()[0]) as u32;
    let column = place.column + along as u32;
    unroll::<ROWS>(|i| {
        // SAFETY: the caller's contract.
        unsafe { put(&ending, row + 4 * i as u32, column, sums[i], ring.by_depth) };
    });
}

/// The same for a tile of one warp's size whose terms four warps share: each takes two
/// groups of four of every step, and at last a quarter of the rows of all.
///
/// # Safety
///
/// The block's consumers are four warps, which come here together; the ending has the
/// tile's places.
#[inline(always)]
pub(super) unsafe fn multiply_shared<const STAGES: usize>(
    ring: &Ring<'_, SIDE, SIDE, STAGES>,
    mut loader: Loader<'_>,
    ending: Ending<'_>,
) {
    const WARPS: usize = 4;
    const { assert!(STAGES * 2 * SIDE * SPAN >= WARPS * SIDE * SIDE * 4) };
    let (warp, place) = (warp() as usize, ending.place);
    let mut sums: Sums = [[0.0; COLUMNS]; ROWS];
    let turns = place.end - place.begin;
    // SAFETY: the caller's contract.
    unsafe { load_first(ring, &mut loader, turns) };
    for turn in 0..turns {
        let stage = ring.filled(turn);
        for i in 0..CHUNKS / WARPS {
            let (left, right) = (ring.left(stage), ring.right(stage));
            // SAFETY: the stage is full until it is given back.
            unsafe { add(&mut sums, left, right, warp + WARPS * i, ring.by_depth) };
        }
        // SAFETY: the caller's contract.
        unsafe { pass_on(ring, &mut loader, turn, turns) };
    }
    // All stages have been read: the ring is free.
    NamedBarrier::<1>.sync((WARPS * WARP) as u32);
    let lane = lane() as usize;
    let parts = ring.memory.cast::<f32>().wrapping_add(lane);
    let at = |warp: usize, i: usize, j: usize| {
        parts.wrapping_add(((warp * ROWS + i) * COLUMNS + j) * WARP)
    };
    unroll::<ROWS>(|i| {
        // SAFETY: the ring has room for all, and each lane its own places.
        unroll::<COLUMNS>(|j| unsafe { at(warp, i, j).write(sums[i][j]) });
    });
    NamedBarrier::<1>.sync((WARPS * WARP) as u32);
    let row = place.row + first()[0] as u32;
    for i in warp * (ROWS / WARPS)..(warp + 1) * (ROWS / WARPS) {
        let sums = unrolled(|j| {
            let mut sum = 0.0;
            for part in 0..WARPS {
                // SAFETY: written before the barrier.
                sum += unsafe { at(part, i, j).read() };
            }
            sum
        });
        // SAFETY: the caller's contract.
        unsafe { put(&ending, row + 4 * i as u32, place.column, sums, ring.by_depth) };
    }
}
