//! A million cycles of allocating, copying, launching and freeing while driver calls
//! keep failing: nothing is leaked, by our count and by the fake's ledger; on a GPU, by
//! the driver's count of free memory.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use raddle_fake_driver::{Fake, library};
use raddle_runtime::{Buffer, Device, Error, Grid, Stream, shutdown};
use raddle_runtime_tests::harness::{note, run_alone};
use raddle_runtime_tests::kernels::{self, CHURN, churn};
use raddle_runtime_tests::{gpu, isolated, watchdog};

const CYCLES: u64 = 1_000_000;
/// Cycles on one device until a kernel's fault loses it, and the next is used.
const ROUND: u64 = 50_000;
const LEN: usize = 64;

/// One cycle; its buffers go at its end whether it succeeds or not.
fn cycle(stream: &Stream, kept: &Buffer<u32>, number: u64) -> Result<(), Error> {
    let mut x = stream.zeros::<u32>(LEN + (number % 7) as usize * 100)?;
    let part = x.slice_mut(..LEN)?;
    stream.launch(Grid::new(1, 4), churn(0, part, [kept, kept, kept], number as u32))?;
    if number.is_multiple_of(4) {
        stream.copy(kept, x.slice_mut(..LEN)?)?;
    }
    if number.is_multiple_of(32) {
        let y = stream.upload(&[number as u32; LEN])?;
        drop(stream.to_vec_async(&y)?);
    }
    if number.is_multiple_of(256) {
        assert_eq!(x.slice(LEN..)?.to_vec()?, vec![0; x.len() - LEN]);
    }
    Ok(())
}

/// How calls fail, in turn: memory that is not there, and what a driver says of
/// itself and of arguments.
const CODES: [u32; 4] = [2, 801, 1, 304];

/// Cycles on three streams of a device while calls fail with `code`, then the end of
/// all that they used; gives how many cycles failed.
fn cycles(fake: &Fake, device: &Device, count: u64, code: u32) -> u64 {
    let streams: Vec<Stream> = (0..3).map(|_| device.stream().unwrap()).collect();
    let kept = streams[0].filled(LEN, 7u32).unwrap();
    let mut failed = 0;
    // A prime, so that every call of a cycle is hit sooner or later.
    fake.fail("*", 100, code, "every=97");
    for number in 0..count {
        let stream = &streams[number as usize % streams.len()];
        failed += u64::from(cycle(stream, &kept, number).is_err());
    }
    let (hits, _) = fake.fired();
    assert!(hits > count / 97, "{hits} calls failed");
    drop(kept);
    streams.iter().for_each(|stream| stream.synchronize().unwrap());
    let usage = device.memory_use();
    assert_eq!((usage.live_bytes, usage.live_blocks), (0, 0), "code {code}: {usage:?}");
    device.trim_memory().unwrap();
    failed
}

/// Cycles on one device under failing calls, at the end of which a fault loses it;
/// gives how many cycles failed.
fn round(fake: &Fake, ordinal: u32) -> u64 {
    let device = Device::cuda(ordinal).unwrap();
    let code = CODES[ordinal as usize % CODES.len()];
    let failed = cycles(fake, &device, ROUND, code);
    fake.ask("run all");
    let ledger = fake.ledger(Some(ordinal));
    for name in ["allocations", "mapped_bytes", "physical", "used_bytes", "queued"] {
        assert_eq!(ledger[name], 0, "code {code}: {name} are left: {ledger:?}");
    }
    lose(fake, &device, &device.stream().unwrap());
    failed
}

/// Loses the device to a kernel's fault with memory in use.
fn lose(fake: &Fake, device: &Device, stream: &Stream) {
    let kept = stream.filled(LEN, 7u32).unwrap();
    fake.ask(&format!("fault {CHURN} 0 700"));
    cycle(stream, &kept, 1).unwrap();
    let error = stream.synchronize().unwrap_err();
    assert!(matches!(error, Error::DeviceLost { .. }), "{error}");
    assert!(cycle(stream, &kept, 1).is_err());
    drop(kept);
    assert_eq!(device.memory_use().live_bytes, 0);
}

