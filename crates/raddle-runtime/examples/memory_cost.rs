//! What memory costs on the host: a buffer's allocation and drop against the
//! driver's stream-ordered pair in the same run, a million allocations of 64 MiB
//! with a kernel each, and the memory profile. One JSON line for each figure, for
//! the CPU device and, where there is one, a GPU.
//!
//! `memory_cost profile` runs only what the profile samples, `memory_cost threads` only
//! the threads, for a look at their cost with other tools.

#[path = "../tests/kernels/mod.rs"]
mod kernels;

use std::time::Instant;

use raddle_runtime::{Device, Error, Grid, MemoryProfileMode, Stream, set_memory_profile};

const BATCH: usize = 1000;
const BATCHES: usize = 1000;

fn main() -> Result<(), Error> {
    set_memory_profile(MemoryProfileMode::Off);
    let only = std::env::args().nth(1).unwrap_or_default();
    for device in [Ok(Device::cpu()), Device::cuda(0)] {
        let device = match device {
            Ok(device) => device,
            Err(error) => {
                println!("skipped: {error}");
                continue;
            }
        };
        let stream = device.stream()?;
        if only.is_empty() {
            pair_cost(&stream)?;
            driver_pair_cost(&stream)?;
            cycles(&device, &stream)?;
        }
        if only != "profile" {
            for threads in [1, 2, 4, 8, 16] {
                threads_cost(&device, threads)?;
            }
        }
        if only != "threads" {
            profile_cost(&stream)?;
        }
    }
    Ok(())
}

/// Median and 99th percentile of batches of `pair`, in nanoseconds a call.
fn measure(
    stream: &Stream,
    mut pair: impl FnMut() -> Result<(), Error>,
) -> Result<[f64; 2], Error> {
    for _ in 0..BATCH {
        pair()?;
    }
    let mut ns = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        let start = Instant::now();
        for _ in 0..BATCH {
            pair()?;
        }
        ns.push(start.elapsed().as_secs_f64() * 1e9 / BATCH as f64);
        if ns.len().is_multiple_of(16) {
            stream.synchronize()?;
        }
    }
    ns.sort_by(f64::total_cmp);
    Ok([ns[BATCHES / 2], ns[BATCHES * 99 / 100]])
}

fn pair_of(stream: &Stream, bytes: usize) -> Result<(), Error> {
    // SAFETY: the buffer is not read.
    drop(std::hint::black_box(unsafe { stream.uninitialized::<u8>(bytes)? }));
    Ok(())
}

/// Host time to allocate a buffer and drop it again on one stream.
fn pair_cost(stream: &Stream) -> Result<(), Error> {
    for bytes in [1 << 10, 1 << 20, 64 << 20] {
        let [median, p99] = measure(stream, || pair_of(stream, bytes))?;
        let device = stream.device().kind();
        println!(
            "{{\"figure\":\"allocate and drop\",\"device\":\"{device}\",\"bytes\":{bytes},\
             \"median_ns\":{median:.0},\"p99_ns\":{p99:.0},\"batch\":{BATCH},\"samples\":{BATCHES}}}"
        );
    }
    Ok(())
}

/// The same from the driver's own pool, with memory kept, through `cuMemAllocFromPoolAsync`
/// and `cuMemFreeAsync`.
fn driver_pair_cost(stream: &Stream) -> Result<(), Error> {
    let Some(raw) = stream.cuda_stream() else { return Ok(()) };
    let Ok(pool) = raddle_cuda::Pool::new(raw.context()) else { return Ok(()) };
    for bytes in [1 << 10, 1 << 20, 64 << 20] {
        let [median, p99] = measure(stream, || {
            let address = pool.allocate(bytes, raw)?;
            // SAFETY: just allocated, and no work uses it.
            unsafe { pool.free(address, raw)? };
            Ok(())
        })?;
        println!(
            "{{\"figure\":\"driver's pair\",\"bytes\":{bytes},\"median_ns\":{median:.0},\"p99_ns\":{p99:.0}}}"
        );
    }
    Ok(())
}

