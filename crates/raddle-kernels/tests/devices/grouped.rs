//! Convolutions in groups: random shapes, windows, steps and groups, in all types.

use raddle::prelude::*;
use raddle_kernels::Activation;
use raddle_kernels::grouped::{Element, Grouped, Operands};

use crate::{Random, devices};

/// What a test adds to a convolution.
#[derive(Clone, Copy, Debug)]
struct Ending {
    has_bias: bool,
    has_residual: bool,
    activation: Activation,
}

const PLAIN: Ending =
    Ending { has_bias: false, has_residual: false, activation: Activation::IDENTITY };
const ALL: Ending =
    Ending { has_bias: true, has_residual: true, activation: Activation::clip(-0.5, 0.75) };

/// A convolution of so many groups with the output that its window leaves.
fn conv(
    [images, height, width]: [usize; 3],
    [groups, inputs, outputs]: [usize; 3],
    window: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
    [begins, ends]: [[usize; 2]; 2],
) -> Grouped {
    let size = [height, width];
    let output = std::array::from_fn(|axis| {
        let reach = (window[axis] - 1) * dilations[axis] + 1;
        (size[axis] + begins[axis] + ends[axis])
            .checked_sub(reach)
            .map_or(0, |rest| rest / strides[axis] + 1)
    });
    let pitches = [groups * inputs, groups * outputs];
    Grouped {
        images,
        size,
        output,
        pitches,
        groups,
        inputs,
        outputs,
        window,
        strides,
        dilations,
        begins,
    }
}

/// The same with channels in memory in eights.
fn in_eights(of: Grouped) -> Grouped {
    Grouped { pitches: of.pitches.map(|n| n.next_multiple_of(8)), ..of }
}

/// An element type of the test: what it rounds numbers to, and by how much results may be off.
trait Tested: Element + Float + Zeroable {
    const ERROR: f64;
}
impl Tested for f32 {
    const ERROR: f64 = 1.2e-7;
}
impl Tested for f16 {
    const ERROR: f64 = 5e-4;
}
impl Tested for bf16 {
    const ERROR: f64 = 4e-3;
}

/// Holds a convolution against loops in double precision.
fn check<T: Tested>(of: &Grouped, ending: Ending, seed: u64) {
    let mut random = Random(seed);
    let [height, width] = of.size;
    let (taps, channels) = (of.window[0] * of.window[1], of.groups * of.outputs);
    let mut input = vec![0.0; of.images * height * width * of.pitches[0]];
    for pixel in input.chunks_mut(of.pitches[0].max(1)) {
        pixel[..of.groups * of.inputs].fill_with(|| random.element());
    }
    let weights = random.elements(channels * of.inputs * taps);
    let bias = random.elements(channels);
    let mut residual = vec![0.0; of.output_len()];
    for pixel in residual.chunks_mut(of.pitches[1].max(1)) {
        pixel[..channels].fill_with(|| random.element());
    }
    let expected = |at: usize| {
        let (pixel, channel) = (at / of.pitches[1], at % of.pitches[1]);
        if channel >= channels {
            return (0.0, 0.0);
        }
        let (line, x) = (pixel / of.output[1], pixel % of.output[1]);
        let (image, y) = (line / of.output[0], line % of.output[0]);
        let group = channel / of.outputs;
        let (mut sum, mut size) = (0.0f64, 0.0f64);
        for tap in 0..taps {
            let (i, j) = (tap / of.window[1], tap % of.window[1]);
            let row = (y * of.strides[0] + i * of.dilations[0]).wrapping_sub(of.begins[0]);
            let column = (x * of.strides[1] + j * of.dilations[1]).wrapping_sub(of.begins[1]);
            if row >= height || column >= width {
                continue;
            }
            for k in 0..of.inputs {
                let pixel = (image * height + row) * width + column;
                let x = input[pixel * of.pitches[0] + group * of.inputs + k];
                let term =
                    f64::from(x) * f64::from(weights[(channel * of.inputs + k) * taps + tap]);
                (sum, size) = (sum + term, size + term.abs());
            }
        }
        if ending.has_bias {
            (sum, size) = (sum + f64::from(bias[channel]), size + 1.0);
        }
        if ending.has_residual {
            (sum, size) = (sum + f64::from(residual[at]), size + 1.0);
        }
        (f64::from(ending.activation.of(sum as f32)), size)
    };
    let terms = (taps * of.inputs + 2) as f64;
    let packed = of.pack(&weights).unwrap();
    let packed_bias = of.pack_bias(&bias).unwrap();
    let typed = |numbers: &[f32]| numbers.iter().map(|&x| T::from_f32(x)).collect::<Vec<T>>();
    for device in devices() {
        if device.compute_capability().is_some_and(|(major, _)| major < 9) && size_of::<T>() == 2 {
            continue;
        }
        let stream = device.stream().unwrap();
        let input = stream.upload(&typed(&input)).unwrap();
        let residual = stream.upload(&typed(&residual)).unwrap();
        let packed = stream.upload(&packed).unwrap();
        let packed_bias = stream.upload(&packed_bias).unwrap();
        let operands = Operands {
            input: input.as_slice(),
            weights: packed.as_slice(),
            bias: ending.has_bias.then(|| packed_bias.as_slice()),
            residual: ending.has_residual.then(|| residual.as_slice()),
        };
        let found = of.run(&stream, operands, ending.activation).unwrap().to_vec().unwrap();
        assert_eq!(found.len(), of.output_len());
        for (at, found) in found.iter().enumerate() {
            let (expected, size) = expected(at);
            let bound = 1e-6 + T::ERROR * expected.abs() + 1.2e-7 * terms * size;
            let error = (f64::from(found.to_f32()) - expected).abs();
            assert!(
                error <= bound,
                "{device} {of:?} {ending:?} at {at}: {found:?}, not {expected}"
            );
        }
    }
}

