//! Windows that slide over up to six dimensions: pooling and convolution, one element
//! of the output at a time, for any padding, stride, dilation and number of groups.

use raddle::device::unroll::unroll;
use raddle::prelude::*;

use super::reduce::Reduced;
use super::scalar::{Compute, Scalar, codes, word};

/// Most dimensions that a window has.
pub const SPACE_MAX: usize = 6;

codes! {
    /// What is made of the elements in a window.
    Pooling {
        Max,
        /// The place of the largest element in its image.
        MaxAt,
        Mean,
        /// The root of a sum of powers.
        Power,
    }
}

/// A window and what it slides over; dimensions that there are not have length 1.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Sliding {
    /// Input.
    pub input: [u32; SPACE_MAX],
    /// Output.
    pub output: [u32; SPACE_MAX],
    /// Window.
    pub window: [u32; SPACE_MAX],
    /// Steps of the window.
    pub strides: [u32; SPACE_MAX],
    /// Distance of the window's elements.
    pub dilations: [u32; SPACE_MAX],
    /// Elements before the input.
    pub begins: [i32; SPACE_MAX],
    /// Elements behind it.
    pub ends: [i32; SPACE_MAX],
    /// Code of the input's elements.
    pub scalar: u32,
    /// Code of the output's elements.
    pub scalar_out: u32,
    /// Elements of the output.
    pub len: u32,
}

impl Sliding {
    #[inline(always)]
    fn count(dims: &[u32; SPACE_MAX]) -> u32 {
        dims.iter().product()
    }

    /// The coordinates of an index.
    #[inline(always)]
    fn coordinates(dims: &[u32; SPACE_MAX], index: u32) -> [u32; SPACE_MAX] {
        let (mut rest, mut at) = (index, [0; SPACE_MAX]);
        for axis in (0..SPACE_MAX).rev() {
            at[axis] = rest % dims[axis];
            rest /= dims[axis];
        }
        at
    }

    /// The input's element under an element of the window, and whether that place is
    /// within the padding at least.
    #[inline(always)]
    fn place(&self, at: &[u32; SPACE_MAX], tap: u32) -> (Option<u32>, bool) {
        let tap = Self::coordinates(&self.window, tap);
        let (mut index, mut is_inside, mut is_padded) = (0, true, true);
        for axis in 0..SPACE_MAX {
            let c = (at[axis] * self.strides[axis] + tap[axis] * self.dilations[axis]) as i32
                - self.begins[axis];
            let len = self.input[axis] as i32;
            is_inside &= c >= 0 && c < len;
            is_padded &= c < len + self.ends[axis];
            index = index * len + c;
        }
        (is_inside.then_some(index as u32), is_padded)
    }

    /// The output of a transposed convolution that adds to `at`: the input's element
    /// whose window has this element there.
    #[inline(always)]
    fn transposed_place(&self, at: &[u32; SPACE_MAX], tap: u32) -> Option<u32> {
        let tap = Self::coordinates(&self.window, tap);
        let (mut index, mut is_inside) = (0, true);
        for axis in 0..SPACE_MAX {
            let c = at[axis] as i32 + self.begins[axis] - (tap[axis] * self.dilations[axis]) as i32;
            let stride = self.strides[axis] as i32;
            is_inside &= c >= 0 && c % stride == 0 && c / stride < self.input[axis] as i32;
            index = index * self.input[axis] as i32 + c / stride;
        }
        is_inside.then_some(index as u32)
    }
}

/// What a pooling makes of windows.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Pool {
    /// Code of the pooling.
    pub pooling: u32,
    /// Whether the mean counts elements of the padding, as zeros.
    pub counts_padding: u32,
    /// Whether places count columns first.
    pub is_column_major: u32,
    /// The power.
    pub power: u32,
}

