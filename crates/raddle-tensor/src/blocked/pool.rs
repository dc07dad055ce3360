//! Pooling of blocked images: the largest or the mean of what a window covers.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::{Axis, BLOCK_LEN, Block, PART_LEN_MIN};
use crate::parallel;

/// What a window is reduced to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Reduction {
    /// The largest number; a NaN stays.
    Largest,
    /// The sum by the number of taps that lie in the image.
    Mean,
    /// The sum by the number of taps that lie in the image or its padding, which
    /// goes on so far behind the image.
    PaddedMean([usize; 2]),
}

/// Reduces windows on all cores: `source: [planes, height, width, 16]`, `out: [planes,
/// positions…, 16]`.
pub fn run(source: &[f32], axes: [Axis; 2], reduction: Reduction, out: &mut [f32]) {
    let [y_axis, x_axis] = axes;
    let (arch, row_len) = (Arch::new(), x_axis.output * BLOCK_LEN);
    if out.is_empty() {
        return;
    }
    let image_len = y_axis.input * x_axis.input;
    let source = source.as_chunks::<BLOCK_LEN>().0;
    let rows = (PART_LEN_MIN / row_len).max(1);
    let columns: Vec<Range<usize>> = (0..x_axis.output).map(|x| x_axis.taps(x)).collect();
    parallel::rows_of_planes(out, [y_axis.output, row_len], rows, &|plane, rows, out| {
        let image = &source[plane * image_len..][..image_len];
        arch.dispatch(RunRows { image, axes: &axes, columns: &columns, reduction, rows, out });
    });
}

struct RunRows<'t> {
    image: &'t [Block],
    axes: &'t [Axis; 2],
    /// Columns of taps that lie in the image, for each position.
    columns: &'t [Range<usize>],
    reduction: Reduction,
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
        let Self { image, axes: [y_axis, x_axis], columns, reduction, rows, out } = self;
        let out = out.as_chunks_mut::<BLOCK_LEN>().0;
        for (y, line) in rows.zip(out.chunks_mut(x_axis.output)) {
            let rows = y_axis.taps(y);
            for ((x, out), columns) in line.iter_mut().enumerate().zip(columns) {
                let out = S::as_mut_simd_f32s(out).0;
                let count = match reduction {
                    Reduction::Largest => {
                        let found = self::largest::<S, VECTORS>(
                            simd,
                            image,
                            [y_axis, x_axis],
                            [y, x],
                            [&rows, columns],
                        );
                        out.copy_from_slice(&found);
                        continue;
                    }
                    Reduction::Mean => rows.len() * columns.len(),
                    Reduction::PaddedMean(ends) => {
                        padded(y_axis, y, ends[0]) * padded(x_axis, x, ends[1])
                    }
                };
                let sums =
                    sum::<S, VECTORS>(simd, image, [y_axis, x_axis], [y, x], [&rows, columns]);
                let factor = simd.splat_f32s(1.0 / count as f32);
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = simd.mul_f32s(sum, factor);
                }
            }
        }
    }
}

/// Taps at a position that lie in the input or its padding, but not beyond.
fn padded(axis: &Axis, position: usize, end: usize) -> usize {
    let end = (axis.begin + axis.input + end).saturating_sub(position * axis.step);
    end.div_ceil(axis.dilation).min(axis.kernel)
}

#[inline(always)]
fn largest<S: Simd, const VECTORS: usize>(
    simd: S,
    image: &[Block],
    axes: [&Axis; 2],
    at: [usize; 2],
    taps: [&Range<usize>; 2],
) -> [S::f32s; VECTORS] {
    let mut found = [simd.splat_f32s(f32::NEG_INFINITY); VECTORS];
    visit(image, axes, at, taps, |block| {
        let block = S::as_simd_f32s(block).0;
        for v in 0..VECTORS {
            // A NaN is not at most what was found, and nothing takes its place.
            let kept = simd.less_than_or_equal_f32s(block[v], found[v]);
            let larger = simd.select_f32s(kept, found[v], block[v]);
            let is_number = simd.equal_f32s(found[v], found[v]);
            found[v] = simd.select_f32s(is_number, larger, found[v]);
        }
    });
    found
}

#[inline(always)]
fn sum<S: Simd, const VECTORS: usize>(
    simd: S,
    image: &[Block],
    axes: [&Axis; 2],
    at: [usize; 2],
    taps: [&Range<usize>; 2],
) -> [S::f32s; VECTORS] {
    let mut sums = [simd.splat_f32s(0.0); VECTORS];
    visit(image, axes, at, taps, |block| {
        let block = S::as_simd_f32s(block).0;
        for v in 0..VECTORS {
            sums[v] = simd.add_f32s(sums[v], block[v]);
        }
    });
    sums
}

/// Calls `visit` with each block that a window covers.
#[inline(always)]
fn visit(
    image: &[Block],
    [y_axis, x_axis]: [&Axis; 2],
    [y, x]: [usize; 2],
    [rows, columns]: [&Range<usize>; 2],
    mut visit: impl FnMut(&Block),
) {
    if columns.is_empty() {
        return;
    }
    for row in rows.clone() {
        let line = y_axis.element(y, row) * x_axis.input;
        for column in columns.clone() {
            visit(&image[line + x_axis.element(x, column)]);
        }
    }
}

/// The mean of each channel of each image: `planes` of `[places, 16]`.
pub fn global_mean(source: &[f32], places: usize, out: &mut [f32]) {
    let source = source.as_chunks::<BLOCK_LEN>().0;
    let arch = Arch::new();
    let planes_per_part = (PART_LEN_MIN / (places * BLOCK_LEN).max(1)).max(1);
    parallel::parts(out, planes_per_part * BLOCK_LEN, &|part, out| {
        let out = out.as_chunks_mut::<BLOCK_LEN>().0;
        let source = &source[part * planes_per_part * places..][..out.len() * places];
        arch.dispatch(
            #[inline(always)]
            || {
                for (plane, out) in source.chunks_exact(places).zip(&mut *out) {
                    *out = plane_mean(plane);
                }
            },
        );
    });
}

/// Some sums at a time, which neither wait for each other nor lose as many digits.
#[inline(always)]
fn plane_mean(plane: &[Block]) -> Block {
    const SUMS: usize = 4;
    let mut sums = [[0f32; BLOCK_LEN]; SUMS];
    let (chunks, rest) = plane.as_chunks::<SUMS>();
    for chunk in chunks {
        for (sums, block) in sums.iter_mut().zip(chunk) {
            sums.iter_mut().zip(block).for_each(|(sum, x)| *sum += x);
        }
    }
    for (sums, block) in sums.iter_mut().zip(rest) {
        sums.iter_mut().zip(block).for_each(|(sum, x)| *sum += x);
    }
    let factor = 1.0 / plane.len() as f32;
    std::array::from_fn(|at| sums.iter().map(|sums| sums[at]).sum::<f32>() * factor)
}
