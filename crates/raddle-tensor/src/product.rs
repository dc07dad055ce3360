//! Products of a packed matrix with lines of a source: the inner loop of
//! convolution.
//!
//! `out[m][n] = activation(bias[m] + residual[m][n] + sum over k of a[m][k] source[starts[k] + at(n)])`.
//!
//! `a` is packed once, when the model is loaded: panels of [`PANEL_LEN`] rows,
//! within which the rows of one `k` lie together. The right matrix is never made
//! whole: of a convolution over planes with their padding, the line of a channel
//! and a tap is a part of the plane, so that im2col only is a list of starts. A
//! task copies the lines of its few columns side by side, and every panel of rows
//! then reads them in order from the nearest caches.
//!
//! Module [`tile`] is the arithmetic, [`slide`] the form for one row of the left matrix,
//! [`few`] that for few rows and a matrix on the right that is packed. Most
//! convolutions are computed in another layout, that of [`crate::blocked`].

mod few;
mod slide;
mod tile;

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

pub use few::FewRows;
pub use slide::slide;

use crate::{parallel, spare, vector};

/// Rows of a panel of the packed matrix.
pub const PANEL_LEN: usize = 12;

/// Most values of `k` that are summed up before sums leave their registers;
/// so many lines of two tiles and a panel stay in the nearest cache.
const DEPTH_MAX: usize = 128;

/// Tiles whose lines stay there while all panels pass by.
const NEAR_TILES: usize = 2;

/// Vectors of a tile.
const TILE_VECTORS: usize = 2;

/// Widest tile in elements: two vectors of sixteen.
pub const TILE_LEN_MAX: usize = TILE_VECTORS * 16;

/// Tiles of a task: a panel that was read from memory serves all of them.
const TASK_TILES: usize = 8;

/// What becomes of a sum before it is written.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `max(x, 0)`, NaN stays.
    Relu,
    /// Brought into a range, NaN stays.
    Clip(f32, f32),
    /// `x / (1 + e^-x)`.
    Silu,
    /// `x P(X <= x)` for a normal `X`.
    Gelu,
    /// `x` times `x / 6 + 1 / 2`, brought between 0 and 1.
    HardSwish,
}

impl Activation {
    /// Whether it only keeps numbers within [`Self::bounds`].
    #[inline(always)]
    pub fn is_clamp(self) -> bool {
        matches!(self, Self::Identity | Self::Relu | Self::Clip(..))
    }

    /// Bounds that results are brought into first; infinite ones clip nothing, which
    /// costs less than a branch.
    #[inline(always)]
    pub fn bounds(self) -> (f32, f32) {
        match self {
            Self::Relu => (0.0, f32::INFINITY),
            Self::Clip(low, high) => (low, high),
            Self::Identity | Self::Silu | Self::Gelu | Self::HardSwish => {
                (f32::NEG_INFINITY, f32::INFINITY)
            }
        }
    }

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
            // In loops of their own: within large functions they are no vectors.
            Self::Silu => vector::silu(line),
            Self::Gelu => vector::gelu(line),
            Self::HardSwish => vector::hard_swish(line),
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
        for (column, &x) in panel.as_chunks_mut::<PANEL_LEN>().0.iter_mut().zip(row) {
            column[at % PANEL_LEN] = x;
        }
    }
    packed
}

/// Packs the rows of a row-major matrix on all cores, as [`pack`] does.
pub fn pack_now(a: &[f32], rows: usize, depth: usize) -> Vec<f32> {
    let mut packed = spare::take(packed_len(rows, depth));
    parallel::parts(&mut packed, PANEL_LEN * depth, &|panel, columns| {
        let first = panel * PANEL_LEN;
        let own = (rows - first).min(PANEL_LEN);
        let columns = columns.as_chunks_mut::<PANEL_LEN>().0;
        if own < PANEL_LEN {
            columns.iter_mut().for_each(|column| column[own..].fill(0.0));
        }
        for (at, row) in a[first * depth..(first + own) * depth].chunks(depth).enumerate() {
            columns.iter_mut().zip(row).for_each(|(column, &x)| column[at] = x);
        }
    });
    packed
}