/// Pools `[image and channel, ..]`.
#[kernel(block = 128, instances(f64, i64))]
pub fn pool_any<W: Reduced>(shape: Sliding, pool: Pool, input: &[u64], mut out: PerThread<u64>) {
    let (pixels, taps) = (Sliding::count(&shape.input), Sliding::count(&shape.window));
    let outputs = Sliding::count(&shape.output);
    let pooling = Pooling::of(pool.pooling);
    for (index, out) in out.iter_mut() {
        *out = word(index, Scalar::of(shape.scalar_out).shift(), shape.len, |at| {
            let (plane, pixel) = (at / outputs, at % outputs);
            let at = Sliding::coordinates(&shape.output, pixel);
            let (mut best, mut place) = (W::extreme(true, shape.scalar), 0);
            let (mut sum, mut count, mut is_first) = (0f64, 0u32, true);
            for tap in 0..taps {
                let (from, is_padded) = shape.place(&at, tap);
                count += u32::from(from.is_some() || is_padded && pool.counts_padding != 0);
                let Some(from) = from else { continue };
                let index = (plane * pixels + from) as usize;
                match pooling {
                    Pooling::Max | Pooling::MaxAt => {
                        let x = W::load(input, shape.scalar, index);
                        if is_first || x.is_more(best, false) {
                            (best, place, is_first) = (x, from, false);
                        }
                    }
                    Pooling::Mean => sum += f64::load(input, shape.scalar, index),
                    Pooling::Power => {
                        let x = f64::load(input, shape.scalar, index).abs();
                        sum += x.powi(pool.power as i32);
                    }
                }
            }
            match pooling {
                Pooling::Max => best.store(shape.scalar_out),
                Pooling::Mean => (sum / f64::from(count)).store(shape.scalar_out),
                Pooling::Power => sum.powf(1.0 / f64::from(pool.power)).store(shape.scalar_out),
                Pooling::MaxAt => {
                    if pool.is_column_major != 0 {
                        let at = Sliding::coordinates(&shape.input, place);
                        place = 0;
                        for axis in (0..SPACE_MAX).rev() {
                            place = place * shape.input[axis] + at[axis];
                        }
                    }
                    u64::from(plane * pixels + place)
                }
            }
        });
    }
}

/// Pooling of `f32` over two dimensions: the largest elements, or means.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Plane {
    /// Rows and columns of the input.
    pub input: [i32; 2],
    /// Rows and columns of the output.
    pub output: [u32; 2],
    /// Rows and columns of the window.
    pub window: [i32; 2],
    /// Steps of the window.
    pub strides: [i32; 2],
    /// Distance of the window's elements.
    pub dilations: [i32; 2],
    /// Elements before the input, and behind it.
    pub begins: [i32; 2],
    /// Behind it.
    pub ends: [i32; 2],
    /// Elements of a pixel that lie together: the channels, or one where planes lie behind
    /// each other.
    pub inner: u32,
    /// Whether the largest elements are wanted.
    pub is_max: u32,
    /// Whether the mean counts elements of the padding, as zeros.
    pub counts_padding: u32,
}

impl Plane {
    /// Pools `N` neighbours of a pixel: the output's number `index` of so many, with the
    /// input's as `element` gives them. A window without elements gives negative infinity,
    /// or a mean that is no number.
    #[inline(always)]
    fn pooled<const N: usize>(
        &self,
        index: u32,
        groups: u32,
        element: impl Fn(usize) -> [f32; N],
    ) -> [f32; N] {
        let [pixel, group] = divided(index, groups);
        let [line, column] = divided(pixel, self.output[1]);
        let [plane, row] = divided(line, self.output[0]);
        let top = row as i32 * self.strides[0] - self.begins[0];
        let left = column as i32 * self.strides[1] - self.begins[1];
        let [height, width] = self.input;
        let is_max = self.is_max != 0;
        let (mut largest, mut sums, mut count) = ([f32::NEG_INFINITY; N], [0.0f64; N], 0u32);
        for i in 0..self.window[0] {
            for j in 0..self.window[1] {
                let (y, x) = (top + i * self.dilations[0], left + j * self.dilations[1]);
                let is_inside = y >= 0 && x >= 0 && y < height && x < width;
                let is_padded = y < height + self.ends[0] && x < width + self.ends[1];
                count += u32::from(is_inside || is_padded && self.counts_padding != 0);
                if is_inside {
                    let pixel = (plane as i32 * height + y) * width + x;
                    let elements = element(pixel as usize * groups as usize + group as usize);
                    unroll::<N>(|k| {
                        let is_more = elements[k] > largest[k] || elements[k].is_nan();
                        if is_max {
                            largest[k] = if is_more { elements[k] } else { largest[k] };
                        } else {
                            sums[k] += f64::from(elements[k]);
                        }
                    });
                }
            }
        }
        if is_max { largest } else { sums.map(|sum| (sum / f64::from(count)) as f32) }
    }
}

