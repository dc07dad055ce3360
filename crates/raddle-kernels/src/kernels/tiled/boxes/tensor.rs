//! Products of tf32 on tensor cores: each warpgroup has 64 rows and all columns of the tile,
//! and the warp behind them loads.

use raddle::device::matrix::{
    KMajor, MatrixDescriptor, Operand, SharedLayout, Swizzle, wgmma, wgmma_commit, wgmma_fence,
    wgmma_fence_running, wgmma_registers, wgmma_wait, wgmma_wait_running,
};
use raddle::device::unroll::{unroll, unrolled};
use raddle::prelude::*;

use super::{Ending, Loader, Ring, SIDE, SPAN, STEP, WARP};
use crate::kernels::tiled::ending::read;

/// Threads of a warpgroup.
const GROUP: usize = 128;
/// Bytes of a row that an instruction multiplies.
const SLICE: u32 = 32;

/// Loads all turns if the thread's warp does that, and says whether it did.
///
/// # Safety
///
/// As for [`Loader::load`], for the warp behind `consumers` threads.
#[inline(always)]
unsafe fn is_producer<const ROWS: usize, const COLUMNS: usize, const STAGES: usize>(
    ring: &Ring<'_, ROWS, COLUMNS, STAGES>,
    loader: &mut Loader<'_>,
    turns: u32,
    consumers: usize,
) -> bool {
    let is_producer = thread_x() as usize >= consumers;
    if is_producer && lane() == 0 {
        for turn in 0..turns {
            // SAFETY: the caller's contract.
            unsafe { loader.load(ring, turn) };
        }
    }
    is_producer
}

/// Multiplies what the ring brings and writes the warpgroup's part of the tile: `R` is half
/// of the columns, the accumulators of a thread.
///
/// # Safety
///
/// The threads of a warpgroup come here together; the ending has the tile's places.
#[inline(always)]
pub(super) unsafe fn multiply<
    const ROWS: usize,
    const COLUMNS: usize,
    const STAGES: usize,
    const R: usize,
>(
    ring: &Ring<'_, ROWS, COLUMNS, STAGES>,
    mut loader: Loader<'_>,
    ending: Ending<'_>,
) {
    const { assert!(2 * R == COLUMNS) };
    let place = ending.place;
    let turns = place.end - place.begin;
    // SAFETY: the caller's contract.
    if unsafe { is_producer(ring, &mut loader, turns, ROWS / 64 * GROUP) } {
        return;
    }
    let group = thread_x() as usize / GROUP;
    let layout = SharedLayout::dense(Swizzle::Span128);
    let mut acc = [0.0f32; R];
    // SAFETY: the caller's contract; the operands are full stages that nobody writes before
    // they are given back.
    unsafe {
        wgmma_fence(&mut acc);
        for turn in 0..turns {
            let stage = ring.filled(turn);
            let left = ring.left(stage).wrapping_add(group * 64 * SPAN);
            let left = Operand::<tf32, KMajor>::new(MatrixDescriptor::new(left, layout));
            let right = MatrixDescriptor::new(ring.right(stage), layout);
            let right = Operand::<tf32, KMajor>::new(right);
            wgmma_fence_running();
            for slice in 0..SPAN as u32 / SLICE {
                wgmma(&mut acc, left.advance(SLICE * slice), right.advance(SLICE * slice), true);
            }
            wgmma_commit();
            if turn > 0 {
                // The products of the turn before are done.
                wgmma_wait_running::<1>();
                ring.release(turn - 1, GROUP);
            }
        }
        wgmma_wait::<0, _>(&mut acc);
    }
    if turns > 0 && ring.cluster > 1 {
        // The other block's producer may wait for it.
        ring.release(turns - 1, GROUP);
    }
    let lane = lane();
    let row = place.row + (group * 64) as u32 + warp() % 4 * 16 + lane / 4;
    let column = place.column + lane % 4 * 2;
    unroll::<8>(|part| {
        if 16 * part < R {
            // Of four eights of columns, the sums of a row and of the one 8 below. More at once
            // would not leave registers for what is added.
            let sums = |first: usize| -> [[f32; 2]; 4] {
                unrolled(|j| {
                    let at = 16 * part + 4 * j + first;
                    [acc[at], acc[at + 1]]
                })
            };
            let column = column + 32 * part as u32;
            // SAFETY: the caller's contract.
            unsafe {
                ending.put(row, column, 8, sums(0));
                ending.put(row + 8, column, 8, sums(2));
            }
        }
    });
}

