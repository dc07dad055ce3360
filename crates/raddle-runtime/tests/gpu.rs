//! The runtime on a real GPU. Without one every test says that it was skipped,
//! and why, on standard error, past the test harness's capture.

mod kernels;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use kernels::{broken, four, future, mix, ranks, saxpy, shared_tail, wild};
use raddle_runtime::{Buffer, Device, Error, ForeignModule, Grid, Stream};

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: hands everything to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

/// The first GPU, or a line that says why there is none.
fn gpu(test: &str) -> Option<Device> {
    match Device::cuda(0) {
        Ok(device) => Some(device),
        Err(error) => {
            let reason = error.to_string();
            let line = reason.lines().next().unwrap_or_default();
            let _ = writeln!(std::io::stderr(), "{test}: skipped: {line}");
            None
        }
    }
}

fn numbers(len: usize, seed: u32) -> Vec<u32> {
    (0..len as u32).map(|i| (i ^ seed).wrapping_mul(2_654_435_761)).collect()
}

/// What `mix` does, on the host.
fn mixed(target: &mut [u32], source: &[u32], k: u32) {
    for (target, source) in target.iter_mut().zip(source) {
        *target = target.wrapping_mul(31).wrapping_add(*source).wrapping_add(k);
    }
}

#[test]
fn the_device_describes_itself() {
    let Some(device) = gpu("the_device_describes_itself") else { return };
    let limits = device.limits();
    assert!(device.is_gpu() && !device.name().is_empty());
    assert!(device.compute_capability().unwrap() >= (7, 5));
    assert!(limits.block_threads == 1024 && limits.warp == 32);
    assert!(limits.shared_bytes >= 48 << 10 && device.multiprocessor_count() > 0);
    let memory = device.memory().unwrap();
    assert!(memory.free_bytes <= memory.total_bytes && memory.total_bytes > 1 << 30);
    assert_eq!(device, Device::cuda(0).unwrap());
    let count = u32::try_from(Device::list().len()).unwrap() - 1;
    let error = Device::cuda(count).unwrap_err();
    assert!(matches!(error, Error::NoSuchDevice { .. }), "{error}");
}

#[test]
fn devices_keep_their_memory_apart() {
    let Some(first) = gpu("devices_keep_their_memory_apart") else { return };
    let Ok(second) = Device::cuda(1) else {
        let _ = writeln!(std::io::stderr(), "devices_keep_their_memory_apart: skipped: one GPU");
        return;
    };
    let (here, there) = (first.stream().unwrap(), second.stream().unwrap());
    for (stream, other) in [(&here, &there), (&there, &here)] {
        let x = stream.upload(&[1.0f32; 100]).unwrap();
        let mut y = stream.zeros(100).unwrap();
        stream.launch(Grid::cover(100, 32), saxpy(3.0, &x, &mut y)).unwrap();
        assert_eq!(y.to_vec().unwrap(), [3.0; 100]);
        let error = other.launch(Grid::cover(100, 32), saxpy(3.0, &x, &mut y)).unwrap_err();
        assert!(matches!(error, Error::WrongDevice { .. }), "{error}");
        assert!(other.to_vec(&x).is_err() && other.copy(&x, &mut y).is_err());
    }
}

#[test]
fn a_kernel_computes_what_it_says() {
    let Some(device) = gpu("a_kernel_computes_what_it_says") else { return };
    let stream = device.stream().unwrap();
    let x: Vec<f32> = (0..100_000).map(|i| i as f32).collect();
    let x = stream.upload(&x).unwrap();
    let mut y = stream.filled(100_000, 1.0f32).unwrap();
    stream.launch(Grid::cover(100_000, 256), saxpy(2.0, &x, &mut y)).unwrap().wait().unwrap();
    let y = y.to_vec().unwrap();
    assert!(y.iter().enumerate().all(|(i, &y)| y == 1.0 + 2.0 * i as f32));
    stream.launch(Grid::cover(0, 256), future()).unwrap_err();
}

