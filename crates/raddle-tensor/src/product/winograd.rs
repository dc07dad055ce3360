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
//! Planes are first split into 4x4 *phases*, by the remainders of the coordinates:
//! then the same element of tiles beside each other lies side by side, and a
//! vector holds one element of as many tiles. Tiles are counted through rows that
//! are one tile wider than the result, as [`super::Grid`] does, so that a row ends
//! where the next begins. All of it is done for a band of rows of tiles at a time,
//! such that what lies between the steps stays in the caches.

// Combinators of arrays are not inlined, and then know no vectors.
#![expect(clippy::needless_range_loop)]

use std::cell::RefCell;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::tile::Block;
use super::{Activation, Lanes, PANEL_LEN, TILE_LEN_MAX, TILE_VECTORS};
use crate::parallel;

/// Rows and columns of the results of a tile.
const STEP: usize = 4;

/// Rows and columns of a tile.
const SIDE: usize = STEP + 2;

/// Elements of a tile: so many matrices are multiplied.
const ELEMENTS: usize = SIDE * SIDE;

/// Phases of a plane.
const PHASES: usize = STEP * STEP;

/// Channels that are summed up before sums leave their registers.
const DEPTH_MAX: usize = 128;

/// Most elements of both factors of a band.
const BAND_LEN_MAX: usize = 1 << 19;

/// Fewest elements of planes that are worth a task of their own.
const PART_LEN_MIN: usize = 1 << 12;

/// Between matrices that are written together, so that they do not all fall into
/// the same lines of a cache.
const SKEW: usize = 16;

/// The convolution of one image.
pub struct Winograd<'a> {
    /// What [`pack`] made.
    pub packed: &'a [f32],
    /// `[channels, height, width]`.
    pub image: &'a [f32],
    /// Channels of the image.
    pub channels: usize,
    /// Channels of the result.
    pub outputs: usize,
    /// Height and width of the image.
    pub input: [usize; 2],
    /// Padding above and on the left.
    pub begins: [usize; 2],
    /// Height and width of the result.
    pub output: [usize; 2],
    /// One number for each channel of the result.
    pub bias: Option<&'a [f32]>,
    /// Added to the result, of its shape.
    pub residual: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
}

/// Length of packed weights.
pub fn packed_len(outputs: usize, channels: usize) -> usize {
    ELEMENTS * super::packed_len(outputs, channels)
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
    matrices.iter().flat_map(|matrix| super::pack(matrix, outputs, channels)).collect()
}

/// What lies between the steps, kept from call to call.
#[derive(Default)]
struct Scratch {
    /// `[channels, phases, rows + 1, wide]`.
    planes: Vec<f32>,
    /// `[blocks, tiles, elements, depth, tile]`.
    lines: Vec<f32>,
    /// `[elements, panels, tiles, PANEL_LEN, tile]`.
    sums: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Computes a convolution on all cores: `out: [outputs, height, width]`.
pub fn run(conv: &Winograd<'_>, out: &mut [f32]) {
    let [height, width] = conv.output;
    if out.is_empty() {
        return;
    }
    let (rows, wide) = (height.div_ceil(STEP), width.div_ceil(STEP) + 1);
    let row_len = ELEMENTS * (conv.channels + conv.outputs) * wide;
    let bands = rows.div_ceil((BAND_LEN_MAX / row_len).max(1));
    let band_rows = rows.div_ceil(bands);
    let mut scratch = SCRATCH.take();
    for first in (0..rows).step_by(band_rows) {
        let band = Band::new(conv, first..(first + band_rows).min(rows), wide);
        band.run(&mut scratch, out);
    }
    SCRATCH.set(scratch);
}

/// Some rows of tiles.
struct Band<'a> {
    conv: &'a Winograd<'a>,
    arch: Arch,
    rows: Range<usize>,
    /// Tiles from one row to the next.
    wide: usize,
    /// Tiles, those between rows included.
    len: usize,
    /// Elements of a vector.
    lanes: usize,
}

impl<'a> Band<'a> {
    fn new(conv: &'a Winograd<'a>, rows: Range<usize>, wide: usize) -> Self {
        let arch = Arch::new();
        let (lanes, len) = (arch.dispatch(Lanes), rows.len() * wide - 1);
        Self { conv, arch, rows, wide, len, lanes }
    }

