//! Convolution with one window for each channel, of blocked images.

// Combinators of arrays are not inlined, and then know no vectors.
#![expect(clippy::manual_memcpy, clippy::needless_range_loop)]

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::{Axis, BLOCK_LEN, Block, PART_LEN_MIN, Run};
use crate::parallel;
use crate::product::Activation;

/// Places that are summed up together.
const PLACES_MAX: usize = 6;

/// The convolution of some images.
pub struct Depthwise<'a> {
    /// Instructions to use.
    pub arch: Arch,
    /// `[images, blocks, height, width, 16]`.
    pub source: &'a [f32],
    /// Blocks of an image.
    pub blocks: usize,
    /// Height and width.
    pub axes: [Axis; 2],
    /// What [`pack`] made.
    pub weights: &'a [f32],
    /// A number for each channel, with whole blocks.
    pub bias: Option<&'a [f32]>,
    /// Added to the result, of its shape.
    pub residual: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
}

/// Packs `weights: [channels, taps]` as `[blocks, taps, 16]`.
pub fn pack(weights: &[f32], channels: usize) -> Vec<f32> {
    let taps = weights.len() / channels;
    let mut packed = vec![0.0; channels.next_multiple_of(BLOCK_LEN) * taps];
    for (at, &weight) in weights.iter().enumerate() {
        let (channel, tap) = (at / taps, at % taps);
        packed[(channel / BLOCK_LEN * taps + tap) * BLOCK_LEN + channel % BLOCK_LEN] = weight;
    }
    packed
}

/// Computes a convolution on all cores: `out: [images, blocks, height, width, 16]`.
pub fn run(conv: &Depthwise<'_>, out: &mut [f32]) {
    let [height, width] = [conv.axes[0].output, conv.axes[1].output];
    if out.is_empty() {
        return;
    }
    let (arch, runs) = (conv.arch, &conv.axes[1].runs()[..]);
    // Whole planes, or some rows of one.
    let row_len = width * BLOCK_LEN;
    let rows = (PART_LEN_MIN / row_len).max(1);
    parallel::rows_of_planes(out, [height, row_len], rows, &|plane, rows, out| {
        arch.dispatch(RunRows { conv, runs, plane, rows, out });
    });
}

struct RunRows<'t> {
    conv: &'t Depthwise<'t>,
    runs: &'t [Run],
    plane: usize,
    rows: Range<usize>,
    out: &'t mut [f32],
}

impl WithSimd for RunRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F32_LANES {
            16 => self.run::<S, 1>(simd),
            8 => self.run::<S, 2>(simd),
            4 => self.run::<S, 4>(simd),
            _ => self.run::<S, BLOCK_LEN>(simd),
        }
    }
}

impl RunRows<'_> {
    #[inline(always)]
    fn run<S: Simd, const VECTORS: usize>(self, simd: S) {
        let Self { conv, runs, plane, rows, out } = self;
        let width = conv.axes[1].output;
        let (places, _) = out.as_chunks_mut::<BLOCK_LEN>();
        for (y, line) in rows.zip(places.chunks_mut(width)) {
            let row = Row { conv, plane, y, taps: conv.axes[0].taps(y) };
            for run in runs {
                let (mut x, taps) = (run.positions.start, &run.taps);
                while x + PLACES_MAX <= run.positions.end {
                    row.tile::<S, VECTORS, PLACES_MAX>(simd, x, taps, line);
                    x += PLACES_MAX;
                }
                while x + 2 <= run.positions.end {
                    row.tile::<S, VECTORS, 2>(simd, x, taps, line);
                    x += 2;
                }
                if x < run.positions.end {
                    row.tile::<S, VECTORS, 1>(simd, x, taps, line);
                }
            }
            if !conv.activation.is_clamp() {
                conv.activation.apply(line.as_flattened_mut());
            }
        }
    }
}

/// A row of the result.
struct Row<'t> {
    conv: &'t Depthwise<'t>,
    /// Plane of blocks, counted through all images.
    plane: usize,
    y: usize,
    /// Rows of taps that lie in the image.
    taps: Range<usize>,
}

impl Row<'_> {
    /// Computes the places from `x` on.
    #[inline(always)]
    fn tile<S: Simd, const VECTORS: usize, const PLACES: usize>(
        &self,
        simd: S,
        x: usize,
        columns: &Range<usize>,
        line: &mut [Block],
    ) {
        let conv = self.conv;
        let [y_axis, x_axis] = &conv.axes;
        let (block, taps) = (self.plane % conv.blocks, y_axis.kernel * x_axis.kernel);
        let weights = &conv.weights.as_chunks::<BLOCK_LEN>().0[block * taps..][..taps];
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; PLACES];
        if let Some(bias) = conv.bias {
            let bias = S::as_simd_f32s(&bias[block * BLOCK_LEN..][..BLOCK_LEN]).0;
            for p in 0..PLACES {
                for v in 0..VECTORS {
                    sums[p][v] = bias[v];
                }
            }
        }
        let source = conv.source.as_chunks::<BLOCK_LEN>().0;
        for row in self.taps.clone() {
            let from = self.plane * y_axis.input + y_axis.element(self.y, row);
            for column in columns.clone() {
                let from = from * x_axis.input + x_axis.element(x, column);
                let source = &source[from..from + (PLACES - 1) * x_axis.step + 1];
                let weights = S::as_simd_f32s(&weights[row * x_axis.kernel + column]).0;
                for p in 0..PLACES {
                    let number = S::as_simd_f32s(&source[p * x_axis.step]).0;
                    for v in 0..VECTORS {
                        sums[p][v] = simd.mul_add_f32s(number[v], weights[v], sums[p][v]);
                    }
                }
            }
        }
        let (low, high) = conv.activation.bounds();
        let (low, high) = (simd.splat_f32s(low), simd.splat_f32s(high));
        let place = (self.plane * y_axis.output + self.y) * x_axis.output + x;
        for p in 0..PLACES {
            let residual = conv.residual.map(|residual| {
                S::as_simd_f32s(&residual[(place + p) * BLOCK_LEN..][..BLOCK_LEN]).0
            });
            let out = S::as_mut_simd_f32s(&mut line[x + p]).0;
            for v in 0..VECTORS {
                let mut sum = sums[p][v];
                if let Some(residual) = residual {
                    sum = simd.add_f32s(sum, residual[v]);
                }
                sum = simd.select_f32s(simd.less_than_f32s(sum, low), low, sum);
                out[v] = simd.select_f32s(simd.greater_than_f32s(sum, high), high, sum);
            }
        }
    }
}
