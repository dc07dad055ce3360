//! Products of a packed matrix with lines of a source: the inner loop of
//! convolution.
//!
//! `out[m][n] = activation(bias[m] + residual[m][n] + sum over k of a[m][k] source[starts[k] + n])`.
//!
//! `a` is packed once, when the model is loaded: panels of [`PANEL_LEN`] rows,
//! within which the rows of one `k` lie together. The right matrix is never
//! made: of a convolution over planes with their padding, the line of a channel
//! and a tap is a part of the plane, so that im2col only is a list of starts.
//! A tile of six or twelve rows by two vectors is kept in registers; SIMD comes
//! from `pulp`, which picks the widest instructions at run time.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Rows of a panel of the packed matrix.
pub const PANEL_LEN: usize = 12;

/// Rows of half a panel.
const HALF: usize = PANEL_LEN / 2;

/// Most values of `k` that are summed up before sums leave their registers;
/// so many lines of a tile stay in the nearest cache.
const DEPTH_MAX: usize = 192;

/// Vectors of a tile.
const TILE_VECTORS: usize = 2;

/// Widest tile in elements: two vectors of sixteen.
pub const TILE_LEN_MAX: usize = TILE_VECTORS * 16;

/// Tiles of a task: a panel that was read from memory serves all of them.
const TASK_TILES: usize = 4;

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

/// Which of the columns that are computed are wanted. The planes of a convolution
/// are wider than its result; the columns between its rows are computed and dropped.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Grid {
    /// Columns of a line.
    pub wide: usize,
    /// Those at its front that are wanted.
    pub width: usize,
    /// Lines.
    pub height: usize,
}

impl Grid {
    /// Columns up to the last that is wanted.
    fn columns(&self) -> usize {
        if self.width == 0 {
            0
        } else {
            (self.height * self.wide).saturating_sub(self.wide - self.width)
        }
    }

    /// Wanted columns before a column.
    fn before(&self, column: usize) -> usize {
        column / self.wide * self.width + (column % self.wide).min(self.width)
    }

    /// Wanted columns.
    fn len(&self) -> usize {
        self.width * self.height
    }
}

/// One product.
pub struct Product<'a> {
    /// The packed left matrix.
    pub packed: &'a [f32],
    /// Its rows.
    pub rows: usize,
    /// What lines of the right matrix are parts of.
    pub source: &'a [f32],
    /// Where in the source each line begins, one for each column of the left matrix.
    pub starts: &'a [usize],
    /// The result's columns.
    pub grid: Grid,
    /// One number for each row.
    pub bias: Option<&'a [f32]>,
    /// Added to the result, of its shape.
    pub residual: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
}

/// Some columns, and some rows of the result there.
struct Task<'p, 'o> {
    product: &'p Product<'p>,
    first_row: usize,
    columns: Range<usize>,
    rows: Vec<&'o mut [f32]>,
}

/// What a task works with, kept from task to task.
#[derive(Default)]
struct Scratch {
    /// Sums of all rows: `[tiles, rows, tile]`.
    sums: Vec<f32>,
    /// Lines that would end behind the source.
    edge: Vec<f32>,
    /// Where those begin.
    edge_starts: Vec<usize>,
}

