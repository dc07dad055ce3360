//! Launches of the kernels, by tile and element type.

use raddle::{Grid, SliceMut, Stream};

use super::{Choice, Operands, Tile};
use crate::Result;
use crate::gemm::{self, Ending};
use crate::kernels::conv as device;
use crate::kernels::conv::{Gather, Shape, shifted, walking};

const UNBOUNDED: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

/// An element type that the kernels exist for.
pub trait Tiled: gemm::Element {
    #[doc(hidden)]
    fn launch(
        stream: &Stream,
        choice: Choice,
        blocks: u32,
        shape: Shape,
        operands: Operands<'_, Self>,
        out: SliceMut<'_, Self>,
    ) -> Result<()>;
}

macro_rules! tiled {
    ($($ty:ident),*) => { $(
        impl Tiled for raddle::device::$ty {
            fn launch(
                stream: &Stream,
                choice: Choice,
                blocks: u32,
                shape: Shape,
                operands: Operands<'_, Self>,
                out: SliceMut<'_, Self>,
            ) -> Result<()> {
                let Operands { input, shortcut, weights, residual } = operands;
                // Operands that there are none of are never read.
                let (shortcut, residual) = (shortcut.unwrap_or(input), residual.unwrap_or(input));
                let (packed, bias) = (&weights.packed, &weights.bias);
                let is_split = choice.split > 1;
                let around = positions_around(&shape, choice.tile);
                macro_rules! launch {
                    ($module:ident, $name:ident, $tile:ident, $shared_bytes:expr) => {{
                        let mut grid = Grid::new(blocks, $module::$tile::THREADS)
                            .shared_bytes($shared_bytes)
                            .programmatic();
                        if is_split {
                            grid = grid.cluster(choice.split as u32);
                        }
                        // SAFETY: lengths are checked against the shape.
                        let call = unsafe {
                            $module::$name::<Self>(shape, input, shortcut, packed, bias, residual, out)
                        };
                        stream.launch(grid, call)?;
                    }};
                }
                macro_rules! gathered {
                    ($name:ident, $tile:ident) => {
                        launch!(device, $name, $tile, device::$tile::shared_bytes(is_split))
                    };
                }
                macro_rules! shifted {
                    ($name:ident, $tile:ident) => {
                        launch!(shifted, $name, $tile, shifted::$tile::shared_bytes(around, is_split))
                    };
                }
                match (choice.tile, choice.is_shifted) {
                    (Tile::C64P64, false) => gathered!(conv_64x64, tile_64x64),
                    (Tile::C64P128, false) => gathered!(conv_64x128, tile_64x128),
                    (Tile::C64P256, false) => gathered!(conv_64x256, tile_64x256),
                    (Tile::C128P128, false) => gathered!(conv_128x128, tile_128x128),
                    (Tile::C128P208, false) => gathered!(conv_128x208, tile_128x208),
                    (Tile::C128P256, false) => gathered!(conv_128x256, tile_128x256),
                    (Tile::C64P64, true) => shifted!(shifted_64x64, tile_64x64),
                    (Tile::C64P128, true) => shifted!(shifted_64x128, tile_64x128),
                    (Tile::C64P256, true) => shifted!(shifted_64x256, tile_64x256),
                    (Tile::C128P128, true) => shifted!(shifted_128x128, tile_128x128),
                    (Tile::C128P208, true) => shifted!(shifted_128x208, tile_128x208),
                    (Tile::C128P224, _) => shifted!(shifted_128x224, tile_128x224),
                    (Tile::C128P256, true) => shifted!(shifted_128x256, tile_128x256),
                    (Tile::Walking, _) => {
                        let bytes = walking::tile_64x256::SHARED_BYTES;
                        launch!(walking, walking_64x256, tile_64x256, bytes)
                    },
                    (Tile::Product, _) => {
                        let k = shape.inputs[0].channels as usize;
                        let numbers = [shape.pixels as usize, shape.channels as usize, k];
                        let bias = Some(bias.as_slice());
                        let residual = (shape.has_residual != 0).then_some(residual);
                        let bounds = shape.activation.bounds().unwrap_or(UNBOUNDED);
                        let ending = Ending { bias, residual, bounds };
                        gemm::packed(stream, numbers, input, packed.as_slice(), ending, out)?;
                    }
                }
                Ok(())
            }
        }
    )* };
}
tiled!(f16, bf16);

/// Positions of a tile with those around, where taps shift pixels.
fn positions_around(shape: &Shape, tile: Tile) -> usize {
    let Gather { size, padding, .. } = shape.inputs[0];
    let before = padding[0] * (size[1] + padding[1]) + padding[1];
    tile.size()[1] + 2 * before as usize
}
