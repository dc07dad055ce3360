//! Networks of depthwise convolutions and groups, in all precisions.

use raddle::Device;
use raddle_models::gpu::GpuSession;
use raddle_models::{Model, Options, Precision};
use raddle_tensor::graph::{Attribute, Graph, ValueId};
use raddle_tensor::{Tensor, Value};

use super::{Builder, devices, input, only};

/// A convolution in groups: outputs, inputs of a group, rows and columns of the window,
/// groups, step.
fn groups(
    b: &mut Builder,
    x: ValueId,
    [outputs, inputs, side]: [usize; 3],
    groups: usize,
    step: i64,
) -> ValueId {
    let weights = b.weights(&[outputs, inputs, side, side]);
    let bias = b.weights(&[outputs]);
    let attributes = [
        ("group", Attribute::Int(groups as i64)),
        ("strides", Attribute::Ints(vec![step; 2])),
        ("pads", Attribute::Ints(vec![(side / 2) as i64; 4])),
    ];
    b.node("Conv", &[x, weights, bias], &attributes)
}

fn number(b: &mut Builder, x: f32) -> ValueId {
    let name = format!("c{}", b.graph.values.len());
    b.graph.add_constant(name, Tensor::scalar(x))
}

fn clip(b: &mut Builder, x: ValueId) -> ValueId {
    let (min, max) = (number(b, 0.0), number(b, 0.5));
    b.node("Clip", &[x, min, max], &[])
}

/// What mobile networks are made of: filters of single channels with bounds behind them,
/// additions, groups, other functions, large and small windows.
fn network() -> Graph {
    let (mut b, x) = Builder::new(&[3, 20, 24]);
    let x = b.conv(x, [16, 3, 3], 2);
    let x = clip(&mut b, x);
    let y = groups(&mut b, x, [16, 1, 3], 16, 1);
    let y = clip(&mut b, y);
    let y = b.conv(y, [16, 16, 1], 1);
    let x = b.node("Add", &[x, y], &[]);
    // The addition of what was there before goes into the launch of the groups.
    let y = groups(&mut b, x, [16, 1, 5], 16, 1);
    let y = b.node("Add", &[y, x], &[]);
    let y = b.node("Relu", &[y], &[]);
    let x = b.conv(y, [20, 16, 1], 1);
    let x = groups(&mut b, x, [20, 1, 5], 20, 2);
    let x = b.node("HardSwish", &[x], &[]);
    // Groups of several channels, and two filters for each channel.
    let x = groups(&mut b, x, [40, 5, 3], 4, 1);
    let x = b.node("Relu", &[x], &[]);
    let x = groups(&mut b, x, [80, 1, 3], 40, 1);
    let x = groups(&mut b, x, [48, 20, 1], 4, 1);
    let x = groups(&mut b, x, [48, 1, 7], 48, 1);
    let x = b.conv(x, [64, 48, 1], 1);
    let x = b.node("Relu", &[x], &[]);
    let x = b.node("GlobalAveragePool", &[x], &[]);
    let x = b.node("Flatten", &[x], &[]);
    let (weights, bias) = (b.weights(&[10, 64]), b.weights(&[10]));
    let x = b.node("Gemm", &[x, weights, bias], &[("transB", Attribute::Int(1))]);
    b.finish(x)
}

#[test]
fn networks_of_groups_compute_what_the_cpu_does() {
    let model = Model::from_graph(network()).unwrap();
    let reference = model.on(&Device::cpu(), Options::default()).unwrap();
    let bounds = [
        (Precision::F32, 1e-5),
        (Precision::TF32, 1e-2),
        (Precision::F16, 1e-2),
        (Precision::BF16, 8e-2),
    ];
    for device in devices() {
        for (precision, bound) in bounds {
            let session = GpuSession::new(model.graph(), &device, precision).unwrap();
            for images in [1, 3] {
                let expected = only(reference.run([("x", Value::Tensor(input(images)))]).unwrap());
                let found = only(session.run([("x", Value::Tensor(input(images)))]).unwrap());
                assert_eq!(found.len(), expected.len());
                let scale = expected.iter().fold(0f32, |max, x| max.max(x.abs()));
                for (found, expected) in found.iter().zip(&expected) {
                    let error = (found - expected).abs() / scale;
                    assert!(error <= bound, "{device} {precision:?}: {found}, not {expected}");
                }
            }
        }
    }
}

#[test]
fn groups_take_along_what_follows_them() {
    let model = Model::from_graph(network()).unwrap();
    let device = Device::cpu();
    let session = GpuSession::new(model.graph(), &device, Precision::F16).unwrap();
    let steps = session.prepare(&[vec![1, 3, 20, 24]]).unwrap();
    let kernels: Vec<_> = steps.iter().map(|step| step.kernel.as_str()).collect();
    let count = |name: &str| kernels.iter().filter(|kernel| kernel.starts_with(name)).count();
    assert_eq!(count("groups"), 7, "{kernels:?}");
    // The input, four convolutions, the mean, the product and the output.
    assert_eq!(kernels.len() - count("groups"), 8, "{kernels:?}");
}

#[test]
fn images_keep_their_channels_last_from_one_to_the_next() {
    let (mut b, mut x) = Builder::new(&[16, 12, 14]);
    for _ in 0..3 {
        x = groups(&mut b, x, [16, 1, 3], 16, 1);
        x = clip(&mut b, x);
    }
    let model = Model::from_graph(b.finish(x)).unwrap();
    for device in devices() {
        let session = GpuSession::new(model.graph(), &device, Precision::F32).unwrap();
        session.prepare(&[vec![2, 16, 12, 14]]).unwrap();
        // Channels last, three convolutions with their bounds, channels first.
        assert_eq!(session.launches(), Some(5), "{device}");
    }
}
