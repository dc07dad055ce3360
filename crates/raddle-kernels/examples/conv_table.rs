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

/// A layer: edge of the input, channels, outputs, edge of the filter, stride, and what is
/// added to its sums.
const LAYERS: [(usize, usize, usize, usize, usize, Added); 16] = [
    (56, 64, 64, 3, 1, Added::Nothing),
    (56, 64, 64, 3, 1, Added::Residual),
    (56, 64, 128, 3, 2, Added::Nothing),
    (28, 128, 128, 3, 1, Added::Nothing),
    (28, 128, 128, 3, 1, Added::Residual),
    (28, 128, 128, 3, 1, Added::Shortcut),
    (28, 128, 256, 3, 2, Added::Nothing),
    (14, 256, 256, 3, 1, Added::Nothing),
    (14, 256, 256, 3, 1, Added::Residual),
    (14, 256, 256, 3, 1, Added::Shortcut),
    (14, 256, 512, 3, 2, Added::Nothing),
    (7, 512, 512, 3, 1, Added::Nothing),
    (7, 512, 512, 3, 1, Added::Residual),
    (7, 512, 512, 3, 1, Added::Shortcut),
    (1, 512, 1000, 1, 1, Added::Nothing),
    (28, 512, 128, 1, 1, Added::Nothing),
];

/// What is added to a convolution's sums.
#[derive(Clone, Copy, PartialEq)]
enum Added {
    Nothing,
    Residual,
    /// A convolution of one tap with half the channels and twice the edge, in steps of two.
    Shortcut,
}

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
        measure(&stream, "stem", images, stem, 64, [112, 112], Added::Nothing)?;
        for (edge, channels, outputs, filter, stride, added) in LAYERS {
            let window = Window {
                size: [edge; 2],
                channels,
                filter: [filter; 2],
                stride: [stride; 2],
                padding: [filter / 2; 2],
                dilation: [1; 2],
            };
            let more = match added {
                Added::Nothing => "",
                Added::Residual => " + residual",
                Added::Shortcut => " + shortcut",
            };
            let name =
                format!("{edge}x{edge} {channels}->{outputs} {filter}x{filter}/{stride}{more}");
            measure(&stream, &name, images, window, outputs, [edge / stride.min(edge); 2], added)?;
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
    added: Added,
) -> Result<(), Box<dyn Error>> {
    let noise = |len: usize, scale: f32| -> Vec<f32> {
        (0..len)
            .map(|at| ((at.wrapping_mul(0x9e37_79b9) >> 8 & 0xffff) as f32 / 32768.0 - 1.0) * scale)
            .collect()
    };
    let few: Vec<f16> = noise(1 << 16, 1.0).into_iter().map(f16::from_f32).collect();
    let halves = |len: usize| {
        let mut all = few.repeat(len.div_ceil(few.len()));
        all.truncate(len);
        all
    };
    let taps = window.filter[0] * window.filter[1];
    let filters = noise(outputs * window.channels * taps, 0.05);
    let filters = Filters { elements: &filters, channels: window.channels, window };
    let shortcut = (added == Added::Shortcut).then(|| Window {
        size: window.size.map(|edge| 2 * edge),
        stride: [2; 2],
        ..Window::point(window.channels / 2)
    });
    let elements = noise(outputs * window.channels / 2, 0.05);
    let more =
        shortcut.map(|window| Filters { elements: &elements, channels: window.channels, window });
    let weights = Weights::<f16>::pack(stream, outputs, filters, more, None)?;
    let image = |window: &Window| images * window.size[0] * window.size[1] * window.channels;
    let input = stream.upload(&halves(image(&window)))?;
    let second = match &shortcut {
        Some(window) => Some(stream.upload(&halves(image(window)))?),
        None => None,
    };
    let multiprocessors = stream.device().multiprocessor_count() as usize;
    let windows = [Some(window), shortcut];
    let conv =
        Convolution::new(&weights, windows, images, output, Activation::RELU, multiprocessors)?;
    let residual = match added {
        Added::Residual => Some(stream.upload(&halves(conv.output_len()))?),
        Added::Nothing | Added::Shortcut => None,
    };
    let operands = || Operands {
        input: input.as_slice(),
        shortcut: second.as_ref().map(raddle::Buffer::as_slice),
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
        println!("b{images:<3} {name:38} {choice:25} {us:9.2} us {rate:6.1} TFLOP/s {mark}");
    }
    Ok(())
}
