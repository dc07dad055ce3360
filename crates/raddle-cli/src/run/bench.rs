//! Times of repeated runs.

use std::fmt;
use std::time::{Duration, Instant};

/// Most runs before the measured ones.
const WARM_UPS_MAX: u32 = 5;

/// Times of runs, from the shortest to the longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times(Vec<Duration>);

/// Runs something `count` times, after some runs that are not measured.
///
/// ## Errors
/// The first error of a run.
pub fn repeat<E>(count: u32, mut run: impl FnMut() -> Result<(), E>) -> Result<Times, E> {
    for _ in 0..count.min(WARM_UPS_MAX) {
        run()?;
    }
    let mut times = Vec::with_capacity(count.min(1 << 20) as usize);
    for _ in 0..count.max(1) {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(Times(times))
}

impl Times {
    /// The time that a share of the runs does not exceed.
    fn quantile(&self, share: f64) -> f64 {
        let at = (share * (self.0.len() - 1) as f64).round() as usize;
        self.0[at].as_secs_f64() * 1e3
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} runs: median {:.3} ms, p95 {:.3} ms, min {:.3} ms, max {:.3} ms",
            self.0.len(),
            self.quantile(0.5),
            self.quantile(0.95),
            self.quantile(0.0),
            self.quantile(1.0)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_sorted_times() {
        let times = Times((1..=5).map(Duration::from_millis).collect());
        assert_eq!(
            times.to_string(),
            "5 runs: median 3.000 ms, p95 5.000 ms, min 1.000 ms, max 5.000 ms"
        );
        let mut runs = 0;
        let count = |runs: &mut u32| -> Result<(), ()> {
            *runs += 1;
            Ok(())
        };
        assert_eq!(repeat(3, || count(&mut runs)).map(|times| times.0.len()), Ok(3));
        assert_eq!(runs, 6);
    }
}
