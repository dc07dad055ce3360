//! The kernels that compute convolutions, and which of them is expected to be fastest.

use crate::gemm;
use crate::kernels::conv as device;
use crate::kernels::conv::{GROUP_CHANNELS, walking};

/// Blocks that share a tile.
pub(super) const SPLITS: [usize; 5] = [1, 2, 4, 8, device::parts::SPLIT_MAX];

/// Most blocks of a cluster that every GPU has room for; more may be refused by a part of
/// one, so that they are chosen by measurement only.
pub const SPLIT_PORTABLE: usize = 8;

/// A tile shape of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Tile {
    C64P64,
    C64P128,
    C64P256,
    C128P128,
    C128P208,
    C128P224,
    C128P256,
    /// 64 channels and 256 pixels, by blocks that walk over tiles and keep the weights.
    Walking,
    /// 256 channels and 128 pixels, by the kernel for large products: convolutions of
    /// single pixels only.
    Product,
}

impl Tile {
    /// All that are not for products alone.
    pub const ALL: [Self; 8] = [
        Self::C64P64,
        Self::C64P128,
        Self::C64P256,
        Self::C128P128,
        Self::C128P208,
        Self::C128P224,
        Self::C128P256,
        Self::Walking,
    ];

    /// Channels and pixels.
    #[must_use]
    pub fn size(self) -> [usize; 2] {
        match self {
            Self::C64P64 => [64, 64],
            Self::C64P128 => [64, 128],
            Self::C64P256 | Self::Walking => [64, 256],
            Self::C128P128 => [128, 128],
            Self::C128P208 => [128, 208],
            Self::C128P224 => [128, 224],
            Self::C128P256 => [128, 256],
            Self::Product => [gemm::TILE[1], gemm::TILE[0]],
        }
    }

    /// Positions that a tile of shifted pixels can have in shared memory.
    pub(super) fn rows(self) -> usize {
        use device::shifted::{tile_64x64, tile_64x128, tile_64x256};
        use device::shifted::{tile_128x128, tile_128x208, tile_128x224, tile_128x256};
        match self {
            Self::C64P64 => tile_64x64::ROWS,
            Self::C64P128 => tile_64x128::ROWS,
            Self::C64P256 => tile_64x256::ROWS,
            Self::C128P128 => tile_128x128::ROWS,
            Self::C128P208 => tile_128x208::ROWS,
            Self::C128P224 => tile_128x224::ROWS,
            Self::C128P256 => tile_128x256::ROWS,
            Self::Walking => walking::tile_64x256::ROWS,
            Self::Product => 0,
        }
    }

    /// Whether the blocks of a cluster may share a tile.
    #[must_use]
    pub fn can_split(self) -> bool {
        let [channels, pixels] = self.size();
        let groups = channels / GROUP_CHANNELS;
        !matches!(self, Self::Walking | Self::Product) && device::parts::can_split(groups, pixels)
    }

    /// Blocks that a multiprocessor holds at a time.
    fn residents(self) -> usize {
        match self {
            Self::C64P64 | Self::C64P128 => 2,
            Self::C64P256
            | Self::C128P128
            | Self::C128P208
            | Self::C128P224
            | Self::C128P256
            | Self::Walking
            | Self::Product => 1,
        }
    }
}

/// Which kernel computes a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The tile shape.
    pub tile: Tile,
    /// Blocks that share a tile: 1, 2, 4, 8 or 16.
    pub split: usize,
    /// Whether taps shift one copy of the pixels instead of copying them anew.
    pub is_shifted: bool,
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [channels, pixels] = self.tile.size();
        let method = match (self.tile, self.is_shifted) {
            (Tile::Walking, _) => "walking",
            (Tile::Product, _) => "product",
            (_, true) => "shifted",
            (_, false) => "gathered",
        };
        write!(f, "{method} {channels}x{pixels}")?;
        match self.split {
            1 => Ok(()),
            split => write!(f, " split {split}"),
        }
    }
}

/// Picks the kernel that is expected to be fastest, among those that gather.
///
/// A block's time is a fixed part and one for each step of `k`; blocks run in waves.
/// The constants are estimates in cycles, for those who do not measure: on an H200 the
/// choice is up to twice as slow as the best of [`Convolution::candidates`].
pub(super) fn choose(
    pixels: usize,
    outputs: usize,
    steps: usize,
    multiprocessors: usize,
) -> Choice {
    let plain = Choice { tile: Tile::C64P64, split: 1, is_shifted: false };
    let mut best = (f64::INFINITY, plain);
    let is_gathered = |tile: &Tile| !matches!(tile, Tile::Walking | Tile::C128P224);
    for tile in Tile::ALL.into_iter().filter(is_gathered) {
        for split in SPLITS.into_iter().filter(|&split| split <= SPLIT_PORTABLE) {
            if split > 1 && (split > steps || !tile.can_split()) {
                continue;
            }
            let time = expected_cycles(tile, split, pixels, outputs, steps, multiprocessors);
            if time < best.0 {
                best = (time, Choice { tile, split, is_shifted: false });
            }
        }
    }
    best.1
}

fn expected_cycles(
    tile: Tile,
    split: usize,
    pixels: usize,
    outputs: usize,
    steps: usize,
    multiprocessors: usize,
) -> f64 {
    let [tile_channels, tile_pixels] = tile.size();
    let blocks = outputs.div_ceil(tile_channels) * pixels.div_ceil(tile_pixels) * split;
    // A product of 64 channels and 64 pixels takes 128 cycles for a step of 64.
    let product = (tile_channels * tile_pixels) as f64 / 32.0;
    // Narrow tiles read shared memory more often for each product.
    let narrow = if tile_channels == 64 { 1.35 } else { 1.1 };
    let own_steps = steps.div_ceil(split) as f64;
    let staged = (tile_channels * tile_pixels) as f64 / 8.0;
    let fixed = 1500.0 + staged + if split > 1 { 700.0 + 40.0 * split as f64 } else { 0.0 };
    let residents = tile.residents().min(blocks.div_ceil(multiprocessors)).max(1);
    let waves = blocks.div_ceil(multiprocessors * residents) as f64;
    // Residents share the tensor cores and hide each other's fixed part.
    waves * (fixed + own_steps * product * narrow * residents as f64)
}
