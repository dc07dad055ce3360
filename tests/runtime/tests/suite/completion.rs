//! Awaiting work of the fake driver: who is woken, when, with what, and how many
//! driver calls it takes.

use std::time::{Duration, Instant};

use raddle_fake_driver::Fake;
use raddle_runtime::{Device, Error, Grid, Stream, StreamPool};
use raddle_runtime_tests::harness::note;
use raddle_runtime_tests::kernels::{churn, churn_oracle};
use raddle_runtime_tests::{isolated, watchdog};

const N: usize = 64;

fn tokio() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(4).enable_time().build().unwrap()
}

/// Chains of launches on as many streams, awaited one by one, and their result.
async fn chain(stream: Stream, launches: u32) -> Result<(), Error> {
    let source = stream.upload(&[3u32; N])?;
    let mut target = stream.zeros::<u32>(N)?;
    let mut expected = vec![0u32; N];
    for seed in 0..launches {
        let call = churn(0, &mut target, [&source; 3], seed);
        stream.launch(Grid::cover(N, 32), call)?.await?;
        churn_oracle(&mut expected, [&[3; N]; 3], seed);
    }
    assert_eq!(stream.to_vec_async(&target)?.await?, expected);
    Ok(())
}

fn run_chains(streams: usize, launches: u32) {
    let (runtime, device) = (tokio(), Device::cuda(0).unwrap());
    let tasks: Vec<_> =
        (0..streams).map(|_| runtime.spawn(chain(device.stream().unwrap(), launches))).collect();
    for task in tasks {
        runtime.block_on(task).unwrap().unwrap();
    }
}