/// Packs the lines of a row-major matrix with so many columns in the order in
/// which tiles of this machine read them: `[tiles, depth, tile]`. A last tile of
/// one vector has lines of one vector.
pub fn pack_lines(b: &[f32], columns: usize) -> Vec<f32> {
    let lanes = Arch::new().dispatch(Lanes);
    let tile_len = TILE_VECTORS * lanes;
    let mut packed = Vec::with_capacity(b.len() / columns * columns.next_multiple_of(lanes));
    for start in (0..columns).step_by(tile_len) {
        let len = (columns - start).min(tile_len);
        let line_len = if len <= lanes { lanes } else { tile_len };
        for line in b.chunks_exact(columns) {
            packed.extend_from_slice(&line[start..start + len]);
            packed.resize(packed.len() + line_len - len, 0.0);
        }
    }
    packed
}

/// Length of what [`pack_lines`] makes.
pub fn packed_lines_len(depth: usize, columns: usize) -> usize {
    let lanes = Arch::new().dispatch(Lanes);
    let (whole, rest) = (columns / (TILE_VECTORS * lanes), columns % (TILE_VECTORS * lanes));
    let rest = if rest > lanes { TILE_VECTORS } else { rest.div_ceil(lanes) };
    depth * (whole * TILE_VECTORS + rest) * lanes
}

/// Where columns lie in a line of the source: `height` runs of `width`, `wide`
/// apart, for the planes of a convolution are wider than its result.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Grid {
    /// Elements from the beginning of a run to that of the next.
    pub wide: usize,
    /// Elements of a run.
    pub width: usize,
    /// Runs.
    pub height: usize,
}

impl Grid {
    /// Columns.
    fn len(&self) -> usize {
        self.width * self.height
    }

    /// The runs that columns are made of: where each begins, and its length.
    fn runs(&self, columns: Range<usize>, mut visit: impl FnMut(usize, usize)) {
        if self.wide == self.width {
            return visit(columns.start, columns.len());
        }
        let mut column = columns.start;
        while column < columns.end {
            let x = column % self.width;
            let len = (self.width - x).min(columns.end - column);
            visit(column / self.width * self.wide + x, len);
            column += len;
        }
    }
}

/// Where a right matrix comes from.
#[derive(Clone, Copy)]
pub enum Right<'a> {
    /// Lines are parts of a source.
    Parts {
        /// What they are parts of.
        source: &'a [f32],
        /// Where each line begins, one for each column of the left matrix.
        starts: &'a [usize],
    },
    /// What [`pack_lines`] made.
    Packed {
        /// `[tiles, depth, tile]`.
        lines: &'a [f32],
        /// Lines.
        depth: usize,
    },
}

impl Right<'_> {
    fn depth(&self) -> usize {
        match self {
            Self::Parts { starts, .. } => starts.len(),
            Self::Packed { depth, .. } => *depth,
        }
    }
}

/// One product.
pub struct Product<'a> {
    /// The packed left matrix.
    pub packed: &'a [f32],
    /// Its rows.
    pub rows: usize,
    /// The right matrix.
    pub right: Right<'a>,
    /// The result's columns.
    pub grid: Grid,
    /// One number for each row.
    pub bias: Option<&'a [f32]>,
    /// One number for each column.
    pub column_bias: Option<&'a [f32]>,
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
    /// Lines of all tiles: `[tiles, depth, tile]`, with room for a vector behind them.
    lines: Vec<f32>,
}