    fn tile_len(&self) -> usize {
        TILE_VECTORS * self.lanes
    }

    /// Vectors of tiles that are computed together.
    fn tiles(&self) -> usize {
        self.len.div_ceil(self.tile_len())
    }

    /// Vectors of one of those.
    fn vectors(&self, tile: usize) -> usize {
        (self.len - tile * self.tile_len()).div_ceil(self.lanes).min(TILE_VECTORS)
    }

    fn phase_len(&self) -> usize {
        (self.rows.len() + 1) * self.wide
    }

    fn panels(&self) -> usize {
        self.conv.outputs.div_ceil(PANEL_LEN)
    }

    /// Elements from one matrix of a block of lines to the next.
    fn line_step(&self) -> usize {
        self.conv.channels.min(DEPTH_MAX) * self.tile_len() + SKEW
    }

    /// Elements from one matrix of sums to the next.
    fn sum_step(&self) -> usize {
        self.panels() * self.tiles() * PANEL_LEN * self.tile_len() + SKEW
    }

    fn run(&self, scratch: &mut Scratch, out: &mut [f32]) {
        let Scratch { planes, lines, sums } = scratch;
        let plane_len = PHASES * self.phase_len();
        let planes = grown(planes, self.conv.channels * plane_len + TILE_LEN_MAX);
        let (planes, behind) = planes.split_at_mut(self.conv.channels * plane_len);
        behind.fill(0.0);
        let part = (PART_LEN_MIN / plane_len).max(1);
        parallel::parts(planes, part * plane_len, &|at, planes| {
            for (channel, plane) in planes.chunks_mut(plane_len).enumerate() {
                self.split(at * part + channel, plane);
            }
        });
        let planes = &scratch.planes[..];
        let blocks = self.conv.channels.div_ceil(DEPTH_MAX);
        let part = ELEMENTS * self.line_step();
        let lines = grown(lines, blocks * self.tiles() * part);
        parallel::parts(lines, part, &|at, lines| {
            let (block, tile) = (at / self.tiles(), at % self.tiles());
            self.arch.dispatch(TransformInput { band: self, planes, lines, block, tile });
        });
        let lines = &*lines;
        let part = self.sum_step();
        let sums = grown(sums, ELEMENTS * part);
        parallel::parts(sums, part, &|element, sums| {
            self.arch.dispatch(Multiply { band: self, lines, sums, element });
        });
        let (sums, [height, width]) = (&*sums, self.conv.output);
        let part = (PART_LEN_MIN / (height * width)).max(1);
        parallel::parts(out, part * height * width, &|at, out| {
            let phases = &mut vec![0f32; PHASES * (self.len + TILE_LEN_MAX)];
            for (output, out) in out.chunks_mut(height * width).enumerate() {
                let output = at * part + output;
                self.arch.dispatch(TransformSums { band: self, sums, phases, out, output });
            }
        });
    }

