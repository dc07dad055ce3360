//! Attention with `mma.sync`: each warp of a block has some queries, all of them the same
//! keys, which `cp.async` brings into two stages of shared memory.
//!
//! Elements of 16 bits lie there in chunks of eight, exchanged within a row so that eight
//! rows of a chunk are in different banks ([`attend_64`], [`attend_128`]). Those of `f32`
//! have a gap behind each row instead, are rounded to tf32 when they are read, and are
//! multiplied eight terms at a time ([`attend_tf32_64`], [`attend_tf32_128`]).
#![allow(clippy::needless_range_loop)] // indices that unrolling makes constants

use raddle::device::async_copy::{copy_async_commit, copy_async_or_zero, copy_async_wait};
use raddle::device::matrix::{ldmatrix_x4, ldmatrix_x4_trans, mma_f32_tf32};
use raddle::device::unroll::{unroll, unrolled};
use raddle::prelude::*;

use super::softmax::{Masking, Softmax, scale};
use super::{Element, Numbers, Place, start};
use crate::kernels::conv::Half;

/// Warps of a block.
const WARPS: usize = 4;
/// Threads of a block.
pub const THREADS: u32 = 32 * WARPS as u32;
/// Keys of a tile of `f32`.
const KEYS_TF32: usize = 32;
/// Queries of a tile of 16-bit elements: 32 for each warp, so that what is read of keys and
/// values serves twice.
pub const QUERIES: usize = 32 * WARPS;
/// Queries of a tile of `f32`.
pub const QUERIES_TF32: usize = 16 * WARPS;
/// Numbers behind each row of `f32`.
const GAP: usize = 4;

/// Dynamic shared memory for rows of so many 16-bit elements.
#[must_use]
pub const fn shared_bytes(size: usize) -> usize {
    (QUERIES + 4 * keys(size)) * size * 2
}

/// Keys of a tile of rows of so many 16-bit elements: fewer where sums take more registers.
const fn keys(size: usize) -> usize {
    if size > 64 { 32 } else { 64 }
}

/// The same for rows of `f32`.
#[must_use]
pub const fn shared_bytes_tf32(size: usize) -> usize {
    (QUERIES_TF32 + 4 * KEYS_TF32) * (size + GAP) * 4
}

/// Declares the kernels for heads of up to some size.
macro_rules! sizes {
    ($($attend:ident $attend_tf32:ident: $size:literal, $scores:literal and $sums:literal registers, $blocks:literal blocks;)*) => { $(
        /// Attention of heads of up to
        #[doc = concat!(stringify!($size), " elements of 16 bits.")]
        ///
        /// # Safety
        ///
        /// The operands, the mask and `out` have the elements that the numbers say; rows of
        /// operands are whole chunks of 16 bytes, aligned. The launch has [`THREADS`],
        /// [`shared_bytes`] and a block for each tile of [`QUERIES`].
        #[kernel(block = THREADS, min_blocks = 2, instances(f16, bf16))]
        #[inline(always)]
        pub unsafe fn $attend<T: Element>(
            numbers: Numbers,
            q: *const T,
            k: *const T,
            v: *const T,
            mask: *const u8,
            out: *mut T,
        ) {
            // SAFETY: the caller's contract.
            unsafe { attend::<T, $size, { keys($size) }, $scores, $sums>(&numbers, [q, k, v], mask, out) };
        }

        /// Attention of heads of up to
        #[doc = concat!(stringify!($size), " elements of `f32`, multiplied as tf32.")]
        ///
        /// # Safety
        ///
        /// As for 16 bits, with [`shared_bytes_tf32`] and tiles of [`QUERIES_TF32`].
        #[kernel(block = THREADS, min_blocks = $blocks)]
        #[inline(always)]
        pub unsafe fn $attend_tf32(
            numbers: Numbers,
            q: *const f32,
            k: *const f32,
            v: *const f32,
            mask: *const u8,
            out: *mut f32,
        ) {
            // SAFETY: the caller's contract.
            unsafe { attend_tf32::<$size, { $size / 8 }, { $size / 2 }>(&numbers, [q, k, v], mask, out) };
        }
    )* };
}
sizes! {
    attend_64 attend_tf32_64: 64, 32 and 32 registers, 3 blocks;
    attend_128 attend_tf32_128: 128, 16 and 64 registers, 2 blocks;
}

/// Rows of an operand in memory: those of one head.
#[derive(Clone, Copy)]
struct Rows<T> {
    from: *const T,
    /// From a row to the next.
    step: u32,
    /// Rows that are there, and elements of one.
    len: u32,
    size: u32,
}

