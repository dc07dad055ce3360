//! Convolutions: all tile shapes and splits, odd sizes, strides, paddings, dilations,
//! shortcuts and residuals.

use raddle::prelude::*;
use raddle_kernels::conv::{Choice, Convolution, Filters, Operands, Tile, Tiled, Weights, Window};
use raddle_kernels::{Activation, Error};

use crate::reference::{self, Conv};
use crate::{Random, devices};

const PLAIN: Conv = Conv {
    images: 2,
    size: [9, 7],
    channels: [16, 16],
    outputs: 24,
    filter: [3, 3],
    stride: [1, 1],
    padding: [1, 1],
    dilation: [1, 1],
    output: [9, 7],
};

fn window(shape: &Conv) -> Window {
    Window {
        size: shape.size,
        channels: shape.channels[0],
        filter: shape.filter,
        stride: shape.stride,
        padding: shape.padding,
        dilation: shape.dilation,
    }
}

/// Runs a convolution with everything that it can have and compares all elements.
fn check<T: Tiled>(
    shape: &Conv,
    shortcut: Option<&Conv>,
    has_residual: bool,
    choice: Option<Choice>,
    activation: Activation,
) {
    let mut random = Random(0x5eed + shape.outputs as u64);
    let mut operand = |shape: &Conv| {
        let pixels = shape.images * shape.size[0] * shape.size[1];
        let filters = shape.outputs * shape.channels[1] * shape.filter[0] * shape.filter[1];
        (random.elements(pixels * shape.channels[0]), random.elements(filters))
    };
    let (input, filters) = operand(shape);
    let second = shortcut.map(|shape| (shape, operand(shape)));
    let bias = random.elements(shape.outputs);
    let pitch = shape.outputs.next_multiple_of(8);
    let pixels = shape.images * shape.output[0] * shape.output[1];
    let residual = random.elements(pixels * pitch);
    let mut expected = reference::conv(shape, &input, &filters);
    if let Some((shape, (input, filters))) = &second {
        let sums = reference::conv(shape, input, filters);
        expected.iter_mut().zip(sums).for_each(|(sum, more)| *sum += more);
    }
    let depth = shape.channels[1] * shape.filter[0] * shape.filter[1];
    for device in devices() {
        let stream = device.stream().unwrap();
        let upload = |elements: &[f32]| {
            stream.upload(&elements.iter().map(|&x| T::from_f32(x)).collect::<Vec<_>>()).unwrap()
        };
        let filters_of = |shape: &Conv, elements| Filters {
            elements,
            channels: shape.channels[1],
            window: window(shape),
        };
        let weights = Weights::<T>::pack(
            &stream,
            shape.outputs,
            Filters { elements: &filters, ..filters_of(shape, &[]) },
            second
                .as_ref()
                .map(|(shape, (_, elements))| Filters { elements, ..filters_of(shape, &[]) }),
            Some(&bias),
        )
        .unwrap();
        let windows = [Some(window(shape)), shortcut.map(window)];
        let mut conv =
            Convolution::new(&weights, windows, shape.images, shape.output, activation, 132)
                .unwrap();
        if let Some(choice) = choice {
            conv = conv.with_choice(choice);
        }
        let first = upload(&input);
        let second = second.as_ref().map(|(_, (input, _))| upload(input));
        let residual_on = has_residual.then(|| upload(&residual));
        let operands = Operands {
            input: first.as_slice(),
            shortcut: second.as_ref().map(Buffer::as_slice),
            weights: &weights,
            residual: residual_on.as_ref().map(Buffer::as_slice),
        };
        let found = conv.run(&stream, operands).unwrap().to_vec().unwrap();
        for (at, found) in found.iter().enumerate() {
            let (pixel, output) = (at / pitch, at % pitch);
            let added = if has_residual { residual[at] } else { 0.0 };
            let sum = match output < shape.outputs {
                true => expected[pixel * shape.outputs + output] + f64::from(bias[output]),
                false => 0.0,
            };
            let wanted = activation.of((sum + f64::from(added)) as f32);
            // One rounding to 16 bits, and the order of the sum in f32.
            let epsilon = T::from_f32(1.0 + 1.0 / 128.0).to_f32() - 1.0;
            let tolerance = wanted.abs() * epsilon.max(1.0 / 128.0) + 1e-5 * depth as f32;
            let error = (found.to_f32() - wanted).abs();
            assert!(
                error <= tolerance,
                "{device} {choice:?}: pixel {pixel} output {output}: {found:?}, expected {wanted}"
            );
        }
    }
}

