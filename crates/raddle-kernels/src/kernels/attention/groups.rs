//! Attention with `wgmma` on Hopper: two warpgroups with 64 queries each, and a warp that has
//! the copy engine load keys and values.
//!
//! ```text
//! producer:    Q, K0, K1, V0, K2, V1, ...
//! each group:  S0 = Q K0;  P0 = softmax S0
//!              start S1 = Q K1, start O += P0 V0;  wait for S1;  P1 = softmax S1;  wait for O
//!              ...
//! ```
//!
//! So tensor cores add values while exponentials of the next keys are computed; groups take
//! turns, so that one group's products run beside the other one's softmax. Queries, keys
//! and values lie in shared memory as boxes of 64 elements of a row, one swizzle span; the
//! values' rows are the terms, which `wgmma` turns. What lies outside of an operand is read
//! as zeros, so heads may be smaller than a kernel's. Blocks are persistent.

use raddle::device::hint::opaque;
use raddle::device::matrix::{
    KMajor, MatrixDescriptor, MnMajor, Operand, SharedLayout, Swizzle, registers_decrease,
    registers_increase, wgmma, wgmma_commit, wgmma_fence, wgmma_wait,
};
use raddle::device::mbarrier::Mbarrier;
use raddle::device::tma::{TensorMap, tma_load};
use raddle::device::unroll::{unroll, unrolled};
use raddle::prelude::*;

use super::softmax::{Masking, Softmax, scale};
use super::warps::{packed, write_halves};
use super::{Element, Numbers, Place};

/// Keys of a tile.
pub const KEYS: usize = 128;
/// Groups that compute.
const GROUPS: usize = 2;
/// Queries of a group, and of a tile.
const QUERIES_EACH: usize = 64;
pub const QUERIES: usize = GROUPS * QUERIES_EACH;
/// Elements of a box's row: one swizzle span.
pub const SPAN: usize = 64;
const SPAN_BYTES: usize = SPAN * 2;
/// Threads of a group, and of a block.
const GROUP: u32 = 128;
pub const THREADS: u32 = (GROUPS as u32 + 1) * GROUP;
/// Stages of keys, and as many of values.
const STAGES: usize = 2;
/// A lane's scores.
const S: usize = KEYS / 2;
/// Terms of 16 in a tile's keys.
const TERMS: usize = KEYS / 16;

/// Dynamic shared memory for heads of so many elements.
#[must_use]
pub const fn shared_bytes(size: usize) -> usize {
    (QUERIES + 2 * STAGES * KEYS) * size * 2 + 1024
}

/// Registers of a thread that loads, and of one that computes.
const REGISTERS_LOW: u32 = 40;
const REGISTERS_HIGH: u32 = 232;

/// Declares the kernels for heads of up to some size.
macro_rules! sizes {
    ($($attend:ident: $size:literal;)*) => { $(
        /// Attention of heads of up to
        #[doc = concat!(stringify!($size), " elements.")]
        ///
        /// # Safety
        ///
        /// The maps are of operands with those numbers, `[image, head, row, element]`, with
        /// boxes of one head's [`SPAN`] elements of [`QUERIES`] or [`KEYS`] rows, swizzled in
        /// spans of 128 bytes; mask and `out` have the elements that the numbers say. The
        /// launch has [`THREADS`] and [`shared_bytes`].
        #[kernel(block = THREADS, min_blocks = 1, arch = 90, instances(f16, bf16))]
        #[inline(always)]
        pub unsafe fn $attend<T: Element>(
            q: &TensorMap,
            k: &TensorMap,
            v: &TensorMap,
            numbers: Numbers,
            mask: *const u8,
            out: *mut T,
        ) {
            // SAFETY: the caller's contract; the registers are those that the block begins with.
            unsafe { attend::<T, $size, { $size / 2 }>([q, k, v], &numbers, mask, out) };
        }
    )* };
}
sizes! {
    attend_64: 64;
    attend_128: 128;
}

/// The barriers of a block: a stage belongs to the producer from the groups' arrival at
/// `empty` until its bytes have arrived at `full`.
#[derive(Clone, Copy)]
struct Barriers<'a, const N: usize> {
    full: &'a [Mbarrier; N],
    empty: &'a [Mbarrier; N],
}