impl<T> Rows<T> {
    /// Starts copies of `COUNT` rows from `first` on, of `CHUNKS` chunks of 16 bytes each, to
    /// where `to` says; zeros stand for what is not there.
    ///
    /// # Safety
    ///
    /// The rows are there, and nobody uses the places.
    #[inline(always)]
    unsafe fn fetch<const COUNT: usize, const CHUNKS: usize>(
        &self,
        first: u32,
        to: impl Fn(usize, usize) -> *mut u8,
    ) {
        let per_chunk = 16 / size_of::<T>();
        for i in 0..COUNT * CHUNKS / THREADS as usize {
            let at = i * THREADS as usize + thread_x() as usize;
            let (row, chunk) = (at / CHUNKS, at % CHUNKS);
            let (line, column) = (first + row as u32, (chunk * per_chunk) as u32);
            let is_there = (line < self.len) & (column < self.size);
            let offset = line as usize * self.step as usize + column as usize;
            let from = self.from.wrapping_add(if is_there { offset } else { 0 });
            // SAFETY: the caller's contract; nothing is read of what is not there.
            unsafe {
                let to = to(row, chunk).cast::<F32x4>();
                copy_async_or_zero(to, from.cast::<F32x4>(), 16 * u32::from(is_there));
            }
        }
    }
}

/// Queries, keys and values of a tile's head.
#[inline(always)]
fn operands<T>(numbers: &Numbers, place: Place, [q, k, v]: [*const T; 3]) -> [Rows<T>; 3] {
    let cache = numbers.cache_head(place);
    let rows = |of: *const T, steps: &[u32; 3], head: u32, len: u32, size: u32| Rows {
        from: of.wrapping_add(start(steps, place.image, head, 0)),
        step: steps[2],
        len,
        size,
    };
    let [size, value_size] = numbers.sizes;
    [
        rows(q, &numbers.q_steps, place.head, numbers.queries, size),
        rows(k, &numbers.k_steps, cache, numbers.keys, size),
        rows(v, &numbers.v_steps, cache, numbers.keys, value_size),
    ]
}

/// Where rows of `SIZE` 16-bit elements lie in shared memory.
#[derive(Clone, Copy)]
struct Chunks<const SIZE: usize>(*mut u8);

impl<const SIZE: usize> Chunks<SIZE> {
    #[inline(always)]
    fn at(self, row: usize, chunk: usize) -> *mut u8 {
        self.0.wrapping_add(row * SIZE * 2 + (chunk ^ (row % 8)) * 16)
    }

    /// This many rows further.
    #[inline(always)]
    fn behind(self, rows: usize) -> Self {
        Self(self.0.wrapping_add(rows * SIZE * 2))
    }
}

/// Attention of a tile: `S` and `O` are a lane's scores and sums of values in 16 rows.
///
/// # Safety
///
/// As for the kernels.
#[inline(always)]
unsafe fn attend<
    T: Element,
    const SIZE: usize,
    const KEYS: usize,
    const S: usize,
    const O: usize,
>(
    numbers: &Numbers,
    all: [*const T; 3],
    mask: *const u8,
    out: *mut T,
) {
    const { assert!(2 * S == KEYS && 2 * O == SIZE) };
    let place = numbers.place(block_x(), QUERIES);
    let [q, k, v] = operands(numbers, place, all);
    let queries = Chunks::<SIZE>(dynamic_shared::<F32x4>().0.cast());
    let stage = |at: u32| {
        let keys = queries.behind(QUERIES + at as usize % 2 * 2 * KEYS);
        (keys, keys.behind(KEYS))
    };
    let fetch = |at: u32| {
        let (keys, values) = stage(at);
        let first = at * KEYS as u32;
        // SAFETY: the caller's contract; nobody reads the stage any more.
        unsafe {
            fetch_chunks::<T, SIZE, KEYS>(&k, first, keys);
            fetch_chunks::<T, SIZE, KEYS>(&v, first, values);
        }
    };
    // SAFETY: as above.
    unsafe { fetch_chunks::<T, SIZE, QUERIES>(&q, place.query, queries) };
    fetch(0);
    copy_async_commit();
    let warp_row = warp() * 32;
    let own = queries.behind(warp_row as usize);
    let query = place.query + warp_row;
    let mut upper = Strip::<O>::new(Masking { numbers, place, mask, query: query + lane() / 4 });
    let query = query + 16;
    let mut lower = Strip::<O>::new(Masking { numbers, place, mask, query: query + lane() / 4 });
    let tiles = numbers.seen(place, QUERIES).div_ceil(KEYS as u32);
    for tile in 0..tiles {
        copy_async_wait::<0>();
        barrier();
        if tile + 1 < tiles {
            fetch(tile + 1);
        }
        copy_async_commit();
        let (keys, values) = stage(tile);
        let key = tile * KEYS as u32;
        let (mut first, mut second) = ([0.0f32; S], [0.0f32; S]);
        // SAFETY: the stage has arrived, and all lanes come here; the mask is the caller's.
        unsafe {
            multiply_keys::<T, SIZE, S>([&mut first, &mut second], own, keys);
            upper.step::<T, S>(&mut first, key);
            lower.step::<T, S>(&mut second, key);
            let sums = [&mut upper.sums, &mut lower.sums];
            add_values::<T, SIZE, S, O>(sums, [&first, &second], values);
        }
    }
    // SAFETY: the caller's contract.
    unsafe {
        upper.write(out);
        lower.write(out);
    }
}