/// Computes products, each into its own row-major result, on all cores.
pub fn run(products: Vec<(Product<'_>, &mut [f32])>) {
    let arch = Arch::new();
    let tile_len = arch.dispatch(Lanes) * TILE_VECTORS;
    let (products, outs): (Vec<_>, Vec<_>) = products.into_iter().unzip();
    let threads = rayon::current_num_threads();
    let tiles: usize = products.iter().map(|it| it.grid.columns().div_ceil(tile_len)).sum();
    // Enough tasks for all cores, by splitting the rows where columns are few.
    let wanted = if threads == 1 { 1 } else { 3 * threads };
    let tiles_per_task = (tiles / wanted).clamp(1, TASK_TILES);
    let splits = wanted.div_ceil(tiles.div_ceil(tiles_per_task).max(1));
    let mut tasks = Vec::new();
    for (product, out) in products.iter().zip(outs) {
        if product.grid.len() == 0 || product.rows == 0 {
            continue;
        }
        let part = product.rows.div_ceil(splits).next_multiple_of(PANEL_LEN);
        let width = tiles_per_task * tile_len;
        for (at, rows) in out.chunks_mut(part * product.grid.len()).enumerate() {
            split(product, rows, (at * part, width), &mut tasks);
        }
    }
    let run = |scratch: &mut Scratch, task: Task<'_, '_>| arch.dispatch(RunTask { task, scratch });
    if threads == 1 || tasks.len() == 1 {
        let mut scratch = Scratch::default();
        tasks.into_iter().for_each(|task| run(&mut scratch, task));
    } else {
        tasks.into_par_iter().with_max_len(1).for_each_init(Scratch::default, run);
    }
}

/// Cuts rows of a result into tasks of `width` columns.
fn split<'p, 'o>(
    product: &'p Product<'p>,
    rows: &'o mut [f32],
    (first_row, width): (usize, usize),
    tasks: &mut Vec<Task<'p, 'o>>,
) {
    let grid = product.grid;
    let count = grid.columns().div_ceil(width);
    let row_count = rows.len() / grid.len();
    let first = tasks.len();
    // Wanted columns of each task.
    let mut lens = Vec::with_capacity(count);
    for at in 0..count {
        let columns = at * width..((at + 1) * width).min(grid.columns());
        lens.push(grid.before(columns.end) - grid.before(columns.start));
        tasks.push(Task { product, first_row, columns, rows: Vec::with_capacity(row_count) });
    }
    for mut row in rows.chunks_mut(grid.len()) {
        for (task, &len) in tasks[first..].iter_mut().zip(&lens) {
            let part;
            (part, row) = row.split_at_mut(len);
            task.rows.push(part);
        }
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
    scratch: &'t mut Scratch,
}

impl WithSimd for RunTask<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { task, scratch } = self;
        let (product, tile_len) = (task.product, TILE_VECTORS * S::F32_LANES);
        let rows = task.rows.len().next_multiple_of(PANEL_LEN);
        let tiles = task.columns.len().div_ceil(tile_len);
        scratch.sums.resize(tiles * rows * tile_len, 0.0);
        for first in (0..product.starts.len()).step_by(DEPTH_MAX) {
            let depth = first..(first + DEPTH_MAX).min(product.starts.len());
            multiply::<S>(simd, &task, scratch, depth, tiles);
        }
        if product.starts.is_empty() {
            scratch.sums.fill(0.0);
        }
        finish::<S>(task, &scratch.sums, rows);
    }
}

/// Adds what some values of `k` contribute to the sums of a task.
#[inline(always)]
fn multiply<S: Simd>(
    simd: S,
    task: &Task<'_, '_>,
    scratch: &mut Scratch,
    depth: Range<usize>,
    tiles: usize,
) {
    let (product, tile_len) = (task.product, TILE_VECTORS * S::F32_LANES);
    let rows = task.rows.len().next_multiple_of(PANEL_LEN);
    let starts = &product.starts[depth.clone()];
    let Scratch { sums, edge, edge_starts } = scratch;
    let last = task.columns.start + (tiles - 1) * tile_len;
    let start_max = starts.iter().copied().max().unwrap_or(0);
    let is_over = start_max + last + tile_len > product.source.len();
    if is_over {
        copy_edge(product.source, starts, last..task.columns.end, tile_len, edge);
        edge_starts.clear();
        edge_starts.extend((0..starts.len()).map(|k| k * tile_len));
    }
    // A tile's lines stay in the nearest cache while all panels pass by.
    for tile in 0..tiles {
        let column = task.columns.start + tile * tile_len;
        let right = match is_over && tile + 1 == tiles {
            true => Right { source: edge, starts: edge_starts, column: 0 },
            false => Right { source: product.source, starts, column },
        };
        let is_narrow = task.columns.end - column <= S::F32_LANES;
        for panel in 0..rows / PANEL_LEN {
            let at = task.first_row / PANEL_LEN + panel;
            let from = (at * product.starts.len() + depth.start) * PANEL_LEN;
            let left = &product.packed[from..from + depth.len() * PANEL_LEN];
            let sums = &mut sums[(tile * rows + panel * PANEL_LEN) * tile_len..];
            let sums = S::as_mut_simd_f32s(&mut sums[..PANEL_LEN * tile_len]).0;
            let live = task.rows.len() - panel * PANEL_LEN;
            let panel = Panel { left, is_half: live <= HALF, is_first: depth.start == 0 };
            match is_narrow {
                true => panel.multiply::<S, 1>(simd, &right, sums),
                false => panel.multiply::<S, TILE_VECTORS>(simd, &right, sums),
            }
        }
    }
}

