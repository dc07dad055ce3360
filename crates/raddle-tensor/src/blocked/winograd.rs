//! Convolution with windows of three by three after Winograd: F(4x4, 3x3) in
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015).
//!
//! A tile of 6x6 elements of the input gives 4x4 of the result:
//! `Y = A^T [(G g G^T) . (B^T d B)] A`, where the product in the middle is one of
//! numbers. Summed over channels it becomes 36 products of matrices, one for each
//! element of a tile: a quarter of the multiplications of the plain sum. In
//! exchange results are some 30 times less exact (1e-5 of the largest), and an
//! infinite element makes NaN of all results of the tiles that it lies in.
//!
//! The transforms work on blocks of channels as vectors; the products are
//! [`direct`] convolutions of single places, which are the tiles. All of it is
//! done for a band of rows of tiles at a time, such that what lies between the
//! steps stays in the caches.

// Combinators of arrays are not inlined, and then know no vectors.
#![expect(clippy::needless_range_loop)]

use std::cell::RefCell;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::direct::{self, Direct};
use super::{Axis, BLOCK_LEN, Block};
use crate::parallel;
use crate::product::Activation;

/// Rows and columns of the results of a tile.
const STEP: usize = 4;

/// Rows and columns of a tile.
const SIDE: usize = STEP + 2;

/// Elements of a tile: so many matrices are multiplied.
const ELEMENTS: usize = SIDE * SIDE;

/// Most elements of both factors of a band.
const BAND_LEN_MAX: usize = 1 << 18;

/// Between matrices that are written together, so that they do not all fall into
/// the same lines of a cache.
const SKEW: usize = BLOCK_LEN;

/// The convolution of one image.
pub struct Winograd<'a> {
    /// Instructions to use.
    pub arch: Arch,
    /// What [`pack`] made.
    pub packed: &'a [f32],
    /// `[blocks, height, width, 16]`.
    pub image: &'a [f32],
    /// Blocks of the image.
    pub depth: usize,
    /// Blocks of the result.
    pub outputs: usize,
    /// Height and width.
    pub axes: [Axis; 2],
    /// A number for each channel of the result, with whole blocks.
    pub bias: Option<&'a [f32]>,
    /// Added to the result, of its shape.
    pub residual: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
}

/// Length of packed weights.
pub fn packed_len(outputs: usize, depth: usize) -> usize {
    ELEMENTS * outputs * depth * BLOCK_LEN * BLOCK_LEN
}

/// `G g G^T` of all windows of `weights: [outputs, channels, 3, 3]`, packed as 36
/// matrices.
pub fn pack(weights: &[f32], outputs: usize, channels: usize) -> Vec<f32> {
    let row = |[a, b, c]: [f64; 3]| {
        let (even, odd) = ((a + c) / 6.0, b / 6.0);
        let (far, near) = (a / 24.0 + c / 6.0, b / 12.0);
        [a / 4.0, -even - odd, odd - even, far + near, far - near, c]
    };
    let mut matrices = vec![vec![0f32; outputs * channels]; ELEMENTS];
    for (at, window) in weights.as_chunks::<9>().0.iter().enumerate() {
        let tap = |y: usize, x: usize| f64::from(window[3 * y + x]);
        let columns: [[f64; SIDE]; 3] =
            std::array::from_fn(|x| row([tap(0, x), tap(1, x), tap(2, x)]));
        for y in 0..SIDE {
            let line = row([columns[0][y], columns[1][y], columns[2][y]]);
            for (x, value) in line.into_iter().enumerate() {
                matrices[y * SIDE + x][at] = value as f32;
            }
        }
    }
    let packed = |matrix: &Vec<f32>| direct::pack(matrix, [outputs, channels, 1], false);
    matrices.iter().flat_map(packed).collect()
}

