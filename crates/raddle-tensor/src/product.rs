//! Products of a packed matrix with columns that are made on the fly: the inner
//! loop of convolution, and of matrix products with constant weights.
//!
//! `out[m][n] = activation(bias[m] + residual[m][n] + sum over k of a[m][k] b[k][n])`.
//!
//! `a` is packed once, when the model is loaded: panels of [`PANEL_LEN`] rows,
//! within which the rows of one `k` lie together. `b` is packed in pieces of
//! [`DEPTH_MAX`] by a few vectors, just before use, so that im2col never
//! exists in memory. A tile of eight rows by three vectors is kept in registers;
//! SIMD comes from `pulp`, which picks the widest instructions at run time.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Rows of a panel of the packed matrix.
pub const PANEL_LEN: usize = 8;

/// Most values of `k` that are packed at once.
const DEPTH_MAX: usize = 256;

/// Vectors of a tile.
const TILE_VECTORS: usize = 3;

/// Widest tile in elements: three vectors of sixteen.
const TILE_LEN_MAX: usize = TILE_VECTORS * 16;

/// What becomes of a sum before it is written.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `max(x, 0)`, NaN stays.
    Relu,
    /// Brought into a range, NaN stays.
    Clip(f32, f32),
}

impl Activation {
    /// Applies it to every element.
    #[inline(always)]
    pub fn apply(self, line: &mut [f32]) {
        match self {
            Self::Identity => {}
            Self::Relu => line.iter_mut().for_each(|x| *x = if *x < 0.0 { 0.0 } else { *x }),
            Self::Clip(low, high) => line.iter_mut().for_each(|x| {
                let raised = if *x < low { low } else { *x };
                *x = if raised > high { high } else { raised };
            }),
        }
    }
}

/// Length of a packed matrix of `rows` by `depth`.
pub fn packed_len(rows: usize, depth: usize) -> usize {
    rows.div_ceil(PANEL_LEN) * PANEL_LEN * depth
}

/// Packs a row-major matrix; rows that fill up the last panel are zero.
pub fn pack(a: &[f32], rows: usize, depth: usize) -> Vec<f32> {
    let mut packed = vec![0.0; packed_len(rows, depth)];
    for (at, row) in a.chunks(depth.max(1)).enumerate().take(rows) {
        let panel = &mut packed[at / PANEL_LEN * PANEL_LEN * depth..];
        for (k, &x) in row.iter().enumerate() {
            panel[k * PANEL_LEN + at % PANEL_LEN] = x;
        }
    }
    packed
}

/// Writes rows `k` of columns `columns` of the right matrix, `width` elements
/// apart; what lies behind the columns must be zero.
pub type Columns<'a> = dyn Fn(Range<usize>, Range<usize>, usize, &mut [f32]) + Sync + 'a;

/// One product.
pub struct Product<'a> {
    /// The packed left matrix.
    pub packed: &'a [f32],
    /// Its rows.
    pub rows: usize,
    /// Its columns.
    pub depth: usize,
    /// Columns of the result.
    pub columns: usize,
    /// The right matrix.
    pub right: &'a Columns<'a>,
    /// One number for each row.
    pub bias: Option<&'a [f32]>,
    /// Added to the result, of its shape.
    pub residual: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
}

/// Columns of one tile's width, and some rows of the result there.
struct Task<'p, 'o> {
    product: &'p Product<'p>,
    first_row: usize,
    first_column: usize,
    rows: Vec<&'o mut [f32]>,
}

