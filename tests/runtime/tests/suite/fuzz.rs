//! Random programs against the serial oracle, bit by bit.
//!
//! Each device gets the same kinds of programs; the fake driver adds an order of
//! its own for each seed, and reports races that no order has shown.

use std::time::{Duration, Instant};

use raddle_fake_driver::Fake;
use raddle_runtime::Device;
use raddle_runtime_tests::program::Op;
use raddle_runtime_tests::runner::Runner;
use raddle_runtime_tests::shrink::fuzz;
use raddle_runtime_tests::{gpu, harness, isolated, watchdog};

/// Operations of one program.
const LEN: usize = 2000;

/// The seeds to run: `count` from 0 or from `RADDLE_RUNTIME_FUZZ_FROM`, or only
/// `RADDLE_RUNTIME_FUZZ_SEED`.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|seed| seed.parse::<u64>().ok());
    match number("RADDLE_RUNTIME_FUZZ_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let from = number("RADDLE_RUNTIME_FUZZ_FROM").unwrap_or(0);
            from..from.saturating_add(count)
        }
    }
}

/// How long to go on where no number is set: `RADDLE_RUNTIME_FUZZ_SECONDS`, or this
/// many seconds.
fn limit(seconds: u64) -> Duration {
    let set = std::env::var("RADDLE_RUNTIME_FUZZ_SECONDS").ok();
    Duration::from_secs(set.and_then(|set| set.parse().ok()).unwrap_or(seconds))
}

fn report(device: &str, count: usize, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    let each = seconds / count.max(1) as f64 * 1e6;
    harness::note(&format!(
        "{count} random operations on {device} agree with the oracle, {seconds:.1} s, {each:.2} us each"
    ));
}

#[test]
fn a_million_operations_on_the_cpu_device_agree_with_the_oracle() {
    let start = Instant::now();
    let device = Device::cpu();
    let mut run = |_: u64, ops: &[Op]| Runner::new(&device)?.run(ops);
    let count = fuzz(seeds(500), LEN, &|| false, &mut run);
    report("the CPU device", count, start);
}

/// One program under the order that `seed` makes.
fn run_on_fake(fake: &Fake, seed: u64, ops: &[Op]) -> Result<(), String> {
    fake.set("seed", seed);
    fake.set("eager", [0, 2, 8, 64][seed as usize % 4]);
    let device = Device::cuda(0).map_err(|error| error.to_string())?;
    let peer = Device::cuda(1).map_err(|error| error.to_string())?;
    if seed % 16 == 9 {
        // Direct from now on, where it went through the host before.
        let enabled =
            device.enable_peer_access(&peer).and_then(|()| peer.enable_peer_access(&device));
        enabled.map_err(|error| error.to_string())?;
    }
    let mut runner = Runner::new(&device)?.with_peer(&peer)?.with_progress(|| {
        let _ = Fake::load().ask("run 3");
        std::thread::yield_now();
    });
    let result = runner.run(ops);
    drop(runner);
    let violations = fake.violations();
    result.and_then(|()| match violations.first() {
        Some(first) => Err(format!("{} violations, first: {first}", violations.len())),
        None => Ok(()),
    })
}

#[test]
fn any_order_of_the_fake_driver_agrees_with_the_oracle() {
    let name = "fuzz::any_order_of_the_fake_driver_agrees_with_the_oracle";
    let Some(fake) = isolated(name, &[]) else { return };
    fake.set("devices", 2);
    fake.set("peers", 1);
    let start = Instant::now();
    let dog = watchdog(Duration::from_secs(30));
    let is_enough = || start.elapsed() > limit(10);
    let mut run = |seed: u64, ops: &[Op]| {
        dog.begin(format!("seed {seed} with {} operations", ops.len()));
        run_on_fake(&fake, seed, ops)
    };
    let count = fuzz(seeds(u64::MAX), LEN, &is_enough, &mut run);
    report("the fake driver", count, start);
}

#[test]
fn random_work_on_a_gpu_agrees_with_the_oracle() {
    let Some(device) = gpu("random_work_on_a_gpu_agrees_with_the_oracle (1 test)") else { return };
    let start = Instant::now();
    let is_enough = || start.elapsed() > limit(60);
    // The second GPU, where there is one.
    let peer = Device::cuda(1).unwrap_or_else(|_| device.clone());
    let mut run = |_: u64, ops: &[Op]| Runner::new(&device)?.with_peer(&peer)?.run(ops);
    let count = fuzz(seeds(u64::MAX), LEN, &is_enough, &mut run);
    report(&device.to_string(), count, start);
}