impl<const N: usize> Barriers<'_, N> {
    /// The stage of a turn, when it is full.
    #[inline(always)]
    fn filled(&self, turn: u32) -> usize {
        let stage = (turn % N as u32) as usize;
        self.full[stage].suspend_parity(turn / N as u32 % 2);
        stage
    }

    /// The stage of a turn, when it is empty.
    #[inline(always)]
    fn emptied(&self, turn: u32) -> usize {
        let stage = (turn % N as u32) as usize;
        self.empty[stage].suspend_parity((turn / N as u32 + 1) % 2);
        stage
    }

    /// Gives the stage of a turn back; one thread speaks for its group.
    #[inline(always)]
    fn release(&self, turn: u32) {
        if thread_x().is_multiple_of(GROUP) {
            let _ = self.empty[(turn % N as u32) as usize].arrive();
        }
    }
}

/// The shared memory of a block, and its barriers: boxes of `SIZE / 64` spans, each
/// `[row][64]`.
#[derive(Clone, Copy)]
struct Ring<'a, const SIZE: usize> {
    memory: *mut u8,
    q: Barriers<'a, 1>,
    k: Barriers<'a, STAGES>,
    v: Barriers<'a, STAGES>,
}

impl<const SIZE: usize> Ring<'_, SIZE> {
    const TILE_BYTES: usize = KEYS * SIZE * 2;

    #[inline(always)]
    fn keys(&self, stage: usize) -> *mut u8 {
        self.memory.wrapping_add(QUERIES * SIZE * 2 + stage * Self::TILE_BYTES)
    }

    #[inline(always)]
    fn values(&self, stage: usize) -> *mut u8 {
        self.keys(STAGES + stage)
    }
}

/// Attention of the block's tiles; `O` is a lane's sums of values.
///
/// # Safety
///
/// As for the kernels.
#[inline(always)]
unsafe fn attend<T: Element, const SIZE: usize, const O: usize>(
    maps: [&TensorMap; 3],
    numbers: &Numbers,
    mask: *const u8,
    out: *mut T,
) {
    const { assert!(2 * O == SIZE && SIZE.is_multiple_of(SPAN)) };
    let mut q_full = shared!([Mbarrier; 1]);
    let mut q_empty = shared!([Mbarrier; 1]);
    let mut k_full = shared!([Mbarrier; STAGES]);
    let mut k_empty = shared!([Mbarrier; STAGES]);
    let mut v_full = shared!([Mbarrier; STAGES]);
    let mut v_empty = shared!([Mbarrier; STAGES]);
    let (memory, _) = dynamic_shared::<u8>();
    let groups = GROUPS as u32;
    let ring = Ring::<SIZE> {
        memory: memory.wrapping_add(memory.align_offset(1024)),
        q: Barriers {
            full: q_full.init_mbarriers(|_| 1),
            empty: q_empty.init_mbarriers(|_| groups),
        },
        k: Barriers {
            full: k_full.init_mbarriers(|_| 1),
            empty: k_empty.init_mbarriers(|_| groups),
        },
        v: Barriers {
            full: v_full.init_mbarriers(|_| 1),
            empty: v_empty.init_mbarriers(|_| groups),
        },
    };
    // Of the first thread, which initialised them, before another one has the copy engine
    // count there.
    fence_mbarrier_init();
    barrier();
    let count = numbers.tiles(QUERIES);
    let tiles = (block_x()..count).step_by(grid_dim_x().max(1) as usize);
    let group = warp() / 4;
    // SAFETY: the caller's contract; all warps of a group come here together.
    unsafe {
        if group == 0 {
            registers_decrease::<REGISTERS_LOW>();
            if thread_x() == 0 {
                produce(&ring, maps, numbers, tiles);
            }
        } else {
            registers_increase::<REGISTERS_HIGH>();
            let consumer = Consumer { ring, numbers, mask, group: group - 1 };
            if group == 2 {
                // The first turn is the first group's.
                NamedBarrier::<1>.arrive(2 * GROUP);
            }
            let mut turn = 0;
            for (at, tile) in tiles.enumerate() {
                let place = numbers.place(tile, QUERIES);
                consumer.attend::<T, O>(place, at as u32, &mut turn, out);
            }
        }
    }
}

