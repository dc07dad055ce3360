//! What is being loaded, and what it waits for: for whoever asks why a server is not
//! ready, and for the log where it takes long.
//!
//! A model that a GPU's driver assembles kernels for takes seconds to minutes, and looks
//! like one that hangs unless it says what it is at.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::log::{self, field};

/// Loading that takes longer is told of in the log, again and again.
const LONG: Duration = Duration::from_secs(5);

/// Versions that are being loaded.
#[derive(Default)]
pub struct Loading(Mutex<BTreeMap<Key, Entry>>);

/// Name of the model and number of the version.
type Key = (String, u64);

struct Entry {
    began: Instant,
    /// What the version is at; of an instance's own, by its number.
    at: Vec<(Option<usize>, String)>,
    told: Instant,
}

/// A version that is being loaded; forgotten when dropped.
pub struct Progress {
    key: Key,
    loading: Arc<Loading>,
}

impl Loading {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to load a version.
    pub fn begin(self: &Arc<Self>, model: &str, version: u64) -> Arc<Progress> {
        let key = (model.to_owned(), version);
        let now = Instant::now();
        self.lock().insert(key.clone(), Entry { began: now, at: Vec::new(), told: now });
        log::info("a version is being loaded", &[field("model", model), field("version", version)]);
        Arc::new(Progress { key, loading: Arc::clone(self) })
    }

    /// What is being loaded, since when and what it is at.
    pub fn to_json(&self) -> Value {
        let entries = self.lock();
        let entries = entries.iter().map(|((model, version), entry)| {
            json!({
                "model": model,
                "version": version.to_string(),
                "seconds": entry.began.elapsed().as_secs_f64(),
                "at": entry.at.iter().map(|(_, what)| what).collect::<Vec<_>>(),
            })
        });
        entries.collect()
    }

    /// Model, version and in a line what it is at.
    pub fn list(&self) -> Vec<(String, u64, String)> {
        let entries = self.lock();
        let entries = entries.iter();
        entries.map(|((model, version), entry)| (model.clone(), *version, entry.line())).collect()
    }

    /// Logs what takes long.
    pub fn tell(&self) {
        for ((model, version), entry) in &mut *self.lock() {
            if entry.told.elapsed() < LONG {
                continue;
            }
            entry.told = Instant::now();
            log::info(
                "a version is still being loaded",
                &[
                    field("model", model),
                    field("version", version),
                    field("seconds", entry.began.elapsed().as_secs()),
                    field("at", entry.line()),
                ],
            );
        }
    }
}

impl Entry {
    fn line(&self) -> String {
        self.at.iter().map(|(_, what)| what.as_str()).collect::<Vec<_>>().join("; ")
    }
}

impl Progress {
    /// Notes what the version is at.
    pub fn at(&self, what: &str) {
        self.note(None, what.to_owned());
    }

    /// Notes what an instance of the version is at; from then on the version is at what
    /// its instances are at.
    pub fn instance_at(&self, instance: usize, device: &str, what: &str) {
        self.note(Some(instance), format!("instance {instance} on {device}: {what}"));
    }

    fn note(&self, instance: Option<usize>, what: String) {
        let (model, version) = &self.key;
        let fields = [field("model", model), field("version", version), field("at", &what)];
        log::debug("loading goes on", &fields);
        let mut entries = self.loading.lock();
        let Some(entry) = entries.get_mut(&self.key) else { return };
        entry.at.retain(|(own, _)| own.is_some() && *own != instance);
        entry.at.push((instance, what));
        entry.at.sort();
    }

    /// Notes that an instance is ready.
    pub fn instance_done(&self, instance: usize) {
        if let Some(entry) = self.loading.lock().get_mut(&self.key) {
            entry.at.retain(|(own, _)| *own != Some(instance));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.loading.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_say_what_they_are_at_until_they_are_there() {
        let loading = Arc::new(Loading::default());
        let first = loading.begin("m", 3);
        first.at("reads the file");
        let other = loading.begin("n", 1);
        assert_eq!(loading.list()[0], ("m".into(), 3, "reads the file".into()));
        for (instance, what) in [(1, "is made"), (0, "is made"), (1, "warms up")] {
            first.instance_at(instance, "gpu:0", what);
        }
        let json = loading.to_json();
        let at = json!(["instance 0 on gpu:0: is made", "instance 1 on gpu:0: warms up"]);
        assert_eq!(
            (&json[0]["at"], &json[0]["model"], &json[0]["version"]),
            (&at, &json!("m"), &json!("3"))
        );
        assert!(json[0]["seconds"].as_f64().is_some_and(|seconds| seconds < 60.0));
        assert_eq!(json[1]["at"], json!([]));
        first.instance_done(0);
        assert_eq!(loading.to_json()[0]["at"], json!(["instance 1 on gpu:0: warms up"]));
        drop((first, other));
        assert_eq!((loading.to_json(), loading.list()), (json!([]), Vec::new()));
    }
}
