//! A million cycles of allocating, copying, launching and freeing while driver calls
//! keep failing: nothing is leaked, by our count and by the fake's ledger.

use std::time::{Duration, Instant};

use raddle_fake_driver::Fake;
use raddle_runtime::{Buffer, Device, Error, Grid, Stream};
use raddle_runtime_tests::harness::note;
use raddle_runtime_tests::kernels::{CHURN, churn};
use raddle_runtime_tests::{isolated, watchdog};

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

/// Cycles on one device under failing calls; gives how many cycles failed.
fn round(fake: &Fake, ordinal: u32) -> u64 {
    let device = Device::cuda(ordinal).unwrap();
    let streams: Vec<Stream> = (0..3).map(|_| device.stream().unwrap()).collect();
    let kept = streams[0].filled(LEN, 7u32).unwrap();
    let mut failed = 0;
    let codes = [2, 801, 1, 304];
    let code = codes[ordinal as usize % codes.len()];
    // A prime, so that every call of a cycle is hit sooner or later.
    fake.fail("*", 100, code, "every=97");
    for number in 0..ROUND {
        let stream = &streams[number as usize % streams.len()];
        failed += u64::from(cycle(stream, &kept, number).is_err());
    }
    let (hits, _) = fake.fired();
    assert!(hits > ROUND / 97, "{hits} calls failed");
    drop(kept);
    streams.iter().for_each(|stream| stream.synchronize().unwrap());
    let usage = device.memory_use();
    assert_eq!((usage.live_bytes, usage.live_blocks), (0, 0), "code {code}: {usage:?}");
    device.trim_memory().unwrap();
    fake.ask("run all");
    let ledger = fake.ledger(Some(ordinal));
    for name in ["allocations", "mapped_bytes", "physical", "used_bytes", "queued"] {
        assert_eq!(ledger[name], 0, "code {code}: {name} are left: {ledger:?}");
    }
    lose(fake, &device, &streams[0]);
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