/// What lies between the steps, kept from call to call.
#[derive(Default)]
struct Scratch {
    /// `[blocks, elements, tiles, 16]`.
    lines: Vec<f32>,
    /// `[elements, blocks, tiles, 16]`.
    sums: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Computes a convolution on all cores: `out: [blocks, height, width, 16]`.
pub fn run(conv: &Winograd<'_>, out: &mut [f32]) {
    let [height, width] = [conv.axes[0].output, conv.axes[1].output];
    if out.is_empty() {
        return;
    }
    let (rows, columns) = (height.div_ceil(STEP), width.div_ceil(STEP));
    let row_len = ELEMENTS * (conv.depth + conv.outputs) * columns * BLOCK_LEN;
    let mut bands = rows.div_ceil((BAND_LEN_MAX / row_len).max(1));
    // Each band reads all weights: as long as they stay in a cache, cores do best with
    // bands of their own.
    let threads = rayon::current_num_threads();
    let is_apart = threads > 1 && rows >= threads && conv.packed.len() <= BAND_LEN_MAX;
    if is_apart {
        bands = bands.next_multiple_of(threads).min(rows);
    }
    let band_rows = rows.div_ceil(bands);
    let band_len = band_rows * STEP * width * BLOCK_LEN;
    let band = |at: usize| {
        let rows = at * band_rows..((at + 1) * band_rows).min(rows);
        let tiles = rows.len() * columns;
        Band { conv, rows, columns, tiles, is_apart }
    };
    let mut tasks: Vec<(Band<'_>, Vec<&mut [f32]>)> =
        (0..rows.div_ceil(band_rows)).map(|at| (band(at), Vec::new())).collect();
    for plane in out.chunks_mut(height * width * BLOCK_LEN) {
        let parts = plane.chunks_mut(band_len);
        tasks.iter_mut().zip(parts).for_each(|((_, outs), part)| outs.push(part));
    }
    let run = |(band, outs): (Band<'_>, Vec<&mut [f32]>)| {
        let mut scratch = SCRATCH.take();
        band.run(&mut scratch, outs);
        SCRATCH.set(scratch);
    };
    match is_apart {
        true => parallel::each(tasks, &|| (), &|(), task| run(task)),
        false => tasks.into_iter().for_each(run),
    }
}

/// Some rows of tiles.
struct Band<'a> {
    conv: &'a Winograd<'a>,
    rows: Range<usize>,
    /// Tiles of a row.
    columns: usize,
    /// Tiles of all rows.
    tiles: usize,
    /// Whether one core does all of it.
    is_apart: bool,
}

impl Band<'_> {
    /// Elements from one element of the tiles of a block to the next.
    fn line_step(&self) -> usize {
        self.tiles * BLOCK_LEN + SKEW
    }

    /// Elements from one matrix of sums to the next.
    fn sum_step(&self) -> usize {
        self.conv.outputs * self.tiles * BLOCK_LEN + SKEW
    }

    /// Calls `body(index, part)` for parts of `part_len`.
    fn parts(&self, out: &mut [f32], part_len: usize, body: &(dyn Fn(usize, &mut [f32]) + Sync)) {
        match self.is_apart {
            true => out.chunks_mut(part_len).enumerate().for_each(|(at, part)| body(at, part)),
            false => parallel::parts(out, part_len, body),
        }
    }

    /// `outs` are the band's rows of each block.
    fn run(&self, scratch: &mut Scratch, outs: Vec<&mut [f32]>) {
        let conv = self.conv;
        let part = ELEMENTS * self.line_step();
        let lines = grown(&mut scratch.lines, conv.depth * part);
        self.parts(lines, part, &|block, lines| {
            conv.arch.dispatch(TransformInput { band: self, block, lines });
        });
        let lines = &*lines;
        let part = self.sum_step();
        let sums = grown(&mut scratch.sums, ELEMENTS * part);
        let weights_len = conv.packed.len() / ELEMENTS;
        self.parts(sums, part, &|element, sums| {
            let product = Direct {
                arch: conv.arch,
                source: &lines[element * self.line_step()..],
                depth: conv.depth,
                depth_step: ELEMENTS * self.line_step(),
                has_planes: false,
                axes: [Axis::plain(1), Axis::plain(self.tiles)],
                weights: &conv.packed[element * weights_len..][..weights_len],
                outputs: conv.outputs,
                bias: None,
                residual: None,
                activation: Activation::Identity,
            };
            direct::run_here(&product, &mut sums[..part - SKEW]);
        });
        let sums = &*sums;
        let transform = |(block, out): (usize, &mut [f32])| {
            conv.arch.dispatch(TransformSums { band: self, block, sums, out });
        };
        let outs = outs.into_iter().enumerate();
        match self.is_apart {
            true => outs.for_each(transform),
            false => parallel::each(outs.collect(), &|| (), &|(), task| transform(task)),
        }
    }
}

