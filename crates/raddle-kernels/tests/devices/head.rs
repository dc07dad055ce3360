//! The end of a classifier: odd numbers of pixels, channels that fill no warp, all
//! channels that there may be.

use raddle::device::{bf16, f16};
use raddle_kernels::head::{self, HeadWeights, Headed};
use raddle_kernels::{Activation, Error};

use crate::{Random, devices};

fn check<T: Headed>(
    [images, pixels]: [usize; 2],
    [outputs, channels]: [usize; 2],
    has_bias: bool,
    activation: Activation,
) {
    let pitch = channels.next_multiple_of(8);
    let mut random = Random(0xdead + channels as u64);
    let input = random.elements(images * pixels * pitch);
    let (weights, bias) = (random.elements(outputs * channels), random.elements(outputs));
    for device in devices() {
        let stream = device.stream().unwrap();
        let elements: Vec<T> = input.iter().map(|&x| T::from_f32(x)).collect();
        let elements = stream.upload(&elements).unwrap();
        let numbers = [outputs, channels, pitch];
        let packed =
            HeadWeights::<T>::pack(&stream, numbers, &weights, has_bias.then_some(&bias)).unwrap();
        let found = head::head(&stream, [images, pixels], &packed, elements.as_slice(), activation)
            .unwrap()
            .to_vec()
            .unwrap();
        assert_eq!(found.len(), images * outputs);
        for (at, &found) in found.iter().enumerate() {
            let (image, output) = (at / outputs, at % outputs);
            let mut sum = 0.0;
            for pixel in 0..pixels {
                for channel in 0..channels {
                    let element = input[(image * pixels + pixel) * pitch + channel];
                    sum += f64::from(element) * f64::from(weights[output * channels + channel]);
                }
            }
            let bias = if has_bias { f64::from(bias[output]) } else { 0.0 };
            let wanted = activation.of((sum / pixels as f64 + bias) as f32);
            let tolerance = 1e-6 * (channels as f32 + wanted.abs());
            assert!(
                (found - wanted).abs() <= tolerance,
                "{device}: image {image} output {output}: {found}, expected {wanted}"
            );
        }
    }
}

#[test]
fn a_classifiers_end_is_the_mean_and_a_product() {
    check::<f16>([2, 49], [16, 512], true, Activation::IDENTITY);
    check::<bf16>([3, 5], [8, 21], false, Activation::RELU);
    check::<f16>([1, 1], [24, 264], true, Activation::SILU);
    check::<f16>([1, 35], [8, 2048], true, Activation::IDENTITY);
}

#[test]
fn what_the_kernel_has_not_is_refused() {
    let stream = raddle::Device::cpu().stream().unwrap();
    let refused = HeadWeights::<f16>::pack(&stream, [10, 8, 8], &[0.0; 80], None);
    assert!(matches!(refused, Err(Error::Shape { .. })));
    let refused = HeadWeights::<f16>::pack(&stream, [8, 8, 8], &[0.0; 63], None);
    assert!(matches!(refused, Err(Error::Length { what: "weights", expected: 64, found: 63, .. })));
    let weights = HeadWeights::<f16>::pack(&stream, [8, 8, 8], &[0.0; 64], None).unwrap();
    let input = stream.zeros::<f16>(17).unwrap();
    let refused =
        head::head(&stream, [1, 2], &weights, input.as_slice(), Activation::IDENTITY).map(drop);
    assert!(matches!(refused, Err(Error::Length { what: "input", expected: 16, found: 17, .. })));
}
