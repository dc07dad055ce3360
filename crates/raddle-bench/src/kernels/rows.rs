//! Kernels over the rows of a matrix: softmax, layer norm.
//!
//! A row is read once, kept in registers as `VECTORS` packed vectors a thread, and
//! written once. What the kernels wait for is memory, so what counts is how many
//! bytes are on their way: a multiprocessor has to keep some 26 KB under way all the
//! time (4.8 TB/s for 0.7 us, over 132 multiprocessors), which takes several rows of
//! 8 KB and two of 64 KB.
//!
//! A warp has a short row by itself and needs no barrier. A block has a longer one,
//! and the multiprocessor other blocks, which load while this one computes. There are
//! as many warps or blocks as rows: blocks that walk over many rows were slower by
//! 5 to 10 % in every variant measured, since they begin and end in step.

use raddle::device::approx::exp2_approx;
use raddle::device::hint::opaque;
use raddle::device::unroll::{unroll, unrolled};
use raddle::prelude::*;

/// Eight f16, as the pairs that instructions work on.
pub type Half8 = Vector<f16x2, 4>;
type Row<const VECTORS: usize> = [Half8; VECTORS];

/// Threads that hold a row together.
trait Team {
    /// The values of all threads combined, in every thread.
    fn all_reduce<V: DeviceType>(value: V, op: impl Fn(V, V) -> V) -> V;
}

enum Warp {}

impl Team for Warp {
    #[inline(always)]
    fn all_reduce<V: DeviceType>(value: V, op: impl Fn(V, V) -> V) -> V {
        Lanes::ALL.reduce(value, op)
    }
}

enum Block {}

impl Team for Block {
    #[inline(always)]
    fn all_reduce<V: DeviceType>(value: V, op: impl Fn(V, V) -> V) -> V {
        block_all_reduce(value, op)
    }
}

/// The eight numbers of a vector.
#[inline(always)]
fn widen(vector: Half8) -> [f32; 8] {
    let pairs = vector.to_array().map(f16x2::to_f32s);
    core::array::from_fn(|i| pairs[i / 2][i % 2])
}

#[inline(always)]
fn narrow(values: [f32; 8]) -> Half8 {
    Half8::new(core::array::from_fn(|i| f16x2::from_f32s(values[2 * i], values[2 * i + 1])))
}

/// The sum of `f` over this thread's elements, which are converted anew for each sum:
/// that costs less than the registers to keep them.
#[inline(always)]
fn sum<const VECTORS: usize>(row: &Row<VECTORS>, f: impl Fn(f32) -> f32) -> f32 {
    let (row, mut total) = (opaque(*row), 0.0);
    unroll::<VECTORS>(|i| {
        let [a, b, c, d, e, f, g, h] = widen(row[i]).map(&f);
        total += ((a + b) + (c + d)) + ((e + f) + (g + h));
    });
    total
}

/// This thread's largest element of a row.
#[inline(always)]
fn largest<const VECTORS: usize>(row: &Row<VECTORS>) -> f32 {
    let mut result = f16x2::splat(f16::NEG_INFINITY);
    unroll::<VECTORS>(|i| row[i].to_array().into_iter().for_each(|pair| result = result.max(pair)));
    let [low, high] = result.to_f32s();
    low.max(high)
}

/// `exp(x - max) / sum` of a row.
#[inline(always)]
fn softmax_row<T: Team, const VECTORS: usize>(row: Row<VECTORS>, mut write: impl FnMut(Half8)) {
    const LOG2_E: f32 = core::f32::consts::LOG2_E;
    let shift = -T::all_reduce(largest(&row), f32::max) * LOG2_E;
    let exp = |v: f32| exp2_approx(v.mul_add(LOG2_E, shift));
    let scale = 1.0 / T::all_reduce(sum(&row, exp), |a, b| a + b);
    let row = opaque(row);
    unroll::<VECTORS>(|i| write(narrow(widen(row[i]).map(|v| exp(v) * scale))));
}

/// Mean and variance of numbers.
type Moments = [f32; 2];

/// The moments of two sets of the same size together (Chan, Golub and LeVeque).
#[inline(always)]
fn merge([mean_a, variance_a]: Moments, [mean_b, variance_b]: Moments) -> Moments {
    let half = 0.5 * (mean_b - mean_a);
    [mean_a + half, half.mul_add(half, 0.5 * (variance_a + variance_b))]
}

