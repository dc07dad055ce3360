//! Convolution of blocked images as it is defined: a tile of a few places by up to
//! four blocks of channels of the result is summed up in registers.
//!
//! Sums over many channels are taken in parts whose weights stay in the nearest
//! cache; in between they lie where the result will.

// Combinators of arrays are not inlined, and then know no vectors.
#![expect(clippy::manual_memcpy, clippy::needless_range_loop)]

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::{Axis, BLOCK_LEN, Block, Run};
use crate::parallel;
use crate::product::Activation;

/// Places of a tile.
const PLACES_MAX: usize = 6;

/// Blocks of the result that are computed together.
const GROUP_MAX: usize = 4;

/// Numbers that are multiplied and added up before sums leave their registers.
const DEPTH_MAX: usize = 160;

/// Tasks for each thread, so that none waits for another for long.
const TASKS_PER_THREAD: usize = 4;

/// Places of a task.
const TASK_PLACES: usize = 512;

/// The convolution of some images.
pub struct Direct<'a> {
    /// Instructions to use.
    pub arch: Arch,
    /// `[images, blocks, height, width, 16]`, or `[images, channels, height, width]`.
    pub source: &'a [f32],
    /// Blocks of an image, or channels where they are planes.
    pub depth: usize,
    /// Elements from a block to the next.
    pub depth_step: usize,
    /// Whether the source has planes instead of blocks.
    pub has_planes: bool,
    /// Height and width.
    pub axes: [Axis; 2],
    /// What [`pack`] made.
    pub weights: &'a [f32],
    /// Blocks of the result.
    pub outputs: usize,
    /// A number for each channel of the result, with whole blocks.
    pub bias: Option<&'a [f32]>,
    /// Added to the result, of its shape.
    pub residual: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
}

/// Packs `weights: [outputs, channels, taps]` as `[output blocks, depth, taps, lanes,
/// 16]`, with 16 lanes, or one for a source of planes.
pub fn pack(weights: &[f32], [outputs, channels, taps]: [usize; 3], has_planes: bool) -> Vec<f32> {
    let lanes = if has_planes { 1 } else { BLOCK_LEN };
    let depth = channels.div_ceil(lanes);
    let blocks = outputs.div_ceil(BLOCK_LEN);
    let mut packed = vec![0.0; blocks * depth * taps * lanes * BLOCK_LEN];
    for (at, &weight) in weights.iter().enumerate() {
        let (output, channel, tap) = (at / taps / channels, at / taps % channels, at % taps);
        let line = (output / BLOCK_LEN * depth + channel / lanes) * taps + tap;
        packed[(line * lanes + channel % lanes) * BLOCK_LEN + output % BLOCK_LEN] = weight;
    }
    packed
}

/// Some rows of some blocks of a result.
struct Task<'o> {
    image: usize,
    /// First block.
    first: usize,
    rows: Range<usize>,
    /// The rows of each block.
    outs: Vec<&'o mut [f32]>,
}

/// Computes a convolution on all cores: `out: [images, outputs, height, width, 16]`.
pub fn run(conv: &Direct<'_>, out: &mut [f32]) {
    let [height, width] = [conv.axes[0].output, conv.axes[1].output];
    if out.is_empty() {
        return;
    }
    let arch = conv.arch;
    let threads = rayon::current_num_threads();
    let groups = groups(arch, conv.outputs);
    let image_len = conv.outputs * height * width * BLOCK_LEN;
    let images = out.len() / image_len;
    // Enough tasks for all cores, by splitting rows where groups are few.
    let wanted = if threads == 1 { 1 } else { TASKS_PER_THREAD * threads };
    let splits = wanted.div_ceil(images * groups.len());
    let rows_max = (TASK_PLACES / width).max(1);
    let rows = height.div_ceil(splits.max(height.div_ceil(rows_max)).min(height));
    let mut tasks: Vec<Task<'_>> = Vec::new();
    for (image, out) in out.chunks_mut(image_len).enumerate() {
        let begin = tasks.len();
        for start in (0..height).step_by(rows) {
            for group in &groups {
                let rows = start..(start + rows).min(height);
                tasks.push(Task { image, first: group.start, rows, outs: Vec::new() });
            }
        }
        let tasks = &mut tasks[begin..];
        let mut planes = out.chunks_mut(height * width * BLOCK_LEN);
        for (at, group) in groups.iter().enumerate() {
            for plane in planes.by_ref().take(group.len()) {
                let parts = plane.chunks_mut(rows * width * BLOCK_LEN);
                let tasks = tasks.iter_mut().skip(at).step_by(groups.len());
                tasks.zip(parts).for_each(|(task, part)| task.outs.push(part));
            }
        }
    }
    let runs = &conv.axes[1].runs()[..];
    parallel::each(tasks, &|| (), &|(), task| arch.dispatch(RunTask { conv, runs, task }));
}