/// At least so many elements; what they are is left from earlier.
fn grown(vec: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if vec.len() < len {
        vec.resize(len, 0.0);
    }
    &mut vec[..len]
}

/// `B^T d B` for a block of channels and all tiles.
struct TransformInput<'t> {
    band: &'t Band<'t>,
    block: usize,
    lines: &'t mut [f32],
}

impl WithSimd for TransformInput<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { band, block, lines } = self;
        let [y_axis, x_axis] = &band.conv.axes;
        let image_len = y_axis.input * x_axis.input;
        let image = &band.conv.image.as_chunks().0[block * image_len..][..image_len];
        for (at, row) in band.rows.clone().enumerate() {
            let (ys, y) = inside(y_axis, row);
            for column in 0..band.columns {
                let (xs, x) = inside(x_axis, column);
                let tile = at * band.columns + column;
                for vector in 0..BLOCK_LEN / S::F32_LANES {
                    let mut d = [[simd.splat_f32s(0.0); SIDE]; SIDE];
                    if ys.len() == SIDE && xs.len() == SIDE {
                        for i in 0..SIDE {
                            let from = &image[(y + i) * x_axis.input + x..][..SIDE];
                            for j in 0..SIDE {
                                d[i][j] = S::as_simd_f32s(&from[j]).0[vector];
                            }
                        }
                    } else {
                        d = edge::<S>(simd, image, x_axis.input, [&ys, &xs], [y, x], vector);
                    }
                    let to = tile * BLOCK_LEN + vector * S::F32_LANES;
                    transform_input::<S>(simd, d, &mut lines[to..], band.line_step());
                }
            }
        }
    }
}

/// The elements of a tile's row or column that lie in the image, and where the first
/// of them does.
#[inline(always)]
fn inside(axis: &Axis, tile: usize) -> (Range<usize>, usize) {
    let from = tile * STEP;
    let first = axis.begin.saturating_sub(from).min(SIDE);
    let end = (axis.input + axis.begin).saturating_sub(from).min(SIDE).max(first);
    (first..end, (from + first).saturating_sub(axis.begin).min(axis.input))
}

/// A tile that does not lie in the image whole.
#[inline(always)]
fn edge<S: Simd>(
    simd: S,
    image: &[Block],
    width: usize,
    [ys, xs]: [&Range<usize>; 2],
    [y, x]: [usize; 2],
    vector: usize,
) -> [[S::f32s; SIDE]; SIDE] {
    let mut d = [[simd.splat_f32s(0.0); SIDE]; SIDE];
    for i in ys.clone() {
        let from = &image[(y + i - ys.start) * width + x..][..xs.len()];
        for (j, from) in xs.clone().zip(from) {
            d[i][j] = S::as_simd_f32s(from).0[vector];
        }
    }
    d
}

#[inline(always)]
fn transform_input<S: Simd>(
    simd: S,
    d: [[S::f32s; SIDE]; SIDE],
    lines: &mut [f32],
    line_step: usize,
) {
    let mut rows = [[simd.splat_f32s(0.0); SIDE]; SIDE];
    for x in 0..SIDE {
        let column = input_line(simd, [d[0][x], d[1][x], d[2][x], d[3][x], d[4][x], d[5][x]]);
        for y in 0..SIDE {
            rows[y][x] = column[y];
        }
    }
    for y in 0..SIDE {
        let row = input_line(simd, rows[y]);
        for x in 0..SIDE {
            let to = (y * SIDE + x) * line_step;
            S::as_mut_simd_f32s(&mut lines[to..][..S::F32_LANES]).0[0] = row[x];
        }
    }
}

/// `B^T d` of a column.
#[inline(always)]
fn input_line<S: Simd>(simd: S, d: [S::f32s; SIDE]) -> [S::f32s; SIDE] {
    let number = |x: f32| simd.splat_f32s(x);
    let add = |a, b| simd.add_f32s(a, b);
    let sub = |a, b| simd.sub_f32s(a, b);
    let even = simd.mul_add_f32s(number(-4.0), d[2], d[4]);
    let odd = simd.mul_add_f32s(number(-4.0), d[1], d[3]);
    let (near, far) = (sub(d[4], d[2]), simd.mul_f32s(number(2.0), sub(d[3], d[1])));
    let ends = |a, b, c| simd.mul_add_f32s(number(4.0), a, simd.mul_add_f32s(number(-5.0), b, c));
    [
        ends(d[0], d[2], d[4]),
        add(even, odd),
        sub(even, odd),
        add(near, far),
        sub(near, far),
        ends(d[1], d[3], d[5]),
    ]
}

