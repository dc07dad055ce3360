//! What common operations cost in driver calls, counted by the fake: exact numbers,
//! so that one call too many fails.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use raddle_fake_driver::Fake;
use raddle_runtime::{Buffer, Device, Grid, Stream};
use raddle_runtime_tests::harness::note;
use raddle_runtime_tests::kernels::{churn, gather};
use raddle_runtime_tests::{isolated, watchdog};

const TIMES: u64 = 1000;

/// The driver calls of `work`, which has run before.
fn calls(fake: &Fake, mut work: impl FnMut()) -> BTreeMap<String, u64> {
    work();
    work();
    let _ = fake.counts();
    for _ in 0..TIMES {
        work();
    }
    fake.counts()
}

fn expect(found: &BTreeMap<String, u64>, expected: &[(&str, u64)]) {
    let expected: BTreeMap<String, u64> =
        expected.iter().map(|&(name, count)| (name.to_owned(), count * TIMES)).collect();
    assert_eq!(*found, expected);
}

#[test]
fn one_stream_makes_no_driver_call_but_its_work() {
    let Some(fake) = isolated("costs::one_stream_makes_no_driver_call_but_its_work", &[]) else {
        return;
    };
    let stream = Device::cuda(0).unwrap().stream().unwrap();
    let sources: Vec<Buffer<u32>> = (0..7).map(|i| stream.filled(64, i).unwrap()).collect();
    let mut target = stream.zeros::<u32>(64).unwrap();
    let launch = |target: &mut Buffer<u32>| {
        let call = gather(target, std::array::from_fn(|i| &sources[i]));
        stream.launch(Grid::new(2, 32), call).unwrap();
    };
    // Eight buffers that are kept track of, and no event, wait or context switch.
    expect(&calls(&fake, || launch(&mut target)), &[("cuLaunchKernel", 1)]);
    assert_eq!(target.to_vec().unwrap(), [21; 64]);
    // SAFETY: the elements are not read.
    let unset = || drop(unsafe { stream.uninitialized::<u32>(1000) }.unwrap());
    expect(&calls(&fake, unset), &[]);
    let large = || {
        // SAFETY: as above.
        drop(unsafe { stream.uninitialized::<u32>(16 << 20) }.unwrap());
    };
    expect(&calls(&fake, large), &[]);
    let zeros = || drop(stream.zeros::<u32>(1000).unwrap());
    expect(&calls(&fake, zeros), &[("cuCtxSetCurrent", 1), ("cuMemsetD8Async", 1)]);
    let mut copy = stream.zeros::<u32>(64).unwrap();
    let copies = || stream.copy(&target, &mut copy).unwrap();
    expect(&calls(&fake, copies), &[("cuCtxSetCurrent", 1), ("cuMemcpyDtoDAsync", 1)]);
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[test]
fn pieces_that_are_copied_together_are_marked_once() {
    let name = "costs::pieces_that_are_copied_together_are_marked_once";
    let Some(fake) = isolated(name, &[]) else { return };
    // Nothing runs by itself, so that nothing has ended when it is marked.
    fake.set("eager", 0);
    let device = Device::cuda(0).unwrap();
    let stream = device.stream().unwrap();
    let mut target = stream.zeros::<u32>(64 * 100).unwrap();
    let mut rows = (0..64u32).map(|row| device.pinned(&[row; 100]).unwrap()).collect();
    let found = calls(&fake, || {
        let copies = stream.write_pinned_vectored(&mut target, std::mem::take(&mut rows));
        rows = copies.unwrap().wait().unwrap();
    });
    let marks = found.get("cuStreamWriteValue64").copied();
    assert_eq!((found["cuMemcpyHtoDAsync"], marks), (64 * TIMES, Some(TIMES)), "{found:?}");
    let expected: Vec<u32> = (0..64).flat_map(|row| [row; 100]).collect();
    assert_eq!(target.to_vec().unwrap(), expected);
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[test]
fn a_second_stream_costs_one_event_and_one_wait_for_each_change() {
    let name = "costs::a_second_stream_costs_one_event_and_one_wait_for_each_change";
    let Some(fake) = isolated(name, &[]) else { return };
    // Nothing runs, so that nothing is known to have ended.
    fake.set("eager", 0);
    let device = Device::cuda(0).unwrap();
    let (first, second) = (device.stream().unwrap(), device.stream().unwrap());
    let none = first.zeros::<u32>(0).unwrap();
    let mut x = first.zeros::<u32>(64).unwrap();
    let launch = |stream: &Stream, x: &mut Buffer<u32>| {
        stream.launch(Grid::new(1, 32), churn(0, x, [&none, &none, &none], 1)).unwrap();
    };
    let found = calls(&fake, || {
        launch(&first, &mut x);
        launch(&first, &mut x);
        launch(&second, &mut x);
        launch(&second, &mut x);
    });
    let count = |name: &str| found.get(name).copied().unwrap_or(0);
    assert_eq!(count("cuLaunchKernel"), 4 * TIMES);
    assert_eq!(count("cuEventRecord"), 2 * TIMES, "{found:?}");
    assert_eq!(count("cuStreamWaitEvent"), 2 * TIMES, "{found:?}");
    assert_eq!(count("cuEventCreate"), 0, "{found:?}");
    first.synchronize().unwrap();
    assert_eq!(fake.violations(), Vec::<String>::new());
}

/// Functions that wait for the device.
const WAITING: [&str; 4] =
    ["cuStreamSynchronize", "cuCtxSynchronize", "cuEventSynchronize", "cuMemFree"];

#[test]
fn a_large_buffer_made_used_and_dropped_again_and_again_stays_one() {
    let name = "costs::a_large_buffer_made_used_and_dropped_again_and_again_stays_one";
    let Some(fake) = isolated(name, &[]) else { return };
    let _dog = watchdog(Duration::from_secs(60));
    const BYTES: usize = 64 << 20;
    const CYCLES: u64 = 200_000;
    let device = Device::cuda(0).unwrap();
    let stream = device.stream().unwrap();
    let none = stream.zeros::<u32>(0).unwrap();
    let cycle = || {
        // SAFETY: only the part that the kernel changes is read, by it.
        let mut buffer = unsafe { stream.uninitialized::<u32>(BYTES / 4) }.unwrap();
        let part = buffer.slice_mut(..32).unwrap();
        stream.launch(Grid::new(1, 32), churn(0, part, [&none, &none, &none], 1)).unwrap();
    };
    cycle();
    let _ = fake.counts();
    let start = Instant::now();
    (0..CYCLES).for_each(|_| cycle());
    let elapsed = start.elapsed();
    let counts = fake.counts();
    assert_eq!(counts.get("cuLaunchKernel"), Some(&CYCLES));
    assert!(WAITING.iter().all(|name| !counts.contains_key(*name)), "{counts:?}");
    let usage = device.memory_use();
    assert!(usage.reserved_bytes_max < 2 * BYTES as u64, "{usage:?}");
    stream.synchronize().unwrap();
    assert_eq!(fake.violations(), Vec::<String>::new());
    note(&format!("{CYCLES} times 64 MiB made, used and dropped: {elapsed:.1?}, one block"));
}
