//! Host time of a launch with four buffers, against the driver's own call with
//! the same kernel in the same run; and the time to load a kernel from the cache.
//! One JSON line for each figure.

#[path = "../tests/kernels/mod.rs"]
mod kernels;

use std::time::Instant;

use raddle_cuda::{Module, Shape};
use raddle_runtime::{Device, Error, Grid};

const BATCH: u32 = 500;
const BATCHES: usize = 400;

fn main() -> Result<(), Error> {
    let device = match Device::cuda(0) {
        Ok(device) => device,
        Err(error) => {
            println!("skipped: {error}");
            return Ok(());
        }
    };
    let stream = device.stream()?;
    let [a, b, c] = [stream.zeros::<f32>(64)?, stream.zeros(64)?, stream.zeros(64)?];
    let mut d = stream.zeros::<f32>(64)?;
    let start = Instant::now();
    stream.launch(Grid::new(1, 32), kernels::four(&a, &b, &c, &mut d))?;
    let first_us = start.elapsed().as_secs_f64() * 1e6;

    let raw = stream.cuda_stream().expect("a GPU's stream");
    let module = Module::from_ptx(raw.context(), kernels::PTX)?;
    let function = module.function("four")?;
    let shape = Shape {
        grid: [1; 3],
        block: [32, 1, 1],
        cluster: [0; 3],
        dynamic_shared_bytes: 0,
        is_programmatic: false,
    };
    let params = [0u64; 8];
    let mut typed_ns = Vec::new();
    let mut raw_ns = Vec::new();
    for _ in 0..BATCHES {
        stream.synchronize()?;
        let start = Instant::now();
        for _ in 0..BATCH {
            // SAFETY: the kernel does nothing; the block has its size.
            unsafe { raw.launch(&function, &shape, params.as_ptr().cast())? };
        }
        raw_ns.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(BATCH));
        stream.synchronize()?;
        let start = Instant::now();
        for _ in 0..BATCH {
            stream.launch(Grid::new(1, 32), kernels::four(&a, &b, &c, &mut d))?;
        }
        typed_ns.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(BATCH));
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        (values[values.len() / 2], values[values.len() * 95 / 100])
    };
    let (raw_median, raw_p95) = median(&mut raw_ns);
    let (typed_median, typed_p95) = median(&mut typed_ns);
    println!(
        "{{\"figure\":\"launch\",\"device\":\"{}\",\"buffers\":4,\"raw_ns\":{raw_median:.0},\
         \"raw_p95_ns\":{raw_p95:.0},\"typed_ns\":{typed_median:.0},\"typed_p95_ns\":{typed_p95:.0},\
         \"difference_ns\":{:.0},\"samples\":{BATCHES},\"batch\":{BATCH}}}",
        device.name(),
        typed_median - raw_median,
    );
    println!("{{\"figure\":\"first launch of a kernel\",\"us\":{first_us:.0}}}");
    allocation_cost(&stream)
}

/// Host time to allocate and drop a buffer.
fn allocation_cost(stream: &raddle_runtime::Stream) -> Result<(), Error> {
    for bytes in [1 << 10, 1 << 20, 64 << 20] {
        let mut pair_ns = Vec::new();
        for _ in 0..200 {
            let start = Instant::now();
            for _ in 0..50 {
                // SAFETY: the buffer is not read.
                drop(unsafe { stream.uninitialized::<u8>(bytes)? });
            }
            pair_ns.push(start.elapsed().as_secs_f64() * 1e9 / 50.0);
            stream.synchronize()?;
        }
        pair_ns.sort_by(f64::total_cmp);
        println!(
            "{{\"figure\":\"allocate and drop\",\"bytes\":{bytes},\"median_ns\":{:.0},\"p95_ns\":{:.0}}}",
            pair_ns[100], pair_ns[190]
        );
    }
    Ok(())
}
