//! The end of a convolution's tile: from the accumulators of the consumers, through
//! shared memory, to the output.
//!
//! A tile that one block has summed is staged in 16 bits, `[pixel][channel]`, by
//! transposing stores; bias and activation are applied before, unless a residual comes
//! in between: that is added to the rounded sum in f32, and rounded once more. Tiles that
//! a cluster shares end in the [module beside](super::parts).
#![allow(clippy::needless_range_loop)] // indices that unrolling makes constants

use raddle::device::hint::opaque;
use raddle::device::matrix::stmatrix_x4_trans;
use raddle::prelude::*;

use super::{Activation, Eight, GROUP_CHANNELS, GROUP_THREADS, Half, Shape, clamp};

/// Pixels that a thread finishes at a time.
pub const FINISHED_TOGETHER: usize = 4;
/// Room between staged pixels, in numbers of 16 bits, so that no bank is hit twice.
const GAP: usize = 8;

/// Bytes of a staged tile.
pub const fn staged_bytes(groups: usize, pixels: usize) -> usize {
    pixels * (groups * GROUP_CHANNELS + GAP) * 2
}

/// A tile's operands and the memory where it is staged.
pub struct Tile<'a, T> {
    pub shape: &'a Shape,
    pub bias: *const f32,
    pub residual: *const T,
    pub out: *mut T,
    /// Shared memory of [`staged_bytes`].
    pub staged: *mut u8,
    /// Number of the tile among those of channels.
    pub row: u32,
}

/// Whether consumers of tiles of `2 * R` pixels have registers for residuals beside sums.
pub const fn holds_residuals(groups: usize, registers: usize) -> bool {
    groups == 1 || registers <= 112
}