/// Loads the operands of tiles, in the order in which they are used.
///
/// # Safety
///
/// One thread makes the call; the maps are those of the numbers.
#[inline(always)]
unsafe fn produce<const SIZE: usize>(
    ring: &Ring<'_, SIZE>,
    [q, k, v]: [&TensorMap; 3],
    numbers: &Numbers,
    tiles: impl Iterator<Item = u32>,
) {
    let mut turn = 0;
    for (at, tile) in tiles.enumerate() {
        let place = numbers.place(tile, QUERIES);
        let (image, head) = (place.image as i32, place.head as i32);
        let cache = numbers.cache_head(place) as i32;
        let keys = |turn: u32, key: u32| {
            let stage = ring.k.emptied(turn);
            let at = [key as i32, cache, image];
            // SAFETY: the stage is empty.
            unsafe { load::<SIZE, KEYS>(ring.keys(stage), k, at, &ring.k.full[stage]) };
        };
        let values = |turn: u32, key: u32| {
            let stage = ring.v.emptied(turn);
            let at = [key as i32, cache, image];
            // SAFETY: the stage is empty.
            unsafe { load::<SIZE, KEYS>(ring.values(stage), v, at, &ring.v.full[stage]) };
        };
        ring.q.emptied(at as u32);
        let first = [place.query as i32, head, image];
        // SAFETY: the queries of the tile before are not needed any more.
        unsafe {
            load::<SIZE, QUERIES>(ring.memory, q, first, &ring.q.full[0]);
        };
        let count = numbers.seen(place, QUERIES).div_ceil(KEYS as u32);
        keys(turn, 0);
        for tile in 1..count {
            keys(turn + tile, tile * KEYS as u32);
            values(turn + tile - 1, (tile - 1) * KEYS as u32);
        }
        values(turn + count - 1, (count - 1) * KEYS as u32);
        turn += count;
    }
}

/// Loads rows of a head: a box for each span.
///
/// # Safety
///
/// The memory is aligned, large enough and empty.
#[inline(always)]
unsafe fn load<const SIZE: usize, const ROWS: usize>(
    to: *mut u8,
    map: &TensorMap,
    [row, head, image]: [i32; 3],
    full: &Mbarrier,
) {
    let _ = full.arrive_expect_tx((ROWS * SIZE * 2) as u32);
    for span in 0..SIZE / SPAN {
        let to = to.wrapping_add(span * ROWS * SPAN_BYTES);
        // SAFETY: the caller's contract.
        unsafe { tma_load(to, map, [(span * SPAN) as i32, row, head, image], full) };
    }
}

/// A warpgroup that computes.
struct Consumer<'a, const SIZE: usize> {
    ring: Ring<'a, SIZE>,
    numbers: &'a Numbers,
    mask: *const u8,
    group: u32,
}

