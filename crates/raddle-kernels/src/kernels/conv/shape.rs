//! The numbers of a convolution, as a launch passes them.

use raddle::prelude::*;

use super::{Activation, STEP};

/// Where one input's part of `k` comes from. Images are `[image, row, column, channel]`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Gather {
    /// Rows and columns of an image.
    pub size: [i32; 2],
    /// Channels, a multiple of 8.
    pub channels: u32,
    /// Rows of the filter.
    pub filter_height: u32,
    /// Columns of the filter.
    pub filter_width: u32,
    /// Rows times columns of the filter.
    pub taps: u32,
    /// Steps along rows and columns.
    pub stride: [i32; 2],
    /// Rows above and columns left of the image.
    pub padding: [i32; 2],
    /// Distance of taps.
    pub dilation: [i32; 2],
    /// Steps of `k`.
    pub steps: u32,
}

impl Gather {
    /// Whether `k` runs over 64s of channels first.
    #[inline(always)]
    #[must_use]
    pub const fn is_sliced(&self) -> bool {
        self.channels.is_multiple_of(STEP as u32)
    }
}

/// The numbers of one convolution.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Shape {
    /// The input, and the shortcut's input, which has no steps if there is none.
    pub inputs: [Gather; 2],
    /// Columns of the output.
    pub width: u32,
    /// Rows times columns of the output.
    pub image_pixels: u32,
    /// Pixels of all images.
    pub pixels: u32,
    /// Channels of the output, a multiple of 8.
    pub channels: u32,
    /// Tiles of channels.
    pub channel_tiles: u32,
    /// Blocks that share a tile: the blocks of a cluster.
    pub split: u32,
    /// Whether there is a residual to add.
    pub has_residual: u32,
    /// What is done to each sum at last.
    pub activation: Activation,
}