/// Lines with zeros behind what there is of them.
fn copy_edge(
    source: &[f32],
    starts: &[usize],
    columns: Range<usize>,
    tile_len: usize,
    edge: &mut Vec<f32>,
) {
    edge.clear();
    edge.resize(starts.len() * tile_len, 0.0);
    for (line, start) in edge.chunks_mut(tile_len).zip(starts) {
        line[..columns.len()].copy_from_slice(&source[start + columns.start..start + columns.end]);
    }
}

/// Lines of the right matrix from a column on.
struct Right<'a> {
    source: &'a [f32],
    starts: &'a [usize],
    column: usize,
}

/// Some columns of a panel of the packed matrix.
struct Panel<'a> {
    left: &'a [f32],
    /// Whether its second half holds no rows.
    is_half: bool,
    /// Whether there are no sums of smaller `k` to add to.
    is_first: bool,
}

impl Panel<'_> {
    /// `sums: [rows, TILE_VECTORS]`. Sixteen registers hold half a panel by two
    /// vectors, or a whole one by one; 32 a whole one by two.
    #[inline(always)]
    fn multiply<S: Simd, const VECTORS: usize>(
        &self,
        simd: S,
        right: &Right<'_>,
        sums: &mut [S::f32s],
    ) {
        let (upper, lower) = sums.split_at_mut(HALF * TILE_VECTORS);
        if self.is_half {
            self.store(simd, tile::<S, HALF, 0, VECTORS>(simd, self.left, right), upper);
        } else if S::F32_LANES >= 16 || VECTORS == 1 {
            self.store(simd, tile::<S, PANEL_LEN, 0, VECTORS>(simd, self.left, right), sums);
        } else {
            self.store(simd, tile::<S, HALF, 0, VECTORS>(simd, self.left, right), upper);
            self.store(simd, tile::<S, HALF, HALF, VECTORS>(simd, self.left, right), lower);
        }
    }

    /// Writes the sums of a tile, or adds them to what is there.
    #[inline(always)]
    fn store<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        found: [[S::f32s; VECTORS]; ROWS],
        sums: &mut [S::f32s],
    ) {
        for (found, sums) in found.iter().zip(sums.chunks_exact_mut(TILE_VECTORS)) {
            for (found, sum) in found.iter().zip(sums) {
                *sum = if self.is_first { *found } else { simd.add_f32s(*found, *sum) };
            }
        }
    }
}

/// `sums[m][v] = sum over k of left[k][FIRST + m] right[k][v]`.
#[inline(always)]
fn tile<S: Simd, const ROWS: usize, const FIRST: usize, const VECTORS: usize>(
    simd: S,
    left: &[f32],
    right: &Right<'_>,
) -> [[S::f32s; VECTORS]; ROWS] {
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
    let (source, width) = (&right.source[right.column..], VECTORS * S::F32_LANES);
    let Some(start_max) = source.len().checked_sub(width) else { return sums };
    for (left, &start) in left.as_chunks::<PANEL_LEN>().0.iter().zip(right.starts) {
        debug_assert!(start <= start_max, "a line ends behind the source");
        // Stated once, it spares the loop the checks of a slice.
        if start > start_max {
            break;
        }
        let line = S::as_simd_f32s(&source[start..start + width]).0;
        for m in 0..ROWS {
            let x = simd.splat_f32s(left[FIRST + m]);
            for v in 0..VECTORS {
                sums[m][v] = simd.mul_add_f32s(x, line[v], sums[m][v]);
            }
        }
    }
    sums
}

/// A run of wanted columns within a tile.
struct Run {
    /// Where its sums begin, in those of the first row.
    from: usize,
    len: usize,
    /// Where it begins among the wanted columns of the task.
    to: usize,
}