    /// Splits the rows of a channel that the band reads into phases.
    fn split(&self, channel: usize, plane: &mut [f32]) {
        let [height, width] = self.conv.input;
        let [above, left] = self.conv.begins;
        let image = &self.conv.image[channel * height * width..][..height * width];
        plane.fill(0.0);
        let top = self.rows.start * STEP;
        for y in 0..(self.rows.len() + 1) * STEP {
            let Some(row) = (top + y).checked_sub(above).filter(|&row| row < height) else {
                continue;
            };
            let row = &image[row * width..(row + 1) * width];
            for x in 0..STEP {
                // The first element whose place has this remainder.
                let skip = (x + STEP - left % STEP) % STEP;
                let to = (left + skip) / STEP;
                let Some(room) = self.wide.checked_sub(to) else { continue };
                let line = (y % STEP * STEP + x) * self.phase_len() + y / STEP * self.wide + to;
                let line = &mut plane[line..line + room];
                let (from, rest) = row.get(skip..).unwrap_or_default().as_chunks::<STEP>();
                line.iter_mut().zip(from).for_each(|(x, from)| *x = from[0]);
                if let (Some(x), Some(last)) = (line.get_mut(from.len()), rest.first()) {
                    *x = *last;
                }
            }
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

/// `B^T d B` for some channels and tiles.
struct TransformInput<'t> {
    band: &'t Band<'t>,
    planes: &'t [f32],
    lines: &'t mut [f32],
    block: usize,
    tile: usize,
}

impl WithSimd for TransformInput<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { band, planes, lines, block, tile } = self;
        let (phase_len, vectors) = (band.phase_len(), band.vectors(tile));
        let line_len = vectors * S::F32_LANES;
        let first = block * DEPTH_MAX;
        for channel in first..(first + DEPTH_MAX).min(band.conv.channels) {
            for vector in 0..vectors {
                let at = tile * band.tile_len() + vector * S::F32_LANES;
                let plane = &planes[channel * PHASES * phase_len + at..];
                let mut rows = [[simd.splat_f32s(0.0); SIDE]; SIDE];
                for x in 0..SIDE {
                    let mut column = [simd.splat_f32s(0.0); SIDE];
                    for y in 0..SIDE {
                        let phase = y % STEP * STEP + x % STEP;
                        let from = phase * phase_len + y / STEP * band.wide + x / STEP;
                        column[y] = S::as_simd_f32s(&plane[from..][..S::F32_LANES]).0[0];
                    }
                    let column = input_line(simd, column);
                    for y in 0..SIDE {
                        rows[y][x] = column[y];
                    }
                }
                let to = (channel - first) * line_len + vector * S::F32_LANES;
                for y in 0..SIDE {
                    let row = input_line(simd, rows[y]);
                    for x in 0..SIDE {
                        let to = (y * SIDE + x) * band.line_step() + to;
                        S::as_mut_simd_f32s(&mut lines[to..][..S::F32_LANES]).0[0] = row[x];
                    }
                }
            }
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

/// All products of one matrix.
struct Multiply<'t> {
    band: &'t Band<'t>,
    lines: &'t [f32],
    sums: &'t mut [f32],
    element: usize,
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { band, lines, sums, element } = self;
        let Winograd { packed, channels, outputs, .. } = *band.conv;
        let (tiles, sums_len) = (band.tiles(), PANEL_LEN * band.tile_len());
        let panels = &packed[element * super::packed_len(outputs, channels)..];
        for panel in 0..band.panels() {
            for (block, first) in (0..channels).step_by(DEPTH_MAX).enumerate() {
                let depth = (channels - first).min(DEPTH_MAX);
                let left = &panels[(panel * channels + first) * PANEL_LEN..][..depth * PANEL_LEN];
                for tile in 0..tiles {
                    let from = ((block * tiles + tile) * ELEMENTS + element) * band.line_step();
                    let lines = &lines[from..from + band.line_step()];
                    let sums = &mut sums[(panel * tiles + tile) * sums_len..][..sums_len];
                    let block = Block { left, lines, depth, is_first: first == 0, is_last: false };
                    let is_half = outputs - panel * PANEL_LEN <= PANEL_LEN / 2;
                    block.sum::<S>(simd, is_half, band.vectors(tile) == 1, sums);
                }
            }
        }
    }
}

/// `A^T m A` for all tiles of a channel of the result, and what becomes of it.
struct TransformSums<'t> {
    band: &'t Band<'t>,
    sums: &'t [f32],
    phases: &'t mut [f32],
    out: &'t mut [f32],
    output: usize,
}

impl WithSimd for TransformSums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { band, sums, phases, out, output } = self;
        let (panel, row) = (output / PANEL_LEN, output % PANEL_LEN);
        let step = band.len + TILE_LEN_MAX;
        let bias = simd.splat_f32s(band.conv.bias.map_or(0.0, |bias| bias[output]));
        for tile in 0..band.tiles() {
            for vector in 0..band.vectors(tile) {
                let at = (panel * band.tiles() + tile) * PANEL_LEN + row;
                let from = at * band.tile_len() + vector * S::F32_LANES;
                let mut rows = [[simd.splat_f32s(0.0); SIDE]; STEP];
                for x in 0..SIDE {
                    let mut column = [simd.splat_f32s(0.0); SIDE];
                    for y in 0..SIDE {
                        let from = (y * SIDE + x) * band.sum_step() + from;
                        column[y] = S::as_simd_f32s(&sums[from..][..S::F32_LANES]).0[0];
                    }
                    let column = sum_line(simd, column);
                    for y in 0..STEP {
                        rows[y][x] = column[y];
                    }
                }
                let to = tile * band.tile_len() + vector * S::F32_LANES;
                for y in 0..STEP {
                    let row = sum_line(simd, rows[y]);
                    for x in 0..STEP {
                        let to = (y * STEP + x) * step + to;
                        let phase = S::as_mut_simd_f32s(&mut phases[to..][..S::F32_LANES]).0;
                        phase[0] = simd.add_f32s(row[x], bias);
                    }
                }
            }
        }
        join(band, phases, out, output);
    }
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

