//! How the products of a step are added up: by fused multiplications and additions of
//! `f32`, or on tensor cores as tf32.
#![allow(clippy::needless_range_loop)] // indices that unrolling makes constants

use raddle::device::matrix::mma_f32_tf32;
use raddle::prelude::*;

use super::{GAP, PITCH_N, STEP, ending::read};

/// A lane's sums of its warp's 64×32.
pub(super) type Sums = [[f32; 8]; 8];

/// How products are added up.
pub trait Multiply: DeviceType {
    /// Whether neighbouring columns of a lane are four, else two.
    const HAS_FOURS: bool;

    /// Adds a step's products to a warp's sums; its operands begin at `left` and `right`.
    ///
    /// # Safety
    ///
    /// The operands are in shared memory; all lanes make the call.
    unsafe fn add<const TILE_M: usize>(sums: &mut Sums, left: *const f32, right: *const f32);

    /// A lane's row number `i` in its warp's 64×32.
    fn row(lane: u32, i: usize) -> u32;

    /// Its column number `j`.
    fn column(lane: u32, j: usize) -> u32;

    /// The sums of row `i`, by columns.
    fn sums(sums: &Sums, i: usize) -> [f32; 8];
}

/// Rows are two fours, 32 apart, columns two fours, 16 apart.
impl Multiply for f32 {
    const HAS_FOURS: bool = true;

    #[inline(always)]
    unsafe fn add<const TILE_M: usize>(sums: &mut Sums, left: *const f32, right: *const f32) {
        let lane = lane() as usize;
        let left = left.wrapping_add(lane / 4 * 4);
        let right = right.wrapping_add(lane % 4 * 4);
        for four in 0..STEP / 4 {
            let left = left.wrapping_add(4 * four * (TILE_M + GAP));
            let right = right.wrapping_add(4 * four * PITCH_N);
            // SAFETY: the caller's contract.
            unsafe {
                add_term(sums, left, right);
                add_term(sums, left.wrapping_add(TILE_M + GAP), right.wrapping_add(PITCH_N));
                let (left, right) =
                    (left.wrapping_add(2 * (TILE_M + GAP)), right.wrapping_add(2 * PITCH_N));
                add_term(sums, left, right);
                add_term(sums, left.wrapping_add(TILE_M + GAP), right.wrapping_add(PITCH_N));
            }
        }
    }

    #[inline(always)]
    fn row(lane: u32, i: usize) -> u32 {
        lane / 4 * 4 + (i % 4 + i / 4 * 32) as u32
    }

    #[inline(always)]
    fn column(lane: u32, j: usize) -> u32 {
        lane % 4 * 4 + (j % 4 + j / 4 * 16) as u32
    }

    #[inline(always)]
    fn sums(sums: &Sums, i: usize) -> [f32; 8] {
        sums[i]
    }
}

/// Adds the products of one term: a column of the left operand with a row of the right one.
#[inline(always)]
unsafe fn add_term(sums: &mut Sums, left: *const f32, right: *const f32) {
    // SAFETY: the caller's contract.
    let ([a, b], [c, d]) = unsafe {
        (
            [read::<4>(left), read::<4>(left.wrapping_add(32))],
            [read::<4>(right), read::<4>(right.wrapping_add(16))],
        )
    };
    let right = [c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]];
    add_row(&mut sums[0], a[0], &right);
    add_row(&mut sums[1], a[1], &right);
    add_row(&mut sums[2], a[2], &right);
    add_row(&mut sums[3], a[3], &right);
    add_row(&mut sums[4], b[0], &right);
    add_row(&mut sums[5], b[1], &right);
    add_row(&mut sums[6], b[2], &right);
    add_row(&mut sums[7], b[3], &right);
}

#[inline(always)]
fn add_row(sums: &mut [f32; 8], left: f32, right: &[f32; 8]) {
    for j in 0..8 {
        sums[j] = left.mul_add(right[j], sums[j]);
    }
}

/// 4×4 products of 16×8. Row `i` is `lane / 4` in the `i`-th 8 of the warp's 64, column `j` of
/// the `j / 2`-th 8 of its 32: `sums[2 * m + n / 2]` has from `n % 2 * 4` on the four sums that
/// a lane has of product `[m, n]`, two in a row and two in the row 8 below.
impl Multiply for tf32 {
    const HAS_FOURS: bool = false;

    #[inline(always)]
    unsafe fn add<const TILE_M: usize>(sums: &mut Sums, left: *const f32, right: *const f32) {
        let (line, term) = (lane() as usize / 4, lane() as usize % 4);
        let left = left.wrapping_add(term * (TILE_M + GAP) + line);
        let right = right.wrapping_add(term * PITCH_N + line);
        for half in 0..STEP / 8 {
            let left = left.wrapping_add(half * 8 * (TILE_M + GAP));
            let right = right.wrapping_add(half * 8 * PITCH_N);
            // SAFETY: the caller's contract.
            unsafe {
                let b = [
                    fragment(right, PITCH_N),
                    fragment(right.wrapping_add(8), PITCH_N),
                    fragment(right.wrapping_add(16), PITCH_N),
                    fragment(right.wrapping_add(24), PITCH_N),
                ];
                add_products::<0, TILE_M>(sums, left, &b);
                add_products::<1, TILE_M>(sums, left, &b);
                add_products::<2, TILE_M>(sums, left, &b);
                add_products::<3, TILE_M>(sums, left, &b);
            }
        }
    }

    #[inline(always)]
    fn row(lane: u32, i: usize) -> u32 {
        lane / 4 + 8 * i as u32
    }

    #[inline(always)]
    fn column(lane: u32, j: usize) -> u32 {
        lane % 4 * 2 + (j % 2 + j / 2 * 8) as u32
    }

    #[inline(always)]
    fn sums(sums: &Sums, i: usize) -> [f32; 8] {
        let (two, at) = (i / 2 * 2, i % 2 * 2);
        let (a, b) = (&sums[two], &sums[two + 1]);
        [a[at], a[at + 1], a[at + 4], a[at + 5], b[at], b[at + 1], b[at + 4], b[at + 5]]
    }
}

/// Two terms, four apart, of the line that a lane has, rounded.
#[inline(always)]
unsafe fn fragment(at: *const f32, pitch: usize) -> [tf32; 2] {
    // SAFETY: the caller's contract.
    unsafe { [tf32::from_f32(at.read()), tf32::from_f32(at.wrapping_add(4 * pitch).read())] }
}

/// Adds the products of 16 rows and 4×8 columns.
#[inline(always)]
unsafe fn add_products<const M: usize, const TILE_M: usize>(
    sums: &mut Sums,
    left: *const f32,
    b: &[[tf32; 2]; 4],
) {
    let left = left.wrapping_add(16 * M);
    // SAFETY: the caller's contract.
    let ([a0, a2], [a1, a3]) =
        unsafe { (fragment(left, TILE_M + GAP), fragment(left.wrapping_add(8), TILE_M + GAP)) };
    let a = [a0, a1, a2, a3];
    for n in 0..4 {
        let row = &mut sums[2 * M + n / 2];
        let at = n % 2 * 4;
        let mut acc = [row[at], row[at + 1], row[at + 2], row[at + 3]];
        mma_f32_tf32(&mut acc, &a, &b[n]);
        [row[at], row[at + 1], row[at + 2], row[at + 3]] = acc;
    }
}