impl<const SIZE: usize> Consumer<'_, SIZE> {
    /// Attention of the group's queries of a tile, the block's tile number `at`; `turn` counts
    /// tiles of keys.
    ///
    /// # Safety
    ///
    /// All threads of the group make the call; mask and `out` have the numbers' elements.
    #[inline(always)]
    unsafe fn attend<T: Element, const O: usize>(
        &self,
        place: Place,
        at: u32,
        turn: &mut u32,
        out: *mut T,
    ) {
        let &Self { ring, numbers, mask, group } = self;
        let first = place.query + group * QUERIES_EACH as u32 + warp() % 4 * 16;
        let masking = Masking { numbers, place, mask, query: first + lane() / 4 };
        let count = numbers.seen(place, QUERIES).div_ceil(KEYS as u32);
        let mut softmax = Softmax::new();
        let mut sums = [0.0f32; O];
        let mut scores = [0.0f32; S];
        let begin = *turn;
        ring.q.filled(at);
        // SAFETY: the caller's contract; operands are full stages, which nobody writes before
        // they are given back.
        unsafe {
            let stage = ring.k.filled(begin);
            wgmma_fence(&mut scores);
            self.multiply_keys::<T>(&mut scores, stage);
            wgmma_commit();
            wgmma_wait::<0, _>(&mut scores);
            ring.k.release(begin);
            let factor = masking.apply::<T, S>(&mut scores, 0);
            let _ = softmax.step(&mut scores, factor);
            let mut powers: [[u32; 4]; TERMS] = unrolled(|k| packed::<T, S>(&scores, k));
            let mut stage = 0;
            if count > 1 {
                stage = ring.k.filled(begin + 1);
            }
            for tile in 1..count {
                let turn = begin + tile;
                self.take_turn();
                wgmma_fence(&mut scores);
                self.multiply_keys::<T>(&mut scores, stage);
                wgmma_commit();
                let values = ring.v.filled(turn - 1);
                wgmma_fence(&mut sums);
                self.add_values::<T, O>(&mut sums, &powers, values);
                wgmma_commit();
                self.pass_turn();
                wgmma_wait::<1, _>(&mut scores);
                ring.k.release(turn);
                let factor = masking.apply::<T, S>(&mut scores, tile * KEYS as u32);
                let shrink = softmax.step(&mut scores, factor);
                // Powers are to be computed beside the products that are waited for next:
                // ptxas leaves them before a loop, but not before the wait alone.
                unroll::<S>(|i| scores[i] = opaque(scores[i]));
                if tile + 1 < count {
                    stage = ring.k.filled(turn + 1);
                }
                wgmma_wait::<0, _>(&mut sums);
                ring.v.release(turn - 1);
                scale(&mut sums, shrink);
                powers = unrolled(|k| packed::<T, S>(&scores, k));
            }
            ring.q.release(at);
            let last = begin + count - 1;
            let stage = ring.v.filled(last);
            wgmma_fence(&mut sums);
            self.add_values::<T, O>(&mut sums, &powers, stage);
            wgmma_commit();
            let factors = softmax.factors();
            wgmma_wait::<0, _>(&mut sums);
            ring.v.release(last);
            scale(&mut sums, factors);
            write_halves(numbers, place, masking.query, &sums, out);
        }
        *turn = begin + count;
    }

    /// Starts the products of the group's queries with a stage of keys.
    ///
    /// # Safety
    ///
    /// As for [`wgmma`].
    #[inline(always)]
    unsafe fn multiply_keys<T: Element>(&self, scores: &mut [f32; S], stage: usize) {
        let layout = SharedLayout::dense(Swizzle::Span128);
        let queries_at =
            self.ring.memory.wrapping_add(self.group as usize * QUERIES_EACH * SPAN_BYTES);
        let left = Operand::<T, KMajor>::new(MatrixDescriptor::new(queries_at, layout));
        let keys = MatrixDescriptor::new(self.ring.keys(stage), layout);
        let right = Operand::<T, KMajor>::new(keys);
        unroll::<8>(|slice| {
            if 16 * slice < SIZE {
                let (span, within) = (slice / 4, slice as u32 % 4 * 32);
                let left = left.advance((span * QUERIES * SPAN_BYTES) as u32 + within);
                let right = right.advance((span * KEYS * SPAN_BYTES) as u32 + within);
                // SAFETY: the caller's contract.
                unsafe { wgmma(scores, left, right, slice > 0) };
            }
        });
    }

    /// Starts the products of powers with a stage of values.
    ///
    /// # Safety
    ///
    /// As for [`wgmma`].
    #[inline(always)]
    unsafe fn add_values<T: Element, const O: usize>(
        &self,
        sums: &mut [f32; O],
        powers: &[[u32; 4]; TERMS],
        stage: usize,
    ) {
        let layout = SharedLayout {
            swizzle: Swizzle::Span128,
            leading_bytes: (KEYS * SPAN_BYTES) as u32,
            stride_bytes: 8 * SPAN_BYTES as u32,
        };
        let values = MatrixDescriptor::new(self.ring.values(stage), layout);
        let right = Operand::<T, MnMajor>::new(values);
        unroll::<TERMS>(|k| {
            let right = right.advance((16 * k * SPAN_BYTES) as u32);
            // SAFETY: the caller's contract.
            unsafe { T::multiply_group(sums, &powers[k], right) };
        });
    }

    /// Waits until the other group has started its products.
    #[inline(always)]
    fn take_turn(&self) {
        match self.group {
            0 => NamedBarrier::<1>.sync(2 * GROUP),
            _ => NamedBarrier::<2>.sync(2 * GROUP),
        }
    }

    /// Lets the other group start its products.
    #[inline(always)]
    fn pass_turn(&self) {
        match self.group {
            0 => NamedBarrier::<2>.arrive(2 * GROUP),
            _ => NamedBarrier::<1>.arrive(2 * GROUP),
        }
    }
}
