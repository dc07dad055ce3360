//! Every form agrees with its definition, for all instructions that this machine has.

use pulp::Arch;

use super::depthwise::{self, Depthwise};
use super::direct::{self, Direct};
use super::pool::{self, Reduction};
use super::winograd::{self, Winograd};
use super::*;
use crate::product::Activation;

/// A number between -1 and 1 for each index.
fn numbers(len: usize, seed: usize) -> Vec<f32> {
    let number = |at: usize| ((at + seed) * 2_654_435_761 % 1009) as f32 / 504.5 - 1.0;
    (0..len).map(number).collect()
}

fn arches() -> Vec<Arch> {
    let mut arches = vec![Arch::Scalar, Arch::new()];
    #[cfg(target_arch = "x86_64")]
    arches.extend(pulp::x86::V3::try_new().map(Arch::V3));
    arches
}

/// A window over two dimensions.
fn axes(input: [usize; 2], kernel: [usize; 2], steps: [usize; 2], begins: [usize; 2]) -> [Axis; 2] {
    [0, 1].map(|at| {
        // As much padding behind as ahead; dilated where there is room.
        let dilation = if kernel[at] == 2 { 2 } else { 1 };
        let reach = (kernel[at] - 1) * dilation + 1;
        let output = (input[at] + 2 * begins[at] - reach) / steps[at] + 1;
        let (input, kernel, step, begin) = (input[at], kernel[at], steps[at], begins[at]);
        Axis { input, output, kernel, step, dilation, begin }
    })
}

/// Channels in blocks, whose filling is `filling`.
fn in_blocks(planes: &[f32], channels: usize, places: usize, filling: f32) -> Vec<f32> {
    let images = planes.len() / channels / places;
    let blocks = channels.div_ceil(BLOCK_LEN);
    let mut out = vec![f32::NAN; images * blocks * places * BLOCK_LEN];
    block(planes, channels, places, &mut out);
    for (at, out) in out.chunks_mut(places * BLOCK_LEN).enumerate() {
        for lane in 0..BLOCK_LEN {
            if at % blocks * BLOCK_LEN + lane >= channels {
                out.iter_mut().skip(lane).step_by(BLOCK_LEN).for_each(|x| *x = filling);
            }
        }
    }
    out
}

fn out_of_blocks(blocked: &[f32], channels: usize, places: usize) -> Vec<f32> {
    let images = blocked.len() / places / channels.next_multiple_of(BLOCK_LEN);
    let mut out = vec![f32::NAN; images * channels * places];
    unblock(blocked, channels, places, &mut out);
    out
}

/// A convolution with bias, residual and activation by definition; `groups` is one, or
/// the number of channels.
struct Case {
    images: usize,
    channels: usize,
    outputs: usize,
    groups: usize,
    axes: [Axis; 2],
    activation: Activation,
}

impl Case {
    fn places(&self) -> [usize; 2] {
        let [y, x] = self.axes;
        [y.input * x.input, y.output * x.output]
    }

    fn taps(&self) -> usize {
        self.axes[0].kernel * self.axes[1].kernel
    }

    fn image(&self) -> Vec<f32> {
        numbers(self.images * self.channels * self.places()[0], 3)
    }

    fn weights(&self) -> Vec<f32> {
        numbers(self.outputs * self.channels / self.groups * self.taps(), 5)
    }

    fn bias(&self) -> Vec<f32> {
        numbers(self.outputs, 7)
    }

    fn residual(&self) -> Vec<f32> {
        numbers(self.images * self.outputs * self.places()[1], 11)
    }