/// Writes the phases of a channel of the result where they belong.
#[inline(always)]
fn join(band: &Band<'_>, phases: &[f32], out: &mut [f32], output: usize) {
    let ([height, width], step) = (band.conv.output, band.len + TILE_LEN_MAX);
    for y in band.rows.start * STEP..(band.rows.end * STEP).min(height) {
        let line = (y / STEP - band.rows.start) * band.wide;
        let line_len = width.div_ceil(STEP);
        let [a, b, c, d]: [&[f32]; STEP] =
            std::array::from_fn(|x| &phases[(y % STEP * STEP + x) * step + line..][..line_len]);
        let row = &mut out[y * width..(y + 1) * width];
        let (whole, rest) = row.as_chunks_mut::<STEP>();
        let count = whole.len();
        let sources = a.iter().zip(b).zip(c.iter().zip(d));
        for (out, ((a, b), (c, d))) in whole.iter_mut().zip(sources) {
            *out = [*a, *b, *c, *d];
        }
        for (x, phase) in rest.iter_mut().zip([a, b, c]) {
            *x = phase[count];
        }
        if let Some(residual) = band.conv.residual {
            let residual = &residual[(output * height + y) * width..][..width];
            row.iter_mut().zip(residual).for_each(|(x, residual)| *x += residual);
        }
        band.conv.activation.apply(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number between -1 and 1 for each index.
    fn numbers(len: usize, seed: usize) -> Vec<f32> {
        let number = |at: usize| ((at + seed) * 2_654_435_761 % 1009) as f32 / 504.5 - 1.0;
        (0..len).map(number).collect()
    }

    #[test]
    fn convolutions_of_all_sizes_agree_with_their_definition() {
        for (channels, outputs, input, begins, ends) in [
            (1, 1, [3, 3], [0, 0], [0, 0]),
            (16, 20, [14, 14], [1, 1], [1, 1]),
            (5, 7, [9, 50], [1, 1], [1, 1]),
            (130, 13, [7, 6], [0, 2], [2, 0]),
            (3, 4, [41, 5], [5, 6], [1, 4]),
            (200, 12, [57, 45], [1, 1], [1, 1]),
        ] {
            let size = |axis: usize| input[axis] + begins[axis] + ends[axis] - 2;
            let output = [size(0), size(1)];
            let [image_len, len] = [input[0] * input[1], output[0] * output[1]];
            let image = numbers(channels * image_len, 3);
            let weights = numbers(outputs * channels * 9, 5);
            let (bias, residual) = (numbers(outputs, 7), numbers(outputs * len, 11));
            let conv = Winograd {
                packed: &pack(&weights, outputs, channels),
                image: &image,
                channels,
                outputs,
                input,
                begins,
                output,
                bias: Some(&bias),
                residual: Some(&residual),
                activation: Activation::Relu,
            };
            let mut out = vec![f32::NAN; outputs * len];
            run(&conv, &mut out);
            for (at, &found) in out.iter().enumerate().step_by(if len > 999 { 31 } else { 1 }) {
                let (o, y, x) = (at / len, at % len / output[1], at % output[1]);
                let mut sum = f64::from(bias[o] + residual[at]);
                for k in 0..channels * 9 {
                    let (c, y, x) = (k / 9, y + k % 9 / 3, x + k % 3);
                    let inside = |at: usize, axis: usize| {
                        at.checked_sub(begins[axis]).filter(|&at| at < input[axis])
                    };
                    if let (Some(y), Some(x)) = (inside(y, 0), inside(x, 1)) {
                        let at = c * image_len + y * input[1] + x;
                        sum += f64::from(image[at]) * f64::from(weights[o * channels * 9 + k]);
                    }
                }
                // The transformations magnify the error of a sum in f32.
                let bound = 4e-6 * (channels as f64 + 10.0);
                let expected = sum.max(0.0);
                assert!((f64::from(found) - expected).abs() <= bound, "{found} for {expected}");
            }
        }
    }
}
