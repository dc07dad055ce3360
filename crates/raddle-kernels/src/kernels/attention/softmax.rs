//! A lane's scores: what masks do to them, and the running softmax of their rows.
//!
//! A lane has two rows, eight apart, and of every eight keys two: element `4 * j + i` is that
//! of row `i / 2` and key `8 * j + i % 2`, as the accumulators of tensor cores lie.
#![allow(clippy::needless_range_loop)] // indices that unrolling makes constants

use raddle::device::approx::exp2_approx;
use raddle::device::hint::opaque;
use raddle::device::unroll::unroll;
use raddle::prelude::*;

use super::{MASK_ADDED, MASK_BOOL, Numbers, Place};
use crate::kernels::conv::clamp;

/// Most eights of keys in a tile.
const EIGHTS_MAX: usize = 32;

/// What is known of a lane's two rows so far.
#[derive(Clone, Copy)]
pub(super) struct Softmax {
    /// The largest scores, common to the four lanes of a row.
    max: [f32; 2],
    /// This lane's part of the sums.
    sum: [f32; 2],
}

impl Softmax {
    #[inline(always)]
    pub(super) const fn new() -> Self {
        Self { max: [f32::NEG_INFINITY; 2], sum: [0.0; 2] }
    }

    /// Makes `2^(factor * (score - largest))` of scores, and says by what earlier sums of
    /// both rows have to be multiplied.
    #[inline(always)]
    pub(super) fn step<const R: usize>(&mut self, scores: &mut [f32; R], factor: f32) -> [f32; 2] {
        let mut largest = [[self.max[0]; 2], [self.max[1]; 2]];
        unroll::<EIGHTS_MAX>(|j| {
            if 4 * j < R {
                for row in 0..2 {
                    for k in 0..2 {
                        largest[row][k] = largest[row][k].max(scores[4 * j + 2 * row + k]);
                    }
                }
            }
        });
        let mut base = [0.0; 2];
        let mut shrink = [0.0; 2];
        for row in 0..2 {
            let mut max = largest[row][0].max(largest[row][1]);
            max = max.max(Lanes::ALL.shuffle_xor(max, 1));
            max = max.max(Lanes::ALL.shuffle_xor(max, 2));
            // Of a row in which no key takes part yet all powers are to be zero, not NaN.
            base[row] = if max == f32::NEG_INFINITY { 0.0 } else { max * factor };
            shrink[row] = exp2_approx(self.max[row].mul_add(factor, -base[row]));
            self.max[row] = max;
        }
        let mut sums = [[0.0f32; 2]; 2];
        unroll::<EIGHTS_MAX>(|j| {
            if 4 * j < R {
                for row in 0..2 {
                    for k in 0..2 {
                        let at = 4 * j + 2 * row + k;
                        let power = exp2_approx(scores[at].mul_add(factor, -base[row]));
                        scores[at] = power;
                        sums[row][k] += power;
                    }
                }
            }
        });
        for row in 0..2 {
            self.sum[row] = self.sum[row].mul_add(shrink[row], sums[row][0] + sums[row][1]);
        }
        shrink
    }

    /// What the sums of values of both rows have to be multiplied by: a NaN where no key
    /// took part.
    #[inline(always)]
    pub(super) fn factors(&self) -> [f32; 2] {
        self.sum.map(|sum| {
            let sum = sum + Lanes::ALL.shuffle_xor(sum, 1);
            let sum = sum + Lanes::ALL.shuffle_xor(sum, 2);
            if sum == 0.0 { f32::NAN } else { 1.0 / sum }
        })
    }
}

/// A number that is added to scores as an exponent of two. The lowest and the largest finite
/// numbers, which masks are made of, stay finite: a row of nothing else has a softmax.
#[inline(always)]
fn exponent(added: f32) -> f32 {
    const LARGEST: f32 = 3e38;
    let exponent = added * core::f32::consts::LOG2_E;
    if added.abs() <= f32::MAX { clamp(exponent, -LARGEST, LARGEST) } else { added }
}

/// Multiplies sums of values, which lie as scores do, by a factor for each row.
#[inline(always)]
pub(super) fn scale<const R: usize>(sums: &mut [f32; R], [first, second]: [f32; 2]) {
    unroll::<EIGHTS_MAX>(|j| {
        if 4 * j < R {
            sums[4 * j] *= first;
            sums[4 * j + 1] *= first;
            sums[4 * j + 2] *= second;
            sums[4 * j + 3] *= second;
        }
    });
}