/// Products of a right operand that lies `[k, column]`, which no instruction reads from shared
/// memory: its columns are the rows of the product's transpose, of which each warp has 32 in
/// registers, and the left operand's rows the columns.
///
/// A lane reads four columns of a row at once. They are its rows of two instructions; the
/// columns of eight lanes are in such an order that they and the four rows that these lanes
/// read are in different banks.
///
/// # Safety
///
/// The threads of the warpgroup come here together; the ending has the tile's places.
#[inline(always)]
pub(super) unsafe fn multiply_by_depth<const STAGES: usize>(
    ring: &Ring<'_, 64, GROUP, STAGES>,
    mut loader: Loader<'_>,
    ending: Ending<'_>,
) {
    let place = ending.place;
    let turns = place.end - place.begin;
    // SAFETY: the caller's contract.
    if unsafe { is_producer(ring, &mut loader, turns, GROUP) } {
        return;
    }
    let (warp, lane) = (warp() as usize, lane() as usize);
    let (q, g) = (lane % 4, lane / 4);
    let own = g % 2 * 4 + g / 2;
    let layout = SharedLayout::dense(Swizzle::Span128);
    let mut acc = [[0.0f32; 32]; 2];
    // SAFETY: the caller's contract; stages are full, and nobody writes them before they are
    // given back.
    unsafe {
        for turn in 0..turns {
            let stage = ring.filled(turn);
            let left = MatrixDescriptor::new(ring.left(stage), layout);
            let left = Operand::<tf32, KMajor>::new(left);
            let right = ring.right(stage).wrapping_add(warp * SIDE * SPAN + q * SPAN);
            // Rows `q` and `q + 4` of each eight.
            let [even, odd] = [q, q + 4].map(|row| right.wrapping_add((own ^ row) * 16));
            let fragments: [[[tf32; 4]; 2]; STEP / 8] = unrolled(|slice| {
                let from = 8 * slice * SPAN;
                let (a, b) =
                    (four(even.wrapping_add(from)), four(odd.wrapping_add(from + 4 * SPAN)));
                [[a[0], a[1], b[0], b[1]], [a[2], a[3], b[2], b[3]]]
            });
            wgmma_fence(&mut acc[0]);
            wgmma_fence(&mut acc[1]);
            unroll::<{ STEP / 8 }>(|slice| {
                let left = left.advance(SLICE * slice as u32);
                wgmma_registers(&mut acc[0], &fragments[slice][0], left, true);
                wgmma_registers(&mut acc[1], &fragments[slice][1], left, true);
            });
            wgmma_commit();
            wgmma_wait::<0, _>(&mut acc[0]);
            wgmma_wait::<0, _>(&mut acc[1]);
            // All lanes have read.
            warp_barrier(u32::MAX);
            ring.release(turn, WARP);
        }
    }
    let row = place.row + q as u32 * 2;
    let column = place.column + (warp * SIDE + 4 * own) as u32;
    unroll::<8>(|j| {
        unroll::<2>(|i| {
            let [first, second] = acc.map(|acc| [acc[4 * j + i], acc[4 * j + 2 + i]]);
            let four = [[first[0], first[1], second[0], second[1]]];
            // SAFETY: the caller's contract.
            unsafe { ending.put(row + (8 * j + i) as u32, column, 4, four) };
        });
    });
}

/// Four numbers that the engine has rounded.
///
/// # Safety
///
/// They are there, aligned as one.
#[inline(always)]
unsafe fn four(from: *const u8) -> [tf32; 4] {
    // SAFETY: the caller's contract; a tf32 is an `f32`.
    unsafe { core::mem::transmute(read::<4>(from.cast())) }
}
