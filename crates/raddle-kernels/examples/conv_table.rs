//! Times every tile shape and split of the convolution kernel at the shapes of
//! ResNet-18, for those who tune it.
//!
//! `cargo run --release -p raddle-kernels --example conv_table [BATCH…]` prints a line
//! for each layer and choice: microseconds of one launch in a row of launches, and
//! TFLOP/s. Needs a GPU of compute capability 9.0.

use std::error::Error;

use raddle::device::f16;
use raddle::{Device, Stream};
use raddle_kernels::Activation;
use raddle_kernels::conv::{Convolution, Filters, Operands, Weights, Window};

/// Edge of the input, channels, outputs, edge of the filter, stride, and whether a
/// residual is added.
const LAYERS: [(usize, usize, usize, usize, usize, bool); 9] = [
    (56, 64, 64, 3, 1, true),
    (56, 64, 128, 3, 2, false),
    (28, 128, 128, 3, 1, true),
    (28, 128, 256, 3, 2, false),
    (14, 256, 256, 3, 1, true),
    (14, 256, 512, 3, 2, false),
    (7, 512, 512, 3, 1, true),
    (1, 512, 1000, 1, 1, false),
    (28, 512, 128, 1, 1, false),
];

const LAUNCHES: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let batches: Vec<usize> =
        std::env::args().skip(1).map(|it| it.parse()).collect::<Result<_, _>>()?;
    let batches = if batches.is_empty() { vec![1, 64] } else { batches };
    let device = Device::cuda(0)?;
    let stream = device.stream()?;
    for images in batches {
        // The stem: seven rows of four pairs of columns of four channels.
        let stem = Window {
            size: [224, 112],
            channels: 8,
            filter: [7, 4],
            stride: [2, 1],
            padding: [3, 2],
            dilation: [1, 1],
        };
        measure(&stream, "stem", images, stem, 64, [112, 112], false)?;
        for (edge, channels, outputs, filter, stride, has_residual) in LAYERS {
            let window = Window {
                size: [edge; 2],
                channels,
                filter: [filter; 2],
                stride: [stride; 2],
                padding: [filter / 2; 2],
                dilation: [1; 2],
            };
            let name = format!("{edge}x{edge} {channels}->{outputs} {filter}x{filter}/{stride}");
            measure(
                &stream,
                &name,
                images,
                window,
                outputs,
                [edge / stride.min(edge); 2],
                has_residual,
            )?;
        }
    }
    Ok(())
}

fn measure(
    stream: &Stream,
    name: &str,
    images: usize,
    window: Window,
    outputs: usize,
    output: [usize; 2],
    has_residual: bool,
) -> Result<(), Box<dyn Error>> {
    let noise = |len: usize, scale: f32| -> Vec<f32> {
        (0..len)
            .map(|at| ((at.wrapping_mul(0x9e37_79b9) >> 8 & 0xffff) as f32 / 32768.0 - 1.0) * scale)
            .collect()
    };
    let halves = |len| noise(len, 1.0).into_iter().map(f16::from_f32).collect::<Vec<_>>();
    let taps = window.filter[0] * window.filter[1];
    let filters = noise(outputs * window.channels * taps, 0.05);
    let filters = Filters { elements: &filters, channels: window.channels, window };
    let weights = Weights::<f16>::pack(stream, outputs, filters, None, None)?;
    let input =
        stream.upload(&halves(images * window.size[0] * window.size[1] * window.channels))?;
    let multiprocessors = stream.device().multiprocessor_count() as usize;
    let windows = [Some(window), None];
    let conv =
        Convolution::new(&weights, windows, images, output, Activation::RELU, multiprocessors)?;
    let residual =
        if has_residual { Some(stream.upload(&halves(conv.output_len()))?) } else { None };
    let operands = || Operands {
        input: input.as_slice(),
        shortcut: None,
        weights: &weights,
        residual: residual.as_ref().map(raddle::Buffer::as_slice),
    };
    let mut times = Vec::new();
    for choice in conv.candidates(multiprocessors) {
        let conv = conv.with_choice(choice);
        // Loads the kernel, which a capture cannot.
        drop(conv.run(stream, operands())?);
        let (graph, ()) = stream.capture(|stream| {
            (0..LAUNCHES).try_for_each(|_| match conv.run(stream, operands()) {
                Ok(_) => Ok(()),
                Err(raddle_kernels::Error::Runtime(error)) => Err(error),
                Err(_) => Err(raddle::Error::Capture { operation: "a convolution" }),
            })
        })?;
        graph.launch(stream)?;
        let mut best = f64::INFINITY;
        for _ in 0..4 {
            let (done, ms) = stream.time(|| graph.launch(stream).map(drop))?;
            done?;
            best = best.min(ms * 1e3 / LAUNCHES as f64);
        }
        times.push((best, choice));
    }
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (us, choice) in &times {
        let rate = conv.flops() / us / 1e6;
        let mark = if *choice == conv.choice() { "<- not measured, this is taken" } else { "" };
        let choice = choice.to_string();
        println!("b{images:<3} {name:26} {choice:25} {us:9.2} us {rate:6.1} TFLOP/s {mark}");
    }
    Ok(())
}