#[test]
fn depthwise_windows_that_are_unrolled() {
    for side in [3, 5, 7] {
        for step in [1, 2] {
            for (size, channels) in [([2, 9, 11], 12), ([1, 5, 4], 72), ([1, 8, 16], 4)] {
                let pad = side / 2;
                let of = conv(
                    size,
                    [channels, 1, 1],
                    [side; 2],
                    [step; 2],
                    [1, 1],
                    [[pad; 2], [pad; 2]],
                );
                check::<f32>(&of, ALL, 1);
                check::<f16>(&in_eights(of), ALL, 2);
                check::<bf16>(&in_eights(of), ALL, 3);
            }
        }
    }
    let plain = conv([1, 6, 7], [8, 1, 1], [3, 3], [1, 1], [1, 1], [[0; 2], [0; 2]]);
    check::<f32>(&plain, PLAIN, 4);
    check::<bf16>(&plain, PLAIN, 5);
    // Channels in memory that are no whole vectors.
    let of = conv([1, 6, 7], [13, 1, 1], [3, 3], [1, 1], [1, 1], [[1; 2], [1; 2]]);
    check::<f32>(&of, ALL, 6);
    check::<f16>(&of, ALL, 7);
    check::<f16>(&Grouped { pitches: [20; 2], ..of }, ALL, 8);
}

#[test]
fn functions_behind_the_sums() {
    let of = conv([1, 4, 5], [8, 1, 1], [3, 3], [1, 1], [1, 1], [[1; 2], [1; 2]]);
    for activation in [Activation::RELU, Activation::HARD_SWISH, Activation::SILU] {
        check::<f32>(&of, Ending { has_bias: true, has_residual: false, activation }, 5);
        check::<f16>(&of, Ending { has_bias: true, has_residual: true, activation }, 6);
    }
}

#[test]
fn random_convolutions_in_groups() {
    let mut random = Random(0x1234_5678_9abc);
    for case in 0..60 {
        let mut number =
            |least: usize, most: usize| least + (random.next() >> 20) as usize % (most - least + 1);
        let [groups, inputs, outputs] = match case % 4 {
            0 => [number(1, 9), 1, 1],
            1 => [number(1, 5), 1, number(2, 5)],
            2 => [number(2, 4), 4, 4 * number(1, 2)],
            _ => [number(2, 3), number(2, 5), number(1, 5)],
        };
        let window = [number(1, 4), number(1, 4)];
        let pads = [[number(0, 2), number(0, 2)], [number(0, 2), number(0, 2)]];
        let size = [number(1, 2), number(4, 9), number(4, 13)];
        let strides = [number(1, 3), number(1, 3)];
        let dilations = [number(1, 2), number(1, 2)];
        let of = conv(size, [groups, inputs, outputs], window, strides, dilations, pads);
        let ending = if case % 3 == 0 { PLAIN } else { ALL };
        check::<f32>(&of, ending, case + 10);
        check::<f16>(&in_eights(of), ending, case + 10);
        check::<bf16>(&in_eights(of), ending, case + 10);
    }
}