#[test]
fn awaited_work_has_ended_and_its_words_are_its_only_calls() {
    let name = "completion::awaited_work_has_ended_and_its_words_are_its_only_calls";
    let Some(fake) = isolated(name, &[]) else { return };
    let _dog = watchdog(Duration::from_secs(60));
    fake.set("background", 1);
    run_chains(2, 3);
    let _ = fake.counts();
    let start = Instant::now();
    run_chains(32, 20);
    let counts = fake.counts();
    let count = |name: &str| counts.get(name).copied().unwrap_or(0);
    // One word for each await, the watchdog's questions, and nothing that waits,
    // but for uploads that take over each other's staging memory.
    let awaits = 32 * (20 + 1);
    assert!(count("cuStreamWriteValue64") <= awaits, "{counts:?}");
    assert!(count("cuEventSynchronize") + count("cuEventQuery") <= 2 * 32, "{counts:?}");
    // Streams are synchronised once when they are leased again.
    assert!(count("cuStreamSynchronize") <= 32, "{counts:?}");
    let watched_ms = start.elapsed().as_millis() as u64;
    assert!(count("cuStreamQuery") <= 32 * 8 + 10 + watched_ms, "{counts:?}");
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[test]
fn without_stream_writes_events_tell() {
    let name = "completion::without_stream_writes_events_tell";
    let Some(fake) = isolated(name, &[]) else { return };
    let _dog = watchdog(Duration::from_secs(60));
    fake.set("attribute122", 0);
    fake.set("background", 1);
    run_chains(8, 10);
    let counts = fake.counts();
    assert!(!counts.contains_key("cuStreamWriteValue64"), "{counts:?}");
    assert!(counts["cuEventQuery"] > 0 && counts["cuEventCreate"] < 100, "{counts:?}");
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[test]
fn futures_that_are_dropped_or_forgotten_keep_what_the_work_uses() {
    let name = "completion::futures_that_are_dropped_or_forgotten_keep_what_the_work_uses";
    let Some(fake) = isolated(name, &[]) else { return };
    let _dog = watchdog(Duration::from_secs(60));
    fake.set("held", 1);
    let device = Device::cuda(0).unwrap();
    let stream = device.stream().unwrap();
    let buffer = stream.upload(&[7u32; 4096]).unwrap();
    let pinned = |fake: &Fake| fake.ledger(Some(0))["pinned"];
    let before = pinned(&fake);
    drop(stream.to_vec_async(&buffer).unwrap());
    // Nobody frees this one: a forgotten future leaks what it owns.
    let _forgotten = std::mem::ManuallyDrop::new(stream.to_vec_async(&buffer).unwrap());
    let awaited = stream.to_vec_async(&buffer).unwrap();
    let other = stream.to_vec_async(&buffer).unwrap();
    drop(buffer);
    // The copies have not run: none of their targets is lent out again.
    assert_eq!(pinned(&fake), before + 4);
    fake.set("held", 0);
    fake.set("background", 1);
    assert_eq!(tokio().block_on(awaited).unwrap(), [7; 4096]);
    assert_eq!(tokio().block_on(other).unwrap(), [7; 4096]);
    stream.synchronize().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        device.trim_memory().unwrap();
        if pinned(&fake) == before + 1 {
            break;
        }
        assert!(Instant::now() < deadline, "{} pinned pieces are left", pinned(&fake));
        std::thread::yield_now();
    }
    // What was forgotten leaks, and nothing else.
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[test]
fn a_fault_resolves_everything_and_the_device_can_be_reset() {
    let name = "completion::a_fault_resolves_everything_and_the_device_can_be_reset";
    let Some(fake) = isolated(name, &[]) else { return };
    let _dog = watchdog(Duration::from_secs(60));
    let (runtime, device) = (tokio(), Device::cuda(0).unwrap());
    fake.set("held", 1);
    fake.ask("fault churn 40 719");
    let pool = StreamPool::new(&device, 16).unwrap();
    let tasks: Vec<_> = (0..128)
        .map(|_| {
            let stream = (*pool.borrow()).clone();
            runtime.spawn(async move { chain(stream, 2).await })
        })
        .collect();
    // Nothing runs until each task has launched something, which it then awaits.
    let mut launched = 0;
    while launched < 128 {
        launched += fake.counts().get("cuLaunchKernel").copied().unwrap_or(0);
        std::thread::yield_now();
    }
    let start = Instant::now();
    fake.set("held", 0);
    fake.set("background", 1);
    let mut lost = 0;
    for task in tasks {
        match runtime.block_on(task).unwrap() {
            Ok(()) => {}
            Err(Error::DeviceLost { source, .. }) => {
                assert!(source.to_string().contains("CUDA_ERROR_LAUNCH_FAILED"), "{source}");
                lost += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    let took = start.elapsed();
    note(&format!("a fault resolved {lost} waiters within {took:?} of the first work"));
    assert!(lost > 0 && device.is_lost());
    assert!(matches!(device.stream().map(|_| ()), Err(Error::Cuda(_) | Error::DeviceLost { .. })));
    drop(pool);
    // SAFETY: this thread alone uses the device.
    let again = unsafe { device.reset() }.unwrap();
    assert!(!again.is_lost() && again != device && again == Device::cuda(0).unwrap());
    runtime.block_on(chain(again.stream().unwrap(), 5)).unwrap();
    // SAFETY: as above.
    let refused = unsafe { again.reset() };
    assert!(matches!(refused, Err(Error::NotReset { .. })));
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[test]
fn every_task_that_awaits_the_work_is_told_of_its_panic() {
    let name = "completion::every_task_that_awaits_the_work_is_told_of_its_panic";
    let Some(fake) = isolated(name, &[]) else { return };
    let _dog = watchdog(Duration::from_secs(60));
    let (runtime, device) = (tokio(), Device::cuda(0).unwrap());
    let (stream, other) = (device.stream().unwrap(), device.stream().unwrap());
    let source = stream.upload(&[1u32; N]).unwrap();
    let mut target = stream.zeros::<u32>(N).unwrap();
    let mut launch = |stream: &Stream| {
        let call = churn(0, &mut target, [&source; 3], 1);
        stream.launch(Grid::cover(N, 32), call).unwrap().done()
    };
    runtime.block_on(launch(&stream)).unwrap();
    fake.set("held", 1);
    let record = panic_record();
    fake.ask(&format!("panic churn 0 {record}"));
    let waits: Vec<_> = (0..3).map(|_| runtime.spawn(launch(&stream))).collect();
    let bystander = runtime.spawn(other.done());
    fake.set("held", 0);
    fake.set("background", 1);
    for wait in waits {
        let error = runtime.block_on(wait).unwrap().unwrap_err();
        assert!(matches!(error, Error::KernelPanic { .. }), "{error}");
    }
    runtime.block_on(bystander).unwrap().unwrap();
    runtime.block_on(stream.done()).unwrap();
    assert_eq!(fake.violations(), Vec::<String>::new());
}

/// A record with nothing but its state and kind set, as the fake driver takes it.
fn panic_record() -> String {
    use raddle_device::kernel::{PanicKind, PanicRecord};
    let mut bytes = vec![0u8; size_of::<PanicRecord>()];
    let mut put = |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    put(std::mem::offset_of!(PanicRecord, state), 1);
    put(std::mem::offset_of!(PanicRecord, kind), PanicKind::BoundsCheck as u32);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn thousands_of_streams_live_at_once() {
    let name = "completion::thousands_of_streams_live_at_once";
    let Some(fake) = isolated(name, &[]) else { return };
    let _dog = watchdog(Duration::from_secs(60));
    fake.set("background", 1);
    let (runtime, device) = (tokio(), Device::cuda(0).unwrap());
    let start = Instant::now();
    let streams: Vec<Stream> = (0..4096).map(|_| device.stream().unwrap()).collect();
    note(&format!("4,096 streams made in {:?}", start.elapsed()));
    let waits: Vec<_> = streams.iter().map(|stream| runtime.spawn(stream.done())).collect();
    for wait in waits {
        runtime.block_on(wait).unwrap().unwrap();
    }
    assert!(streams.windows(2).all(|pair| pair[0] != pair[1]));
    // All their words lie in a few pages.
    assert!(fake.ledger(Some(0))["pinned"] < 20);
}