/// What a lane keeps of 16 queries of its warp.
struct Strip<'a, const O: usize> {
    masking: Masking<'a>,
    softmax: Softmax,
    sums: [f32; O],
}

impl<'a, const O: usize> Strip<'a, O> {
    #[inline(always)]
    fn new(masking: Masking<'a>) -> Self {
        Self { masking, softmax: Softmax::new(), sums: [0.0; O] }
    }

    /// Makes powers of scores of keys from `key` on.
    ///
    /// # Safety
    ///
    /// The mask has the elements that the numbers say; all lanes make the call.
    #[inline(always)]
    unsafe fn step<T: Float, const S: usize>(&mut self, scores: &mut [f32; S], key: u32) {
        // SAFETY: the caller's contract.
        let factor = unsafe { self.masking.apply::<T, S>(scores, key) };
        let shrink = self.softmax.step(scores, factor);
        scale(&mut self.sums, shrink);
    }

    /// Writes the results.
    ///
    /// # Safety
    ///
    /// `out` has the elements that the numbers say; all lanes make the call.
    #[inline(always)]
    unsafe fn write<T: Half>(&mut self, out: *mut T) {
        scale(&mut self.sums, self.softmax.factors());
        let Masking { numbers, place, query, .. } = self.masking;
        // SAFETY: the caller's contract.
        unsafe { write_halves(numbers, place, query, &self.sums, out) };
    }
}

/// [`Rows::fetch`] of `COUNT` rows of `SIZE` 16-bit elements.
///
/// # Safety
///
/// As there.
#[inline(always)]
unsafe fn fetch_chunks<T: Half, const SIZE: usize, const COUNT: usize>(
    rows: &Rows<T>,
    first: u32,
    to: Chunks<SIZE>,
) {
    // SAFETY: the caller's contract.
    unsafe {
        match SIZE {
            64 => rows.fetch::<COUNT, 8>(first, |row, chunk| to.at(row, chunk)),
            _ => rows.fetch::<COUNT, 16>(first, |row, chunk| to.at(row, chunk)),
        }
    }
}

/// Adds the products of a warp's 32 queries and the keys of a stage.
///
/// # Safety
///
/// They are there and nobody writes them; all lanes make the call.
#[inline(always)]
unsafe fn multiply_keys<T: Element, const SIZE: usize, const S: usize>(
    [upper, lower]: [&mut [f32; S]; 2],
    queries: Chunks<SIZE>,
    keys: Chunks<SIZE>,
) {
    let (matrix, r) = (lane() as usize / 8, lane() as usize % 8);
    unroll::<8>(|k| {
        if 16 * k < SIZE {
            // Matrices of the left operand lie below each other, then beside.
            let (row, chunk) = (r + matrix % 2 * 8, 2 * k + matrix / 2);
            // SAFETY: the caller's contract.
            let a = unsafe { ldmatrix_x4(queries.at(row, chunk)) };
            // SAFETY: the caller's contract.
            let c = unsafe { ldmatrix_x4(queries.at(16 + row, chunk)) };
            unroll::<4>(|j| {
                if 8 * j < S {
                    // Those of the right one beside each other, then below.
                    let row = 16 * j + r + matrix / 2 * 8;
                    // SAFETY: the caller's contract.
                    let b = unsafe { ldmatrix_x4(keys.at(row, 2 * k + matrix % 2)) };
                    multiply_two::<T, S>([&mut *upper, &mut *lower], j, [&a, &c], b);
                }
            });
        }
    });
}