/// Quotient and remainder; never panics.
#[inline(always)]
fn divided(x: u32, by: u32) -> [u32; 2] {
    let by = by.max(1);
    [x / by, x % by]
}

/// Pools planes, an element to a thread.
#[kernel(block = 256)]
pub fn pool_planes(shape: Plane, input: &[f32], mut out: PerThread<f32>) {
    for (index, out) in out.iter_mut() {
        [*out] = shape.pooled(index as u32, shape.inner, |at| [input[at]]);
    }
}

/// Pools images whose channels are whole fours and lie together, four to a thread.
#[kernel(block = 256)]
pub fn pool_fours(shape: Plane, input: &[f32], mut out: PerThreadChunks<f32, 4>) {
    let Some(input) = as_vectors::<f32, 4>(input) else { return };
    for (index, out) in out.iter_mut() {
        *out = shape.pooled(index as u32, shape.inner / 4, |at| input[at].to_array());
    }
}

/// Channels of a convolution.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Channels {
    /// Groups.
    pub groups: u32,
    /// Channels that a group reads.
    pub inputs: u32,
    /// Channels that a group makes.
    pub outputs: u32,
    /// Whether the window's elements are spread and not gathered.
    pub is_transposed: u32,
    /// Whether there is a bias.
    pub has_bias: u32,
    /// Code of the weights' elements.
    pub weights: u32,
}

/// Convolves `[image, channel, ..]` with `[output, channel of a group, ..]`; the weights
/// of a transposed convolution are `[channel, output of a group, ..]`.
#[kernel(block = 128, instances(f32, f64, i64))]
pub fn convolve<W: Compute>(
    shape: Sliding,
    channels: Channels,
    input: &[u64],
    weights: &[u64],
    bias: &[u64],
    mut out: PerThread<u64>,
) {
    let (pixels, taps) = (Sliding::count(&shape.input), Sliding::count(&shape.window));
    let outputs = Sliding::count(&shape.output);
    let Channels { groups, inputs: depth, outputs: width, .. } = channels;
    for (index, out) in out.iter_mut() {
        *out = word(index, Scalar::of(shape.scalar_out).shift(), shape.len, |at| {
            let (plane, pixel) = (at / outputs, at % outputs);
            let (image, channel) = (plane / (groups * width), plane % (groups * width));
            let (group, output) = (channel / width, channel % width);
            let at = Sliding::coordinates(&shape.output, pixel);
            let mut sum = match channels.has_bias {
                0 => W::ZERO,
                _ => W::load(bias, channels.weights, channel as usize),
            };
            for tap in 0..taps {
                let from = match channels.is_transposed {
                    0 => shape.place(&at, tap).0,
                    _ => shape.transposed_place(&at, tap),
                };
                let Some(from) = from else { continue };
                for k in 0..depth {
                    let plane = (image * groups + group) * depth + k;
                    let x = W::load(input, shape.scalar, (plane * pixels + from) as usize);
                    let filter = match channels.is_transposed {
                        0 => channel * depth + k,
                        _ => (group * depth + k) * width + output,
                    };
                    let w = W::load(weights, channels.weights, (filter * taps + tap) as usize);
                    sum = sum.plus(x.times(w));
                }
            }
            sum.store(shape.scalar_out)
        });
    }
}