    fn expected(&self) -> Vec<f32> {
        let (image, weights, [y_axis, x_axis]) = (self.image(), self.weights(), self.axes);
        let mut sums = self.residual();
        let depth = self.channels / self.groups;
        for (at, out) in sums.iter_mut().enumerate() {
            let (plane, place) = (at / self.places()[1], at % self.places()[1]);
            let (y, x) = (place / x_axis.output, place % x_axis.output);
            let (n, o) = (plane / self.outputs, plane % self.outputs);
            let mut sum = f64::from(*out) + f64::from(self.bias()[o]);
            for (k, tap) in (0..depth).flat_map(|k| (0..self.taps()).map(move |tap| (k, tap))) {
                let inside = |axis: &Axis, at: usize, tap: usize| {
                    (at * axis.step + tap * axis.dilation)
                        .checked_sub(axis.begin)
                        .filter(|&at| at < axis.input)
                };
                let row = inside(&y_axis, y, tap / x_axis.kernel);
                let column = inside(&x_axis, x, tap % x_axis.kernel);
                let channel = if self.groups > 1 { o } else { k };
                if let (Some(row), Some(column)) = (row, column) {
                    let from = (n * self.channels + channel) * self.places()[0];
                    let x = image[from + row * x_axis.input + column];
                    sum += f64::from(x) * f64::from(weights[(o * depth + k) * self.taps() + tap]);
                }
            }
            *out = sum as f32;
        }
        self.activation.apply(&mut sums);
        sums
    }

    fn check(&self, run: impl Fn(Arch, &[f32], &[f32], &[f32], &mut [f32]), bound: f32) {
        let expected = self.expected();
        let places = self.places();
        let bias = pad(&self.bias());
        let residual = in_blocks(&self.residual(), self.outputs, places[1], 0.0);
        let image = in_blocks(&self.image(), self.channels, places[0], 3.5);
        for arch in arches() {
            let mut out = vec![f32::NAN; residual.len()];
            run(arch, &image, &bias, &residual, &mut out);
            assert!(out.iter().all(|x| x.is_finite()), "everything is written");
            let found = out_of_blocks(&out, self.outputs, places[1]);
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() <= bound, "{found} for {expected}");
            }
        }
    }
}

const SILU: Activation = Activation::Silu;
const CLIP: Activation = Activation::Clip(-0.5, 1.5);

#[test]
fn convolutions_agree_with_their_definition() {
    for (images, channels, outputs, axes, activation) in [
        (1, 16, 16, axes([5, 6], [1, 1], [1, 1], [0, 0]), Activation::Relu),
        (2, 40, 50, axes([7, 9], [1, 1], [1, 1], [0, 0]), SILU),
        (1, 17, 70, axes([9, 13], [1, 1], [2, 2], [0, 0]), CLIP),
        (1, 200, 33, axes([3, 7], [3, 3], [1, 1], [1, 1]), SILU),
        (3, 3, 20, axes([15, 19], [7, 7], [2, 2], [3, 3]), Activation::Relu),
        (1, 12, 9, axes([8, 5], [2, 3], [1, 2], [2, 4]), Activation::Identity),
    ] {
        let case = Case { images, channels, outputs, groups: 1, axes, activation };
        let (weights, planes) = (case.weights(), case.image());
        let bound = 2e-6 * (channels * case.taps()) as f32 + 1e-5;
        for has_planes in [false, true] {
            let dims = [outputs, channels, case.taps()];
            let packed = direct::pack(&weights, dims, has_planes);
            let lanes = if has_planes { 1 } else { BLOCK_LEN };
            let run = |arch, image: &[f32], bias: &[f32], residual: &[f32], out: &mut [f32]| {
                let conv = Direct {
                    arch,
                    source: if has_planes { &planes } else { image },
                    depth: channels.div_ceil(lanes),
                    depth_step: case.places()[0] * lanes,
                    has_planes,
                    axes,
                    weights: &packed,
                    outputs: outputs.div_ceil(BLOCK_LEN),
                    bias: Some(bias),
                    residual: Some(residual),
                    activation,
                };
                direct::run(&conv, out);
            };
            case.check(run, bound);
        }
    }
}