/// Adds the products of a warp's powers and the values of a stage.
///
/// # Safety
///
/// As for [`multiply_keys`].
#[inline(always)]
unsafe fn add_values<T: Element, const SIZE: usize, const S: usize, const O: usize>(
    [upper, lower]: [&mut [f32; O]; 2],
    [first, second]: [&[f32; S]; 2],
    values: Chunks<SIZE>,
) {
    let (matrix, r) = (lane() as usize / 8, lane() as usize % 8);
    unroll::<4>(|k| {
        if 8 * k < S {
            let (a, c) = (packed::<T, S>(first, k), packed::<T, S>(second, k));
            unroll::<8>(|j| {
                if 16 * j < SIZE {
                    let row = 16 * k + r + matrix % 2 * 8;
                    // SAFETY: the caller's contract.
                    let b = unsafe { ldmatrix_x4_trans(values.at(row, 2 * j + matrix / 2)) };
                    multiply_two::<T, O>([&mut *upper, &mut *lower], j, [&a, &c], b);
                }
            });
        }
    });
}

/// Adds the products of twice 16 rows and column group `j` of 16.
#[inline(always)]
fn multiply_two<T: Element, const R: usize>(
    [upper, lower]: [&mut [f32; R]; 2],
    j: usize,
    [a, c]: [&[u32; 4]; 2],
    b: [u32; 4],
) {
    multiply::<T, R>(upper, 8 * j, a, [b[0], b[1]]);
    multiply::<T, R>(upper, 8 * j + 4, a, [b[2], b[3]]);
    multiply::<T, R>(lower, 8 * j, c, [b[0], b[1]]);
    multiply::<T, R>(lower, 8 * j + 4, c, [b[2], b[3]]);
}

/// The powers of 16 keys as a left operand.
#[inline(always)]
pub(super) fn packed<T: Half, const S: usize>(powers: &[f32; S], k: usize) -> [u32; 4] {
    unrolled(|i| T::pack(powers[8 * k + 2 * i], powers[8 * k + 2 * i + 1]))
}

/// Adds products to four numbers of an accumulator.
#[inline(always)]
fn multiply<T: Element, const R: usize>(acc: &mut [f32; R], at: usize, a: &[u32; 4], b: [u32; 2]) {
    let mut four = [acc[at], acc[at + 1], acc[at + 2], acc[at + 3]];
    T::multiply(&mut four, a, b);
    [acc[at], acc[at + 1], acc[at + 2], acc[at + 3]] = four;
}

/// Writes a lane's sums of a query and the one eight further, rounded. The four lanes of a row
/// exchange their pairs, so that each writes eight neighbours at a time.
///
/// # Safety
///
/// `out` has the elements that the numbers say, rows of whole eights, aligned; all lanes make
/// the call.
#[inline(always)]
pub(super) unsafe fn write_halves<T: Half, const O: usize>(
    numbers: &Numbers,
    place: Place,
    query: u32,
    sums: &[f32; O],
    out: *mut T,
) {
    const { assert!(O.is_multiple_of(16)) };
    unroll::<2>(|row| {
        let query = query + 8 * row as u32;
        let at = start(&numbers.out_steps, place.image, place.head, query);
        let to = out.wrapping_add(at);
        unroll::<4>(|part| {
            if 16 * part < O {
                let pair = |j: usize| {
                    let at = 16 * part + 4 * j + 2 * row;
                    T::pack(sums[at], sums[at + 1])
                };
                let eight = turned([pair(0), pair(1), pair(2), pair(3)]);
                let column = 32 * part as u32 + lane() % 4 * 8;
                if query < numbers.queries && column < numbers.sizes[1] {
                    let to = to.wrapping_add(column as usize).cast::<U32x4>();
                    // SAFETY: the caller's contract.
                    unsafe { to.write(U32x4::new(eight)) };
                }
            }
        });
    });
}

/// Of four lanes with four words each, the words with this lane's number among them.
#[inline(always)]
fn turned(words: [u32; 4]) -> [u32; 4] {
    let [a, b, c, d] = words;
    let [a, b] = exchanged([a, b], 1);
    let [c, d] = exchanged([c, d], 1);
    let [a, c] = exchanged([a, c], 2);
    let [b, d] = exchanged([b, d], 2);
    [a, b, c, d]
}