#[test]
fn data_of_every_size_goes_there_and_back() {
    let Some(device) = gpu("data_of_every_size_goes_there_and_back") else { return };
    let stream = device.stream().unwrap();
    for len in [0, 1, 3, 1000, 16_384, 65_537, 1 << 20, (24 << 20) + 5] {
        let host = numbers(len, 77);
        let buffer = stream.upload(&host).unwrap();
        assert_eq!(buffer.to_vec().unwrap(), host, "{len} elements");
        let mut copy = stream.zeros::<u32>(len).unwrap();
        assert!(copy.to_vec().unwrap().iter().all(|&element| element == 0));
        stream.copy(&buffer, &mut copy).unwrap();
        drop(buffer);
        assert_eq!(copy.to_vec().unwrap(), host, "{len} elements copied");
        let filled = stream.filled(len, [7u8, 8, 9]).unwrap();
        assert!(filled.to_vec().unwrap().iter().all(|element| *element == [7, 8, 9]));
    }
}

#[test]
fn a_write_may_end_before_its_source_changes() {
    let Some(device) = gpu("a_write_may_end_before_its_source_changes") else { return };
    let stream = device.stream().unwrap();
    let zeros = stream.zeros::<u32>(1 << 20).unwrap();
    let mut busy = stream.zeros::<u32>(1 << 20).unwrap();
    for len in [10, 20_000, 1 << 20] {
        // The stream is busy when the source goes away.
        stream.launch(Grid::new(1, 32), mix(3_000_000, &mut busy, &zeros, 0)).unwrap();
        let mut source = numbers(len, 3);
        let mut target = stream.zeros::<u32>(len).unwrap();
        stream.write(&mut target, &source).unwrap();
        source.fill(0);
        drop(source);
        assert_eq!(target.to_vec().unwrap(), numbers(len, 3));
    }
}

#[test]
fn work_on_other_streams_waits_for_what_it_uses() {
    let Some(device) = gpu("work_on_other_streams_waits_for_what_it_uses") else { return };
    let (first, second) = (device.stream().unwrap(), device.stream().unwrap());
    let len = 4096;
    let grid = Grid::cover(len, 256);
    for _ in 0..20 {
        let ones = first.filled(len, 1u32).unwrap();
        let mut slow = first.zeros::<u32>(len).unwrap();
        // Written slowly on one stream, read on the other.
        first.launch(grid, mix(2_000_000, &mut slow, &ones, 5)).unwrap();
        let mut result = second.zeros::<u32>(len).unwrap();
        second.launch(grid, mix(0, &mut result, &slow, 0)).unwrap();
        // Read slowly on the other, then overwritten and dropped here.
        second.launch(grid, mix(2_000_000, &mut result, &slow, 0)).unwrap();
        first.fill(&mut slow, 9).unwrap();
        drop(slow);
        drop(ones);
        let trash = first.filled(len, 0xdead_beef_u32).unwrap();
        assert_eq!(result.to_vec().unwrap(), vec![6 * 31 + 6; len]);
        drop(trash);
    }
}

#[test]
fn streams_run_beside_each_other() {
    let Some(device) = gpu("streams_run_beside_each_other") else { return };
    let streams: Vec<Stream> = (0..4).map(|_| device.stream().unwrap()).collect();
    let source = streams[0].filled(32, 1u32).unwrap();
    let mut targets: Vec<Buffer<u32>> =
        streams.iter().map(|stream| stream.zeros(32).unwrap()).collect();
    let mut run = |ns: u64| {
        let start = Instant::now();
        for (stream, target) in streams.iter().zip(&mut targets) {
            stream.launch(Grid::new(1, 32), mix(ns, target, &source, 0)).unwrap();
        }
        streams.iter().for_each(|stream| stream.synchronize().unwrap());
        start.elapsed()
    };
    run(0);
    let elapsed = run(100_000_000);
    assert!(elapsed >= Duration::from_millis(100), "{elapsed:?}");
    assert!(elapsed < Duration::from_millis(300), "four kernels of 100 ms took {elapsed:?}");
}

