//! The first layer: filters of other sizes, paddings and steps, columns for several
//! blocks, channels for several tiles, odd numbers of strips.

use raddle::prelude::*;
use raddle_kernels::conv::{First, Stem, StemWeights, Window};
use raddle_kernels::image::{Pool, PoolOf};
use raddle_kernels::{Activation, Error};

use crate::reference::{self, Conv};
use crate::{Random, devices};

/// Seven by seven over three channels, as networks begin.
const PLAIN: Stem = Stem {
    images: 2,
    window: Window {
        size: [20, 24],
        channels: 3,
        filter: [7, 7],
        stride: [2, 2],
        padding: [3, 3],
        dilation: [1, 1],
    },
    outputs: 64,
    convolved: [10, 12],
    activation: Activation::RELU,
};

fn check<T: First>(stem: &Stem) {
    assert!(stem.is_possible(), "{stem:?}");
    let Window { size, channels, filter, stride, padding, dilation } = stem.window;
    let mut random = Random(0xf125 + stem.outputs as u64);
    let planes = random.elements(stem.images * channels * size[0] * size[1]);
    let filters = random.elements(stem.outputs * channels * filter[0] * filter[1]);
    let bias = random.elements(stem.outputs);
    let convolved = convolved(stem, &planes, &filters);
    let [rows, columns] = stem.pooled();
    let largest = |image: usize, y: usize, x: usize, output: usize| {
        let mut largest = f64::NEG_INFINITY;
        for row in (2 * y).saturating_sub(1)..2 * y + 2 {
            for column in (2 * x).saturating_sub(1)..2 * x + 2 {
                let line = image * stem.convolved[0] + row;
                let at = (line * stem.convolved[1] + column) * stem.outputs + output;
                largest = largest.max(convolved[at]);
            }
        }
        largest
    };
    assert_eq!((stride[1], dilation, padding.len()), (2, [1, 1], 2));
    let pitch = stem.outputs.next_multiple_of(8);
    for device in devices() {
        let stream = device.stream().unwrap();
        let weights = StemWeights::<T>::pack(&stream, stem, &filters, Some(&bias)).unwrap();
        let input = stream.upload(&planes).unwrap();
        let found = stem.run(&stream, &weights, input.as_slice()).unwrap().to_vec().unwrap();
        assert_eq!(found.len(), stem.images * rows * columns * pitch);
        for (at, found) in found.iter().enumerate() {
            let (pixel, output) = (at / pitch, at % pitch);
            let (line, x) = (pixel / columns, pixel % columns);
            let (image, y) = (line / rows, line % rows);
            let sum = match output < stem.outputs {
                true => largest(image, y, x, output) + f64::from(bias[output]),
                false => 0.0,
            };
            let wanted = stem.activation.of(sum as f32);
            let depth = channels * filter[0] * filter[1];
            let tolerance = wanted.abs() / 128.0 + 1e-5 * depth as f32;
            let error = (found.to_f32() - wanted).abs();
            assert!(
                error <= tolerance,
                "{device} {stem:?}: image {image} row {y} column {x} output {output}: \
                 {found:?}, expected {wanted}"
            );
        }
    }
}

/// The sums of the convolution, by the reference for channels last.
fn convolved(stem: &Stem, planes: &[f32], filters: &[f32]) -> Vec<f64> {
    let Window { size, channels, filter, stride, padding, dilation } = stem.window;
    let pixels = size[0] * size[1];
    let last = (0..planes.len()).map(|at| {
        let (pixel, channel) = (at / channels, at % channels);
        planes[(pixel / pixels * channels + channel) * pixels + pixel % pixels]
    });
    let shape = Conv {
        images: stem.images,
        size,
        channels: [channels; 2],
        outputs: stem.outputs,
        filter,
        stride,
        padding,
        dilation,
        output: stem.convolved,
    };
    reference::conv(&shape, &last.collect::<Vec<_>>(), filters)
}

