//! Images with their channels in blocks of sixteen: `[blocks, height, width, 16]`.
//!
//! A block at a place is one or two vectors, whatever the width of the image is,
//! so that windows need no columns side by side, no padded copies and no room
//! behind short rows: a tap reads where it lies. Channels that fill up the last
//! block are finite numbers, which weights of zero keep from counting.
//!
//! [`direct`] is convolution as it is defined, [`winograd`] the form with fewer
//! multiplications, [`depthwise`] the one with a window for each channel, [`pool`]
//! pooling. All of them read [`Axis`] for which taps lie in the image.

mod axis;
pub mod depthwise;
pub mod direct;
pub mod pool;
#[cfg(test)]
mod tests;
pub mod winograd;

pub use axis::{Axis, Run};

use crate::parallel;

/// Channels of a block.
pub const BLOCK_LEN: usize = 16;

/// A block at one place.
pub type Block = [f32; BLOCK_LEN];

/// Fewest elements of a result that are worth a task of their own.
const PART_LEN_MIN: usize = 1 << 13;

/// Brings channels into blocks: `planes: [images, channels, places]`, `out: [images,
/// blocks, places, 16]`.
pub fn block(planes: &[f32], channels: usize, places: usize, out: &mut [f32]) {
    let blocks = channels.div_ceil(BLOCK_LEN);
    if out.is_empty() {
        return;
    }
    parallel::parts(out, places * BLOCK_LEN, &|at, out| {
        let (image, first) = (at / blocks, at % blocks * BLOCK_LEN);
        let own = (channels - first).min(BLOCK_LEN);
        let planes = &planes[(image * channels + first) * places..][..own * places];
        let out = out.as_chunks_mut::<BLOCK_LEN>().0;
        for start in (0..places).step_by(NEAR_PLACES) {
            let len = (places - start).min(NEAR_PLACES);
            let out = &mut out[start..start + len];
            for (lane, plane) in planes.chunks_exact(places).enumerate() {
                let plane = &plane[start..start + len];
                out.iter_mut().zip(plane).for_each(|(out, &x)| out[lane] = x);
            }
            out.iter_mut().for_each(|out| out[own..].fill(0.0));
        }
    });
}

/// Brings channels out of blocks: the reverse of [`block`].
pub fn unblock(blocked: &[f32], channels: usize, places: usize, out: &mut [f32]) {
    let blocks = channels.div_ceil(BLOCK_LEN);
    if out.is_empty() {
        return;
    }
    let image_len = channels * places;
    for (image, out) in out.chunks_mut(image_len).enumerate() {
        let blocked = &blocked[image * blocks * places * BLOCK_LEN..];
        parallel::parts(out, places * BLOCK_LEN, &|at, planes| {
            let from = blocked[at * places * BLOCK_LEN..].as_chunks::<BLOCK_LEN>().0;
            for start in (0..places).step_by(NEAR_PLACES) {
                let len = (places - start).min(NEAR_PLACES);
                let from = &from[start..start + len];
                for (lane, plane) in planes.chunks_exact_mut(places).enumerate() {
                    let plane = &mut plane[start..start + len];
                    plane.iter_mut().zip(from).for_each(|(x, from)| *x = from[lane]);
                }
            }
        });
    }
}

/// Places whose blocks stay in the nearest cache while all lanes pass by.
const NEAR_PLACES: usize = 128;

/// One number for each channel, filled up with zeros to whole blocks.
pub fn pad(numbers: &[f32]) -> Vec<f32> {
    let mut padded = numbers.to_vec();
    padded.resize(numbers.len().next_multiple_of(BLOCK_LEN), 0.0);
    padded
}