/// Exchanges the second word of each lane without the bit with the first word of its
/// neighbour with it.
#[inline(always)]
fn exchanged([first, second]: [u32; 2], bit: u32) -> [u32; 2] {
    let has_bit = lane() & bit != 0;
    let other = Lanes::ALL.shuffle_xor(if has_bit { first } else { second }, bit);
    if has_bit { [other, second] } else { [first, other] }
}

/// Writes a lane's sums of a query and the one eight further, in pairs.
///
/// # Safety
///
/// `out` has the elements that the numbers say.
#[inline(always)]
unsafe fn write_singles<const O: usize>(
    numbers: &Numbers,
    place: Place,
    query: u32,
    sums: &[f32; O],
    out: *mut f32,
) {
    let column = lane() % 4 * 2;
    unroll::<2>(|row| {
        let query = query + 8 * row as u32;
        if query < numbers.queries {
            let at = start(&numbers.out_steps, place.image, place.head, query);
            let to = out.wrapping_add(at + column as usize);
            unroll::<16>(|j| {
                if 4 * j < O && column + 8 * (j as u32) < numbers.sizes[1] {
                    let at = 4 * j + 2 * row;
                    let pair = F32x2::new([sums[at], sums[at + 1]]);
                    // SAFETY: the caller's contract; rows are whole fours, so that pairs are
                    // aligned.
                    unsafe { to.wrapping_add(8 * j).cast::<F32x2>().write(pair) };
                }
            });
        }
    });
}

/// Where rows of `SIZE` numbers and a gap lie in shared memory.
#[derive(Clone, Copy)]
struct Lines<const SIZE: usize>(*mut f32);

impl<const SIZE: usize> Lines<SIZE> {
    #[inline(always)]
    fn at(self, row: usize, column: usize) -> *mut f32 {
        self.0.wrapping_add(row * (SIZE + GAP) + column)
    }

    /// This many rows further.
    #[inline(always)]
    fn behind(self, rows: usize) -> Self {
        Self(self.at(rows, 0))
    }
}

/// Attention of a tile of `f32`, multiplied as tf32: a warp has 16 queries, which stay in
/// registers.
///
/// # Safety
///
/// As for the kernels.
#[inline(always)]
unsafe fn attend_tf32<const SIZE: usize, const Q: usize, const O: usize>(
    numbers: &Numbers,
    all: [*const f32; 3],
    mask: *const u8,
    out: *mut f32,
) {
    const S: usize = KEYS_TF32 / 2;
    const { assert!(2 * O == SIZE && 8 * Q == SIZE) };
    let place = numbers.place(block_x(), QUERIES_TF32);
    let [q, k, v] = operands(numbers, place, all);
    let queries = Lines::<SIZE>(dynamic_shared::<F32x4>().0.cast());
    let stage = |at: u32| {
        let keys = queries.behind(QUERIES_TF32 + at as usize % 2 * 2 * KEYS_TF32);
        (keys, keys.behind(KEYS_TF32))
    };
    let fetch = |at: u32| {
        let (keys, values) = stage(at);
        let first = at * KEYS_TF32 as u32;
        // SAFETY: the caller's contract; nobody reads the stage any more.
        unsafe {
            fetch_lines::<SIZE, KEYS_TF32>(&k, first, keys);
            fetch_lines::<SIZE, KEYS_TF32>(&v, first, values);
        }
    };
    // SAFETY: as above.
    unsafe { fetch_lines::<SIZE, QUERIES_TF32>(&q, place.query, queries) };
    fetch(0);
    copy_async_commit();
    let warp_row = warp() * 16;
    let query = place.query + warp_row + lane() / 4;
    let masking = Masking { numbers, place, mask, query };
    let mut own = [[tf32::from_f32(0.0); 4]; Q];
    let mut softmax = Softmax::new();
    let mut sums = [0.0f32; O];
    let tiles = numbers.seen(place, QUERIES_TF32).div_ceil(KEYS_TF32 as u32);
    for tile in 0..tiles {
        copy_async_wait::<0>();
        barrier();
        if tile + 1 < tiles {
            fetch(tile + 1);
        }
        copy_async_commit();
        let (keys, values) = stage(tile);
        let mut scores = [0.0f32; S];
        // SAFETY: the stage has arrived, and all lanes come here; the mask is the caller's.
        unsafe {
            if tile == 0 {
                own = fragments::<SIZE, Q>(queries.behind(warp_row as usize));
            }
            multiply_lines::<SIZE, Q>(&mut scores, &own, keys);
            let key = tile * KEYS_TF32 as u32;
            let factor = masking.apply::<f32, S>(&mut scores, key);
            let shrink = softmax.step(&mut scores, factor);
            scale(&mut sums, shrink);
            add_lines::<SIZE, O>(&mut sums, &scores, values);
        }
    }
    scale(&mut sums, softmax.factors());
    // SAFETY: the caller's contract.
    unsafe { write_singles(numbers, place, masking.query, &sums, out) };
}