/// `A^T m A` for all tiles of a block of the result, and what becomes of it.
struct TransformSums<'t> {
    band: &'t Band<'t>,
    block: usize,
    sums: &'t [f32],
    out: &'t mut [f32],
}

impl WithSimd for TransformSums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { band, block, sums, out } = self;
        let conv = band.conv;
        let [height, width] = [conv.axes[0].output, conv.axes[1].output];
        let (low, high) = conv.activation.bounds();
        let (low, high) = (simd.splat_f32s(low), simd.splat_f32s(high));
        let out = out.as_chunks_mut::<BLOCK_LEN>().0;
        let residual = conv.residual.map(|residual| {
            &residual.as_chunks::<BLOCK_LEN>().0[block * height * width..][..height * width]
        });
        for tile in 0..band.tiles {
            let top = tile / band.columns * STEP;
            let y = band.rows.start * STEP + top;
            let x = tile % band.columns * STEP;
            let (ys, xs) = ((height - y).min(STEP), (width - x).min(STEP));
            for vector in 0..BLOCK_LEN / S::F32_LANES {
                let bias = match conv.bias {
                    Some(bias) => {
                        S::as_simd_f32s(&bias[block * BLOCK_LEN..][..BLOCK_LEN]).0[vector]
                    }
                    None => simd.splat_f32s(0.0),
                };
                let from = (block * band.tiles + tile) * BLOCK_LEN + vector * S::F32_LANES;
                let rows = transform_sums::<S>(simd, &sums[from..], band.sum_step());
                for i in 0..ys {
                    let at = (y + i) * width + x;
                    let out = &mut out[(top + i) * width + x..][..xs];
                    for (j, out) in out.iter_mut().enumerate() {
                        let mut sum = simd.add_f32s(rows[i][j], bias);
                        if let Some(residual) = residual {
                            let residual = S::as_simd_f32s(&residual[at + j]).0;
                            sum = simd.add_f32s(sum, residual[vector]);
                        }
                        sum = simd.select_f32s(simd.less_than_f32s(sum, low), low, sum);
                        sum = simd.select_f32s(simd.greater_than_f32s(sum, high), high, sum);
                        S::as_mut_simd_f32s(out).0[vector] = sum;
                    }
                }
            }
        }
        if !conv.activation.is_clamp() {
            conv.activation.apply(out.as_flattened_mut());
        }
    }
}

/// `A^T m A` of a tile.
#[inline(always)]
fn transform_sums<S: Simd>(simd: S, sums: &[f32], sum_step: usize) -> [[S::f32s; STEP]; STEP] {
    let zero = simd.splat_f32s(0.0);
    let mut rows = [[zero; SIDE]; STEP];
    for x in 0..SIDE {
        let mut column = [zero; SIDE];
        for y in 0..SIDE {
            let from = (y * SIDE + x) * sum_step;
            column[y] = S::as_simd_f32s(&sums[from..][..S::F32_LANES]).0[0];
        }
        let column = sum_line(simd, column);
        for y in 0..STEP {
            rows[y][x] = column[y];
        }
    }
    let mut found = [[zero; STEP]; STEP];
    for y in 0..STEP {
        found[y] = sum_line(simd, rows[y]);
    }
    found
}

/// `A^T m` of a column.
#[inline(always)]
fn sum_line<S: Simd>(simd: S, m: [S::f32s; SIDE]) -> [S::f32s; STEP] {
    let number = |x: f32| simd.splat_f32s(x);
    let (even, odd) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
    let (far_even, far_odd) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
    [
        simd.add_f32s(simd.add_f32s(m[0], even), far_even),
        simd.mul_add_f32s(number(2.0), far_odd, odd),
        simd.mul_add_f32s(number(4.0), far_even, even),
        simd.add_f32s(simd.mul_add_f32s(number(8.0), far_odd, odd), m[5]),
    ]
}