/// Computes a convolution of one image on this core.
pub fn run_here(conv: &Direct<'_>, out: &mut [f32]) {
    let arch = conv.arch;
    let runs = &conv.axes[1].runs()[..];
    let (height, width) = (conv.axes[0].output, conv.axes[1].output);
    let mut planes = out.chunks_mut(height * width * BLOCK_LEN);
    for group in groups(arch, conv.outputs) {
        let outs = planes.by_ref().take(group.len()).collect();
        let task = Task { image: 0, first: group.start, rows: 0..height, outs };
        arch.dispatch(RunTask { conv, runs, task });
    }
}

/// Blocks in groups of about the same size.
fn groups(arch: Arch, blocks: usize) -> Vec<Range<usize>> {
    // Sixteen registers hold a tile of one block.
    let is_wide = arch.dispatch(VectorsOfBlock) == 1;
    let count = blocks.div_ceil(if is_wide { GROUP_MAX } else { 1 });
    (0..count).map(|at| at * blocks / count..(at + 1) * blocks / count).collect()
}

/// Vectors that a block is.
struct VectorsOfBlock;

impl WithSimd for VectorsOfBlock {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        BLOCK_LEN / S::F32_LANES
    }
}

struct RunTask<'t, 'o> {
    conv: &'t Direct<'t>,
    runs: &'t [Run],
    task: Task<'o>,
}

impl WithSimd for RunTask<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        match self.conv.has_planes {
            true => self.run_from::<S, 1>(simd),
            false => self.run_from::<S, BLOCK_LEN>(simd),
        }
    }
}

impl RunTask<'_, '_> {
    #[inline(always)]
    fn run_from<S: Simd, const LANES: usize>(&mut self, simd: S) {
        // A constant alone decides, so that no arm but one is compiled.
        match S::F32_LANES {
            16 => match self.task.outs.len() {
                1 => self.run::<S, LANES, 1, 1>(simd),
                2 => self.run::<S, LANES, 2, 1>(simd),
                3 => self.run::<S, LANES, 3, 1>(simd),
                _ => self.run::<S, LANES, GROUP_MAX, 1>(simd),
            },
            8 => self.run::<S, LANES, 1, 2>(simd),
            4 => self.run::<S, LANES, 1, 4>(simd),
            _ => self.run::<S, LANES, 1, BLOCK_LEN>(simd),
        }
    }

    #[inline(always)]
    fn run<S: Simd, const LANES: usize, const BLOCKS: usize, const VECTORS: usize>(
        &mut self,
        simd: S,
    ) {
        let Self { conv, runs, task } = self;
        let [y_axis, x_axis] = &conv.axes;
        let width = x_axis.output;
        let taps = y_axis.kernel * x_axis.kernel;
        let part = (DEPTH_MAX / (taps * LANES)).max(1);
        let is_plain = y_axis.is_plain() && x_axis.is_plain();
        let weights_len = conv.depth * taps * LANES;
        let mut weights: [&[Block]; BLOCKS] = [&[]; BLOCKS];
        for f in 0..BLOCKS {
            let from = (task.first + f) * weights_len;
            weights[f] = &conv.weights.as_chunks().0[from..from + weights_len];
        }
        for first in (0..conv.depth.max(1)).step_by(part) {
            let mut row = Row {
                conv,
                image: task.image,
                block: task.first,
                y: 0,
                depth: first..(first + part).min(conv.depth),
                taps: 0..0,
                weights,
            };
            // Rows of places that are elements themselves are one long row.
            if is_plain {
                let all = Run { positions: 0..task.rows.len() * width, taps: 0..1 };
                (row.y, row.taps) = (task.rows.start, 0..1);
                row.run::<S, LANES, VECTORS>(simd, &all, 0, &mut task.outs);
                continue;
            }
            for y in task.rows.clone() {
                (row.y, row.taps) = (y, y_axis.taps(y));
                let from = (y - task.rows.start) * width;
                for run in runs.iter() {
                    row.run::<S, LANES, VECTORS>(simd, run, from, &mut task.outs);
                }
            }
        }
    }
}