/// [`Rows::fetch`] of `COUNT` rows of `SIZE` numbers.
///
/// # Safety
///
/// As there.
#[inline(always)]
unsafe fn fetch_lines<const SIZE: usize, const COUNT: usize>(
    rows: &Rows<f32>,
    first: u32,
    to: Lines<SIZE>,
) {
    let to = |row: usize, chunk: usize| to.at(row, 4 * chunk).cast();
    // SAFETY: the caller's contract.
    unsafe {
        match SIZE {
            64 => rows.fetch::<COUNT, 16>(first, to),
            _ => rows.fetch::<COUNT, 32>(first, to),
        }
    }
}

/// A number of four that a lane gets of a row of a matrix of eight 16-bit elements, rounded.
#[inline(always)]
fn rounded(bits: u32) -> tf32 {
    tf32::from_f32(f32::from_bits(bits))
}

/// A warp's 16 queries as left operands of eight terms.
///
/// # Safety
///
/// As for [`multiply_keys`].
#[inline(always)]
unsafe fn fragments<const SIZE: usize, const Q: usize>(queries: Lines<SIZE>) -> [[tf32; 4]; Q] {
    let (matrix, r) = (lane() as usize / 8, lane() as usize % 8);
    unrolled(|k| {
        let row = queries.at(r + matrix % 2 * 8, 8 * k + matrix / 2 * 4);
        // SAFETY: the caller's contract.
        unsafe { ldmatrix_x4(row) }.map(rounded)
    })
}

/// Adds the products of a warp's 16 queries and the keys of a stage.
///
/// # Safety
///
/// As for [`multiply_keys`].
#[inline(always)]
unsafe fn multiply_lines<const SIZE: usize, const Q: usize>(
    scores: &mut [f32; KEYS_TF32 / 2],
    queries: &[[tf32; 4]; Q],
    keys: Lines<SIZE>,
) {
    let (matrix, r) = (lane() as usize / 8, lane() as usize % 8);
    unroll::<8>(|k| {
        if 2 * k < Q {
            unroll::<{ KEYS_TF32 / 8 }>(|j| {
                // SAFETY: the caller's contract.
                let b = unsafe { ldmatrix_x4(keys.at(8 * j + r, 16 * k + 4 * matrix)) };
                let b = b.map(rounded);
                multiply_tf32(scores, 4 * j, &queries[2 * k], &[b[0], b[1]]);
                multiply_tf32(scores, 4 * j, &queries[2 * k + 1], &[b[2], b[3]]);
            });
        }
    });
}

/// Adds the products of a warp's powers and the values of a stage. The order of terms is
/// free: of eight keys, the pair that a lane has stands for terms that are four apart.
///
/// # Safety
///
/// As for [`multiply_keys`].
#[inline(always)]
unsafe fn add_lines<const SIZE: usize, const O: usize>(
    sums: &mut [f32; O],
    powers: &[f32; KEYS_TF32 / 2],
    values: Lines<SIZE>,
) {
    let (line, pair) = (lane() as usize / 4, lane() as usize % 4);
    unroll::<{ KEYS_TF32 / 8 }>(|k| {
        let a = [0, 2, 1, 3].map(|i| tf32::from_f32(powers[4 * k + i]));
        let first = values.at(8 * k + 2 * pair, line);
        unroll::<16>(|j| {
            if 8 * j < SIZE {
                let at = first.wrapping_add(8 * j);
                // SAFETY: the caller's contract.
                let b = unsafe { [at.read(), at.wrapping_add(SIZE + GAP).read()] };
                multiply_tf32(sums, 4 * j, &a, &b.map(tf32::from_f32));
            }
        });
    });
}

/// Adds products to four numbers of an accumulator.
#[inline(always)]
fn multiply_tf32<const R: usize>(acc: &mut [f32; R], at: usize, a: &[tf32; 4], b: &[tf32; 2]) {
    let mut four = [acc[at], acc[at + 1], acc[at + 2], acc[at + 3]];
    mma_f32_tf32(&mut four, a, b);
    [acc[at], acc[at + 1], acc[at + 2], acc[at + 3]] = four;
}
