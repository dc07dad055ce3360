//! What waiting, tracking and graphs cost on the host. One JSON line for each
//! figure; on a machine without a GPU, the figures of the CPU device.
//!
//! - a launch with eight tracked buffers, against the driver's `cuLaunchKernel`;
//! - an await, against spinning on the driver's `cuStreamQuery` for the same work;
//! - 102,400 awaits at once over 64 streams on 8 tokio workers: how long the
//!   slowest poll took (nothing else delays a task of the executor);
//! - 4,096 streams alive at once;
//! - replays of graphs that touch 1 to 512 buffers, against `cuGraphLaunch`;
//! - the poller's CPU time while it waits for one long kernel.
//!
//! `async_cost launch`, `awaits` or `graph` measures those alone.

#[path = "../tests/kernels/mod.rs"]
mod kernels;

use std::ffi::c_void;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use raddle_runtime::{Buffer, Device, Error, Graph, Grid, Stream};

type Result<T> = std::result::Result<T, Error>;

fn main() -> Result<()> {
    let device = Device::best()?;
    println!("{{\"device\":\"{}\"}}", device.name());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_time()
        .build()
        .expect("threads can be started");
    let stream = device.stream()?;
    let part = std::env::args().nth(1);
    let is_wanted = |name: &str| part.as_ref().is_none_or(|part| part == name);
    if is_wanted("launch") {
        launch_cost(&stream)?;
    }
    if is_wanted("awaits") {
        await_cost(&stream, &runtime)?;
        many_awaits(&device, &runtime)?;
        many_streams(&device, &runtime)?;
        poller_cost(&device, &stream, &runtime)?;
    }
    if is_wanted("graph") {
        for buffers in [1, 8, 64, 512] {
            graph_cost(&stream, buffers)?;
        }
    }
    Ok(())
}

const WORKERS: usize = 8;
const SAMPLES: usize = 2000;

/// Prints the median, 95th percentile and maximum of `values`.
fn print(figure: &str, details: &str, unit: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize];
    println!(
        "{{\"figure\":\"{figure}\",{details}\"median_{unit}\":{:.2},\"p95_{unit}\":{:.2},\"max_{unit}\":{:.2},\"samples\":{}}}",
        at(0.5),
        at(0.95),
        at(1.0),
        values.len()
    );
}

fn ns(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e9
}

/// A function of the driver's, which is loaded.
///
/// # Safety
///
/// `F` is the function's type.
unsafe fn driver_function<F: Copy>(stream: &Stream, name: &[u8]) -> Option<F> {
    let context = stream.device().cuda_context()?;
    // SAFETY: loading the driver again gives the library that is loaded.
    let library = unsafe { libloading::Library::new(context.driver().library()) }.ok()?;
    let library = std::mem::ManuallyDrop::new(library);
    // SAFETY: the caller's contract.
    unsafe { library.get::<F>(name) }.ok().map(|symbol| *symbol)
}

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
type GraphLaunch = unsafe extern "system" fn(*mut c_void, *mut c_void) -> u32;

const BATCH: usize = 50;

fn launch_cost(stream: &Stream) -> Result<()> {
    let sources: Vec<Buffer<f32>> = (0..7).map(|_| stream.zeros(64)).collect::<Result<_>>()?;
    let sources: [&Buffer<f32>; 7] = std::array::from_fn(|i| &sources[i]);
    let mut target = stream.zeros::<f32>(64)?;
    let typed = |target: &mut Buffer<f32>| -> Result<f64> {
        let start = Instant::now();
        for _ in 0..BATCH {
            stream.launch(Grid::new(1, 32), kernels::eight(sources, &mut *target))?;
        }
        let time = ns(start) / BATCH as f64;
        stream.synchronize()?;
        Ok(time)
    };
    typed(&mut target)?;
    // SAFETY: the signature is cuda.h's.
    let launch = unsafe { driver_function::<LaunchKernel>(stream, b"cuLaunchKernel") };
    let (Some(raw), Some(launch)) = (stream.cuda_stream(), launch) else {
        let times = (0..SAMPLES).map(|_| typed(&mut target)).collect::<Result<_>>()?;
        print("launch with 8 buffers", "", "ns", times);
        return Ok(());
    };
    let module = raddle_cuda::Module::from_ptx(raw.context(), kernels::PTX)?;
    let function = module.function("eight")?.as_raw();
    let mut block = [0u64; 16];
    let (mut record, mut tag) = (0u64, 0u64);
    let mut params = [
        (&raw mut block).cast::<c_void>(),
        (&raw mut record).cast::<c_void>(),
        (&raw mut tag).cast::<c_void>(),
    ];
    let none = std::ptr::null_mut();
    let (mut differences, mut raws) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        let start = Instant::now();
        for _ in 0..BATCH {
            let params = params.as_mut_ptr();
            // SAFETY: the kernel does nothing; the parameters have their sizes.
            let code =
                unsafe { launch(function, 1, 1, 1, 32, 1, 1, 0, raw.as_raw(), params, none) };
            assert_eq!(code, 0);
        }
        let time = ns(start) / BATCH as f64;
        stream.synchronize()?;
        raws.push(time);
        differences.push(typed(&mut target)? - time);
    }
    print("raw cuLaunchKernel", "", "ns", raws);
    print("launch with 8 buffers over raw", "", "ns", differences);
    Ok(())
}