#[test]
fn every_tile_and_split_gives_the_sums() {
    let is_gathered = |tile: &Tile| !matches!(tile, Tile::Walking | Tile::C128P224);
    for tile in Tile::ALL.into_iter().filter(is_gathered) {
        let splits: &[usize] = if tile.can_split() { &[1, 2, 4, 8, 16] } else { &[1] };
        for &split in splits {
            let choice = Some(Choice { tile, split, is_shifted: false });
            check::<f16>(&PLAIN, None, split == 2, choice, Activation::RELU);
        }
    }
    let choice = Some(Choice { tile: Tile::C64P64, split: 2, is_shifted: false });
    check::<bf16>(&PLAIN, None, true, choice, Activation::IDENTITY);
}

#[test]
fn more_tiles_and_steps_than_a_ring_has() {
    let shape = Conv { images: 3, channels: [64, 64], outputs: 136, ..PLAIN };
    for (tile, split) in
        [(Tile::C64P64, 1), (Tile::C128P128, 1), (Tile::C128P256, 1), (Tile::C64P128, 4)]
    {
        check::<f16>(
            &shape,
            None,
            true,
            Some(Choice { tile, split, is_shifted: false }),
            Activation::RELU,
        );
    }
}

#[test]
fn strides_paddings_dilations_and_odd_channels() {
    let shapes = [
        Conv { stride: [2, 2], output: [5, 4], ..PLAIN },
        Conv {
            stride: [2, 1],
            padding: [3, 2],
            filter: [7, 4],
            channels: [8, 8],
            output: [5, 8],
            ..PLAIN
        },
        Conv { dilation: [2, 3], padding: [2, 3], ..PLAIN },
        Conv { filter: [1, 1], padding: [0, 0], channels: [24, 21], outputs: 10, ..PLAIN },
        Conv { filter: [1, 5], padding: [0, 2], channels: [8, 3], outputs: 65, ..PLAIN },
        // An output that reaches over the edge further than the padding.
        Conv { padding: [0, 0], output: [9, 7], ..PLAIN },
    ];
    for shape in shapes {
        check::<f16>(&shape, None, false, None, Activation::clip(-3.0, 3.0));
    }
}

#[test]
fn a_shortcut_is_summed_in_the_same_pass() {
    let main = Conv { channels: [40, 40], outputs: 32, output: [9, 7], ..PLAIN };
    let shortcut = Conv {
        size: [18, 14],
        channels: [24, 24],
        filter: [1, 1],
        stride: [2, 2],
        padding: [0, 0],
        outputs: 32,
        ..PLAIN
    };
    for split in [1, 4] {
        let choice = Some(Choice { tile: Tile::C64P64, split, is_shifted: false });
        check::<f16>(&main, Some(&shortcut), false, choice, Activation::RELU);
    }
    check::<f16>(&main, Some(&shortcut), true, None, Activation::SILU);
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let stream = Device::cpu().stream().unwrap();
    let filters = vec![0.0; 8 * 8];
    let point = Filters { elements: &filters, channels: 8, window: Window::point(8) };
    let short = Filters { elements: &filters[1..], ..point };
    let refused = Weights::<f16>::pack(&stream, 8, short, None, None);
    assert!(matches!(refused, Err(Error::Length { what: "weights", expected: 64, found: 63, .. })));
    let refused = Weights::<f16>::pack(&stream, 8, point, None, Some(&[0.0; 3]));
    assert!(matches!(refused, Err(Error::Length { what: "bias", expected: 8, found: 3, .. })));

    let weights = Weights::<f16>::pack(&stream, 8, point, None, None).unwrap();
    let windows = [Some(point.window), None];
    let conv = Convolution::new(&weights, windows, 2, [1, 1], Activation::IDENTITY, 132).unwrap();
    let input = stream.zeros::<f16>(15).unwrap();
    let operands =
        Operands { input: input.as_slice(), shortcut: None, weights: &weights, residual: None };
    let refused = conv.run(&stream, operands).map(drop);
    assert!(matches!(refused, Err(Error::Length { what: "input", expected: 16, found: 15, .. })));

    let odd = Filters { window: Window { channels: 12, ..point.window }, ..point };
    let weights = Weights::<f16>::pack(&stream, 8, odd, None, None).unwrap();
    let windows = [Some(odd.window), None];
    let refused = Convolution::new(&weights, windows, 1, [1, 1], Activation::IDENTITY, 132);
    assert_eq!(
        refused.unwrap_err().to_string(),
        "convolution: expected channels in eights, found 12"
    );
}

