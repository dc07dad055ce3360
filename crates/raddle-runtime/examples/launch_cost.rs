//! Host time of a launch with four buffers, against the driver's `cuLaunchKernel`
//! with the same kernel in the same run; the time to load a kernel that is in the
//! cache; the time to allocate and drop a buffer. One JSON line for each figure.

#[path = "../tests/kernels/mod.rs"]
mod kernels;

use std::ffi::c_void;
use std::time::Instant;

use raddle_cuda::Module;
use raddle_runtime::{Buffer, Device, Error, Grid, Stream};

const BATCH: u32 = 100;
const BATCHES: usize = 2000;

type LaunchKernel = unsafe extern "system" fn(
    *mut c_void,
    u32,
    u32,
    u32,
    u32,
    u32,
    u32,
    u32,
    *mut c_void,
    *mut *mut c_void,
    *mut *mut c_void,
) -> u32;

fn main() -> Result<(), Error> {
    let device = match Device::cuda(0) {
        Ok(device) => device,
        Err(error) => {
            println!("skipped: {error}");
            return Ok(());
        }
    };
    let stream = device.stream()?;
    load_cost(&stream)?;
    launch_cost(&device, &stream)?;
    allocation_cost(&stream)
}

/// Host time of each kernel's first launch: its load, from the cache if this ran
/// before.
fn load_cost(stream: &Stream) -> Result<(), Error> {
    let x = stream.zeros::<f32>(64)?;
    let mut y = stream.zeros::<f32>(64)?;
    let u = stream.zeros::<u32>(64)?;
    let mut v = stream.zeros::<u32>(64)?;
    let grid = Grid::new(1, 32);
    let first = |name: &str, launch: &mut dyn FnMut() -> Result<(), Error>| {
        stream.synchronize()?;
        let start = Instant::now();
        launch()?;
        let us = start.elapsed().as_secs_f64() * 1e6;
        println!("{{\"figure\":\"first launch\",\"kernel\":\"{name}\",\"us\":{us:.0}}}");
        Ok(())
    };
    first("saxpy", &mut || stream.launch(grid, kernels::saxpy(1.0, &x, &mut y)).map(|_| ()))?;
    first("mix", &mut || stream.launch(grid, kernels::mix(0, &mut v, &u, 0)).map(|_| ()))?;
    first("four", &mut || stream.launch(grid, kernels::four(&x, &x, &x, &mut y)).map(|_| ()))
}

fn launch_cost(device: &Device, stream: &Stream) -> Result<(), Error> {
    let [a, b, c] = [stream.zeros::<f32>(64)?, stream.zeros(64)?, stream.zeros(64)?];
    let mut d = stream.zeros::<f32>(64)?;
    let raw = stream.cuda_stream().expect("a GPU's stream");
    let module = Module::from_ptx(raw.context(), kernels::PTX)?;
    let (function, queue) = (module.function("four")?.as_raw(), raw.as_raw());
    // SAFETY: loading the driver again gives the library that is loaded.
    let library = unsafe {
        libloading::Library::new(device.cuda_context().expect("a GPU").driver().library())
    }
    .expect("it is loaded");
    // SAFETY: the signature is cuda.h's.
    let launch = unsafe { library.get::<LaunchKernel>(c"cuLaunchKernel") }.expect("every driver");
    let mut block = [0u64; 8];
    let (mut record, mut tag) = (0u64, 0u64);
    let mut params = [
        (&raw mut block).cast::<c_void>(),
        (&raw mut record).cast::<c_void>(),
        (&raw mut tag).cast::<c_void>(),
    ];
    let none = std::ptr::null_mut();
    let (mut raw_ns, mut typed_ns, mut differences) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..BATCHES {
        stream.synchronize()?;
        let start = Instant::now();
        for _ in 0..BATCH {
            let params = params.as_mut_ptr();
            // SAFETY: the kernel does nothing; the parameters have their sizes.
            let code = unsafe { launch(function, 1, 1, 1, 32, 1, 1, 0, queue, params, none) };
            assert_eq!(code, 0);
        }
        let raw = start.elapsed().as_secs_f64() * 1e9 / f64::from(BATCH);
        stream.synchronize()?;
        let start = Instant::now();
        for _ in 0..BATCH {
            stream.launch(Grid::new(1, 32), kernels::four(&a, &b, &c, &mut d))?;
        }
        let typed = start.elapsed().as_secs_f64() * 1e9 / f64::from(BATCH);
        raw_ns.push(raw);
        typed_ns.push(typed);
        differences.push(typed - raw);
    }
    println!(
        "{{\"figure\":\"launch\",\"device\":\"{}\",\"buffers\":4,\"raw_ns\":{:.0},\"typed_ns\":{:.0},\
         \"difference_ns\":{:.0},\"bind_ns\":{:.0},\"samples\":{BATCHES},\"batch\":{BATCH}}}",
        device.name(),
        median(&mut raw_ns),
        median(&mut typed_ns),
        median(&mut differences),
        bind_cost([&a, &b, &c], &mut d),
    );
    Ok(())
}

/// Host time to bind four buffers, without a launch.
fn bind_cost([a, b, c]: [&Buffer<f32>; 3], d: &mut Buffer<f32>) -> f64 {
    let start = Instant::now();
    for _ in 0..1_000_000 {
        drop(std::hint::black_box(kernels::four(a, b, c, &mut *d)));
    }
    start.elapsed().as_secs_f64() * 1e3
}

/// Host time to allocate and drop a buffer.
fn allocation_cost(stream: &Stream) -> Result<(), Error> {
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
        let pair = median(&mut pair_ns);
        println!("{{\"figure\":\"allocate and drop\",\"bytes\":{bytes},\"median_ns\":{pair:.0}}}");
    }
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