/// One launch and its await, from the launch to the task's next instruction.
fn await_cost(stream: &Stream, runtime: &tokio::runtime::Runtime) -> Result<()> {
    let sources: Vec<Buffer<f32>> = (0..7).map(|_| stream.zeros(64)).collect::<Result<_>>()?;
    let mut target = stream.zeros::<f32>(64)?;
    let stream_of_task = stream.clone();
    let task = runtime.spawn(async move {
        let (stream, mut awaited, mut spun) = (stream_of_task, Vec::new(), Vec::new());
        for _ in 0..SAMPLES {
            let sources: [&Buffer<f32>; 7] = std::array::from_fn(|i| &sources[i]);
            let start = Instant::now();
            let call = kernels::eight(sources, &mut target);
            stream.launch(Grid::new(1, 32), call)?.await?;
            awaited.push(ns(start) / 1e3);
            let start = Instant::now();
            let call = kernels::eight(sources, &mut target);
            stream.launch(Grid::new(1, 32), call)?;
            while let Some(raw) = stream.cuda_stream()
                && !raw.is_idle()?
            {}
            spun.push(ns(start) / 1e3);
        }
        Ok::<_, Error>((awaited, spun))
    });
    let (awaited, spun) = runtime.block_on(task).expect("the task does not panic")?;
    print("launch and await", "", "us", awaited);
    print("launch and spin", "", "us", spun);
    Ok(())
}

/// A future that notes how long its polls take.
struct Timed<F>(F, Arc<AtomicU64>);

impl<F: Future + Unpin> Future for Timed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let start = Instant::now();
        let polled = Pin::new(&mut self.0).poll(context);
        self.1.fetch_max(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        polled
    }
}

const STREAMS: usize = 64;
const LAUNCHES: usize = 200;
const WAITERS: usize = 8;

fn many_awaits(device: &Device, runtime: &tokio::runtime::Runtime) -> Result<()> {
    let streams: Vec<Stream> = (0..STREAMS).map(|_| device.stream()).collect::<Result<_>>()?;
    let sources: Vec<Buffer<f32>> = (0..7).map(|_| streams[0].zeros(64)).collect::<Result<_>>()?;
    let sources: [&Buffer<f32>; 7] = std::array::from_fn(|i| &sources[i]);
    let (longest, mut tasks) = (Arc::new(AtomicU64::new(0)), Vec::new());
    let mut gates = Vec::new();
    for stream in &streams {
        let (mut target, source) = (stream.zeros::<u32>(32)?, stream.zeros::<u32>(32)?);
        if device.is_gpu() {
            // Holds the stream until all waits are there.
            let gate = kernels::mix(400_000_000, &mut target, &source, 1);
            stream.launch(Grid::new(1, 32), gate)?;
        }
        gates.push((target, source));
    }
    let start = Instant::now();
    for stream in &streams {
        let mut target = stream.zeros::<f32>(64)?;
        for _ in 0..LAUNCHES {
            stream.launch(Grid::new(1, 32), kernels::eight(sources, &mut target))?;
            for _ in 0..WAITERS {
                tasks.push(runtime.spawn(Timed(stream.done(), Arc::clone(&longest))));
            }
        }
    }
    let registered_ms = ns(start) / 1e6;
    let heart = runtime.spawn(async {
        let mut worst = Duration::ZERO;
        for _ in 0..2000 {
            let before = Instant::now();
            tokio::task::yield_now().await;
            worst = worst.max(before.elapsed());
        }
        worst
    });
    let len = tasks.len();
    for task in tasks {
        runtime.block_on(task).expect("the task does not panic")?;
    }
    let heart_us = runtime.block_on(heart).expect("a heart").as_secs_f64() * 1e6;
    println!(
        "{{\"figure\":\"awaits at once\",\"awaits\":{len},\"streams\":{STREAMS},\"workers\":{WORKERS},\
         \"enqueued_ms\":{registered_ms:.1},\"all_done_ms\":{:.1},\"longest_poll_us\":{:.1},\"heartbeat_us\":{heart_us:.1}}}",
        ns(start) / 1e6,
        longest.load(Ordering::Relaxed) as f64 / 1e3,
    );
    Ok(())
}