#[test]
fn special_numbers_stay_in_their_windows() {
    let of = conv([1, 5, 9], [4, 1, 1], [3, 3], [1, 1], [1, 1], [[1; 2], [1; 2]]);
    // Corners, which pieces at the edge read for places outside.
    let corners = [0, 8, 4 * 9, 4 * 9 + 8];
    let mut input = vec![1.0f32; 5 * 9 * 4];
    for (corner, special) in corners.iter().zip([f32::NAN, f32::INFINITY, f32::NAN, -f32::INFINITY])
    {
        input[corner * 4] = special;
    }
    let packed = of.pack(&[0.5; 4 * 9]).unwrap();
    for device in devices() {
        let stream = device.stream().unwrap();
        let (input, packed) = (stream.upload(&input).unwrap(), stream.upload(&packed).unwrap());
        let operands = Operands {
            input: input.as_slice(),
            weights: packed.as_slice(),
            bias: None,
            residual: None,
        };
        let bounds = Activation::clip(0.0, 6.0);
        let found = of.run(&stream, operands, bounds).unwrap().to_vec().unwrap();
        for (at, found) in found.iter().enumerate() {
            let (pixel, channel) = (at / 4, at % 4);
            let (y, x) = (pixel / 9, pixel % 9);
            let [top, bottom] = [y <= 1, y >= 3];
            let [left, right] = [x <= 1, x >= 7];
            let inside = |at: usize, len: usize| if at == 0 || at + 1 == len { 2.0 } else { 3.0 };
            let plain = 0.5f32 * inside(y, 5) * inside(x, 9);
            match (channel, top, bottom, left, right) {
                (0, true, _, true, _) | (0, _, true, true, _) => assert!(found.is_nan(), "{at}"),
                (0, true, _, _, true) => assert_eq!(*found, 6.0, "{device} {at}"),
                (0, _, true, _, true) => assert_eq!(*found, 0.0, "{device} {at}"),
                _ => assert_eq!(*found, plain.min(6.0), "{device} {at}"),
            }
        }
    }
}

#[test]
fn numbers_that_do_not_go_together_are_refused() {
    let of = conv([1, 5, 9], [4, 1, 1], [3, 3], [1, 1], [1, 1], [[1; 2], [1; 2]]);
    let device = Device::cpu();
    let stream = device.stream().unwrap();
    let elements = stream.zeros::<f32>(5 * 9 * 4).unwrap();
    let run = |of: &Grouped, input: usize| {
        let operands = Operands {
            input: elements.slice(..input).unwrap(),
            weights: elements.as_slice(),
            bias: None,
            residual: None,
        };
        of.run(&stream, operands, Activation::IDENTITY).map(drop).map_err(|it| it.to_string())
    };
    assert_eq!(run(&of, 180), Ok(()));
    let short = run(&of, 176).unwrap_err();
    assert!(short.contains("expected 180 elements of input, found 176"), "{short}");
    let narrow = run(&Grouped { pitches: [3, 4], ..of }, 180).unwrap_err();
    assert!(narrow.contains("expected room for [4, 4] channels, found [3, 4]"), "{narrow}");
    let empty = run(&Grouped { strides: [0, 1], ..of }, 180).unwrap_err();
    assert!(empty.contains("expected no zeros"), "{empty}");
    let many = run(&Grouped { images: 1 << 26, ..of }, 180).unwrap_err();
    assert!(many.contains("more than the kernel can count"), "{many}");
    let weights = of.pack(&[0.0; 35]).unwrap_err().to_string();
    assert!(weights.contains("expected 36 elements of weights, found 35"), "{weights}");
}
