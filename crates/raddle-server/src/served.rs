//! A model that is served: its versions, and which of them a request gets.
//!
//! The routes are one immutable value that is swapped as a whole: a request sees
//! either the old or the new ones, and whoever got a version that is being retired
//! comes back for another.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use crate::canary::Judge;
use crate::error::{Error, Result};
use crate::version::Version;

/// A model by name, with or without versions that are ready.
pub struct Served {
    /// Name of the model.
    pub name: String,
    routes: RwLock<Arc<Routes>>,
    /// Held while versions are loaded or retired.
    pub admin: Mutex<Admin>,
    /// The judge of the canary, if there is one.
    pub judge: Mutex<Option<Judge>>,
    /// Why versions are not served, by number; 0 for the model as a whole.
    pub reasons: Mutex<BTreeMap<u64, String>>,
    /// What happened, newest last.
    pub history: Mutex<Vec<Event>>,
    turns: AtomicU64,
    promoted: AtomicU64,
    rolled_back: AtomicU64,
}

/// What whoever changes versions needs to know.
#[derive(Default)]
pub struct Admin {
    /// Marks of the files and configurations of versions that were loaded, or that
    /// failed to load.
    pub marks: BTreeMap<u64, (u64, u64)>,
    /// A configuration that a request gave.
    pub given_config: Option<crate::config::ModelConfig>,
}

/// Something that happened to a model.
#[derive(Debug, Clone)]
pub struct Event {
    /// When.
    pub time: SystemTime,
    /// What.
    pub what: String,
}

/// Versions that are ready, and who gets which.
#[derive(Clone, Default)]
pub struct Routes {
    /// All versions by number.
    pub versions: BTreeMap<u64, Arc<Version>>,
    /// The version for everybody.
    pub stable: Option<Arc<Version>>,
    /// A version on trial, with its share in percent.
    pub canary: Option<(Arc<Version>, u32)>,
}

/// What a request says about its way besides the version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// `x-raddle-canary`: `Some(true)` for the canary, `Some(false)` for the stable one.
    pub canary: Option<bool>,
    /// `x-raddle-route-key`: requests of one key get one version, as long as shares
    /// stay the same.
    pub key: Option<u64>,
}

/// Events that are kept.
const HISTORY_MAX: usize = 32;

impl Served {
    /// A model without versions.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            routes: RwLock::default(),
            admin: Mutex::default(),
            judge: Mutex::default(),
            reasons: Mutex::default(),
            history: Mutex::default(),
            turns: AtomicU64::new(0),
            promoted: AtomicU64::new(0),
            rolled_back: AtomicU64::new(0),
        }
    }

    /// The routes now.
    pub fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Swaps the routes; gives the old ones.
    pub fn swap(&self, routes: Routes) -> Arc<Routes> {
        let mut current = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, Arc::new(routes))
    }

    /// Changes the routes in one step.
    pub fn update(&self, change: impl FnOnce(&mut Routes)) {
        let mut current = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let mut routes = (**current).clone();
        change(&mut routes);
        *current = Arc::new(routes);
    }

    /// The version that a request gets.
    ///
    /// ## Errors
    /// [`Error::NotReady`], [`Error::UnknownVersion`].
    pub fn pick(&self, asked: &str, hints: &Hints) -> Result<Arc<Version>> {
        let routes = self.routes();
        let stable = || {
            let not_ready = || Error::NotReady(format!("model {}", self.name));
            routes.stable.clone().ok_or_else(not_ready)
        };
        let canary = || routes.canary.as_ref().map(|(version, _)| Arc::clone(version));
        match asked {
            "" => {}
            "stable" => return stable(),
            "canary" => return canary().map_or_else(stable, Ok),
            _ => {
                let number = asked.parse::<u64>().ok();
                let found = number.and_then(|number| routes.versions.get(&number));
                return found.cloned().ok_or_else(|| self.unknown_version(asked, &routes));
            }
        }
        let Some((version, percent)) = &routes.canary else { return stable() };
        let takes_canary = match (hints.canary, hints.key) {
            (Some(asked), _) => asked,
            (None, Some(key)) => share(key) < *percent,
            (None, None) => share(self.turns.fetch_add(1, Relaxed)) < *percent,
        };
        if takes_canary { Ok(Arc::clone(version)) } else { stable() }
    }

    fn unknown_version(&self, asked: &str, routes: &Routes) -> Error {
        let mut ready: Vec<String> = routes.versions.keys().map(u64::to_string).collect();
        ready.extend(routes.stable.is_some().then(|| "stable".into()));
        ready.extend(routes.canary.is_some().then(|| "canary".into()));
        let ready = if ready.is_empty() { "none".into() } else { ready.join(", ") };
        Error::UnknownVersion { model: self.name.clone(), version: asked.into(), ready }
    }

    /// Counts a canary that ended.
    pub fn count_verdict(&self, is_promoted: bool) {
        let count = if is_promoted { &self.promoted } else { &self.rolled_back };
        count.fetch_add(1, Relaxed);
    }

    /// Canaries that were promoted and taken back.
    pub fn verdicts(&self) -> (u64, u64) {
        (self.promoted.load(Relaxed), self.rolled_back.load(Relaxed))
    }

    /// Notes what happened.
    pub fn note(&self, what: String) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.push(Event { time: SystemTime::now(), what });
        let spare = history.len().saturating_sub(HISTORY_MAX);
        history.drain(..spare);
    }

    /// Why a version is not served.
    pub fn set_reason(&self, version: u64, reason: Option<String>) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        match reason {
            Some(reason) => drop(reasons.insert(version, reason)),
            None => drop(reasons.remove(&version)),
        }
    }
}

/// A number of 0 to 99: for consecutive turns any run of them is spread evenly.
fn share(turn: u64) -> u32 {
    let fraction = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    ((fraction * 100) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_even_in_every_stretch() {
        for percent in [1, 5, 25, 50, 99] {
            for begin in [0, 12_345, u64::MAX / 3] {
                let taken = (0..1000).filter(|at| share(begin + at) < percent).count() as i64;
                assert!((taken - i64::from(percent) * 10).abs() <= 3, "{percent} {begin}: {taken}");
            }
        }
    }

    #[test]
    fn a_model_without_versions_says_so() {
        let served = Served::new("m");
        assert!(matches!(served.pick("", &Hints::default()), Err(Error::NotReady(_))));
        let error = served.pick("7", &Hints::default()).map(drop).unwrap_err().to_string();
        assert_eq!(error, "model m has no version 7 that is ready; ready are none");
    }
}
