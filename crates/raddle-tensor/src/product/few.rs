//! A few rows times a packed matrix, which is read once: what a recurrent layer
//! multiplies its state with in every step. The left matrix is read as it lies, for
//! packing it would cost as much as the product.

use pulp::{Arch, Simd, WithSimd};

use super::{TILE_LEN_MAX, TILE_VECTORS};

/// One product.
pub struct FewRows<'a> {
    /// `[rows, depth]`.
    pub left: &'a [f32],
    /// Columns of the left matrix.
    pub depth: usize,
    /// What [`super::pack_lines`] made of `[depth, columns]`.
    pub lines: &'a [f32],
    /// The result's columns.
    pub columns: usize,
    /// Rows of the result, `stride` from the beginning of one to that of the next.
    pub out: &'a mut [f32],
    /// At least `columns`.
    pub stride: usize,
}

impl FewRows<'_> {
    /// Computes it on the calling thread.
    pub fn run(self) {
        if self.depth == 0 {
            let rows = self.out.chunks_mut(self.stride);
            return rows.for_each(|row| row[..self.columns].fill(0.0));
        }
        Arch::new().dispatch(self);
    }
}

impl WithSimd for FewRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let tile_len = TILE_VECTORS * S::F32_LANES;
        let rows = self.left.len() / self.depth;
        for start in (0..self.columns).step_by(tile_len) {
            let columns = (start, (self.columns - start).min(tile_len));
            let mut row = 0;
            while row < rows {
                // As many sums as hide the latency of an addition, and no more than
                // sixteen registers hold beside a line.
                row += match rows - row {
                    6.. => self.block::<S, 6, 1>(simd, row, columns),
                    4.. => self.block::<S, 4, 1>(simd, row, columns),
                    2.. => self.block::<S, 2, 2>(simd, row, columns),
                    _ => self.block::<S, 1, 4>(simd, row, columns),
                };
            }
        }
    }
}

impl FewRows<'_> {
    /// Computes a tile of so many rows; returns their number.
    #[inline(always)]
    fn block<S: Simd, const ROWS: usize, const STEPS: usize>(
        &mut self,
        simd: S,
        row: usize,
        columns: (usize, usize),
    ) -> usize {
        if columns.1 <= S::F32_LANES {
            self.tile::<S, ROWS, STEPS, 1>(simd, row, columns);
        } else {
            self.tile::<S, ROWS, STEPS, TILE_VECTORS>(simd, row, columns);
        }
        ROWS
    }

    /// A tile whose sums take `STEPS` values of `k` by turns.
    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize, const STEPS: usize, const VECTORS: usize>(
        &mut self,
        simd: S,
        row: usize,
        (start, len): (usize, usize),
    ) {
        let depth = self.depth;
        let lines = S::as_simd_f32s(&self.lines[start * depth..]).0.as_chunks::<VECTORS>().0;
        let (lines, last_lines) = lines[..depth].as_chunks::<STEPS>();
        let rows: [_; ROWS] = std::array::from_fn(|m| {
            let (steps, last) = self.left[(row + m) * depth..][..depth].as_chunks::<STEPS>();
            (&steps[..lines.len()], last)
        });
        let mut sums = [[[simd.splat_f32s(0.0); VECTORS]; ROWS]; STEPS];
        for (at, lines) in lines.iter().enumerate() {
            for step in 0..STEPS {
                for m in 0..ROWS {
                    let x = simd.splat_f32s(rows[m].0[at][step]);
                    for v in 0..VECTORS {
                        sums[step][m][v] = simd.mul_add_f32s(x, lines[step][v], sums[step][m][v]);
                    }
                }
            }
        }
        for (at, line) in last_lines.iter().enumerate() {
            for m in 0..ROWS {
                let x = simd.splat_f32s(rows[m].1[at]);
                for v in 0..VECTORS {
                    sums[0][m][v] = simd.mul_add_f32s(x, line[v], sums[0][m][v]);
                }
            }
        }
        for m in 0..ROWS {
            let mut whole = [0f32; TILE_LEN_MAX];
            for v in 0..VECTORS {
                let mut sum = sums[0][m][v];
                for other in &sums[1..] {
                    sum = simd.add_f32s(sum, other[m][v]);
                }
                S::as_mut_simd_f32s(&mut whole).0[v] = sum;
            }
            let out = &mut self.out[(row + m) * self.stride + start..][..len];
            out.copy_from_slice(&whole[..len]);
        }
    }
}