/// Pairs on several threads, each with its own stream.
fn threads_cost(device: &Device, threads: usize) -> Result<(), Error> {
    let pairs = 1_000_000;
    if std::thread::available_parallelism().map_or(1, usize::from) < threads {
        return Ok(());
    }
    let start = Instant::now();
    let results: Vec<Result<(), Error>> = std::thread::scope(|scope| {
        let run = |_| {
            scope.spawn(|| {
                let stream = device.stream()?;
                (0..pairs).try_for_each(|_| pair_of(&stream, 1 << 16))
            })
        };
        let running: Vec<_> = (0..threads).map(run).collect();
        running.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    });
    results.into_iter().collect::<Result<(), Error>>()?;
    let ns = start.elapsed().as_secs_f64() * 1e9 / f64::from(pairs);
    println!(
        "{{\"figure\":\"allocate and drop\",\"device\":\"{}\",\"threads\":{threads},\"ns\":{ns:.0}}}",
        device.kind()
    );
    Ok(())
}

/// A million times: allocate 64 MiB, use a part of it in a kernel (on the CPU device,
/// in a copy), drop it.
fn cycles(device: &Device, stream: &Stream) -> Result<(), Error> {
    const CYCLES: u32 = 1_000_000;
    stream.synchronize()?;
    device.trim_memory()?;
    let x = stream.zeros::<f32>(64)?;
    device.reset_memory_peaks();
    let before = device.memory_use();
    let start = Instant::now();
    for _ in 0..CYCLES {
        // SAFETY: the kernel only writes.
        let mut block = unsafe { stream.uninitialized::<f32>(16 << 20)? };
        let part = block.slice_mut(..64)?;
        if device.is_gpu() {
            stream.launch(Grid::new(1, 32), kernels::four(&x, &x, &x, part))?;
        } else {
            // The kernel has no body for the CPU.
            stream.copy(&x, part)?;
        }
    }
    stream.synchronize()?;
    let us = start.elapsed().as_secs_f64() * 1e6 / f64::from(CYCLES);
    let after = device.memory_use();
    println!(
        "{{\"figure\":\"allocate 64 MiB, kernel, drop\",\"device\":\"{}\",\"cycles\":{CYCLES},\
         \"us\":{us:.2},\"reserved_bytes_max\":{},\"growths\":{},\"host_waits\":{},\"device_waits\":{},\
         \"live_bytes\":{}}}",
        device.kind(),
        after.reserved_bytes_max,
        after.growths - before.growths,
        after.host_waits - before.host_waits,
        after.device_waits - before.device_waits,
        after.live_bytes - before.live_bytes,
    );
    Ok(())
}

/// What the profile adds to a pair, and how much that is of a program that allocates
/// a hundred thousand times a second.
fn profile_cost(stream: &Stream) -> Result<(), Error> {
    let device = stream.device().kind();
    for bytes in [1 << 10, 64 << 20] {
        let mut off_ns = 0.0;
        for mode in [MemoryProfileMode::Off, MemoryProfileMode::Sampled, MemoryProfileMode::Full] {
            set_memory_profile(mode);
            let [median, _] = measure(stream, || deep(stream, bytes, 12))?;
            if mode == MemoryProfileMode::Off {
                off_ns = median;
            }
            let added = median - off_ns;
            let percent = added * 1e5 / 1e9 * 100.0;
            println!(
                "{{\"figure\":\"profile\",\"device\":\"{device}\",\"mode\":\"{mode:?}\",\"bytes\":{bytes},\
                 \"median_ns\":{median:.0},\"added_ns\":{added:.0},\
                 \"percent_at_100000_a_second\":{percent:.2}}}"
            );
        }
        set_memory_profile(MemoryProfileMode::Off);
    }
    Ok(())
}

/// A pair below some more calls, so that there is a stack to find.
#[inline(never)]
fn deep(stream: &Stream, bytes: usize, calls: u32) -> Result<(), Error> {
    let result = if calls == 0 { pair_of(stream, bytes) } else { deep(stream, bytes, calls - 1) };
    std::hint::black_box(&result);
    result
}
