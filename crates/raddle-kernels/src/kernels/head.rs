//! The end of a classifier in one launch: the mean over the pixels of an image, a product
//! with constant weights, and numbers in `f32`.
//!
//! A block has eight outputs, one for each warp, and computes the means of all channels
//! for itself: at few images that takes less than to wait for a kernel that does it once.
//! Weights are read before the kernel ahead has ended.

use raddle::device::hint::opaque;
use raddle::prelude::*;

use super::conv::{Activation, Half};

/// Outputs of a block, each a warp's.
pub const OUTPUTS: usize = 8;
/// Threads of a block.
pub const THREADS: usize = OUTPUTS * 32;
/// Channels at most: eight for each thread.
pub const CHANNELS_MAX: usize = THREADS * 8;
/// Eights of channels of a lane.
const EIGHTHS: usize = THREADS / 32;
/// Pixels of a thread that are read together.
const TOGETHER: usize = 8;

/// The numbers of a classifier's end.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Head {
    /// Pixels of an image.
    pub pixels: u32,
    /// Channels in memory, in eights: at most [`CHANNELS_MAX`].
    pub eighths: u32,
    /// Outputs, in eights.
    pub output_eighths: u32,
    /// What is done to each output at last.
    pub activation: Activation,
}

/// `out[image, o] = act(sum over c of weights[o, c] * (mean of input[image, .., c]) + bias[o])`,
/// with eight outputs of an image for each block.
#[kernel(block = THREADS as u32, arch = 90, instances(f16, bf16))]
pub fn head<T: Half + VectorElement<8>>(
    shape: Head,
    input: &[T],
    weights: &[T],
    bias: &[f32],
    mut out: PerBlock<f32, 1>,
) {
    allow_next_kernel();
    let (Some(input), Some(weights)) = (as_vectors::<T, 8>(input), as_vectors::<T, 8>(weights))
    else {
        return;
    };
    let eighths = shape.eighths.max(1) as usize;
    let mut parts = shared!([[f32; 8]; THREADS]);
    let mut totals = shared!([f32; THREADS]);
    for (index, mut chunk) in out.iter_mut() {
        let image = index / shape.output_eighths.max(1) as usize;
        let first_output = index % shape.output_eighths.max(1) as usize * OUTPUTS;
        let row = (first_output + warp() as usize) * eighths;
        let nothing = Vector::splat(T::ZERO);
        let own = unrolled::<Vector<T, 8>, EIGHTHS>(|i| {
            let eighth = i * 32 + lane() as usize;
            opaque(if eighth < eighths { weights[row + eighth] } else { nothing })
        });
        wait_for_previous_kernel();
        let pixels = shape.pixels as usize;
        let input = &input[image * pixels * eighths..][..pixels * eighths];
        let all = parts.gather(sums(input, eighths));
        let groups = THREADS / eighths;
        let mut sum = 0.0;
        unroll::<EIGHTHS>(|i| {
            let eighth = i * 32 + lane() as usize;
            if eighth < eighths {
                for group in 0..groups {
                    let part = all[group * eighths + eighth];
                    unroll::<8>(|k| sum += part[k] * own[i][k].to_f32());
                }
            }
        });
        let sum = Lanes::ALL.reduce(sum, |a, b| a + b);
        let totals = totals.gather(sum);
        for (output, out) in chunk.iter_mut() {
            let mean = totals[output * 32] / pixels as f32;
            *out = [shape.activation.of(mean + bias[first_output + output])];
        }
    }
}

/// A thread's sums of eight channels over some of an image's pixels: threads in groups of
/// `eighths` have every so many pixels.
#[inline(always)]
fn sums<T: Half + VectorElement<8>>(image: &[Vector<T, 8>], eighths: usize) -> [f32; 8] {
    let groups = THREADS / eighths;
    let (group, eighth) = (thread_x() as usize / eighths, thread_x() as usize % eighths);
    let mut sums = [0.0f32; 8];
    if group < groups {
        let nothing = Vector::splat(T::ZERO);
        let mut at = group * eighths + eighth;
        while at < image.len() {
            let elements = unrolled::<Vector<T, 8>, TOGETHER>(|i| {
                let at = at + i * groups * eighths;
                if at < image.len() { image[at] } else { nothing }
            });
            unroll::<TOGETHER>(|i| unroll::<8>(|k| sums[k] += elements[i][k].to_f32()));
            at += TOGETHER * groups * eighths;
        }
    }
    sums
}