/// A generator of its own, so that failures repeat.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[test]
fn random_work_on_many_streams_equals_work_in_order() {
    let Some(device) = gpu("random_work_on_many_streams_equals_work_in_order") else { return };
    let mut random = Random(0x5eed_0123_4567_89ab);
    let streams: Vec<Stream> = (0..12).map(|_| device.stream().unwrap()).collect();
    let len = 2000;
    let grid = Grid::new(4, 128);
    let mut buffers: Vec<(Buffer<u32>, Vec<u32>)> = (0..10)
        .map(|i| (streams[i].upload(&numbers(len, i as u32)).unwrap(), numbers(len, i as u32)))
        .collect();
    for step in 0..20_000u32 {
        let stream = &streams[random.below(streams.len())];
        let (i, j) = (random.below(10), random.below(10));
        let ns = if random.below(20) == 0 { random.below(100_000) as u64 } else { 0 };
        match random.below(12) {
            0 => {
                let fresh = numbers(len, step);
                buffers[i] = (stream.upload(&fresh).unwrap(), fresh);
            }
            1 => {
                stream.fill(&mut buffers[i].0, step).unwrap();
                buffers[i].1.fill(step);
            }
            2 => assert_eq!(stream.to_vec(&buffers[i].0).unwrap(), buffers[i].1, "step {step}"),
            3 => {
                let (front, back) = buffers[i].0.split_at_mut(len / 2).unwrap();
                let other = &streams[random.below(streams.len())];
                stream.fill(front, step).unwrap();
                other.fill(back, !step).unwrap();
                buffers[i].1[..len / 2].fill(step);
                buffers[i].1[len / 2..].fill(!step);
            }
            _ if i == j => {}
            _ => {
                let [target, source] = buffers.get_disjoint_mut([i, j]).unwrap();
                stream.launch(grid, mix(ns, &mut target.0, &source.0, step)).unwrap();
                mixed(&mut target.1, &source.1, step);
            }
        }
    }
    for (buffer, expected) in &buffers {
        assert_eq!(buffer.to_vec().unwrap(), *expected);
    }
}

#[test]
fn threads_share_streams_and_buffers() {
    let Some(device) = gpu("threads_share_streams_and_buffers") else { return };
    let shared = device.stream().unwrap();
    let source = shared.upload(&numbers(1000, 1)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8u32 {
            let (device, shared, source) = (&device, &shared, &source);
            scope.spawn(move || {
                let own = device.stream().unwrap();
                let mut target = own.zeros::<u32>(1000).unwrap();
                let mut expected = vec![0; 1000];
                for step in 0..300 {
                    let stream = if step % 3 == 0 { shared } else { &own };
                    let k = step * 8 + thread;
                    stream.launch(Grid::new(2, 128), mix(0, &mut target, source, k)).unwrap();
                    mixed(&mut expected, &numbers(1000, 1), k);
                }
                assert_eq!(target.to_vec().unwrap(), expected);
            });
        }
    });
}

fn panicking_launch(stream: &Stream, x: &Buffer<f32>, y: &mut Buffer<f32>) {
    assert_eq!((x.len(), y.len()), (36, 64));
    stream.launch(Grid::new(2, 32), saxpy(1.0, x, y)).unwrap();
}

fn assert_is_panic(error: &Error) {
    let Error::KernelPanic { kernel, message, file, line, column, block, thread } = error else {
        panic!("{error}")
    };
    let index = block[0] * 32 + thread[0];
    assert!(index >= 36, "thread {index} did not panic");
    assert_eq!((*kernel, &**file, *line, *column), ("test::saxpy", "k.rs", 42, 7));
    assert_eq!(*message, format!("index out of bounds: the len is 36 but the index is {index}"));
}

#[test]
fn panics_show_at_the_next_wait_and_the_device_goes_on() {
    let Some(device) = gpu("panics_show_at_the_next_wait_and_the_device_goes_on") else { return };
    let (first, second) = (device.stream().unwrap(), device.stream().unwrap());
    let bystander = device.stream().unwrap();
    let mut sound = bystander.zeros::<f32>(36).unwrap();
    let (x, mut y) = (first.zeros::<f32>(36).unwrap(), first.zeros::<f32>(64).unwrap());
    for _ in 0..50 {
        panicking_launch(&first, &x, &mut y);
        assert_is_panic(&first.synchronize().unwrap_err());
        first.synchronize().unwrap();
        panicking_launch(&first, &x, &mut y);
        assert_is_panic(&y.to_vec().unwrap_err());
        first.launch(Grid::cover(36, 32), saxpy(1.0, &x, y.slice_mut(..36).unwrap())).unwrap();
        assert_eq!(y.to_vec().unwrap(), [0.0; 64]);
        // Read on another stream: both streams report it.
        panicking_launch(&first, &x, &mut y);
        assert_is_panic(&second.to_vec(&y).unwrap_err());
        assert_is_panic(&first.synchronize().unwrap_err());
        second.synchronize().unwrap();
        let mark = {
            panicking_launch(&first, &x, &mut y);
            first.record().unwrap()
        };
        assert_is_panic(&mark.synchronize().unwrap_err());
        first.synchronize().unwrap();
        // On two streams at once: the first to ask does not take the other's.
        let mut z = second.zeros::<f32>(64).unwrap();
        panicking_launch(&first, &x, &mut y);
        panicking_launch(&second, &x, &mut z);
        // The same kernel, which has nothing to tell there.
        bystander.launch(Grid::new(2, 32), saxpy(1.0, &x, &mut sound)).unwrap().wait().unwrap();
        assert_is_panic(&first.synchronize().unwrap_err());
        let third = device.stream().unwrap();
        assert_is_panic(&third.to_vec(&z).unwrap_err());
        third.synchronize().unwrap();
        assert_is_panic(&second.synchronize().unwrap_err());
        second.synchronize().unwrap();
        // By a stream that is dropped before anybody waits.
        let short = device.stream().unwrap();
        panicking_launch(&short, &x, &mut y);
        drop(short);
        let other = device.stream().unwrap();
        other.synchronize().unwrap();
        assert_is_panic(&y.to_vec().unwrap_err());
        other.synchronize().unwrap();
    }
}