/// The wanted columns of a task.
fn runs(task: &Task<'_, '_>, rows: usize, tile_len: usize) -> Vec<Run> {
    let grid = task.product.grid;
    let first = grid.before(task.columns.start);
    let mut runs = Vec::with_capacity(2 * TASK_TILES);
    let mut column = task.columns.start;
    while column < task.columns.end {
        let at = column - task.columns.start;
        let (tile, lane, x) = (at / tile_len, at % tile_len, column % grid.wide);
        // Up to the end of the tile, of the line or of the task.
        let len = (tile_len - lane).min(grid.wide - x).min(task.columns.end - column);
        let wanted = len.min(grid.width.saturating_sub(x));
        if wanted > 0 {
            let from = tile * rows * tile_len + lane;
            runs.push(Run { from, len: wanted, to: grid.before(column) - first });
        }
        column += len;
    }
    runs
}

/// Writes what is wanted of the sums, with everything that is added to them.
#[inline(always)]
fn finish<S: Simd>(task: Task<'_, '_>, sums: &[f32], rows: usize) {
    let (product, tile_len) = (task.product, TILE_VECTORS * S::F32_LANES);
    let runs = runs(&task, rows, tile_len);
    let first = product.grid.before(task.columns.start);
    for (row, out) in task.rows.into_iter().enumerate() {
        let at = task.first_row + row;
        let bias = product.bias.map_or(0.0, |bias| bias[at]);
        let sums = &sums[row * tile_len..];
        for run in &runs {
            let line = &sums[run.from..run.from + run.len];
            let out = &mut out[run.to..run.to + run.len];
            out.iter_mut().zip(line).for_each(|(out, x)| *out = x + bias);
        }
        if let Some(residual) = product.residual {
            let residual = &residual[at * product.grid.len() + first..][..out.len()];
            out.iter_mut().zip(residual).for_each(|(out, x)| *out += x);
        }
        product.activation.apply(out);
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// A number between -1 and 1 for each index.
    fn number(at: usize) -> f32 {
        ((at * 2_654_435_761) % 1009) as f32 / 504.5 - 1.0
    }

    #[test]
    fn products_of_all_sizes_agree_with_their_definition() {
        for (rows, depth, [wide, width, height]) in [
            (1, 1, [1, 1, 1]),
            (8, 3, [48, 48, 1]),
            (13, 300, [9, 7, 7]),
            (17, 257, [5, 5, 1]),
            (64, 576, [16, 14, 14]),
            (3, 0, [7, 6, 2]),
        ] {
            let grid = Grid { wide, width, height };
            let a: Vec<f32> = (0..rows * depth).map(number).collect();
            // Lines overlap, as those of a convolution do.
            let starts: Vec<usize> = (0..depth).map(|k| k * 3 % 41).collect();
            let source: Vec<f32> = (0..41 + grid.columns()).map(|at| number(at + 7)).collect();
            let bias: Vec<f32> = (0..rows).map(|at| number(at + 13)).collect();
            let residual: Vec<f32> = (0..rows * grid.len()).map(|at| number(at + 29)).collect();
            let packed = pack(&a, rows, depth);
            let product = Product {
                packed: &packed,
                rows,
                source: &source,
                starts: &starts,
                grid,
                bias: Some(&bias),
                residual: Some(&residual),
                activation: Activation::Relu,
            };
            let mut out = vec![f32::NAN; rows * grid.len()];
            run(vec![(product, &mut out)]);
            for (at, &found) in out.iter().enumerate() {
                let (m, n) = (at / grid.len(), at % grid.len());
                let n = n / width * wide + n % width;
                let sum: f64 = (0..depth)
                    .map(|k| f64::from(a[m * depth + k]) * f64::from(source[starts[k] + n]))
                    .sum();
                let expected = (sum + f64::from(bias[m] + residual[at])).max(0.0);
                // Error of a sum of `depth` products in f32.
                let bound = 1e-7 * (depth as f64 + 4.0);
                assert!((f64::from(found) - expected).abs() <= bound, "{rows} {depth} {wide}");
            }
        }
    }
}