fn many_streams(device: &Device, runtime: &tokio::runtime::Runtime) -> Result<()> {
    let start = Instant::now();
    let streams: Vec<Stream> = (0..4096).map(|_| device.stream()).collect::<Result<_>>()?;
    let made_us = ns(start) / 1e3 / streams.len() as f64;
    let mut buffers: Vec<Buffer<u32>> = Vec::new();
    for stream in &streams {
        buffers.push(stream.filled(256, 7)?);
    }
    let start = Instant::now();
    let tasks: Vec<_> = streams.iter().map(|stream| runtime.spawn(stream.done())).collect();
    for task in tasks {
        runtime.block_on(task).expect("the task does not panic")?;
    }
    println!(
        "{{\"figure\":\"streams alive\",\"streams\":{},\"made_us_each\":{made_us:.2},\"all_awaited_ms\":{:.1}}}",
        streams.len(),
        ns(start) / 1e6
    );
    Ok(())
}

fn graph_cost(stream: &Stream, buffers: usize) -> Result<()> {
    let mut targets: Vec<Buffer<f32>> =
        (0..buffers).map(|_| stream.zeros(64)).collect::<Result<_>>()?;
    let (graph, ()) = stream.capture(|stream| {
        // One kernel, whatever the number of buffers; the others are filled.
        for target in &mut targets[1..] {
            stream.fill(target, 1.0)?;
        }
        let source = stream.zeros(64)?;
        let call = kernels::eight([&source; 7], &mut targets[0]);
        stream.launch(Grid::new(1, 32), call).map(|_| ())
    })?;
    let replay = |graph: &Graph| -> Result<f64> {
        let start = Instant::now();
        graph.launch(stream)?;
        let time = ns(start);
        stream.synchronize()?;
        Ok(time)
    };
    replay(&graph)?;
    let details = format!("\"buffers\":{buffers},");
    // SAFETY: the signature is cuda.h's.
    let launch = unsafe { driver_function::<GraphLaunch>(stream, b"cuGraphLaunch") };
    let (Some(raw), Some(launch)) = (stream.cuda_stream(), launch) else {
        let times = (0..SAMPLES / 4).map(|_| replay(&graph)).collect::<Result<_>>()?;
        print("graph replay", &details, "ns", times);
        return Ok(());
    };
    let (mut differences, mut raws) = (Vec::new(), Vec::new());
    let exec = graph.cuda_exec().expect("a GPU's graph");
    let launch_raw = || -> Result<f64> {
        let start = Instant::now();
        // SAFETY: the stream has done all other work, and the graph lives.
        assert_eq!(unsafe { launch(exec, raw.as_raw()) }, 0);
        let time = ns(start);
        stream.synchronize()?;
        Ok(time)
    };
    for sample in 0..SAMPLES / 4 {
        // Each goes first as often as the other: the second finds warmer caches.
        let (ours, theirs) = if sample % 2 == 0 {
            let theirs = launch_raw()?;
            (replay(&graph)?, theirs)
        } else {
            (replay(&graph)?, launch_raw()?)
        };
        raws.push(theirs);
        differences.push(ours - theirs);
    }
    print("raw cuGraphLaunch", &details, "ns", raws);
    print("graph replay over raw", &details, "ns", differences);
    Ok(())
}

/// CPU time of the poller's thread during one long kernel.
fn poller_cost(device: &Device, stream: &Stream, runtime: &tokio::runtime::Runtime) -> Result<()> {
    if !device.is_gpu() {
        return Ok(());
    }
    let (mut target, source) = (stream.zeros::<u32>(32)?, stream.zeros::<u32>(32)?);
    let (start, before) = (Instant::now(), poller_ticks());
    let call = kernels::mix(3_000_000_000, &mut target, &source, 1);
    runtime.block_on(stream.launch(Grid::new(1, 32), call)?.done())?;
    let seconds = start.elapsed().as_secs_f64();
    // Linux counts hundredths of a second here.
    let share = (poller_ticks() - before) as f64 / 100.0 / seconds * 100.0;
    println!(
        "{{\"figure\":\"poller during one kernel\",\"seconds\":{seconds:.2},\"cpu_percent\":{share:.2}}}"
    );
    Ok(())
}

/// CPU time of the poller's thread so far, user and system, in ticks.
fn poller_ticks() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    let poller = stats.filter(|stat| stat.contains("(raddle-poller)"));
    let ticks = |stat: String| {
        let fields: Vec<i64> =
            stat.rsplit(')').next()?.split_whitespace().filter_map(|f| f.parse().ok()).collect();
        // Fields 14 and 15 of proc(5); the state, which is no number, is field 3.
        Some((fields.get(10)? + fields.get(11)?).unsigned_abs())
    };
    poller.filter_map(ticks).sum()
}
