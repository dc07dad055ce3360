//! The end of a convolution's tile: from the accumulators of the consumers, through
//! shared memory, to the output.
//!
//! A tile that one block has summed is staged in 16 bits, `[pixel][channel]`, by
//! transposing stores; bias and activation are applied before, unless a residual comes
//! in between: that is added to the rounded sum in f32, and rounded once more. Parts of
//! a tile that a cluster shares are staged in f32, and each block adds up its share of
//! the pixels in the order of the ranks.
#![allow(clippy::needless_range_loop)] // indices that unrolling makes constants

use raddle::device::matrix::stmatrix_x4_trans;
use raddle::prelude::*;

use super::{Activation, Eight, GROUP_CHANNELS, GROUP_THREADS, Half, Shape, clamp};

/// Pixels that a thread finishes at a time.
const FINISHED_TOGETHER: usize = 4;
/// Room between staged pixels, in numbers of f32 and of 16 bits, so that no bank is hit
/// twice.
const GAP: usize = 4;
const HALF_GAP: usize = 8;

/// Bytes of a staged tile, whichever way it is staged.
pub const fn staged_bytes(groups: usize, pixels: usize) -> usize {
    pixels * (groups * GROUP_CHANNELS + GAP) * 4
}

/// Bytes of a staged tile that one block has summed.
pub const fn staged_bytes_whole(groups: usize, pixels: usize) -> usize {
    pixels * (groups * GROUP_CHANNELS + HALF_GAP) * 2
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

impl<T: Half> Tile<'_, T> {
    /// Whether the activation has to wait until a tile is staged.
    #[inline(always)]
    fn is_late(&self) -> bool {
        self.shape.has_residual != 0 || self.shape.activation.code > 1
    }

    /// Stages what a consumer warpgroup has summed: 64 channels of `2 * R` pixels.
    ///
    /// # Safety
    ///
    /// The threads of all consumers come here together, and nobody uses the memory.
    #[inline(always)]
    pub unsafe fn stage<const GROUPS: usize, const R: usize>(
        &self,
        acc: &mut [f32; R],
        group: usize,
        split: u32,
    ) {
        // SAFETY: the caller's contract.
        unsafe {
            if split == 1 {
                self.stage_whole::<GROUPS, R>(acc, group);
            } else {
                self.stage_part::<GROUPS, R>(acc, group);
            }
        }
    }

    /// Element `4 * j + i` of the accumulator lies in channel `lane / 4 + i / 2 * 8` of
    /// the warp's 16 and pixel `8 * j + lane % 4 * 2 + i % 2`.
    #[inline(always)]
    unsafe fn stage_whole<const GROUPS: usize, const R: usize>(
        &self,
        acc: &mut [f32; R],
        group: usize,
    ) {
        let (lane, warp) = (lane() as usize, warp() as usize % 4);
        let within = group * GROUP_CHANNELS + warp * 16;
        let channel = self.row as usize * GROUPS * GROUP_CHANNELS + within + lane / 4;
        // SAFETY: the bias has all channels of all tiles.
        let bias = unsafe { [self.bias.add(channel).read(), self.bias.add(channel + 8).read()] };
        let activation = if self.is_late() { Activation::IDENTITY } else { self.shape.activation };
        // The functions that are more than bounds are late.
        let [min, max] = activation.bounds().unwrap_or([f32::NEG_INFINITY, f32::INFINITY]);
        let finished = |sum: f32, row: usize| clamp(sum + bias[row], min, max);
        // `stmatrix` takes the address of row `r` of matrix `m` from lane `8 * m + r`:
        // two matrices of 8 channels for 8 pixels, then two for the next 8.
        let pitch = GROUPS * GROUP_CHANNELS + HALF_GAP;
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

    #[inline(always)]
    unsafe fn stage_part<const GROUPS: usize, const R: usize>(
        &self,
        acc: &mut [f32; R],
        group: usize,
    ) {
        let lane = lane() as usize;
        let channel = group * GROUP_CHANNELS + warp() as usize % 4 * 16 + lane / 4;
        let pitch = GROUPS * GROUP_CHANNELS + GAP;
        let staged = self.staged.cast::<f32>().wrapping_add(lane % 4 * 2 * pitch + channel);
        unroll::<32>(|j| {
            if 4 * j < R {
                // SAFETY: the staged tile has all of them.
                unsafe {
                    let staged = staged.add(j * 8 * pitch);
                    staged.write(acc[4 * j]);
                    staged.add(pitch).write(acc[4 * j + 1]);
                    staged.add(8).write(acc[4 * j + 2]);
                    staged.add(pitch + 8).write(acc[4 * j + 3]);
                }
            }
        });
    }

    /// Writes this block's share of the tile's pixels by all of its threads; `place` tells
    /// which pixel of the output one of the tile is, if any.
    ///
    /// # Safety
    ///
    /// The tiles of all blocks of the cluster are staged and stay meanwhile.
    #[inline(always)]
    pub unsafe fn finish<const GROUPS: usize, const R: usize>(
        &self,
        rank: u32,
        split: u32,
        place: impl Fn(usize) -> Option<usize>,
    ) {
        let threads = [thread_x() as usize, (GROUPS + 1) * GROUP_THREADS];
        // SAFETY: the caller's contract.
        unsafe { self.finish_by::<GROUPS, R, FINISHED_TOGETHER>(threads, [rank, split], place) }
    }

    /// The same by some threads: this one's number among them, and how many they are. A
    /// thread has the same eight channels of all its pixels, and finishes `TOGETHER` of them
    /// at a time.
    ///
    /// # Safety
    ///
    /// As for [`finish`](Self::finish).
    #[inline(always)]
    pub unsafe fn finish_by<const GROUPS: usize, const R: usize, const TOGETHER: usize>(
        &self,
        [thread, threads]: [usize; 2],
        [rank, split]: [u32; 2],
        place: impl Fn(usize) -> Option<usize>,
    ) {
        let channels = GROUPS * GROUP_CHANNELS;
        let (share, eighths) = (2 * R / split as usize, channels / 8);
        let stride = threads / eighths;
        let within = thread % eighths * 8;
        let channel = self.row as usize * channels + within;
        if channel >= self.shape.channels as usize {
            return;
        }
        let place = |at: usize| {
            let pixel = if at < share { place(rank as usize * share + at) } else { None };
            pixel.map(|pixel| pixel * self.shape.channels as usize + channel)
        };
        let mut first = thread / eighths;
        while first < share {
            let places = unrolled::<_, TOGETHER>(|i| place(first + i * stride));
            // SAFETY: the places lie in the output; the caller's contract.
            unsafe {
                if split == 1 {
                    self.finish_whole::<GROUPS, TOGETHER>(&places, [first, stride, within]);
                } else {
                    let first = first + rank as usize * share;
                    self.finish_parts::<GROUPS, TOGETHER>(&places, [first, stride, within], split);
                }
            }
            first += TOGETHER * stride;
        }
    }

    #[inline(always)]
    unsafe fn finish_whole<const GROUPS: usize, const TOGETHER: usize>(
        &self,
        places: &[Option<usize>; TOGETHER],
        [first, stride, within]: [usize; 3],
    ) {
        let pitch = GROUPS * GROUP_CHANNELS + HALF_GAP;
        let staged = self.staged.cast::<T>().wrapping_add(within);
        let is_late = self.is_late();
        // SAFETY: the caller's contract.
        let residuals = unsafe { self.residuals(places) };
        for i in 0..TOGETHER {
            let Some(place) = places[i] else { continue };
            let staged = staged.wrapping_add((first + i * stride) * pitch).cast::<Eight<T>>();
            // SAFETY: the tile is staged, and the output has the place.
            unsafe {
                let mut result = staged.read();
                if is_late {
                    let mut sums = [0.0; 8];
                    for k in 0..8 {
                        sums[k] = result.0[k].to_f32() + residuals[i].0[k].to_f32();
                    }
                    result = rounded(self.shape.activation.of_eight(sums));
                }
                self.out.add(place).cast::<Eight<T>>().write(result);
            }
        }
    }

    #[inline(always)]
    unsafe fn finish_parts<const GROUPS: usize, const TOGETHER: usize>(
        &self,
        places: &[Option<usize>; TOGETHER],
        [first, stride, within]: [usize; 3],
        split: u32,
    ) {
        let channels = GROUPS * GROUP_CHANNELS;
        let staged = self.staged.cast::<f32>().wrapping_add(within);
        // SAFETY: the bias has all channels of all tiles; the caller's contract.
        let (bias, residuals) = unsafe {
            let channel = self.row as usize * channels + within;
            (read_eight(self.bias.add(channel)), self.residuals(places))
        };
        for i in 0..TOGETHER {
            let Some(place) = places[i] else { continue };
            let staged = staged.wrapping_add((first + i * stride) * (channels + GAP));
            // SAFETY: the tiles of all blocks of the cluster are staged.
            let mut sums = unsafe {
                match split {
                    2 => add(&bias, &read_peers::<2>(staged)),
                    4 => add(&bias, &read_peers::<4>(staged)),
                    _ => add(&bias, &read_peers::<8>(staged)),
                }
            };
            for k in 0..8 {
                sums[k] += residuals[i].0[k].to_f32();
            }
            let result = rounded(self.shape.activation.of_eight(sums));
            // SAFETY: the output has the place.
            unsafe { self.out.add(place).cast::<Eight<T>>().write(result) };
        }
    }

    /// The residuals at some places, all under way before the first is used; zeros where
    /// there are none.
    #[inline(always)]
    unsafe fn residuals<const TOGETHER: usize>(
        &self,
        places: &[Option<usize>; TOGETHER],
    ) -> [Eight<T>; TOGETHER] {
        let mut residuals = [Eight([T::ZERO; 8]); TOGETHER];
        if self.shape.has_residual != 0 {
            for i in 0..TOGETHER {
                if let Some(place) = places[i] {
                    let residual = self.residual.wrapping_add(place).cast::<Eight<T>>();
                    // SAFETY: the residual has the places of the output.
                    residuals[i] = unsafe { residual.read() };
                }
            }
        }
        residuals
    }
}

#[inline(always)]
fn rounded<T: Half>(sums: [f32; 8]) -> Eight<T> {
    let mut result = Eight([T::ZERO; 8]);
    for k in 0..8 {
        result.0[k] = T::from_f32(sums[k]);
    }
    result
}

/// The same eight numbers in all blocks of a cluster, all under way before the first is
/// used.
///
/// # Safety
///
/// They are there.
#[inline(always)]
unsafe fn read_peers<const PEERS: usize>(staged: *mut f32) -> [[f32; 8]; PEERS] {
    let mut parts = [[0.0; 8]; PEERS];
    for (peer, part) in parts.iter_mut().enumerate() {
        // SAFETY: the caller's contract.
        *part = unsafe { read_eight(cluster_map(staged, peer as u32)) };
    }
    parts
}

/// Sums in the order of the parts.
#[inline(always)]
fn add<const PEERS: usize>(bias: &[f32; 8], parts: &[[f32; 8]; PEERS]) -> [f32; 8] {
    let mut sums = *bias;
    for part in parts {
        for k in 0..8 {
            sums[k] += part[k];
        }
    }
    sums
}

/// Reads eight numbers at a multiple of 16 bytes.
///
/// # Safety
///
/// They are there.
#[inline(always)]
unsafe fn read_eight(at: *const f32) -> [f32; 8] {
    let at = at.cast::<F32x4>();
    // SAFETY: the caller's contract.
    let (low, high) = unsafe { (at.read(), at.add(1).read()) };
    [low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3]]
}