#[test]
fn winograds_form_agrees_with_the_definition() {
    for (channels, outputs, input, begins) in [
        (1, 1, [3, 3], [0, 0]),
        (16, 20, [14, 14], [1, 1]),
        (5, 7, [9, 50], [1, 1]),
        (130, 13, [7, 6], [0, 2]),
        (3, 4, [11, 5], [5, 6]),
        (72, 12, [57, 45], [1, 1]),
    ] {
        for activation in [Activation::Relu, SILU] {
            let axes = axes(input, [3, 3], [1, 1], begins);
            let case = Case { images: 1, channels, outputs, groups: 1, axes, activation };
            let packed = winograd::pack(&case.weights(), outputs, channels);
            let blocks = outputs.div_ceil(BLOCK_LEN);
            let depth = channels.div_ceil(BLOCK_LEN);
            assert_eq!(packed.len(), winograd::packed_len(blocks, depth));
            let run = |arch, image: &[f32], bias: &[f32], residual: &[f32], out: &mut [f32]| {
                let conv = Winograd {
                    arch,
                    packed: &packed,
                    image,
                    depth,
                    outputs: blocks,
                    axes,
                    bias: Some(bias),
                    residual: Some(residual),
                    activation,
                };
                winograd::run(&conv, out);
            };
            // The transforms magnify the error of a sum in f32.
            case.check(run, 4e-6 * (channels as f32 + 10.0));
        }
    }
}

#[test]
fn convolutions_with_a_window_for_each_channel_agree_with_their_definition() {
    for (images, channels, axes, activation) in [
        (1, 16, axes([5, 6], [3, 3], [1, 1], [1, 1]), Activation::Relu),
        (2, 40, axes([7, 29], [3, 3], [2, 2], [1, 1]), SILU),
        (1, 9, axes([12, 9], [5, 5], [2, 1], [2, 2]), CLIP),
        (1, 33, axes([70, 37], [2, 7], [1, 1], [1, 3]), Activation::Identity),
    ] {
        let case = Case { images, channels, outputs: channels, groups: channels, axes, activation };
        let packed = depthwise::pack(&case.weights(), channels);
        let blocks = channels.div_ceil(BLOCK_LEN);
        let run = |arch, image: &[f32], bias: &[f32], residual: &[f32], out: &mut [f32]| {
            let conv = Depthwise {
                arch,
                source: image,
                blocks,
                axes,
                weights: &packed,
                bias: Some(bias),
                residual: Some(residual),
                activation,
            };
            depthwise::run(&conv, out);
        };
        case.check(run, 1e-5);
    }
}

#[test]
fn pooling_agrees_with_its_definition() {
    let axes = axes([9, 12], [3, 3], [2, 2], [1, 1]);
    let [y_axis, x_axis] = axes;
    let planes = numbers(20 * 9 * 12, 3);
    let image = in_blocks(&planes, 20, 9 * 12, 0.0);
    let places = y_axis.output * x_axis.output;
    for reduction in [Reduction::Largest, Reduction::Mean, Reduction::PaddedMean([0, 0])] {
        let mut out = vec![f32::NAN; 2 * places * BLOCK_LEN];
        pool::run(&image, axes, reduction, &mut out);
        for (at, &found) in out_of_blocks(&out, 20, places).iter().enumerate() {
            let (plane, y, x) = (at / places, at % places / x_axis.output, at % x_axis.output);
            let padded = |axis: &Axis, at: usize, end: usize| {
                (0..3).filter(|tap| at * 2 + tap < axis.input + 1 + end).count()
            };
            let covered = (0..9).filter_map(|tap| {
                let (row, column) =
                    ((y * 2 + tap / 3).checked_sub(1)?, (x * 2 + tap % 3).checked_sub(1)?);
                (row < 9 && column < 12).then(|| planes[plane * 108 + row * 12 + column])
            });
            let covered: Vec<f32> = covered.collect();
            let sum: f32 = covered.iter().sum();
            let expected = match reduction {
                Reduction::Largest => covered.iter().copied().fold(f32::MIN, f32::max),
                Reduction::Mean => sum / covered.len() as f32,
                Reduction::PaddedMean(ends) => {
                    sum / (padded(&y_axis, y, ends[0]) * padded(&x_axis, x, ends[1])) as f32
                }
            };
            assert!((found - expected).abs() < 1e-5, "{reduction:?}: {found} for {expected}");
        }
    }
    let mut out = vec![f32::NAN; 2 * BLOCK_LEN];
    pool::global_mean(&image, 9 * 12, &mut out);
    for (found, plane) in out.iter().zip(planes.chunks(9 * 12)) {
        assert!((found - plane.iter().sum::<f32>() / 108.0).abs() < 1e-5);
    }
}
