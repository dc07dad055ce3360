//! The judge of a canary: a new version that gets a growing share of the requests,
//! and is taken back at once if it does worse than the rules allow.
//!
//! Pure: it is given the time and running totals, and gives verdicts. "The P99
//! exceeds 800 ms" is the same as "more than 1 % of the requests took longer than
//! 800 ms", so errors and latency are judged by one rule: the share of bad requests
//! is above its limit, either in a window with enough samples, or so far above it
//! that fewer samples leave no doubt (Chernoff's bound on the binomial tail).
//!
//! Requests that were shed, cancelled or wrong are not counted: overload and bad
//! clients must not take a version back.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

/// Chance below which fewer samples than `samples_min` are held against a canary.
const DOUBT: f64 = 1e-4;
/// Bad requests below which nothing is held against a canary before it has enough samples.
const BAD_MIN: u64 = 3;
/// Share of requests above a 99th percentile.
const ABOVE_P99: f64 = 0.01;

/// How canaries are rolled out and judged.
#[derive(Debug, Clone, PartialEq)]
pub struct CanaryRules {
    /// Shares of the requests in percent, one step after the other.
    pub steps: Vec<u32>,
    /// How long each step takes at least.
    pub step: Duration,
    /// Time over which requests are judged.
    pub window: Duration,
    /// Largest share of requests that may fail.
    pub error_rate_max: f64,
    /// Largest 99th percentile of the latency.
    pub p99_max: Duration,
    /// Requests that make a sample large enough, and that each step must have seen.
    pub samples_min: u64,
}

impl Default for CanaryRules {
    fn default() -> Self {
        Self {
            steps: vec![5, 25, 50],
            step: Duration::from_secs(60),
            window: Duration::from_secs(15),
            error_rate_max: 0.008,
            p99_max: Duration::from_millis(800),
            samples_min: 300,
        }
    }
}

impl CanaryRules {
    /// Whether the numbers make sense.
    ///
    /// ## Errors
    /// The field and what it should be.
    pub fn check(&self) -> Result<(), String> {
        let is_rising = self.steps.windows(2).all(|pair| pair[0] < pair[1]);
        let is_share = |percent: &u32| (1..=100).contains(percent);
        if self.steps.is_empty() || !is_rising || !self.steps.iter().all(is_share) {
            return Err(format!("canary.steps is {:?}, expected rising 1 to 100", self.steps));
        }
        if !(0.0..1.0).contains(&self.error_rate_max) {
            let found = self.error_rate_max;
            return Err(format!("canary.error_rate_max is {found}, expected 0 to below 1"));
        }
        if self.window < Duration::from_secs(1) || self.window > Duration::from_secs(3600) {
            return Err("canary.window_seconds: expected 1 to 3600".into());
        }
        Ok(())
    }

    /// In the names of the configuration file.
    pub fn to_json(&self) -> Value {
        json!({
            "steps": self.steps,
            "step_seconds": self.step.as_secs_f64(),
            "window_seconds": self.window.as_secs_f64(),
            "error_rate_max": self.error_rate_max,
            "p99_ms_max": self.p99_max.as_secs_f64() * 1e3,
            "samples_min": self.samples_min,
        })
    }
}

/// Requests of a version since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that succeeded or failed by the model's fault.
    pub judged: u64,
    /// Those that failed.
    pub errors: u64,
    /// Those that took longer than the rules allow for the 99th percentile.
    pub slow: u64,
}

impl Totals {
    fn since(self, before: Self) -> Self {
        Self {
            judged: self.judged.saturating_sub(before.judged),
            errors: self.errors.saturating_sub(before.errors),
            slow: self.slow.saturating_sub(before.slow),
        }
    }
}

/// What is to be done about a canary.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Nothing.
    Keep,
    /// Give it this share of the requests, in percent.
    Advance(u32),
    /// Make it the version that everybody gets.
    Promote,
    /// Take it back, for the reason in words.
    RollBack(String),
}

/// A canary under judgement.
#[derive(Debug)]
pub struct Judge {
    rules: CanaryRules,
    step: usize,
    step_began: Duration,
    /// Totals when the step began.
    step_totals: Totals,
    /// Totals at times within the window, oldest first.
    history: VecDeque<(Duration, Totals)>,
}