/// Computes products, each into its own row-major result, on all cores.
pub fn run(products: Vec<(Product<'_>, &mut [f32])>) {
    let arch = Arch::new();
    let tile_len = arch.dispatch(Lanes) * TILE_VECTORS;
    let (products, outs): (Vec<_>, Vec<_>) = products.into_iter().unzip();
    let panels: usize = products.iter().map(|it| it.columns.div_ceil(tile_len)).sum();
    // Enough pieces for all cores, by splitting the rows where columns are few.
    let pieces_min = 2 * rayon::current_num_threads();
    let splits = pieces_min.div_ceil(panels.max(1));
    let mut tasks = Vec::new();
    for (product, out) in products.iter().zip(outs) {
        if product.columns == 0 || product.rows == 0 {
            continue;
        }
        let part = product.rows.div_ceil(splits).next_multiple_of(PANEL_LEN);
        for (at, rows) in out.chunks_mut(part * product.columns).enumerate() {
            let mut parts: Vec<Vec<&mut [f32]>> = Vec::new();
            parts.resize_with(product.columns.div_ceil(tile_len), || Vec::with_capacity(part));
            for row in rows.chunks_mut(product.columns) {
                parts
                    .iter_mut()
                    .zip(row.chunks_mut(tile_len))
                    .for_each(|(part, row)| part.push(row));
            }
            for (column, rows) in parts.into_iter().enumerate() {
                let (first_row, first_column) = (at * part, column * tile_len);
                tasks.push(Task { product, first_row, first_column, rows });
            }
        }
    }
    let run = |buffer: &mut Vec<f32>, task: Task<'_, '_>| arch.dispatch(RunTask { task, buffer });
    let buffer = || vec![0.0; DEPTH_MAX * TILE_LEN_MAX];
    if rayon::current_num_threads() == 1 || tasks.len() == 1 {
        let mut buffer = buffer();
        tasks.into_iter().for_each(|task| run(&mut buffer, task));
    } else {
        tasks.into_par_iter().for_each_init(buffer, run);
    }
}

/// Elements of a vector.
struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES.min(16)
    }
}

struct RunTask<'t, 'p, 'o> {
    task: Task<'p, 'o>,
    buffer: &'t mut [f32],
}

impl WithSimd for RunTask<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let vectors = self.task.rows[0].len().div_ceil(S::F32_LANES);
        // Sixteen registers hold half a panel by three vectors, 32 a whole one.
        match (S::F32_LANES >= 16, vectors) {
            (true, 1) => by_depth::<S, PANEL_LEN, 1>(simd, self.task, self.buffer),
            (true, 2) => by_depth::<S, PANEL_LEN, 2>(simd, self.task, self.buffer),
            (true, _) => by_depth::<S, PANEL_LEN, TILE_VECTORS>(simd, self.task, self.buffer),
            (false, 1) => by_depth::<S, 4, 1>(simd, self.task, self.buffer),
            (false, 2) => by_depth::<S, 4, 2>(simd, self.task, self.buffer),
            (false, _) => by_depth::<S, 4, TILE_VECTORS>(simd, self.task, self.buffer),
        }
    }
}

#[inline(always)]
fn by_depth<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    mut task: Task<'_, '_>,
    buffer: &mut [f32],
) {
    let product = task.product;
    let columns = task.first_column..task.first_column + task.rows[0].len();
    let width = VECTORS * S::F32_LANES;
    let mut start = 0;
    loop {
        let end = (start + DEPTH_MAX).min(product.depth);
        let right = &mut buffer[..(end - start) * width];
        (product.right)(start..end, columns.clone(), width, right);
        let (right, _) = S::as_simd_f32s(right);
        for (at, rows) in task.rows.chunks_mut(PANEL_LEN).enumerate() {
            let panel = task.first_row / PANEL_LEN + at;
            let from = (panel * product.depth + start) * PANEL_LEN;
            let left = &product.packed[from..from + (end - start) * PANEL_LEN];
            for (half, rows) in rows.chunks_mut(ROWS).enumerate() {
                let sums = tile::<S, ROWS, VECTORS>(simd, &left[half * ROWS..], right);
                for (row, (out, sums)) in rows.iter_mut().zip(sums).enumerate() {
                    let row = panel * PANEL_LEN + half * ROWS + row;
                    let place = Place { row, column: columns.start, is_first: start == 0 };
                    finish::<S, VECTORS>(product, place, sums, out, end == product.depth);
                }
            }
        }
        if end == product.depth {
            return;
        }
        start = end;
    }
}

