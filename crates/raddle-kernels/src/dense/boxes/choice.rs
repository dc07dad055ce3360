//! Which kernel multiplies, and how many blocks share a tile.

use super::Arithmetic;
use crate::kernels::tiled::boxes::{self as device, STEP};

/// Most blocks that share a tile.
const SPLIT_MAX: usize = 32;

/// A tile's shape, in the arithmetic of the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tile {
    T64x64,
    T64x128,
    T128x64,
    T128x128,
    T128x256,
    T256x64,
}

/// What a kernel of some tile takes.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    pub size: [usize; 2],
    pub threads: u32,
    pub shared_bytes: usize,
    /// Blocks that a multiprocessor holds.
    blocks: usize,
    pub cluster: usize,
    /// Whether its right operand lies `[k, column]`.
    pub by_depth: bool,
}

macro_rules! kernel {
    ($name:ident) => {
        Kernel {
            size: device::$name::SIZE,
            threads: device::$name::THREADS,
            shared_bytes: device::$name::SHARED_BYTES,
            blocks: device::$name::BLOCKS,
            cluster: device::$name::CLUSTER,
            by_depth: device::$name::BY_DEPTH,
        }
    };
}

/// The kernels of an arithmetic, for right operands that lie `[k, column]` or not.
pub(super) fn kernels(arithmetic: Arithmetic, by_depth: bool) -> &'static [(Tile, Kernel)] {
    match arithmetic {
        Arithmetic::F32 if by_depth => &[
            (Tile::T64x64, kernel!(f32_64x64_by_depth)),
            (Tile::T128x128, kernel!(f32_128x128_by_depth)),
        ],
        Arithmetic::TF32 if by_depth => &[(Tile::T64x128, kernel!(tf32_64x128_by_depth))],
        Arithmetic::F32 => &[
            (Tile::T64x64, kernel!(f32_64x64)),
            (Tile::T128x128, kernel!(f32_128x128)),
            (Tile::T256x64, kernel!(f32_256x64)),
        ],
        Arithmetic::TF32 => &[
            (Tile::T64x64, kernel!(tf32_64x64)),
            (Tile::T128x64, kernel!(tf32_128x64)),
            (Tile::T128x128, kernel!(tf32_128x128)),
            (Tile::T128x256, kernel!(tf32_128x256)),
        ],
    }
}

impl Kernel {
    /// Tiles that cover a product's rows, in whole clusters, and its columns.
    pub fn tiles(&self, [rows, columns]: [usize; 2]) -> [usize; 2] {
        let row_tiles = rows.div_ceil(self.size[0] * self.cluster) * self.cluster;
        [row_tiles, columns.div_ceil(self.size[1])]
    }

    /// Expected cycles of a product of so many rows, columns and steps. The constants are fit to
    /// the times of all kernels and splits in the convolutions of ResNet-18 for 1 and 64 images
    /// and products of 64 to 4096 rows on an H200, of which they find all but one to 10 %.
    fn cycles(
        &self,
        arithmetic: Arithmetic,
        [rows, columns, steps]: [usize; 3],
        split: usize,
        multiprocessors: usize,
    ) -> f64 {
        let tiles = self.tiles([rows, columns]);
        let per_multiprocessor = (tiles[0] * tiles[1] * split).div_ceil(multiprocessors);
        let elements = (self.size[0] * self.size[1]) as f64;
        let bytes = ((self.size[0] + self.size[1] / self.cluster) * STEP * 4) as f64;
        let steps = steps.div_ceil(split) as f64;
        // So many blocks of a multiprocessor, one step of each.
        let step = |blocks: usize| {
            let terms = elements * (STEP * blocks) as f64;
            match (arithmetic, self.size) {
                // The warps share a tile's terms, and add up at last.
                (Arithmetic::F32, [64, 64]) => 1.1 * terms / 128.0 / rate(blocks),
                (Arithmetic::F32, _) => terms / 128.0 / rate(blocks),
                // Its tiles come through registers, its ring has few stages.
                (Arithmetic::TF32, _) if self.by_depth => (terms / 1024.0 / 0.5).max(400.0),
                (Arithmetic::TF32, [128, 128]) => (1.2 * terms / 1024.0 / 0.82).max(400.0),
                (Arithmetic::TF32, _) => {
                    (terms / 1024.0 / 0.82).max(bytes * blocks as f64 / 48.0).max(400.0)
                }
            }
        };
        let (begin, end, parts) = match (arithmetic, self.size) {
            (Arithmetic::F32, _) => (9500.0, 0.6, 3000.0),
            (Arithmetic::TF32, [128, 128]) => (4700.0, 0.41, 4350.0),
            (Arithmetic::TF32, _) => (4700.0, 0.26, 4350.0),
        };
        let parts = match (arithmetic, split) {
            (_, 1) => 0.0,
            (Arithmetic::F32, _) => parts,
            (Arithmetic::TF32, _) => parts + (rows * columns * 4 * (split + 1)) as f64 / 2000.0,
        };
        let round = |blocks: usize| match blocks {
            0 => 0.0,
            _ => begin + steps * step(blocks),
        };
        let rounds = (per_multiprocessor / self.blocks) as f64;
        rounds * round(self.blocks)
            + round(per_multiprocessor % self.blocks)
            + per_multiprocessor as f64 * elements * end
            + parts
    }
}

/// The part of all fused multiplications that so many blocks of a multiprocessor keep up: one
/// warp alone on a scheduler waits for its operands.
fn rate(blocks: usize) -> f64 {
    if blocks == 1 { 0.46 } else { 0.68 }
}

/// The kernel and the split that are expected to be fastest.
pub(super) fn choose(
    arithmetic: Arithmetic,
    by_depth: bool,
    shape: [usize; 3],
    multiprocessors: usize,
) -> (Tile, Kernel, usize) {
    let splits = [1, 2, 3, 4, 6, 8, 12, 16, 24, SPLIT_MAX];
    let [rows, columns, steps] = shape;
    let fits = |split: &usize| {
        *split == 1 || 2 * split <= steps && rows * columns * split <= i32::MAX as usize
    };
    let all = kernels(arithmetic, by_depth).iter().flat_map(|&(tile, kernel)| {
        splits.into_iter().filter(fits).map(move |split| (tile, kernel, split))
    });
    let cycles = |kernel: &Kernel, split| kernel.cycles(arithmetic, shape, split, multiprocessors);
    all.min_by(|a, b| cycles(&a.1, a.2).total_cmp(&cycles(&b.1, b.2))).expect("there are kernels")
}