#[test]
fn a_residual_has_a_choice_of_its_own() {
    let stream = Device::cpu().stream().unwrap();
    let filters = vec![0.0; 8 * 8];
    let point = Filters { elements: &filters, channels: 8, window: Window::point(8) };
    let weights = Weights::<f16>::pack(&stream, 8, point, None, None).unwrap();
    let windows = [Some(point.window), None];
    let conv = Convolution::new(&weights, windows, 2, [1, 1], Activation::RELU, 132).unwrap();
    assert_ne!(conv.key(), conv.with_residual(true).key());
    assert_eq!(conv.key(), conv.with_residual(true).with_residual(false).key());
}

#[test]
fn shifted_pixels_give_the_same_sums() {
    let shape = Conv { channels: [128, 128], outputs: 72, ..PLAIN };
    let shortcut = Conv {
        size: [18, 14],
        channels: [64, 64],
        filter: [1, 1],
        stride: [2, 2],
        padding: [0, 0],
        outputs: 72,
        ..PLAIN
    };
    let point = Conv { filter: [1, 1], padding: [0, 0], ..shape };
    for (tile, split) in [
        (Tile::C64P64, 1),
        (Tile::C64P64, 16),
        (Tile::C64P128, 2),
        (Tile::C64P256, 1),
        (Tile::C128P128, 8),
        (Tile::C128P208, 1),
        (Tile::C128P224, 1),
        (Tile::C128P256, 1),
    ] {
        let choice = Some(Choice { tile, split, is_shifted: true });
        check::<f16>(&shape, Some(&shortcut), split == 1, choice, Activation::RELU);
        check::<f16>(&point, None, split == 2, choice, Activation::IDENTITY);
    }
    let long = Conv { size: [5, 40], output: [5, 40], channels: [64, 64], images: 3, ..shape };
    let choice = Some(Choice { tile: Tile::C64P64, split: 2, is_shifted: true });
    check::<bf16>(&long, None, true, choice, Activation::SILU);
}

#[test]
fn blocks_that_walk_give_the_same_sums() {
    // More tiles than the CPU device has multiprocessors, in two tiles of channels.
    let shape = Conv { size: [20, 35], output: [20, 35], channels: [64, 64], outputs: 72, ..PLAIN };
    let choice = Some(Choice { tile: Tile::Walking, split: 1, is_shifted: true });
    check::<f16>(&shape, None, true, choice, Activation::RELU);
    let point = Conv { filter: [1, 1], padding: [0, 0], outputs: 40, ..shape };
    check::<bf16>(&point, None, false, choice, Activation::SILU);
}

#[test]
fn products_by_the_copy_engine_give_the_same_sums() {
    // Two clusters' tiles below each other and two beside, none of them full, and more
    // steps than the ring has stages; then with a residual.
    let shape = Conv {
        images: 3,
        size: [9, 10],
        output: [9, 10],
        channels: [264, 260],
        outputs: 262,
        filter: [1, 1],
        padding: [0, 0],
        ..PLAIN
    };
    let choice = Some(Choice { tile: Tile::Product, split: 1, is_shifted: false });
    check::<f16>(&shape, None, false, choice, Activation::RELU);
    let shallow = Conv { channels: [72, 72], ..shape };
    check::<f16>(&shallow, None, true, choice, Activation::RELU);
    check::<bf16>(&shallow, None, false, choice, Activation::clip(-0.5, 2.0));
}

#[test]
fn only_products_are_computed_as_such() {
    let device = Device::cpu();
    let stream = device.stream().unwrap();
    let elements = vec![0.0; 256 * 64 * 9];
    let wide = Window { size: [32; 2], filter: [3; 2], padding: [1; 2], ..Window::point(64) };
    let pixels = Window { size: [32; 2], ..Window::point(64) };
    for (window, is_product) in [(wide, false), (pixels, true)] {
        let taps = window.filter[0] * window.filter[1];
        let elements = &elements[..256 * 64 * taps];
        let filters = Filters { elements, channels: 64, window };
        let weights = Weights::<f16>::pack(&stream, 256, filters, None, None).unwrap();
        let windows = [Some(window), None];
        let of = |images, output| {
            let identity = Activation::IDENTITY;
            Convolution::new(&weights, windows, images, output, identity, 132).unwrap()
        };
        // Enough pixels for tiles that fill the device.
        let is_there = |conv: Convolution| conv.candidates(132).any(|it| it.tile == Tile::Product);
        assert_eq!(is_there(of(5, [32; 2])), is_product, "{window:?}");
    }
}
