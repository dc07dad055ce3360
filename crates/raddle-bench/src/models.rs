//! Benchmarks of whole models: a forward pass from input to output on the device, as one
//! captured graph.

use std::time::Instant;

use raddle_models::gpu::GpuSession;
use raddle_models::{Model, Options, Precision};
use raddle_tensor::graph::Graph;
use raddle_tensor::{Tensor, Value, infer, memory_plan};

use crate::Outcome;
use crate::measure::{Bench, Time, Unit};

/// Replays before a measurement, and in it.
const WARM_UP: usize = 50;
const REPLAYS: usize = 200;
/// Largest error of ResNet-18, of its largest output.
const ERROR_MAX: f32 = 1e-2;
/// In 32 bits, where they take longer.
const REPLAYS_F32: usize = 20;

/// ResNet-18 with random weights in f16: the mean of replays in a row, the median of
/// replays that the host waits for, and what each step takes on its own.
pub fn resnet18(bench: &Bench) -> Outcome {
    let start = Instant::now();
    let row = raddle_zoo::find("resnet18")?;
    let model = Model::from_bytes(&row.build(raddle_zoo::Source::Seed(1))?)?;
    let session = GpuSession::new(model.graph(), bench.stream.device(), Precision::F16)?;
    eprintln!("resnet18: planned after {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    check(bench, ("resnet18", ERROR_MAX), &model, &session)?;
    eprintln!("resnet18: first result after {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    for images in [1usize, 8, 64, 256] {
        let start = Instant::now();
        let shapes = [vec![images, 3, 224, 224]];
        let steps = session.prepare(&shapes)?;
        let tuned_ms = start.elapsed().as_secs_f64() * 1e3;
        session.time_replays(&shapes, WARM_UP, 1)?;
        let mean_ms = session.time_back_to_back(&shapes, REPLAYS)? * 1e3;
        let mut synced = session.time_replays(&shapes, WARM_UP, REPLAYS)?;
        synced.sort_by(f64::total_cmp);
        let (median, p95) = (synced[REPLAYS / 2] * 1e3, synced[REPLAYS * 95 / 100] * 1e3);
        eprintln!(
            "resnet18 f16 batch {images}: {mean_ms:.4} ms in a row, {median:.4} ms waited for \
             (p95 {p95:.4}); tuned in {tuned_ms:.0} ms"
        );
        for step in &steps {
            let time = step.seconds.map_or(String::new(), |s| {
                format!("{:8.2} us {:6.1} TFLOP/s", s * 1e6, step.flops / s / 1e12)
            });
            eprintln!("  {time:>28}  {:60} {}", step.kernel, step.nodes);
        }
        let time = Time { median_ms: mean_ms, p95_ms: p95 };
        let shape = format!("f16 batch {images}");
        bench.report("resnet18", &shape, time, images as f64 * 1e12, Unit::ImagesPerS);
    }
    Ok(())
}

/// ResNet-18 with random weights in f32, and with f32 multiplied as tf32: the mean of
/// replays in a row.
pub fn resnet18_f32(bench: &Bench) -> Outcome {
    let row = raddle_zoo::find("resnet18")?;
    let model = Model::from_bytes(&row.build(raddle_zoo::Source::Seed(1))?)?;
    for (name, precision) in [("f32", Precision::F32), ("tf32", Precision::TF32)] {
        let session = GpuSession::new(model.graph(), bench.stream.device(), precision)?;
        check(bench, ("resnet18", ERROR_MAX), &model, &session)?;
        for images in [1usize, 64] {
            let shapes = [vec![images, 3, 224, 224]];
            session.time_back_to_back(&shapes, REPLAYS_F32)?;
            let mean_ms = session.time_back_to_back(&shapes, REPLAYS_F32)? * 1e3;
            let time = Time { median_ms: mean_ms, p95_ms: mean_ms };
            eprintln!("resnet18 {name} batch {images}: {mean_ms:.4} ms in a row");
            for step in session.prepare(&shapes)?.iter().filter(|_| images == 64) {
                eprintln!("  {:40} {}", step.kernel, step.nodes);
            }
            let shape = format!("{name} batch {images}");
            bench.report("resnet18_f32", &shape, time, images as f64 * 1e12, Unit::ImagesPerS);
        }
    }
    Ok(())
}

/// Runs that shall leave no byte behind.
const RUNS: usize = 100_000;
/// What placements in an arena are rounded to, as `raddle inspect` counts.
const ALIGNMENT: usize = 256;

/// ResNet-18 in f16: the device memory of a program beside the memory plan of its graph,
/// and a hundred thousand runs, which shall leave it as it is.
pub fn resnet18_memory(bench: &Bench) -> Outcome {
    let device = bench.stream.device();
    let row = raddle_zoo::find("resnet18")?;
    let model = Model::from_bytes(&row.build(raddle_zoo::Source::Seed(1))?)?;
    let session = GpuSession::new(model.graph(), device, Precision::F16)?;
    let tensor =
        |images: usize| Tensor::new(&[images, 3, 224, 224], vec![0.5f32; images * 150_528]);
    let name = model.graph().name_of(model.graph().inputs[0]).to_owned();
    // Weights, and what choosing kernels needs, are there from here on.
    for images in [1, 64, 256] {
        session.run([(&name, Value::Tensor(tensor(images)?))])?;
    }
    for images in [1, 64, 256] {
        let own = session.sibling()?;
        let before = device.memory_use().live_bytes;
        own.prepare(&[vec![images, 3, 224, 224]])?;
        let held = device.memory_use().live_bytes - before;
        // Values have 16 bits where the graph's have 32; the input is kept as it was given.
        let planned =
            (plan_bytes(model.graph(), images)? / 2 + images * (150_528 + 1000) * 4) as u64;
        eprintln!(
            "resnet18 f16 batch {images}: a program holds {held} bytes, {:.2} of the plan's {planned}",
            held as f64 / planned as f64
        );
        if held > planned {
            return Err(
                format!("a program of batch {images} holds {held} bytes of {planned}").into()
            );
        }
    }
    let image = tensor(1)?;
    let mut settled = None;
    for run in 0..RUNS {
        session.run([(&name, Value::Tensor(image.clone()))])?;
        if run == RUNS / 100 {
            settled = Some(device.memory_use());
        }
    }
    let (before, after) = (settled.unwrap_or_default(), device.memory_use());
    let bytes = |of: &raddle::MemoryUse| (of.live_bytes, of.live_blocks, of.reserved_bytes);
    eprintln!(
        "resnet18 f16: {RUNS} runs, live bytes, blocks and reserved bytes {:?}",
        bytes(&after)
    );
    match bytes(&before) == bytes(&after) {
        true => Ok(()),
        false => Err(format!("memory was {:?} after {} runs", bytes(&before), RUNS / 100).into()),
    }
}

/// Bytes that the memory plan has for a graph's values at a batch size.
fn plan_bytes(graph: &Graph, images: usize) -> Outcome<usize> {
    let infos = infer::types(graph, &[])?;
    let symbols = std::collections::HashMap::from([("n".into(), images)]);
    let requests = memory_plan::requests(graph, |id| {
        let info = infos[id.index()].as_ref()?;
        memory_plan::bytes_of(info, &info.shape_with(&symbols)?)
    })?;
    Ok(memory_plan::plan(&requests.requests, ALIGNMENT).peak_bytes)
}

/// Holds two images against the plan for the CPU; errors may be so much of the largest
/// output.
pub fn check(
    bench: &Bench,
    (name, error_max): (&str, f32),
    model: &Model,
    session: &GpuSession,
) -> Outcome {
    let len = 2 * 3 * 224 * 224;
    let pixel = |at: usize| ((at * 7919) % 511) as f32 / 255.0 - 1.0;
    let images = Tensor::new(&[2, 3, 224, 224], (0..len).map(pixel).collect())?;
    let cpu = raddle::Device::cpu();
    let reference = model.on(&cpu, Options::default())?;
    let input = model.graph().name_of(model.graph().inputs[0]).to_owned();
    let expected = reference.run([(&input, Value::Tensor(images.clone()))])?;
    let found = session.run([(&input, Value::Tensor(images))])?;
    let elements = |outputs: &[(String, Value)]| -> Outcome<Vec<f32>> {
        let tensor = outputs.first().and_then(|(_, value)| value.as_tensor());
        Ok(tensor.ok_or("the output is no tensor")?.elements::<f32>()?.to_vec())
    };
    let (expected, found) = (elements(&expected)?, elements(&found)?);
    let scale = expected.iter().fold(0f32, |max, x| max.max(x.abs()));
    let worst = expected.iter().zip(&found).fold(0f32, |max, (a, b)| max.max((a - b).abs()));
    eprintln!("{name}: off by {:.1e} of the largest output", worst / scale);
    if expected.len() != found.len() || worst / scale > error_max || worst.is_nan() {
        return Err(format!("off by {} of {scale} on {}", worst, bench.stream.device()).into());
    }
    Ok(())
}