#[test]
fn a_lost_context_is_said_so_and_nothing_hangs() {
    if gpu("a_lost_context_is_said_so_and_nothing_hangs").is_none() {
        return;
    }
    if std::env::var("RADDLE_TEST_ALONE").is_err() {
        return run_alone("a_lost_context_is_said_so_and_nothing_hangs");
    }
    let device = Device::cuda(0).unwrap();
    let stream = device.stream().unwrap();
    let buffer = stream.zeros::<u32>(1000).unwrap();
    stream.launch(Grid::new(1, 1), wild()).unwrap();
    let error = stream.synchronize().unwrap_err();
    assert!(matches!(error, Error::DeviceLost { last_kernel: "test::wild", .. }), "{error}");
    assert!(error.to_string().contains("CUDA_ERROR_ILLEGAL_ADDRESS"), "{error}");
    assert!(buffer.to_vec().is_err());
    assert!(stream.zeros::<u32>(1000).is_err());
    assert!(device.stream().is_err() || device.stream().unwrap().synchronize().is_err());
    drop(buffer);
}

/// Runs one test of this binary in a process of its own.
fn run_alone(test: &str) {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args(["--exact", test, "--nocapture"])
        .env("RADDLE_TEST_ALONE", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn dynamic_shared_memory_goes_up_to_the_devices_limit() {
    let Some(device) = gpu("dynamic_shared_memory_goes_up_to_the_devices_limit") else { return };
    let stream = device.stream().unwrap();
    let limit = device.limits().shared_bytes;
    let expected: Vec<u32> = (0..128).map(|i| (i + 1) % 128).collect();
    for bytes in [512, 48 << 10, (48 << 10) + 16, limit] {
        let mut out = stream.zeros::<u32>(128).unwrap();
        let grid = Grid::new(1, 128).shared_bytes(bytes);
        stream.launch(grid, shared_tail(&mut out, bytes as u32)).unwrap();
        assert_eq!(out.to_vec().unwrap(), expected, "{bytes} bytes");
    }
    let mut out = stream.zeros::<u32>(128).unwrap();
    let grid = Grid::new(1, 128).shared_bytes(limit + 1);
    let error = stream.launch(grid, shared_tail(&mut out, 0)).unwrap_err();
    assert!(matches!(error, Error::LaunchLimit { found, .. } if found == limit as u64 + 1));
}

#[test]
fn clusters_and_programmatic_launches_run() {
    let Some(device) = gpu("clusters_and_programmatic_launches_run") else { return };
    let stream = device.stream().unwrap();
    let mut out = stream.zeros::<u32>(32).unwrap();
    if device.compute_capability().unwrap() < (9, 0) {
        let error = stream.launch(Grid::new(32, 32), ranks(&mut out)).unwrap_err();
        assert!(matches!(error, Error::DeviceTooOld { .. }), "{error}");
        return;
    }
    for size in [1, 2, 4, 8, 16] {
        let grid = Grid::new(32, 32).cluster(size).programmatic();
        stream.launch(grid, ranks(&mut out)).unwrap();
        let expected: Vec<u32> = (0..32).map(|i| i % size + 100 * size).collect();
        assert_eq!(out.to_vec().unwrap(), expected, "clusters of {size}");
    }
    let error = stream.launch(Grid::new(32, 32).cluster(32), ranks(&mut out)).unwrap_err();
    assert!(matches!(error, Error::LaunchLimit { what: "blocks of a cluster", .. }), "{error}");
}

#[test]
fn kernels_that_cannot_run_here_say_why() {
    let Some(device) = gpu("kernels_that_cannot_run_here_say_why") else { return };
    let stream = device.stream().unwrap();
    let error = stream.launch(Grid::new(1, 1), future()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("sm_990a") && text.contains(device.name()), "{text}");
    let error = stream.launch(Grid::new(1, 1), broken()).unwrap_err();
    assert!(error.to_string().contains("ptxas"), "the assembler's log is there: {error}");
    let other = Device::cpu().default_stream().unwrap();
    let (x, mut y) = (other.zeros(8).unwrap(), stream.zeros(8).unwrap());
    let error = stream.launch(Grid::new(1, 8), saxpy(1.0, &x, &mut y)).unwrap_err();
    assert!(matches!(error, Error::WrongDevice { operation: "test::saxpy", .. }), "{error}");
}

#[test]
fn a_launch_does_not_touch_the_heap() {
    let Some(device) = gpu("a_launch_does_not_touch_the_heap") else { return };
    let stream = device.stream().unwrap();
    let [a, b, c] = std::array::from_fn(|_| stream.zeros::<f32>(64).unwrap());
    let mut d = stream.zeros::<f32>(64).unwrap();
    stream.launch(Grid::new(1, 32), four(&a, &b, &c, &mut d)).unwrap();
    let before = ALLOCATIONS.with(Cell::get);
    for _ in 0..1000 {
        stream.launch(Grid::new(1, 32), four(&a, &b, &c, &mut d)).unwrap();
    }
    assert_eq!(ALLOCATIONS.with(Cell::get), before);
    stream.synchronize().unwrap();
}

#[test]
fn dropped_buffers_are_used_again_without_a_wait() {
    let Some(_) = gpu("dropped_buffers_are_used_again_without_a_wait") else { return };
    if std::env::var("RADDLE_TEST_ALONE").is_err() {
        return run_alone("dropped_buffers_are_used_again_without_a_wait");
    }
    let device = Device::cuda(0).unwrap();
    let stream = device.stream().unwrap();
    let source = stream.zeros::<u32>(64).unwrap();
    let bytes = 64 << 20;
    for _ in 0..1000 {
        // SAFETY: the elements are only overwritten.
        let mut buffer = unsafe { stream.uninitialized::<u32>(bytes / 4) }.unwrap();
        let part = buffer.slice_mut(..64).unwrap();
        stream.launch(Grid::new(1, 64), mix(10_000, part, &source, 0)).unwrap();
    }
    stream.synchronize().unwrap();
    let used = device.memory_use();
    // One block, and 2 MiB for `source`.
    assert_eq!(used.reserved_bytes_max, bytes as u64 + (2 << 20), "{used:?}");
    assert_eq!((used.host_waits, used.device_waits, used.growths), (0, 0, 2), "{used:?}");
    drop(source);
    assert_eq!(device.memory_use().live_bytes, 0);
}

#[test]
fn memory_that_is_not_there_is_an_error_and_the_device_goes_on() {
    let Some(device) = gpu("memory_that_is_not_there_is_an_error") else { return };
    let stream = device.stream().unwrap();
    let error = stream.zeros::<u8>(1 << 42).unwrap_err();
    assert!(
        matches!(error, Error::OutOfMemory { requested_bytes, .. } if requested_bytes == 1 << 42),
        "{error}"
    );
    assert_eq!(stream.filled(10, 3u8).unwrap().to_vec().unwrap(), [3; 10]);
}

#[test]
fn time_on_the_device_is_measured() {
    let Some(device) = gpu("time_on_the_device_is_measured") else { return };
    let stream = device.stream().unwrap();
    let source = stream.zeros::<u32>(32).unwrap();
    let mut target = stream.zeros::<u32>(32).unwrap();
    stream.launch(Grid::new(1, 32), mix(0, &mut target, &source, 0)).unwrap().wait().unwrap();
    let launch = |target: &mut Buffer<u32>| {
        stream.launch(Grid::new(1, 32), mix(20_000_000, target, &source, 0)).map(|_| ())
    };
    let (launched, ms) = stream.time(|| launch(&mut target)).unwrap();
    launched.unwrap();
    assert!((19.0..200.0).contains(&ms), "{ms} ms");
}

const FOREIGN: &str = include_str!("kernels/foreign.ptx");

type Axpy = (f32, *const f32, *mut f32, u32);

/// Runs `axpy` of a foreign module and checks what it computes.
fn check_axpy(device: &Device, module: &ForeignModule, name: &str) {
    let (stream, other) = (device.stream().unwrap(), device.stream().unwrap());
    let axpy = module.function::<Axpy>(name).unwrap();
    let x = stream.upload(&[3.0f32; 1000]).unwrap();
    let mut y = other.filled(1000, 1.0f32).unwrap();
    // SAFETY: the kernel reads `x` and writes `y` below 1000.
    let call = unsafe { axpy.call((2.0, &x, &mut y, 1000)) };
    stream.launch(Grid::cover(1000, 128), call).unwrap();
    assert_eq!(y.to_vec().unwrap(), [7.0; 1000]);
    // SAFETY: nothing is launched.
    let call = unsafe { axpy.call((2.0, &x, &mut y, 0)) };
    let error = stream.launch(Grid::new(1, 2000), call).unwrap_err();
    assert!(matches!(error, Error::LaunchLimit { what: "block x", .. }), "{error}");
}

#[test]
fn foreign_ptx_and_cubins_run_through_the_same_launch() {
    let Some(device) = gpu("foreign_ptx_and_cubins_run") else { return };
    let module = ForeignModule::from_ptx(&device, FOREIGN).unwrap();
    check_axpy(&device, &module, "axpy");
    let context = device.cuda_context().unwrap();
    let cubin = raddle_cuda::assemble(context, "foreign", FOREIGN).unwrap();
    // SAFETY: the driver's assembler made it.
    let module = unsafe { ForeignModule::from_cubin(&device, &cubin) }.unwrap();
    check_axpy(&device, &module, "axpy");
    for len in [0, 4, 64, cubin.len() / 2, cubin.len() - 1] {
        // SAFETY: cut images are found before the driver sees them.
        let error = unsafe { ForeignModule::from_cubin(&device, &cubin[..len]) }.err().unwrap();
        assert!(matches!(error, Error::Cuda(raddle_cuda::Error::Image { .. })), "{error}");
    }
    let error = ForeignModule::from_ptx(&device, "not ptx").err().unwrap();
    assert!(matches!(error, Error::Cuda(raddle_cuda::Error::Image { .. })), "{error}");
}

#[test]
fn wrong_declarations_of_foreign_kernels_are_caught() {
    let Some(device) = gpu("wrong_declarations_of_foreign_kernels_are_caught") else { return };
    let module = ForeignModule::from_ptx(&device, FOREIGN).unwrap();
    let reason = |result: Result<(), Error>| match result.unwrap_err() {
        Error::Declaration { kernel, reason } => format!("{kernel}: {reason}"),
        other => panic!("{other}"),
    };
    let missing = reason(module.function::<Axpy>("axpi").map(|_| ()));
    assert!(missing.contains("no kernel of this name"), "{missing}");
    if device.cuda_context().unwrap().driver().version() < (12, 4) {
        return;
    }
    let size = reason(module.function::<(f64, *const f32, *mut f32, u32)>("axpy").map(|_| ()));
    assert!(size.contains("parameter 0 has 4 bytes in the image and 8"), "{size}");
    let few = reason(module.function::<(f32, *const f32)>("axpy").map(|_| ()));
    assert!(few.contains("more than the 2 parameters"), "{few}");
    let many = reason(module.function::<(f32, *const f32, *mut f32, u32, u32)>("axpy").map(|_| ()));
    assert!(many.contains("has 4 parameters, 5 are declared"), "{many}");
}

#[test]
fn cuda_text_is_compiled_where_nvrtc_is_installed() {
    let Some(device) = gpu("cuda_text_is_compiled_where_nvrtc_is_installed") else { return };
    let source = "
        template <typename T> __global__ void axpy(T a, const T* x, T* y, unsigned n) {
            unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
            if (i < n) y[i] += a * x[i];
        }";
    match ForeignModule::from_cuda(&device, source, &[], &["axpy<float>"]) {
        Ok(module) => check_axpy(&device, &module, "axpy<float>"),
        Err(Error::Cuda(error @ raddle_cuda::Error::NvrtcMissing { .. })) => {
            let _ = writeln!(std::io::stderr(), "cuda_text_is_compiled: skipped: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    }
    let error = ForeignModule::from_cuda(&device, "__global__ void k() { x; }", &[], &["k"]);
    let text = error.err().unwrap().to_string();
    assert!(text.contains("identifier \"x\" is undefined"), "{text}");
}

#[test]
fn work_is_awaited_from_many_tasks() {
    let Some(device) = gpu("work_is_awaited_from_many_tasks") else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    let tasks: Vec<_> = (0..64)
        .map(|seed| {
            let stream = device.stream().unwrap();
            runtime.spawn(async move {
                let source = numbers(1000, seed);
                let mut expected = vec![0; 1000];
                let buffer = stream.upload(&source).unwrap();
                let mut target = stream.zeros::<u32>(1000).unwrap();
                for k in 0..50 {
                    let call = mix(2000, &mut target, &buffer, k);
                    stream.launch(Grid::cover(1000, 128), call)?.await?;
                    mixed(&mut expected, &source, k);
                }
                assert_eq!(stream.to_vec_async(&target)?.await?, expected);
                Ok::<_, Error>(())
            })
        })
        .collect();
    for task in tasks {
        runtime.block_on(task).unwrap().unwrap();
    }
    // A download that is dropped, and an await that nobody frees, harm nobody.
    let stream = device.stream().unwrap();
    let (mut target, source) = (stream.zeros::<u32>(1000).unwrap(), stream.zeros(1000).unwrap());
    stream.launch(Grid::cover(1000, 128), mix(20_000_000, &mut target, &source, 1)).unwrap();
    // A forgotten future leaks what it holds: not where a tool looks for leaks.
    if std::env::var_os("RADDLE_TEST_LEAKS").is_none() {
        let _forgotten = std::mem::ManuallyDrop::new(stream.done());
    }
    drop(stream.to_vec_async(&target).unwrap());
    runtime.block_on(stream.done()).unwrap();
}

#[test]
fn graphs_replay_update_and_outlive_their_buffers() {
    let Some(device) = gpu("graphs_replay_update_and_outlive_their_buffers") else { return };
    let stream = device.stream().unwrap();
    let host = numbers(5000, 3);
    let source = stream.upload(&host).unwrap();
    let mut target = stream.zeros::<u32>(5000).unwrap();
    let grid = Grid::cover(5000, 256);
    let (mut graph, out) = stream
        .capture(|stream| {
            let mut out = stream.zeros::<u32>(5000)?;
            stream.write(out.slice_mut(..100)?, &host[..100])?;
            stream.launch(grid, mix(0, &mut target, &source, 7))?;
            stream.launch(grid, mix(0, &mut out, &target, 8))?;
            Ok(out)
        })
        .unwrap();
    let check = |out: &Buffer<u32>, target: &[u32]| {
        let mut expected = host[..100].to_vec();
        expected.resize(5000, 0);
        mixed(&mut expected, target, 8);
        assert_eq!(out.to_vec().unwrap(), expected);
    };
    let mut expected = vec![0; 5000];
    let other = device.stream().unwrap();
    for replay in 0..20 {
        graph.launch(if replay % 2 == 0 { &stream } else { &other }).unwrap();
        mixed(&mut expected, &host, 7);
        check(&out, &expected);
    }
    graph.set_launch(0, grid, mix(0, &mut target, &source, 9)).unwrap();
    drop(source);
    let scribbled: Vec<_> = (0..8).map(|_| stream.filled(5000, 1u32).unwrap()).collect();
    graph.launch(&stream).unwrap().wait().unwrap();
    mixed(&mut expected, &host, 9);
    check(&out, &expected);
    assert_eq!(target.to_vec().unwrap(), expected);
    drop((graph, scribbled));
    check(&out, &expected);
    let error = stream.capture(|stream| stream.synchronize()).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Capture { .. }), "{error}");
}

#[test]
fn streams_of_higher_priority_are_made_and_refused() {
    let Some(device) = gpu("streams_of_higher_priority_are_made_and_refused") else { return };
    let max = device.stream_priority_max().unwrap();
    let stream = device.stream_with_priority(max).unwrap();
    assert_eq!(stream.upload(&[1u32; 10]).unwrap().to_vec().unwrap(), [1; 10]);
    let error = device.stream_with_priority(max + 1).unwrap_err();
    assert!(matches!(error, Error::StreamPriority { .. }), "{error}");
}
