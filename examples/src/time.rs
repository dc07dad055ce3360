//! How long work takes, and what that means.

use raddle::Stream;

use crate::compare::Outcome;

/// Milliseconds that `work` takes on the stream: the median of several runs after
/// one that does not count, as it loads the kernel. The CPU device, which is for
/// being right, runs it once.
///
/// ## Errors
///
/// Those of `work`, and of waiting for it.
pub fn median_ms(stream: &Stream, mut work: impl FnMut() -> Outcome) -> Outcome<f64> {
    let runs = if stream.device().is_gpu() { 21 } else { 1 };
    if runs > 1 {
        work()?;
    }
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        let (outcome, ms) = stream.time(&mut work)?;
        outcome?;
        times.push(ms);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[runs / 2])
}

/// Gigabytes per second.
#[must_use]
pub fn gb_per_s(bytes: usize, ms: f64) -> f64 {
    bytes as f64 / (ms * 1e6)
}

/// Billions of floating-point operations per second.
#[must_use]
pub fn gflop_per_s(operations: f64, ms: f64) -> f64 {
    operations / (ms * 1e6)
}

/// One line of a measurement: what ran, how long it took, and its rate.
pub fn print_rate(what: &str, ms: f64, rate: f64, unit: &str) {
    println!("{what:<28} {ms:>10.3} ms {rate:>10.2} {unit}");
}