/// `sums[m][v] = sum over k of left[k][m] right[k][v]`.
#[inline(always)]
fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    left: &[f32],
    right: &[S::f32s],
) -> [[S::f32s; VECTORS]; ROWS] {
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
    // The last chunk of a half panel is short of the other half.
    for (left, right) in left.chunks(PANEL_LEN).zip(right.chunks_exact(VECTORS)) {
        let Some((left, _)) = left.split_first_chunk::<ROWS>() else { break };
        for m in 0..ROWS {
            let x = simd.splat_f32s(left[m]);
            for v in 0..VECTORS {
                sums[m][v] = simd.mul_add_f32s(x, right[v], sums[m][v]);
            }
        }
    }
    sums
}

/// Where a line of a tile lies in the result.
struct Place {
    row: usize,
    column: usize,
    /// Whether there are no sums of smaller `k` to add to.
    is_first: bool,
}

/// Adds a line of sums to the result; behind the last `k` also everything else.
#[inline(always)]
fn finish<S: Simd, const VECTORS: usize>(
    product: &Product<'_>,
    place: Place,
    sums: [S::f32s; VECTORS],
    out: &mut [f32],
    is_last: bool,
) {
    let mut line = [0f32; TILE_LEN_MAX];
    S::as_mut_simd_f32s(&mut line[..VECTORS * S::F32_LANES]).0.copy_from_slice(&sums);
    let line = &mut line[..out.len()];
    if !place.is_first {
        line.iter_mut().zip(&*out).for_each(|(x, out)| *x += out);
    }
    if is_last {
        if let Some(bias) = product.bias {
            let bias = bias[place.row];
            line.iter_mut().for_each(|x| *x += bias);
        }
        if let Some(residual) = product.residual {
            let residual = &residual[place.row * product.columns + place.column..];
            line.iter_mut().zip(residual).for_each(|(x, residual)| *x += residual);
        }
        product.activation.apply(line);
    }
    out.copy_from_slice(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number between -1 and 1 for each index.
    fn number(at: usize) -> f32 {
        ((at * 2_654_435_761) % 1009) as f32 / 504.5 - 1.0
    }

    #[test]
    fn products_of_all_sizes_agree_with_their_definition() {
        for (rows, depth, columns) in
            [(1, 1, 1), (8, 3, 48), (9, 300, 49), (17, 257, 5), (64, 576, 196), (3, 0, 7)]
        {
            let a: Vec<f32> = (0..rows * depth).map(number).collect();
            let b: Vec<f32> = (0..depth * columns).map(|at| number(at + 7)).collect();
            let bias: Vec<f32> = (0..rows).map(|at| number(at + 13)).collect();
            let residual: Vec<f32> = (0..rows * columns).map(|at| number(at + 29)).collect();
            let packed = pack(&a, rows, depth);
            let right = |k: Range<usize>, n: Range<usize>, width: usize, out: &mut [f32]| {
                for (line, k) in out.chunks_mut(width).zip(k) {
                    line.fill(0.0);
                    let from = &b[k * columns..(k + 1) * columns];
                    line[..n.len()].copy_from_slice(&from[n.clone()]);
                }
            };
            let product = Product {
                packed: &packed,
                rows,
                depth,
                columns,
                right: &right,
                bias: Some(&bias),
                residual: Some(&residual),
                activation: Activation::Relu,
            };
            let mut out = vec![f32::NAN; rows * columns];
            run(vec![(product, &mut out)]);
            for (at, &found) in out.iter().enumerate() {
                let (m, n) = (at / columns, at % columns);
                let sum: f64 = (0..depth)
                    .map(|k| f64::from(a[m * depth + k]) * f64::from(b[k * columns + n]))
                    .sum();
                let expected = (sum + f64::from(bias[m] + residual[at])).max(0.0);
                // Error of a sum of `depth` products in f32.
                let bound = 1e-7 * (depth as f64 + 4.0);
                assert!((f64::from(found) - expected).abs() <= bound, "{rows} {depth} {columns}");
            }
        }
    }
}