#[test]
fn a_million_cycles_with_failing_calls_leak_nothing() {
    let name = "cycles::a_million_cycles_with_failing_calls_leak_nothing";
    let Some(fake) = isolated(name, &[]) else { return };
    let dog = watchdog(Duration::from_secs(60));
    let rounds = (CYCLES / ROUND) as u32;
    fake.set("devices", rounds.into());
    let start = Instant::now();
    let mut failed = 0;
    for ordinal in 0..rounds {
        dog.begin(format!("round {ordinal}"));
        failed += round(&fake, ordinal);
    }
    assert_eq!(fake.violations(), Vec::<String>::new());
    let elapsed = start.elapsed();
    note(&format!("{CYCLES} cycles, {failed} of which failed: 0 bytes leaked, {elapsed:.1?}"));
}

/// Set in processes whose driver is the fake in front of another one: the name of
/// that one's library.
const BEHIND: &str = "RADDLE_TEST_BEHIND";

/// How many cycles to run on a GPU: `RADDLE_RUNTIME_CYCLES`, or a million. Tools that
/// look at every access take a thousand times as long.
fn cycles_on_gpu() -> u64 {
    let set = std::env::var("RADDLE_RUNTIME_CYCLES").ok();
    set.and_then(|set| set.parse().ok()).unwrap_or(CYCLES)
}

#[test]
fn a_million_cycles_with_failing_calls_leak_nothing_on_a_gpu() {
    let name = "cycles::a_million_cycles_with_failing_calls_leak_nothing_on_a_gpu";
    let Some(behind) = std::env::var_os(BEHIND).or_else(|| {
        let context = gpu(&format!("{name} (1 test)"))?.cuda_context()?.clone();
        Some(context.driver().library().into())
    }) else {
        return;
    };
    let behind = behind.to_str().expect("a library's name");
    let Some(fake) = isolated(name, &[(BEHIND, behind)]) else { return };
    fake.ask(&format!("forward {behind}"));
    let dog = watchdog(Duration::from_secs(300));
    let device = Device::cuda(0).unwrap();
    let (total, start) = (cycles_on_gpu(), Instant::now());
    // What is made once stays: kernels, words, pinned pages.
    for code in CODES {
        cycles(&fake, &device, total.div_ceil(100), code);
    }
    let free_bytes = || device.memory().unwrap().free_bytes;
    let (before, rounds) = (free_bytes(), (total / ROUND).max(CODES.len() as u64));
    let mut failed = 0;
    for round in 0..rounds {
        dog.begin(format!("round {round}"));
        let code = CODES[round as usize % CODES.len()];
        failed += cycles(&fake, &device, total / rounds, code);
        let after = free_bytes();
        assert!(after >= before, "code {code}: the driver lacks {} bytes", before - after);
    }
    let elapsed = start.elapsed();
    let text = format!("{total} cycles on {device}, {failed} of which failed");
    note(&format!("{text}: 0 bytes leaked, {elapsed:.1?}"));
    drop(device);
    shutdown().unwrap();
}

#[test]
fn calls_in_front_of_another_driver_are_counted_and_fail_there() {
    let name = "cycles::calls_in_front_of_another_driver_are_counted_and_fail_there";
    // A copy is another library to the loader, and so another driver.
    let copy = std::env::temp_dir().join(format!("raddle-behind-{}.so", std::process::id()));
    if let Some(path) = std::env::var_os(BEHIND) {
        let (fake, behind) = (Fake::load(), Fake::open(path.as_ref()));
        fake.ask(&format!("forward {}", path.display()));
        kernels::register(&behind);
        let device = Device::cuda(0).unwrap();
        let failed = cycles(&fake, &device, 4000, CODES[0]);
        assert!(failed > 0);
        let (here, there) = (fake.counts(), behind.counts());
        let launches = |counts: &BTreeMap<String, u64>| counts["cuLaunchKernel"];
        assert!(launches(&there) > 0 && launches(&here) > launches(&there), "{here:?}\n{there:?}");
        behind.ask("run all");
        let ledger = behind.ledger(Some(0));
        assert_eq!((ledger["mapped_bytes"], ledger["queued"]), (0, 0), "{ledger:?}");
        assert_eq!(behind.violations(), Vec::<String>::new());
        return;
    }
    std::fs::copy(library(), &copy).unwrap();
    let path = copy.to_str().expect("a path of ASCII letters");
    let (is_success, text) = run_alone(name, &[(BEHIND, path)]);
    std::fs::remove_file(&copy).unwrap();
    assert!(is_success, "{text}");
}