/// Computes products, each into its own row-major result, on all cores.
pub fn run(products: Vec<(Product<'_>, &mut [f32])>) {
    let arch = Arch::new();
    let tile_len = arch.dispatch(Lanes) * TILE_VECTORS;
    let (products, outs): (Vec<_>, Vec<_>) = products.into_iter().unzip();
    let threads = rayon::current_num_threads();
    let tiles: usize = products.iter().map(|it| it.grid.len().div_ceil(tile_len)).sum();
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
    parallel::each(tasks, &Scratch::default, &|scratch: &mut Scratch, task: Task<'_, '_>| {
        arch.dispatch(RunTask { task, scratch });
    });
}

/// Cuts rows of a result into tasks of `width` columns.
fn split<'p, 'o>(
    product: &'p Product<'p>,
    rows: &'o mut [f32],
    (first_row, width): (usize, usize),
    tasks: &mut Vec<Task<'p, 'o>>,
) {
    let len = product.grid.len();
    let row_count = rows.len() / len;
    let first = tasks.len();
    for start in (0..len).step_by(width) {
        let columns = start..(start + width).min(len);
        tasks.push(Task { product, first_row, columns, rows: Vec::with_capacity(row_count) });
    }
    for row in rows.chunks_mut(len) {
        for (task, part) in tasks[first..].iter_mut().zip(row.chunks_mut(width)) {
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
        let Self { mut task, scratch } = self;
        let depth = task.product.right.depth();
        // A product without depth still has a bias.
        for first in (0..depth.max(1)).step_by(DEPTH_MAX) {
            multiply::<S>(simd, &mut task, scratch, first..(first + DEPTH_MAX).min(depth));
        }
    }
}

/// Adds what some values of `k` contribute to the sums of a task.
#[inline(always)]
fn multiply<S: Simd>(simd: S, task: &mut Task<'_, '_>, scratch: &mut Scratch, depth: Range<usize>) {
    let (product, tile_len) = (task.product, TILE_VECTORS * S::F32_LANES);
    let tiles = task.columns.len().div_ceil(tile_len);
    let panels = task.rows.len().div_ceil(PANEL_LEN);
    let Scratch { sums, lines } = scratch;
    let block_len = depth.len() * tile_len;
    let all = task.columns.clone();
    let line_len = |tile: usize| {
        // A narrow tile takes one vector of each line.
        let is_narrow = all.len() - tile * tile_len <= S::F32_LANES;
        if is_narrow { S::F32_LANES } else { tile_len }
    };
    if let Right::Parts { source, starts } = product.right {
        lines.resize(lines.len().max(tiles * block_len + TILE_LEN_MAX), 0.0);
        for tile in 0..tiles {
            let start = all.start + tile * tile_len;
            let columns = start..(start + tile_len).min(all.end);
            let len = depth.len() * line_len(tile) + TILE_LEN_MAX;
            let lines = &mut lines[tile * block_len..][..len];
            let (starts, grid) = (&starts[depth.clone()], &product.grid);
            copy_lines::<S>((source, starts), grid, columns, line_len(tile), lines);
        }
    }
    let lines_of = |tile: usize| match product.right {
        Right::Parts { .. } => &lines[tile * block_len..],
        Right::Packed { lines, depth: whole } => {
            let first = (all.start + tile * tile_len) * whole;
            &lines[first + depth.start * line_len(tile)..]
        }
    };
    let (is_first, is_last) = (depth.start == 0, depth.end == product.right.depth());
    let sums_len = PANEL_LEN * tile_len;
    // Sums that are complete at once are not kept.
    let kept = if is_first && is_last { 1 } else { tiles * panels };
    sums.resize(sums.len().max(kept * sums_len), 0.0);
    let near = |first: usize| (0..panels).map(move |panel| (first, panel));
    for (first, panel) in (0..tiles).step_by(NEAR_TILES).flat_map(near) {
        let at = task.first_row / PANEL_LEN + panel;
        let from = (at * product.right.depth() + depth.start) * PANEL_LEN;
        let left = &product.packed[from..from + depth.len() * PANEL_LEN];
        for tile in first..(first + NEAR_TILES).min(tiles) {
            let lines = lines_of(tile);
            let at = if kept == 1 { 0 } else { tile * panels + panel };
            let sums = &mut sums[at * sums_len..][..sums_len];
            let block = tile::Block { left, lines, depth: depth.len(), is_first, is_last };
            block.run::<S>(simd, task, (panel * PANEL_LEN, tile * tile_len), sums);
        }
    }
}

/// Copies lines side by side: `[depth, line_len]`. Each run is copied as a whole
/// number of vectors; what goes too far, the next run or line writes over.
#[inline(always)]
fn copy_lines<S: Simd>(
    (source, starts): (&[f32], &[usize]),
    grid: &Grid,
    columns: Range<usize>,
    line_len: usize,
    lines: &mut [f32],
) {
    // Runs of a tile: where they begin in the line, and where in the source.
    let mut runs = [(0, 0, 0); TILE_LEN_MAX];
    let (mut count, mut to) = (0, 0);
    grid.runs(columns, |from, len| {
        runs[count] = (to, from, len);
        count += 1;
        to += len;
    });
    let runs = &runs[..count];
    let last = starts.iter().max().zip(runs.last()).map_or(0, |(start, run)| start + run.1);
    if last + TILE_LEN_MAX > source.len() {
        for (line, start) in lines.chunks_mut(line_len).zip(starts) {
            for &(to, from, len) in runs {
                line[to..to + len].copy_from_slice(&source[start + from..][..len]);
            }
        }
        return;
    }
    for (k, start) in starts.iter().enumerate() {
        for &(to, from, len) in runs {
            let source = S::as_simd_f32s(&source[start + from..][..TILE_LEN_MAX]).0;
            let line = S::as_mut_simd_f32s(&mut lines[k * line_len + to..][..TILE_LEN_MAX]).0;
            line[0] = source[0];
            if len > S::F32_LANES {
                line[1] = source[1];
            }
        }
    }
}

#[cfg(test)]
mod tests;