impl<T: Half> Tile<'_, T> {
    /// Whether the activation has to wait until a tile is staged.
    #[inline(always)]
    fn is_late(&self) -> bool {
        self.shape.has_residual != 0 || self.shape.activation.code > 1
    }

    /// The bias of a consumer thread's channels, which it reads before it has sums: behind
    /// them nothing would hide how long that takes.
    #[inline(always)]
    pub fn bias<const GROUPS: usize>(&self, group: usize) -> [f32; 2] {
        let within = group * GROUP_CHANNELS + warp() as usize % 4 * 16 + lane() as usize / 4;
        let bias = self.bias.wrapping_add(self.row as usize * GROUPS * GROUP_CHANNELS + within);
        // SAFETY: the bias has all channels of all tiles.
        unsafe { [bias.read(), bias.add(8).read()] }
    }

    /// Stages what a consumer warpgroup has summed: 64 channels of `2 * R` pixels. `bias` is
    /// what [`bias`](Self::bias) gave.
    ///
    /// # Safety
    ///
    /// The threads of all consumers come here together, and nobody uses the memory.
    ///
    /// Element `4 * j + i` of the accumulator lies in channel `lane / 4 + i / 2 * 8` of
    /// the warp's 16 and pixel `8 * j + lane % 4 * 2 + i % 2`.
    #[inline(always)]
    pub unsafe fn stage<const GROUPS: usize, const R: usize>(
        &self,
        acc: &mut [f32; R],
        bias: [f32; 2],
        group: usize,
    ) {
        let (lane, warp) = (lane() as usize, warp() as usize % 4);
        let within = group * GROUP_CHANNELS + warp * 16;
        let activation = if self.is_late() { Activation::IDENTITY } else { self.shape.activation };
        // The functions that are more than bounds are late.
        let [min, max] = activation.bounds().unwrap_or([f32::NEG_INFINITY, f32::INFINITY]);
        let finished = |sum: f32, row: usize| clamp(sum + bias[row], min, max);
        // `stmatrix` takes the address of row `r` of matrix `m` from lane `8 * m + r`:
        // two matrices of 8 channels for 8 pixels, then two for the next 8.
        let pitch = GROUPS * GROUP_CHANNELS + GAP;
        let pixel = lane / 16 * 8 + lane % 8;
        let target = pixel * pitch + within + lane / 8 % 2 * 8;
        let target = self.staged.cast::<T>().wrapping_add(target);
        unroll::<16>(|j| {
            if 8 * j < R {
                let pair = |at: usize, row: usize| {
                    T::pack(finished(acc[8 * j + at], row), finished(acc[8 * j + at + 1], row))
                };
                let fragment = [pair(0, 0), pair(2, 1), pair(4, 0), pair(6, 1)];
                // SAFETY: 16 pixels further for each `j`, all of them in the tile.
                unsafe { stmatrix_x4_trans(target.wrapping_add(j * 16 * pitch), fragment) };
            }
        });
    }

    /// What all threads of a block read ahead of their sums.
    ///
    /// # Safety
    ///
    /// As for [`ahead_by`](Self::ahead_by).
    #[inline(always)]
    pub unsafe fn ahead<const GROUPS: usize, const R: usize>(
        &self,
        place: impl Fn(usize) -> Option<usize>,
    ) -> Ahead<FINISHED_TOGETHER> {
        let share = Share::new::<GROUPS>(self, (GROUPS + 1) * GROUP_THREADS, 2 * R);
        // SAFETY: the caller's contract.
        unsafe { self.ahead_by(&share, place) }
    }

    /// Writes the tile's pixels by all threads of the block; `place` tells which pixel of the
    /// output one of the tile is, if any.
    ///
    /// # Safety
    ///
    /// The tile is staged and stays meanwhile.
    #[inline(always)]
    pub unsafe fn finish<const GROUPS: usize, const R: usize>(
        &self,
        ahead: Ahead<FINISHED_TOGETHER>,
        place: impl Fn(usize) -> Option<usize>,
    ) {
        let share = Share::new::<GROUPS>(self, (GROUPS + 1) * GROUP_THREADS, 2 * R);
        // SAFETY: the caller's contract.
        unsafe { self.finish_by::<GROUPS, FINISHED_TOGETHER>(&share, ahead, place) }
    }

    /// The residuals of a thread's first pixels.
    ///
    /// # Safety
    ///
    /// The residual is there: the kernel before has ended.
    #[inline(always)]
    pub unsafe fn ahead_by<const TOGETHER: usize>(
        &self,
        share: &Share,
        place: impl Fn(usize) -> Option<usize>,
    ) -> Ahead<TOGETHER> {
        let places = share.places::<T, TOGETHER>(self, share.first, place);
        // SAFETY: the caller's contract.
        Ahead { residuals: unsafe { self.residuals(&places) } }
    }

    /// Writes a share of the tile's pixels by some threads, `TOGETHER` of each at a time.
    ///
    /// # Safety
    ///
    /// As for [`finish`](Self::finish).
    #[inline(always)]
    pub unsafe fn finish_by<const GROUPS: usize, const TOGETHER: usize>(
        &self,
        share: &Share,
        ahead: Ahead<TOGETHER>,
        place: impl Fn(usize) -> Option<usize>,
    ) {
        if share.channel >= self.shape.channels as usize {
            return;
        }
        let activation = self.shape.activation;
        // SAFETY: the caller's contract.
        unsafe {
            match activation.bounds() {
                Some([min, max]) => {
                    let of = |sums: [f32; 8]| unrolled(|k| clamp(sums[k], min, max));
                    self.finish_with::<GROUPS, TOGETHER>(share, ahead, place, of);
                }
                // One pixel after the other: the code is long, and its calls take registers.
                None => {
                    let ahead = self.ahead_by::<1>(share, &place);
                    let of = |sums| activation.rare_of_eight(sums);
                    self.finish_with::<GROUPS, 1>(share, ahead, place, of);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn finish_with<const GROUPS: usize, const TOGETHER: usize>(
        &self,
        share: &Share,
        ahead: Ahead<TOGETHER>,
        place: impl Fn(usize) -> Option<usize>,
        activation: impl Fn([f32; 8]) -> [f32; 8],
    ) {
        let Ahead { mut residuals } = ahead;
        let mut first = share.first;
        while first < share.pixels {
            let places = share.places::<T, TOGETHER>(self, first, &place);
            let next = first + TOGETHER * share.stride;
            // SAFETY: the places lie in the output; the caller's contract.
            unsafe {
                // Those of the next pixels are under way while these are written.
                let mut following = residuals;
                if next < share.pixels {
                    following = self.residuals(&share.places::<T, TOGETHER>(self, next, &place));
                }
                let given = (&residuals, &activation);
                self.finish_some::<GROUPS, TOGETHER>(&places, given, share, first);
                residuals = following;
            }
            first = next;
        }
    }

    #[inline(always)]
    unsafe fn finish_some<const GROUPS: usize, const TOGETHER: usize>(
        &self,
        places: &[Option<usize>; TOGETHER],
        (residuals, activation): (&[U32x4; TOGETHER], &impl Fn([f32; 8]) -> [f32; 8]),
        share: &Share,
        first: usize,
    ) {
        let pitch = GROUPS * GROUP_CHANNELS + GAP;
        let staged = self.staged.cast::<T>().wrapping_add(share.within);
        let is_late = self.is_late();
        unroll::<TOGETHER>(|i| {
            let Some(place) = places[i] else { return };
            let staged = staged.wrapping_add((first + i * share.stride) * pitch);
            // SAFETY: the tile is staged, and the output has the place.
            unsafe {
                let mut result = staged.cast::<Eight<T>>().read();
                if is_late {
                    let residual = elements::<T>(residuals[i]);
                    let sums = unrolled(|k| result.0[k].to_f32() + residual[k].to_f32());
                    result = rounded(activation(sums));
                }
                self.out.add(place).cast::<Eight<T>>().write(result);
            }
        });
    }

    /// The residuals at some places, all under way before the first is used, zeros if there are
    /// none.
    #[inline(always)]
    unsafe fn residuals<const TOGETHER: usize>(
        &self,
        places: &[Option<usize>; TOGETHER],
    ) -> [U32x4; TOGETHER] {
        if self.shape.has_residual == 0 {
            return [U32x4::splat(0); TOGETHER];
        }
        unrolled(|i| {
            // Without a branch: where there is no place, nobody uses what is read.
            let residual = self.residual.wrapping_add(places[i].unwrap_or(0));
            // SAFETY: the residual has the places of the output, which is not empty.
            unsafe { residual.cast::<U32x4>().read() }
        })
    }
}

/// What a thread reads ahead of its sums.
pub struct Ahead<const TOGETHER: usize> {
    /// Those of its first pixels, two in each word: elements of 16 bits would each be held
    /// in a register of 32.
    residuals: [U32x4; TOGETHER],
}

impl<const TOGETHER: usize> Ahead<TOGETHER> {
    /// Nothing yet.
    #[inline(always)]
    pub fn nothing() -> Self {
        Self { residuals: [U32x4::splat(0); TOGETHER] }
    }
}

/// The pixels of a tile that a thread finishes, eight channels of each: every `stride`th
/// from `first` on.
pub struct Share {
    first: usize,
    stride: usize,
    /// Pixels of the tile.
    pixels: usize,
    /// First of the eight channels, among the tile's and among all.
    within: usize,
    channel: usize,
}

impl Share {
    /// The share of this thread among `threads`, in a tile of `pixels`.
    #[inline(always)]
    pub fn new<const GROUPS: usize>(
        tile: &Tile<'_, impl Half>,
        threads: usize,
        pixels: usize,
    ) -> Self {
        let (channels, thread) = (GROUPS * GROUP_CHANNELS, thread_x() as usize % threads);
        let eighths = channels / 8;
        let within = thread % eighths * 8;
        Self {
            first: thread / eighths,
            stride: threads / eighths,
            pixels,
            within,
            channel: tile.row as usize * channels + within,
        }
    }

    /// Where the eight channels of some pixels lie in the output, for those that it has.
    #[inline(always)]
    fn places<T: Half, const TOGETHER: usize>(
        &self,
        tile: &Tile<'_, T>,
        first: usize,
        place: impl Fn(usize) -> Option<usize>,
    ) -> [Option<usize>; TOGETHER] {
        let channels = tile.shape.channels as usize;
        unrolled::<_, TOGETHER>(|i| {
            let at = first + i * self.stride;
            let is_there = at < self.pixels && self.channel < channels;
            let pixel = if is_there { place(at) } else { None };
            pixel.map(|pixel| pixel * channels + self.channel)
        })
    }
}

/// The elements that four words hold.
#[inline(always)]
fn elements<T: Half>(words: U32x4) -> [T; 8] {
    // Else the compiler would take words apart where they are read, and hold twice as many
    // registers.
    let words = opaque(words);
    // SAFETY: a `Half` is a number of 16 bits, any of which are one.
    unsafe { core::mem::transmute_copy(&words) }
}

#[inline(always)]
fn rounded<T: Half>(sums: [f32; 8]) -> Eight<T> {
    let mut result = Eight([T::ZERO; 8]);
    for k in 0..8 {
        result.0[k] = T::from_f32(sums[k]);
    }
    result
}
