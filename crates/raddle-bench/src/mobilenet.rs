//! Depthwise convolutions alone, and MobileNetV2, which is made of them.

use raddle::Slice;
use raddle::prelude::*;
use raddle_kernels::Activation;
use raddle_kernels::grouped::{Element, Grouped, Operands};
use raddle_kernels::image::to_channels_last;
use raddle_models::gpu::GpuSession;
use raddle_models::{Model, Precision};

use crate::Outcome;
use crate::kernels::memory::noise;
use crate::measure::{Bench, Time, Unit, expect_close};
use crate::models::check;

/// Replays before a measurement, and in it.
const WARM_UP: usize = 50;
const REPLAYS: usize = 200;
/// Largest error of MobileNetV2, of its largest output: 53 layers in 16 bits.
const ERROR_MAX: f32 = 3e-2;

/// MobileNetV2 with random weights: the mean of replays in a row, and what the steps are.
pub fn mobilenet(bench: &Bench) -> Outcome {
    let row = raddle_zoo::find("mobilenet_v2")?;
    let model = Model::from_bytes(&row.build(raddle_zoo::Source::Seed(1))?)?;
    let precisions = [("f32", Precision::F32), ("tf32", Precision::TF32), ("f16", Precision::F16)];
    for (name, precision) in precisions {
        let session = GpuSession::new(model.graph(), bench.stream.device(), precision)?;
        check(bench, ("mobilenet_v2", ERROR_MAX), &model, &session)?;
        for images in [1usize, 64] {
            let shapes = [vec![images, 3, 224, 224]];
            let steps = session.prepare(&shapes)?;
            session.time_back_to_back(&shapes, WARM_UP)?;
            let mean_ms = session.time_back_to_back(&shapes, REPLAYS)? * 1e3;
            eprintln!(
                "mobilenet_v2 {name} batch {images}: {mean_ms:.4} ms in a row, {} steps",
                steps.len()
            );
            for step in steps.iter().filter(|_| images == 64) {
                let time = step.seconds.map_or(String::new(), |s| format!("{:8.2} us", s * 1e6));
                eprintln!("  {time:>12} {:60} {}", step.kernel, step.nodes);
            }
            let time = Time { median_ms: mean_ms, p95_ms: mean_ms };
            let shape = format!("{name} batch {images}");
            bench.report("mobilenet", &shape, time, images as f64 * 1e12, Unit::ImagesPerS);
        }
    }
    Ok(())
}

/// Rows and columns of the image, channels, side and step of the window.
const LAYERS: [[usize; 4]; 8] = [
    [112, 64, 3, 1],
    [112, 96, 3, 2],
    [56, 144, 3, 1],
    [28, 192, 3, 1],
    [14, 576, 3, 1],
    [7, 960, 3, 1],
    [56, 144, 5, 1],
    [56, 96, 7, 1],
];

/// Depthwise convolutions with a bias and bounds behind them, in `f32` and `f16`.
pub fn depthwise(bench: &Bench) -> Outcome {
    let images = if bench.stream.device().is_gpu() { 64 } else { 1 };
    for layer in bench.shapes(&LAYERS, &[[10, 24, 3, 1], [9, 16, 5, 2]]) {
        let of = shape_of(images, layer);
        let elements = images * of.size[0] * of.size[1] * of.pitches[0];
        let x = bench.noise_f32(1, elements / 4)?;
        let x = x.as_slice().reinterpret::<f32>()?;
        time_layer(bench, &of, "f32", x, |x| x, 1e-5)?;
        // Pixel by pixel, in which layout they are rounded only.
        let [pixels, channels] = [elements / of.pitches[0], of.pitches[0]];
        let x = to_channels_last::<f32, f16>(&bench.stream, pixels, channels, 1, channels, x)?;
        let rounded = |x: f32| f16::from_f32(x).to_f32();
        time_layer(bench, &of, "f16", x.as_slice(), rounded, 1e-2)?;
    }
    Ok(())
}

fn shape_of(images: usize, [size, channels, side, step]: [usize; 4]) -> Grouped {
    Grouped {
        images,
        size: [size; 2],
        output: [size.div_ceil(step); 2],
        pitches: [channels; 2],
        groups: channels,
        inputs: 1,
        outputs: 1,
        window: [side; 2],
        strides: [step; 2],
        dilations: [1; 2],
        begins: [side / 2; 2],
    }
}

/// Times a layer, and holds some of its elements against the definition. `typed` rounds
/// noise as the input has it.
fn time_layer<T: Element + Float>(
    bench: &Bench,
    of: &Grouped,
    name: &str,
    input: Slice<'_, T>,
    typed: impl Fn(f32) -> f32,
    tolerance: f64,
) -> Outcome {
    let (channels, side) = (of.groups, of.window[0]);
    let weight = |at: usize| noise(2, at as u64);
    let bias = |channel: usize| noise(3, channel as u64);
    let weights: Vec<f32> = (0..channels * side * side).map(weight).collect();
    let biases: Vec<f32> = (0..channels).map(bias).collect();
    let weights = bench.stream.upload(&of.pack(&weights)?)?;
    let biases = bench.stream.upload(&of.pack_bias(&biases)?)?;
    // SAFETY: each launch writes all elements.
    let mut out: Buffer<T> = unsafe { bench.stream.uninitialized(of.output_len()) }?;
    let operands = Operands {
        input,
        weights: weights.as_slice(),
        bias: Some(biases.as_slice()),
        residual: None,
    };
    let time = bench.time_in_a_row(REPLAYS, |stream| {
        of.run_into(stream, operands, Activation::clip(0.0, 6.0), out.as_slice_mut())?;
        Ok(())
    })?;
    let [rows, columns] = of.output;
    for at in [0, of.output_len() / 2 + 7, of.output_len() - 1] {
        let (pixel, channel) = (at / channels, at % channels);
        let (line, x) = (pixel / columns, pixel % columns);
        let (image, y) = (line / rows, line % rows);
        let mut sum = f64::from(bias(channel));
        for tap in 0..side * side {
            let place = |at: usize, tap: usize| {
                (at * of.strides[0] + tap).checked_sub(side / 2).filter(|&it| it < of.size[0])
            };
            let (Some(row), Some(column)) = (place(y, tap / side), place(x, tap % side)) else {
                continue;
            };
            let from = ((image * of.size[0] + row) * of.size[1] + column) * channels + channel;
            let element = f64::from(typed(noise(1, from as u64)));
            sum += element * f64::from(weight(channel * side * side + tap));
        }
        let found = out.slice(at..=at)?.to_vec()?[0].to_f32();
        expect_close("depthwise", found.into(), sum.clamp(0.0, 6.0), tolerance)?;
    }
    let step = of.strides[0];
    let shape =
        format!("{name} {side}x{side} step {step}, {}x{}x{channels}", of.size[0], of.size[1]);
    let bytes = (input.len() + of.output_len()) * size_of::<T>();
    bench.report("depthwise", &shape, time, bytes as f64, Unit::TbPerS);
    Ok(())
}