impl Judge {
    /// Begins at a step; times count from any moment that stays the same.
    pub fn new(rules: CanaryRules, step: usize, now: Duration) -> Self {
        let step = step.min(rules.steps.len().saturating_sub(1));
        let history = VecDeque::from([(now, Totals::default())]);
        Self { rules, step, step_began: now, step_totals: Totals::default(), history }
    }

    /// The step, from 0.
    pub fn step(&self) -> usize {
        self.step
    }

    /// The share of the requests in percent.
    pub fn weight(&self) -> u32 {
        self.rules.steps[self.step]
    }

    /// The rules.
    pub fn rules(&self) -> &CanaryRules {
        &self.rules
    }

    /// Requests within the window.
    pub fn window(&self) -> Totals {
        let newest = self.history.back().map_or_else(Totals::default, |(_, totals)| *totals);
        newest.since(self.history.front().map_or_else(Totals::default, |(_, totals)| *totals))
    }

    /// Judges, given the totals now and the requests under way that already took
    /// longer than the rules allow.
    pub fn judge(&mut self, now: Duration, totals: Totals, overdue: u64) -> Verdict {
        self.history.push_back((now, totals));
        let begin = now.saturating_sub(self.rules.window);
        while self.history.get(1).is_some_and(|(time, _)| *time <= begin) {
            self.history.pop_front();
        }
        let seen = self.window();
        let with_overdue = seen.judged + overdue;
        let slow = seen.slow + overdue;
        if let Some(share) = self.is_breach(seen.judged, seen.errors, self.rules.error_rate_max) {
            let limit = self.rules.error_rate_max * 1e2;
            return Verdict::RollBack(format!(
                "{:.2} % of {} requests failed, at most {limit} % may",
                share * 1e2,
                seen.judged
            ));
        }
        if let Some(share) = self.is_breach(with_overdue, slow, ABOVE_P99) {
            let limit = self.rules.p99_max.as_secs_f64() * 1e3;
            return Verdict::RollBack(format!(
                "{:.2} % of {with_overdue} requests took longer than {limit} ms, so the P99 is above it",
                share * 1e2
            ));
        }
        self.advance(now, totals)
    }

    /// The share of bad requests, if it is too large.
    fn is_breach(&self, all: u64, bad: u64, limit: f64) -> Option<f64> {
        if all == 0 {
            return None;
        }
        let share = bad as f64 / all as f64;
        if share <= limit {
            return None;
        }
        let is_certain =
            all >= self.rules.samples_min || (bad >= BAD_MIN && chance(all, share, limit) < DOUBT);
        is_certain.then_some(share)
    }

    fn advance(&mut self, now: Duration, totals: Totals) -> Verdict {
        let seen = totals.since(self.step_totals).judged;
        let is_over = now.saturating_sub(self.step_began) >= self.rules.step;
        if !is_over || seen < self.rules.samples_min {
            return Verdict::Keep;
        }
        if self.step + 1 == self.rules.steps.len() {
            return Verdict::Promote;
        }
        self.step += 1;
        self.step_began = now;
        self.step_totals = totals;
        Verdict::Advance(self.weight())
    }
}

