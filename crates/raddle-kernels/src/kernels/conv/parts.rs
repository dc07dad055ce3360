//! The end of a tile that the blocks of a cluster share: each has summed a part of `k`.
//!
//! A block finishes its share of the tile. The parts of it come to its shared memory
//! straight from the others' accumulators, by stores that the block's barrier counts, and
//! are added up in the order of the ranks. Nobody reads another block's memory, so that a
//! block needs to wait for nothing but its own parts, and may end before the others do.
//!
//! Parts travel as *fragments*, what a warp holds of 16 channels and 8 pixels: four sums in
//! each lane, at channels `lane / 4` and `lane / 4 + 8` and pixels `lane % 4 * 2` and the
//! next one. A tile of 64 channels for each group has them in the order of pixels, then
//! channels, and a block finishes as many in a row as there are for each of the cluster.

use raddle::device::mbarrier::Mbarrier;
use raddle::device::unroll::unroll;
use raddle::prelude::*;

use super::result::Tile;
use super::{Activation, GROUP_CHANNELS, Half, clamp};

/// Pixels and channels of a fragment.
const FRAGMENT_PIXELS: usize = 8;
const FRAGMENT_CHANNELS: usize = 16;
/// Fragments of 8 pixels and the 64 channels of a warpgroup: one for each of its warps.
const WARPS: usize = 4;
/// Threads of a warp.
const LANES: usize = 32;
/// Most blocks that share a tile.
pub const SPLIT_MAX: usize = 16;

/// Whether blocks may share tiles of this shape: larger ones leave no room for the parts.
pub const fn can_split(groups: usize, pixels: usize) -> bool {
    pixels <= 128 && groups * pixels <= 256
}

/// Bytes of shared memory where the parts of a block's pixels come to.
pub const fn received_bytes(groups: usize, pixels: usize) -> usize {
    groups * GROUP_CHANNELS * pixels * size_of::<f32>()
}

/// A block's part in adding up a tile.
pub struct Parts<'a, T> {
    pub tile: &'a Tile<'a, T>,
    /// Shared memory of [`received_bytes`], for each rank in turn its fragments.
    pub received: *mut [f32; 4],
    /// Counts their bytes.
    pub arrived: &'a Mbarrier,
    pub rank: u32,
    pub split: u32,
}

/// What a thread reads ahead of the sums of a fragment.
#[derive(Clone, Copy)]
pub struct Ahead<T> {
    bias: [f32; 2],
    residuals: [T; 4],
}

impl<T: Half> Ahead<T> {
    /// Nothing yet.
    #[inline(always)]
    pub fn nothing() -> Self {
        Self { bias: [0.0; 2], residuals: [T::ZERO; 4] }
    }
}