/// The moments of this thread's elements: those of each vector, added to those of the
/// vectors before.
#[inline(always)]
fn moments<const VECTORS: usize>(row: &Row<VECTORS>) -> Moments {
    let [mut mean, mut variance] = [0.0; 2];
    unroll::<VECTORS>(|i| {
        let x = widen(row[i]);
        let center = 0.125 * (((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7])));
        let mut squares = 0.0f32;
        unroll::<8>(|j| squares = (x[j] - center).mul_add(x[j] - center, squares));
        // The share of this vector in all up to here.
        let share = 1.0 / (i + 1) as f32;
        let offset = center - mean;
        let change = (1.0 - share).mul_add(offset * offset, 0.125f32.mul_add(squares, -variance));
        mean = share.mul_add(offset, mean);
        variance = share.mul_add(change, variance);
    });
    [mean, variance]
}

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias` of a row. All threads of the
/// team have as many elements, and it has a power of two of threads.
#[inline(always)]
fn layer_norm_row<T: Team, const VECTORS: usize>(
    row: Row<VECTORS>,
    weight: impl Fn(usize) -> Half8,
    bias: impl Fn(usize) -> Half8,
    epsilon: f32,
    mut write: impl FnMut(Half8),
) {
    let [mean, variance] = T::all_reduce(moments(&row), merge);
    let scale = 1.0 / (variance + epsilon).sqrt();
    let (row, shift) = (opaque(row), -mean * scale);
    unroll::<VECTORS>(|i| {
        let (x, weight, bias) = (widen(row[i]), widen(weight(i)), widen(bias(i)));
        let value = |j: usize| x[j].mul_add(scale, shift).mul_add(weight[j], bias[j]);
        write(narrow(core::array::from_fn(value)));
    });
}

/// Vectors of a row that begins at `begin`, with distance `step`; nobody reads them
/// again.
#[inline(always)]
fn load<const VECTORS: usize>(x: &[Half8], begin: usize, step: usize) -> Row<VECTORS> {
    let rest = &x[begin..];
    assert!((VECTORS - 1) * step < rest.len(), "a whole row");
    unrolled(|i| load_cs(&rest[i * step]))
}

/// Writes one vector after the other to this thread's places in a row.
#[inline(always)]
fn writer<'a>(mut places: impl Iterator<Item = (usize, &'a mut [Half8; 1])>) -> impl FnMut(Half8) {
    move |y| {
        if let Some((_, place)) = places.next() {
            store_cs(place, [y]);
        }
    }
}

/// Lanes of a warp.
const LANES: usize = WARP as usize;
/// Threads of a block in which each warp has a row.
pub const WARP_ROWS_THREADS: u32 = 128;

/// Softmax with a warp to each row of `256 * VECTORS` elements.
#[kernel(block = WARP_ROWS_THREADS, min_blocks = 10, instances(4))]
pub fn softmax_by_warps<const VECTORS: usize>(x: &[Half8], mut y: PerWarp<Half8>) {
    let columns = VECTORS * LANES;
    assert!(y.chunk_len() == columns, "rows of the instance's length");
    for (r, mut out) in y.iter_mut() {
        let row: Row<VECTORS> = load(x, r * columns + lane() as usize, LANES);
        softmax_row::<Warp, VECTORS>(row, writer(out.iter_mut()));
    }
}

/// Softmax with a block to each row of `8 * VECTORS * THREADS` elements.
#[kernel(block = THREADS, min_blocks = resident(VECTORS, THREADS), instances((4, 128), (16, 256)))]
pub fn softmax_by_blocks<const VECTORS: usize, const THREADS: u32>(
    x: &[Half8],
    mut y: PerBlock<Half8>,
) {
    let threads = THREADS as usize;
    assert!(y.chunk_len() == VECTORS * threads, "rows of the instance's length");
    for (r, mut out) in y.iter_mut() {
        let row: Row<VECTORS> = load(x, r * VECTORS * threads + thread_x() as usize, threads);
        softmax_row::<Block, VECTORS>(row, writer(out.iter_mut()));
    }
}

/// Blocks that should fit on a multiprocessor: 1024 threads of 64 registers, or half of
/// them where a row takes as many by itself.
const fn resident(vectors: usize, threads: u32) -> u32 {
    if vectors > 8 { 512 / threads } else { 1024 / threads }
}

/// Layer norm with a warp to each row of `256 * VECTORS` elements. Weights and biases
/// are read again for each row: they stay in the cache.
#[kernel(block = WARP_ROWS_THREADS, min_blocks = 10, instances(4))]
pub fn layer_norm_by_warps<const VECTORS: usize>(
    x: &[Half8],
    weight: &[Half8],
    bias: &[Half8],
    epsilon: f32,
    mut y: PerWarp<Half8>,
) {
    let columns = VECTORS * LANES;
    assert!(y.chunk_len() == columns, "rows of the instance's length");
    let (weight, bias) = (&weight[..columns], &bias[..columns]);
    let at = |i: usize| i * LANES + lane() as usize;
    for (r, mut out) in y.iter_mut() {
        let row: Row<VECTORS> = load(x, r * columns + lane() as usize, LANES);
        let (weight, bias) = (|i| weight[at(i)], |i| bias[at(i)]);
        layer_norm_row::<Warp, VECTORS>(row, weight, bias, epsilon, writer(out.iter_mut()));
    }
}

/// Layer norm with a block to each row of `8 * VECTORS * THREADS` elements.
#[kernel(block = THREADS, min_blocks = resident(VECTORS, THREADS), instances((4, 128), (16, 256)))]
pub fn layer_norm_by_blocks<const VECTORS: usize, const THREADS: u32>(
    x: &[Half8],
    weight: &[Half8],
    bias: &[Half8],
    epsilon: f32,
    mut y: PerBlock<Half8>,
) {
    let threads = THREADS as usize;
    let columns = VECTORS * threads;
    assert!(y.chunk_len() == columns, "rows of the instance's length");
    let (weight, bias) = (&weight[..columns], &bias[..columns]);
    let at = |i: usize| i * threads + thread_x() as usize;
    for (r, mut out) in y.iter_mut() {
        let row: Row<VECTORS> = load(x, r * columns + thread_x() as usize, threads);
        let (weight, bias) = (|i| weight[at(i)], |i| bias[at(i)]);
        layer_norm_row::<Block, VECTORS>(row, weight, bias, epsilon, writer(out.iter_mut()));
    }
}
