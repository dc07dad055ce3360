//! One row of a product, added up where it stands: the inner loop of a
//! convolution with one window for each channel, which has too little depth for
//! tiles of a matrix.

use pulp::{Arch, Simd, WithSimd};

use super::{Grid, TILE_LEN_MAX};

/// One row of a product, added up where it stands: a window with its own weights
/// slides over one plane. The source must go on for a tile behind the last line.
pub fn slide(
    arch: Arch,
    (source, starts): (&[f32], &[usize]),
    (weights, bias): (&[f32], f32),
    grid: Grid,
    out: &mut [f32],
) {
    arch.dispatch(Slide { source, starts, weights, bias, grid, out });
}

struct Slide<'a> {
    source: &'a [f32],
    starts: &'a [usize],
    weights: &'a [f32],
    bias: f32,
    grid: Grid,
    out: &'a mut [f32],
}

impl WithSimd for Slide<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { source, starts, weights, bias, grid, out } = self;
        let taps = Taps { starts, weights, bias };
        let mut last = [0f32; TILE_LEN_MAX];
        for (y, line) in out.chunks_mut(grid.width.max(1)).enumerate() {
            let source = &source[y * grid.wide..];
            let (vectors, rest) = S::as_mut_simd_f32s(line);
            let whole = vectors.len();
            for (at, out) in vectors.iter_mut().enumerate() {
                *out = taps.sum::<S>(simd, source, at * S::F32_LANES);
            }
            if !rest.is_empty() {
                let sum = taps.sum::<S>(simd, source, whole * S::F32_LANES);
                S::as_mut_simd_f32s(&mut last[..S::F32_LANES]).0[0] = sum;
                rest.copy_from_slice(&last[..rest.len()]);
            }
        }
    }
}

/// A window with its weights.
struct Taps<'a> {
    starts: &'a [usize],
    weights: &'a [f32],
    bias: f32,
}

impl Taps<'_> {
    /// A vector of sums from a column on.
    #[inline(always)]
    fn sum<S: Simd>(&self, simd: S, source: &[f32], column: usize) -> S::f32s {
        let mut sum = simd.splat_f32s(self.bias);
        for (&weight, &start) in self.weights.iter().zip(self.starts) {
            let line = S::as_simd_f32s(&source[start + column..][..S::F32_LANES]).0;
            sum = simd.mul_add_f32s(simd.splat_f32s(weight), line[0], sum);
        }
        sum
    }
}