impl<T: Half> Parts<'_, T> {
    /// Prepares this block for the parts; all threads of the cluster call it before
    /// [`send`](Self::send) or [`leave`](Self::leave).
    #[inline(always)]
    pub fn expect<const GROUPS: usize, const R: usize>(&self) {
        if thread_x() == 0 {
            let _ = self.arrived.arrive_expect_tx(received_bytes(GROUPS, 2 * R) as u32);
        }
        cluster_arrive();
    }

    /// Lets the blocks go on that wait for this thread's, if it has nothing to send.
    #[inline(always)]
    pub fn leave(&self) {
        cluster_wait_unaligned();
    }

    /// Fragments of a group of 64 channels that a block finishes: a power of two.
    #[inline(always)]
    fn fragments<const R: usize>(&self) -> usize {
        2 * R / FRAGMENT_PIXELS * WARPS / self.split.max(1) as usize
    }

    /// Sends what a consumer warpgroup has summed to the blocks that finish it.
    ///
    /// # Safety
    ///
    /// All blocks of the cluster expect the parts, and each warpgroup sends once.
    #[inline(always)]
    pub unsafe fn send<const GROUPS: usize, const R: usize>(&self, acc: &[f32; R], group: usize) {
        // All blocks have begun, and their barriers are there.
        cluster_wait_unaligned();
        let fragments = self.fragments::<R>();
        let (shift, warp) = (fragments.trailing_zeros(), warp() as usize % WARPS);
        let first = self.rank as usize * fragments * GROUPS + group;
        let target = self.received.wrapping_add(first * LANES + lane() as usize);
        unroll::<16>(|j| {
            if 4 * j < R {
                let fragment = j * WARPS + warp;
                let (rank, within) = (fragment >> shift, fragment & (fragments - 1));
                let target = target.wrapping_add(within * GROUPS * LANES);
                let sums = [acc[4 * j], acc[4 * j + 1], acc[4 * j + 2], acc[4 * j + 3]];
                // SAFETY: the caller's contract; the place is this thread's.
                unsafe { store_async(target, rank as u32, sums, self.arrived) };
            }
        });
    }

    /// What this thread needs of its first fragment.
    ///
    /// # Safety
    ///
    /// The residual is there: the kernel before has ended.
    #[inline(always)]
    pub unsafe fn ahead<const GROUPS: usize, const R: usize>(
        &self,
        place: impl Fn(usize) -> Option<usize>,
    ) -> Ahead<T> {
        // SAFETY: the caller's contract.
        unsafe { self.ahead_of::<GROUPS, R>(warp() as usize, &place) }
    }

    #[inline(always)]
    unsafe fn ahead_of<const GROUPS: usize, const R: usize>(
        &self,
        item: usize,
        place: &impl Fn(usize) -> Option<usize>,
    ) -> Ahead<T> {
        let mut ahead = Ahead::nothing();
        if item >= GROUPS * self.fragments::<R>() {
            return ahead;
        }
        let channel = self.channel::<GROUPS, R>(item);
        let bias = self.tile.bias.wrapping_add(channel);
        // SAFETY: the bias has all channels of all tiles.
        ahead.bias = unsafe { [bias.read(), bias.add(8).read()] };
        if self.tile.shape.has_residual != 0 {
            let places = self.places::<GROUPS, R>(item, place);
            unroll::<4>(|i| {
                if let Some(place) = places[i] {
                    // SAFETY: the residual has the places of the output.
                    ahead.residuals[i] = unsafe { self.tile.residual.add(place).read() };
                }
            });
        }
        ahead
    }

    /// Number of one of this block's fragments, among those of its group of channels.
    #[inline(always)]
    fn fragment<const GROUPS: usize, const R: usize>(&self, item: usize) -> usize {
        self.rank as usize * self.fragments::<R>() + item / GROUPS
    }

    /// The first of a thread's two channels in a fragment.
    #[inline(always)]
    fn channel<const GROUPS: usize, const R: usize>(&self, item: usize) -> usize {
        let group = self.tile.row as usize * GROUPS + item % GROUPS;
        let warp = self.fragment::<GROUPS, R>(item) % WARPS;
        group * GROUP_CHANNELS + warp * FRAGMENT_CHANNELS + lane() as usize / 4
    }

    /// Where the four results of a fragment lie in the output, if it has them.
    #[inline(always)]
    fn places<const GROUPS: usize, const R: usize>(
        &self,
        item: usize,
        place: &impl Fn(usize) -> Option<usize>,
    ) -> [Option<usize>; 4] {
        let channels = self.tile.shape.channels as usize;
        let channel = self.channel::<GROUPS, R>(item);
        let row = self.fragment::<GROUPS, R>(item) / WARPS;
        let first = row * FRAGMENT_PIXELS + lane() as usize % 4 * 2;
        let pixels = [place(first), place(first + 1)];
        unrolled(|i| {
            let channel = channel + i / 2 * 8;
            let pixel = if channel < channels { pixels[i % 2] } else { None };
            pixel.map(|pixel| pixel * channels + channel)
        })
    }

    /// Adds up and writes this block's pixels by all of its threads. `ahead` is what
    /// [`ahead`](Self::ahead) gave.
    ///
    /// # Safety
    ///
    /// All blocks of the cluster send their parts; `place` tells pixels of the output.
    #[inline(always)]
    pub unsafe fn finish<const GROUPS: usize, const R: usize>(
        &self,
        ahead: Ahead<T>,
        place: impl Fn(usize) -> Option<usize>,
    ) {
        self.arrived.suspend_parity_cluster(0);
        // SAFETY: the parts are there; the caller's contract.
        unsafe {
            match self.split {
                2 => self.add_up::<GROUPS, R, 2>(ahead, &place),
                4 => self.add_up::<GROUPS, R, 4>(ahead, &place),
                8 => self.add_up::<GROUPS, R, 8>(ahead, &place),
                _ => self.add_up::<GROUPS, R, SPLIT_MAX>(ahead, &place),
            }
        }
    }

    #[inline(always)]
    unsafe fn add_up<const GROUPS: usize, const R: usize, const SPLIT: usize>(
        &self,
        mut ahead: Ahead<T>,
        place: &impl Fn(usize) -> Option<usize>,
    ) {
        let items = GROUPS * (2 * R / FRAGMENT_PIXELS * WARPS / SPLIT);
        let mut item = warp() as usize;
        while item < items {
            let next = item + (GROUPS + 1) * WARPS;
            // SAFETY: the kernel before has ended.
            let following = unsafe { self.ahead_of::<GROUPS, R>(next, place) };
            let parts = unrolled::<F32x4, SPLIT>(|rank| {
                let at = (rank * items + item) * LANES + lane() as usize;
                // SAFETY: all parts have arrived.
                unsafe { self.received.add(at).cast::<F32x4>().read() }
            });
            let [low, high] = ahead.bias;
            let mut sums = [low, low, high, high];
            unroll::<SPLIT>(|rank| unroll::<4>(|i| sums[i] += parts[rank][i]));
            unroll::<4>(|i| sums[i] += ahead.residuals[i].to_f32());
            let places = self.places::<GROUPS, R>(item, place);
            let results = activated(self.tile.shape.activation, sums);
            unroll::<4>(|i| {
                if let Some(place) = places[i] {
                    // SAFETY: the output has the place.
                    unsafe { self.tile.out.add(place).write(T::from_f32(results[i])) };
                }
            });
            (item, ahead) = (next, following);
        }
    }
}

#[inline(always)]
fn activated(activation: Activation, sums: [f32; 4]) -> [f32; 4] {
    match activation.bounds() {
        Some([min, max]) => unrolled(|i| clamp(sums[i], min, max)),
        None => sums.map(|sum| activation.of(sum)),
    }
}