/// Bound on the chance that a share as large comes about although the true one is
/// `limit`: exp(-n KL(share || limit)).
fn chance(all: u64, share: f64, limit: f64) -> f64 {
    let term = |a: f64, b: f64| if a > 0.0 { a * (a / b).ln() } else { 0.0 };
    if limit <= 0.0 {
        return 0.0;
    }
    let divergence = term(share, limit) + term(1.0 - share, 1.0 - limit);
    (-(all as f64) * divergence).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from 0 to 1 that look random.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self) -> f64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    /// Runs a canary in simulated time; gives the verdict that ends it with its time.
    fn simulate(
        rules: &CanaryRules,
        dice: &mut Dice,
        per_second: f64,
        errors: f64,
        slow: f64,
    ) -> (Verdict, Duration) {
        let mut judge = Judge::new(rules.clone(), 0, Duration::ZERO);
        let mut totals = Totals::default();
        let tick = Duration::from_millis(250);
        let mut now = Duration::ZERO;
        let mut due = 0.0;
        loop {
            now += tick;
            due += per_second * tick.as_secs_f64();
            while due >= 1.0 {
                due -= 1.0;
                totals.judged += 1;
                totals.errors += u64::from(dice.roll() < errors);
                totals.slow += u64::from(dice.roll() < slow);
            }
            match judge.judge(now, totals, 0) {
                Verdict::Keep | Verdict::Advance(_) => {}
                verdict => return (verdict, now),
            }
            assert!(now < Duration::from_secs(3600), "no verdict within an hour");
        }
    }

    #[test]
    fn errors_and_latency_roll_back_within_seconds() {
        let rules = CanaryRules::default();
        let mut dice = Dice(0x5eed);
        for (errors, slow, most) in [(1.0, 0.0, 1), (0.05, 0.0, 12), (0.0, 0.05, 12), (0.0, 1.0, 1)]
        {
            for _ in 0..50 {
                let (verdict, at) = simulate(&rules, &mut dice, 100.0, errors, slow);
                assert!(matches!(verdict, Verdict::RollBack(_)), "{verdict:?}");
                assert!(at <= Duration::from_secs(most), "{errors} {slow}: {at:?}");
            }
        }
    }

    #[test]
    fn healthy_canaries_are_promoted() {
        let rules = CanaryRules { step: Duration::from_secs(10), ..CanaryRules::default() };
        let mut dice = Dice(7);
        for errors in [0.0, 1e-4] {
            for _ in 0..100 {
                let (verdict, at) = simulate(&rules, &mut dice, 100.0, errors, 0.001);
                assert_eq!(verdict, Verdict::Promote);
                assert_eq!(at, Duration::from_secs(30));
            }
        }
    }

    #[test]
    fn steps_wait_for_samples() {
        let rules = CanaryRules { samples_min: 100, ..CanaryRules::default() };
        let mut judge = Judge::new(rules, 0, Duration::ZERO);
        let mut at = |seconds, judged| {
            judge.judge(Duration::from_secs(seconds), Totals { judged, errors: 0, slow: 0 }, 0)
        };
        assert_eq!(at(61, 99), Verdict::Keep);
        assert_eq!(at(62, 100), Verdict::Advance(25));
        assert_eq!(at(130, 199), Verdict::Keep);
        assert_eq!(at(131, 200), Verdict::Advance(50));
        assert_eq!(at(191, 300), Verdict::Promote);
    }

    #[test]
    fn one_early_error_is_no_verdict_but_hanging_requests_are() {
        let mut judge = Judge::new(CanaryRules::default(), 0, Duration::ZERO);
        let totals = Totals { judged: 2, errors: 1, slow: 0 };
        assert_eq!(judge.judge(Duration::from_millis(250), totals, 0), Verdict::Keep);
        let verdict = judge.judge(Duration::from_secs(1), totals, 5);
        assert!(matches!(verdict, Verdict::RollBack(why) if why.contains("longer than 800 ms")));
    }

    #[test]
    fn old_errors_are_forgotten() {
        let mut judge = Judge::new(CanaryRules::default(), 0, Duration::ZERO);
        let second = Duration::from_secs;
        assert_eq!(
            judge.judge(second(1), Totals { judged: 100, errors: 1, slow: 0 }, 0),
            Verdict::Keep
        );
        for at in 2..40 {
            let totals = Totals { judged: 100 + at * 20, errors: 1, slow: 0 };
            assert_eq!(judge.judge(second(at), totals, 0), Verdict::Keep, "{at}");
        }
        assert_eq!(judge.window().errors, 0);
    }

    #[test]
    fn rules_are_checked() {
        let steps = |steps: &[u32]| {
            CanaryRules { steps: steps.to_vec(), ..CanaryRules::default() }.check().is_ok()
        };
        assert!(steps(&[1, 100]));
        for wrong in [&[][..], &[0], &[50, 5], &[101], &[5, 5]] {
            assert!(!steps(wrong), "{wrong:?}");
        }
    }
}
