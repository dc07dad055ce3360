//! The arithmetic of products: a tile of six or twelve rows by one or two vectors
//! is summed up in registers; SIMD comes from `pulp`, which picks the widest
//! instructions at run time.

use pulp::Simd;

use super::{PANEL_LEN, TILE_VECTORS, Task};

/// Rows of half a panel.
const HALF: usize = PANEL_LEN / 2;

/// A panel of rows and a tile of columns, of some values of `k`.
pub struct Block<'a> {
    /// `[depth, PANEL_LEN]`.
    pub left: &'a [f32],
    /// `[depth, vectors]`, and more behind.
    pub lines: &'a [f32],
    /// Values of `k`.
    pub depth: usize,
    /// Whether there are no sums of smaller `k` to add to.
    pub is_first: bool,
    /// Whether sums are then complete.
    pub is_last: bool,
}

impl Block<'_> {
    /// Computes a tile at a row and column of the task: adds to `sums`, `[PANEL_LEN,
    /// TILE_VECTORS]`, and writes the task's rows once those are complete. Sixteen
    /// registers hold half a panel by two vectors, or a whole one by one; 32 a
    /// whole one by two.
    #[inline(always)]
    pub fn run<S: Simd>(
        &self,
        simd: S,
        task: &mut Task<'_, '_>,
        (row, column): (usize, usize),
        sums: &mut [f32],
    ) {
        let is_narrow = task.columns.len() - column <= S::F32_LANES;
        match task.rows.len() - row {
            1 => self.sum_row::<S>(simd, is_narrow, sums),
            rows => self.sum::<S>(simd, rows <= HALF, is_narrow, sums),
        }
        if self.is_last {
            finish::<S>(simd, task, (row, column), sums);
        }
    }

    /// Adds to the first row of `sums`.
    #[inline(always)]
    fn sum_row<S: Simd>(&self, simd: S, is_narrow: bool, sums: &mut [f32]) {
        let vectors = S::as_mut_simd_f32s(sums).0.as_chunks_mut::<TILE_VECTORS>().0;
        match is_narrow {
            true => self.add::<S, 1, 0, 1>(simd, vectors),
            false => self.add::<S, 1, 0, TILE_VECTORS>(simd, vectors),
        }
    }

    /// Adds to `sums`, of which only the upper half or left vectors may be wanted.
    #[inline(always)]
    fn sum<S: Simd>(&self, simd: S, is_half: bool, is_narrow: bool, sums: &mut [f32]) {
        let vectors = S::as_mut_simd_f32s(sums).0.as_chunks_mut::<TILE_VECTORS>().0;
        let (upper, lower) = vectors.split_at_mut(HALF);
        match (is_half, is_narrow) {
            (true, true) => self.add::<S, HALF, 0, 1>(simd, upper),
            (true, false) => self.add::<S, HALF, 0, TILE_VECTORS>(simd, upper),
            (false, true) => self.add::<S, PANEL_LEN, 0, 1>(simd, vectors),
            (false, false) if S::F32_LANES >= 16 => {
                self.add::<S, PANEL_LEN, 0, TILE_VECTORS>(simd, vectors);
            }
            (false, false) => {
                self.add::<S, HALF, 0, TILE_VECTORS>(simd, upper);
                self.add::<S, HALF, HALF, TILE_VECTORS>(simd, lower);
            }
        }
    }

    /// Adds up the rows from `FIRST` on of a panel.
    #[inline(always)]
    fn add<S: Simd, const ROWS: usize, const FIRST: usize, const VECTORS: usize>(
        &self,
        simd: S,
        sums: &mut [[S::f32s; TILE_VECTORS]],
    ) {
        let lines = S::as_simd_f32s(self.lines).0.as_chunks::<VECTORS>().0;
        let lines = &lines[..self.depth];
        let left = self.left.as_chunks::<PANEL_LEN>().0;
        let mut found = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        for (left, line) in left.iter().zip(lines) {
            for m in 0..ROWS {
                let x = simd.splat_f32s(left[FIRST + m]);
                for v in 0..VECTORS {
                    found[m][v] = simd.mul_add_f32s(x, line[v], found[m][v]);
                }
            }
        }
        let sums = &mut sums[..ROWS];
        for m in 0..ROWS {
            for v in 0..VECTORS {
                sums[m][v] = match self.is_first {
                    true => found[m][v],
                    false => simd.add_f32s(found[m][v], sums[m][v]),
                };
            }
        }
    }
}

/// Writes sums with everything that is added to them.
#[inline(always)]
fn finish<S: Simd>(simd: S, task: &mut Task<'_, '_>, (row, column): (usize, usize), sums: &[f32]) {
    let (product, tile_len) = (task.product, TILE_VECTORS * S::F32_LANES);
    let first = task.columns.start + column;
    let (low, high) = product.activation.bounds();
    let (low, high) = (simd.splat_f32s(low), simd.splat_f32s(high));
    let rows = task.rows.iter_mut().enumerate().skip(row);
    for ((row, out), sums) in rows.zip(sums.chunks_exact(tile_len)) {
        let at = task.first_row + row;
        let bias = product.bias.map_or(0.0, |bias| bias[at]);
        let out = &mut out[column..];
        let len = out.len().min(tile_len);
        let out = &mut out[..len];
        let column_bias = product.column_bias.map(|it| &it[first..][..len]);
        let residual = product.residual.map(|it| &it[at * product.grid.len() + first..][..len]);
        if len < tile_len {
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum + bias);
            if let Some(bias) = column_bias {
                out.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
            }
            if let Some(residual) = residual {
                out.iter_mut().zip(residual).for_each(|(x, residual)| *x += residual);
            }
            product.activation.apply(out);
            continue;
        }
        let bias = simd.splat_f32s(bias);
        let column_bias = column_bias.map(|bias| S::as_simd_f32s(bias).0);
        let residual = residual.map(|residual| S::as_simd_f32s(residual).0);
        let vectors = S::as_mut_simd_f32s(out).0.iter_mut().zip(S::as_simd_f32s(sums).0);
        for (v, (out, &sum)) in vectors.enumerate() {
            let mut x = simd.add_f32s(sum, bias);
            if let Some(bias) = column_bias {
                x = simd.add_f32s(x, bias[v]);
            }
            if let Some(residual) = residual {
                x = simd.add_f32s(x, residual[v]);
            }
            x = simd.select_f32s(simd.less_than_f32s(x, low), low, x);
            *out = simd.select_f32s(simd.greater_than_f32s(x, high), high, x);
        }
        if !product.activation.is_clamp() {
            product.activation.apply(out);
        }
    }
}