/// A row of the result, and some channels of the source that are summed up there.
struct Row<'t, const BLOCKS: usize> {
    conv: &'t Direct<'t>,
    image: usize,
    /// First block of the result.
    block: usize,
    y: usize,
    /// Blocks or channels of the source.
    depth: Range<usize>,
    /// Rows of taps that lie in the image.
    taps: Range<usize>,
    /// Weights of each block.
    weights: [&'t [Block]; BLOCKS],
}

impl<const BLOCKS: usize> Row<'_, BLOCKS> {
    /// Computes a run of places; `from` is where the row begins in `outs`.
    #[inline(always)]
    fn run<S: Simd, const LANES: usize, const VECTORS: usize>(
        &self,
        simd: S,
        run: &Run,
        from: usize,
        outs: &mut [&mut [f32]],
    ) {
        let len = run.positions.len();
        let mut parts: [&mut [Block]; BLOCKS] = std::array::from_fn(|_| Default::default());
        for (part, out) in parts.iter_mut().zip(outs) {
            *part = &mut out.as_chunks_mut().0[from + run.positions.start..][..len];
        }
        match VECTORS {
            1 | 2 => match LANES {
                1 => self.tiles_of_planes::<S, LANES, VECTORS>(simd, run, &mut parts),
                _ => self.tiles::<S, LANES, VECTORS>(simd, run, &mut parts),
            },
            _ => {
                for (to, x) in run.positions.clone().enumerate() {
                    self.tile::<S, LANES, VECTORS, 1>(simd, x, &run.taps, to, &mut parts);
                }
            }
        }
        let is_last = self.depth.end == self.conv.depth;
        if is_last && !self.conv.activation.is_clamp() {
            for part in parts {
                self.conv.activation.apply(part.as_flattened_mut());
            }
        }
    }

    /// Computes a run of places in tiles of about the same size.
    #[inline(always)]
    fn tiles<S: Simd, const LANES: usize, const VECTORS: usize>(
        &self,
        simd: S,
        run: &Run,
        outs: &mut [&mut [Block]; BLOCKS],
    ) {
        let (len, taps) = (run.positions.len(), &run.taps);
        let tiles = len.div_ceil(PLACES_MAX);
        let mut to = 0;
        for tile in 0..tiles {
            let end = (tile + 1) * len / tiles;
            let x = run.positions.start + to;
            match end - to {
                1 => self.tile::<S, LANES, VECTORS, 1>(simd, x, taps, to, outs),
                2 => self.tile::<S, LANES, VECTORS, 2>(simd, x, taps, to, outs),
                3 => self.tile::<S, LANES, VECTORS, 3>(simd, x, taps, to, outs),
                4 => self.tile::<S, LANES, VECTORS, 4>(simd, x, taps, to, outs),
                5 => self.tile::<S, LANES, VECTORS, 5>(simd, x, taps, to, outs),
                _ => self.tile::<S, LANES, VECTORS, PLACES_MAX>(simd, x, taps, to, outs),
            }
            to = end;
        }
    }

    /// The same from planes: where there are few channels, rows are long.
    #[inline(always)]
    fn tiles_of_planes<S: Simd, const LANES: usize, const VECTORS: usize>(
        &self,
        simd: S,
        run: &Run,
        outs: &mut [&mut [Block]; BLOCKS],
    ) {
        let (len, taps) = (run.positions.len(), &run.taps);
        let mut to = 0;
        while to + PLACES_MAX <= len {
            let x = run.positions.start + to;
            self.tile::<S, LANES, VECTORS, PLACES_MAX>(simd, x, taps, to, outs);
            to += PLACES_MAX;
        }
        for to in to..len {
            self.tile::<S, LANES, VECTORS, 1>(simd, run.positions.start + to, taps, to, outs);
        }
    }

    /// Computes the places from `x` on, which lie from `to` on in `outs`.
    #[inline(always)]
    fn tile<S: Simd, const LANES: usize, const VECTORS: usize, const PLACES: usize>(
        &self,
        simd: S,
        x: usize,
        taps: &Range<usize>,
        to: usize,
        outs: &mut [&mut [Block]; BLOCKS],
    ) {
        let mut sums = [[[simd.splat_f32s(0.0); VECTORS]; BLOCKS]; PLACES];
        let is_first = self.depth.start == 0;
        for f in 0..BLOCKS {
            let bias = match self.conv.bias {
                Some(bias) if is_first => {
                    S::as_simd_f32s(&bias[(self.block + f) * BLOCK_LEN..][..BLOCK_LEN]).0
                }
                _ => S::as_simd_f32s(&[0f32; BLOCK_LEN]).0,
            };
            for p in 0..PLACES {
                let before = S::as_simd_f32s(&outs[f][to + p]).0;
                for v in 0..VECTORS {
                    sums[p][f][v] = if is_first { bias[v] } else { before[v] };
                }
            }
        }
        self.add::<S, LANES, VECTORS, PLACES>(simd, x, taps, &mut sums);
        if self.depth.end != self.conv.depth {
            for p in 0..PLACES {
                for f in 0..BLOCKS {
                    S::as_mut_simd_f32s(&mut outs[f][to + p]).0.copy_from_slice(&sums[p][f]);
                }
            }
            return;
        }
        let [y_axis, x_axis] = &self.conv.axes;
        let (low, high) = self.conv.activation.bounds();
        let (low, high) = (simd.splat_f32s(low), simd.splat_f32s(high));
        for f in 0..BLOCKS {
            let plane = self.image * self.conv.outputs + self.block + f;
            let place = (plane * y_axis.output + self.y) * x_axis.output + x;
            for p in 0..PLACES {
                let residual = self.conv.residual.map(|residual| {
                    S::as_simd_f32s(&residual[(place + p) * BLOCK_LEN..][..BLOCK_LEN]).0
                });
                let out = S::as_mut_simd_f32s(&mut outs[f][to + p]).0;
                for v in 0..VECTORS {
                    let mut sum = sums[p][f][v];
                    if let Some(residual) = residual {
                        sum = simd.add_f32s(sum, residual[v]);
                    }
                    sum = simd.select_f32s(simd.less_than_f32s(sum, low), low, sum);
                    out[v] = simd.select_f32s(simd.greater_than_f32s(sum, high), high, sum);
                }
            }
        }
    }

    /// Adds products to the sums of a tile.
    #[inline(always)]
    fn add<S: Simd, const LANES: usize, const VECTORS: usize, const PLACES: usize>(
        &self,
        simd: S,
        x: usize,
        columns: &Range<usize>,
        sums: &mut [[[S::f32s; VECTORS]; BLOCKS]; PLACES],
    ) {
        let conv = self.conv;
        let [y_axis, x_axis] = &conv.axes;
        let step = x_axis.step * LANES;
        let image = self.image * conv.depth * conv.depth_step;
        let mut found = *sums;
        for depth in self.depth.clone() {
            for row in self.taps.clone() {
                let line = y_axis.element(self.y, row) * x_axis.input;
                let tap = (depth * y_axis.kernel + row) * x_axis.kernel;
                for column in columns.clone() {
                    let place = line + x_axis.element(x, column);
                    let from = image + depth * conv.depth_step + place * LANES;
                    let source = &conv.source[from..from + (PLACES - 1) * step + LANES];
                    let none = [0f32; LANES];
                    let mut places = [&none; PLACES];
                    for p in 0..PLACES {
                        places[p] = source[p * step..].first_chunk().expect("as long as that");
                    }
                    let zeros = [[0f32; BLOCK_LEN]; LANES];
                    let mut weights = [&zeros; BLOCKS];
                    for f in 0..BLOCKS {
                        let lines = &self.weights[f][(tap + column) * LANES..];
                        weights[f] = lines.first_chunk().expect("as many as lanes");
                    }
                    for lane in 0..LANES {
                        let mut lines = [[simd.splat_f32s(0.0); VECTORS]; BLOCKS];
                        for f in 0..BLOCKS {
                            let line = S::as_simd_f32s(&weights[f][lane]).0;
                            for v in 0..VECTORS {
                                lines[f][v] = line[v];
                            }
                        }
                        for p in 0..PLACES {
                            let number = simd.splat_f32s(places[p][lane]);
                            for f in 0..BLOCKS {
                                for v in 0..VECTORS {
                                    let sum = found[p][f][v];
                                    found[p][f][v] = simd.mul_add_f32s(number, lines[f][v], sum);
                                }
                            }
                        }
                    }
                }
            }
        }
        *sums = found;
    }
}