#[test]
fn first_layers_give_the_largest_sums() {
    check::<f16>(&PLAIN);
    let window = PLAIN.window;
    let small = Window { size: [9, 30], channels: 1, filter: [3, 3], padding: [1, 1], ..window };
    let even = Window { size: [12, 14], channels: 4, filter: [6, 6], padding: [2, 2], ..window };
    let dense = Window { filter: [3, 8], stride: [1, 2], padding: [0, 4], ..window };
    let shapes = [
        Stem { window: small, images: 1, outputs: 24, convolved: [4, 14], ..PLAIN },
        Stem { window: even, outputs: 72, convolved: [6, 6], ..PLAIN },
        Stem { window: dense, images: 1, outputs: 8, convolved: [18, 12], ..PLAIN },
    ];
    for shape in shapes {
        check::<f16>(&Stem { activation: Activation::clip(-2.0, 3.0), ..shape });
    }
    let activation = Activation::IDENTITY;
    check::<bf16>(&Stem { images: 1, outputs: 64, activation, ..PLAIN });
}

#[test]
fn long_rows_and_many_strips_are_shared_by_blocks() {
    let long =
        Window { size: [4, 460], channels: 2, filter: [3, 3], padding: [1, 1], ..PLAIN.window };
    check::<f16>(&Stem { window: long, images: 1, outputs: 64, convolved: [2, 230], ..PLAIN });
    // More rows than the ring has, and more strips than blocks that run at a time.
    let many = Window { size: [70, 8], channels: 1, filter: [7, 7], ..PLAIN.window };
    check::<f16>(&Stem { window: many, images: 5, outputs: 8, convolved: [36, 4], ..PLAIN });
}

#[test]
fn a_nan_in_the_window_gives_nan() {
    let window =
        Window { size: [4, 4], channels: 1, filter: [1, 1], padding: [0, 0], ..PLAIN.window };
    let stem = Stem { window, images: 1, outputs: 8, convolved: [2, 2], ..PLAIN };
    let mut planes = [0.5f32; 16];
    planes[0] = f32::NAN;
    for device in devices() {
        let stream = device.stream().unwrap();
        let weights = StemWeights::<f16>::pack(&stream, &stem, &[1.0; 8], None).unwrap();
        let input = stream.upload(&planes).unwrap();
        let found = stem.run(&stream, &weights, input.as_slice()).unwrap().to_vec().unwrap();
        assert!(found.len() == 8 && found.iter().all(|x| x.is_nan()), "{device}: {found:?}");
    }
}

#[test]
fn what_is_no_first_layer_is_refused() {
    let window = |window| Stem { window, ..PLAIN };
    let plain = PLAIN.window;
    let refused = [
        window(Window { channels: 5, ..plain }),
        window(Window { stride: [2, 1], ..plain }),
        window(Window { stride: [6, 2], ..plain }),
        window(Window { filter: [7, 9], ..plain }),
        window(Window { size: [20, 23], ..plain }),
        Stem { convolved: [10, 11], ..PLAIN },
        Stem { activation: Activation::SILU, ..PLAIN },
    ];
    for stem in refused {
        assert!(!stem.is_possible(), "{stem:?}");
    }
    let pool = Pool {
        images: 2,
        size: PLAIN.convolved,
        channels: 64,
        output: PLAIN.pooled(),
        window: [3, 3],
        stride: [2, 2],
        padding: [1, 1, 1, 1],
        dilation: [1, 1],
        of: PoolOf::Max,
    };
    assert!(PLAIN.is_pooled_by(&pool));
    assert!(!PLAIN.is_pooled_by(&Pool { of: PoolOf::Mean, ..pool }));
    assert!(!PLAIN.is_pooled_by(&Pool { padding: [0, 0, 1, 1], ..pool }));

    let stream = Device::cpu().stream().unwrap();
    let filters = vec![0.0; 64 * 3 * 49];
    let weights = StemWeights::<f16>::pack(&stream, &PLAIN, &filters, None).unwrap();
    let input = stream.zeros::<f32>(7).unwrap();
    let refused = PLAIN.run(&stream, &weights, input.as_slice()).map(drop);
    let expected = 2 * 3 * 20 * 24;
    assert!(matches!(refused, Err(Error::Length { expected: e, found: 7, .. }) if e == expected));
    let other = Stem { outputs: 32, ..PLAIN };
    let refused = other.run(&stream, &weights, input.as_slice()).map(drop);
    assert!(matches!(refused, Err(Error::Shape { .. })));
    let refused = StemWeights::<f16>::pack(&stream, &PLAIN, &filters[1..], None).map(drop);
    assert!(matches!(refused, Err(Error::Length { what: "weights", .. })));
}