/// The mask and which rows and keys scores are of.
#[derive(Clone, Copy)]
pub(super) struct Masking<'a> {
    pub(super) numbers: &'a Numbers,
    pub(super) place: Place,
    pub(super) mask: *const u8,
    /// The lane's first query.
    pub(super) query: u32,
}

impl Masking<'_> {
    /// Applies mask and bounds to the scores of a tile whose keys begin at `key`; gives the
    /// factor that makes exponents of what is left.
    ///
    /// # Safety
    ///
    /// The mask has the elements that the numbers say.
    #[inline(always)]
    pub(super) unsafe fn apply<T: Float, const R: usize>(
        &self,
        scores: &mut [f32; R],
        key: u32,
    ) -> f32 {
        let numbers = self.numbers;
        let own = key + lane() % 4 * 2;
        let mut factor = numbers.scale;
        if numbers.mask == MASK_BOOL {
            let cut = |score: f32, at: *const u8| {
                // SAFETY: the caller's contract.
                if unsafe { at.read() } == 0 { f32::NEG_INFINITY } else { score }
            };
            // SAFETY: the caller's contract.
            unsafe { self.each(scores, own, cut) };
        } else if numbers.mask == MASK_ADDED {
            factor = 1.0;
            let more = |score: f32, at: *const T| {
                // SAFETY: the caller's contract.
                score.mul_add(numbers.scale, exponent(unsafe { at.read() }.to_f32()))
            };
            // SAFETY: the caller's contract.
            unsafe { self.each(scores, own, more) };
        }
        let is_cut = key + (2 * R) as u32 > numbers.keys;
        let first = self.query - lane() / 4;
        let is_seen_in_part =
            numbers.is_causal != 0 && key + (2 * R) as u32 > numbers.past + first + 1;
        if is_cut | is_seen_in_part {
            // Keys that there are for both rows, from this lane's first on.
            let (own, query) = (opaque(own), opaque(self.query));
            let ends: [u32; 2] = core::array::from_fn(|row| {
                let seen = numbers.past + query + 8 * row as u32 + 1;
                let end =
                    if numbers.is_causal != 0 { seen.min(numbers.keys) } else { numbers.keys };
                end.saturating_sub(own)
            });
            unroll::<EIGHTS_MAX>(|j| {
                if 4 * j < R {
                    for i in 0..4 {
                        if (8 * j + i % 2) as u32 >= ends[i / 2] {
                            scores[4 * j + i] = f32::NEG_INFINITY;
                        }
                    }
                }
            });
        }
        factor
    }

    /// Replaces each score by what `of` makes of it and the place of its mask.
    ///
    /// # Safety
    ///
    /// The mask has the elements that the numbers say.
    #[inline(always)]
    unsafe fn each<M, const R: usize>(
        &self,
        scores: &mut [f32; R],
        own: u32,
        of: impl Fn(f32, *const M) -> f32,
    ) {
        let Numbers { queries, keys, mask_steps, .. } = *self.numbers;
        let [of_image, of_head, of_query, of_key] = mask_steps.map(|step| step as usize);
        // What depends on these is not to be kept in registers where there is no mask.
        let (own, query) = (opaque(own), opaque(self.query));
        let (image, head) = (opaque(self.place.image), opaque(self.place.head));
        let head = image as usize * of_image + head as usize * of_head;
        let mask = self.mask.cast::<M>().wrapping_add(head);
        // Rows and keys that are not there read the last ones, which are.
        let rows: [*const M; 2] = core::array::from_fn(|row| {
            let query = (query + 8 * row as u32).min(queries - 1);
            mask.wrapping_add(query as usize * of_query)
        });
        unroll::<EIGHTS_MAX>(|j| {
            if 4 * j < R {
                for i in 0..4 {
                    let key = (own + (8 * j + i % 2) as u32).min(keys - 1);
                    let at = rows[i / 2].wrapping_add(key as usize * of_key);
                    scores[4 * j + i] = of(scores[4 * j + i], at);
                }
            }
        });
    }
}
