//! What must outlive the process: which version of each model everybody gets, a
//! canary that is under way, versions that were taken back, models that were
//! unloaded.
//!
//! The file is replaced as a whole (written beside, synced, renamed), so that a
//! crash at any moment leaves either the old or the new state.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// State of all models, in memory and on disk.
pub struct StateFile {
    path: PathBuf,
    models: Mutex<BTreeMap<String, ModelState>>,
}

/// State of a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelState {
    /// The version that everybody gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stable: Option<u64>,
    /// A canary that is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryState>,
    /// Versions that were taken back.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rejected: BTreeMap<u64, Rejected>,
    /// Whether a request unloaded the model.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_unloaded: bool,
}

/// A canary that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryState {
    /// Its version.
    pub version: u64,
    /// Its step, from 0.
    pub step: usize,
}

/// A version that was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Why.
    pub reason: String,
    /// Mark of its files: others may be tried again.
    pub mark: u64,
}

impl StateFile {
    /// Reads the state; empty if there is no file yet.
    ///
    /// ## Errors
    /// [`Error::File`] if the file cannot be read or is none of ours.
    pub fn open(path: PathBuf) -> Result<Self> {
        let models = match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map_err(|why| {
                Error::file(&path, format!("{why}; move the file away to start anew"))
            })?,
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(why) => return Err(Error::file(path, why)),
        };
        Ok(Self { path, models: Mutex::new(models) })
    }

    /// State of a model.
    pub fn get(&self, model: &str) -> ModelState {
        let models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        models.get(model).cloned().unwrap_or_default()
    }

    /// Changes the state of a model, and writes it if it is another then.
    ///
    /// ## Errors
    /// [`Error::File`]; the state in memory is changed all the same.
    pub fn change(&self, model: &str, change: impl FnOnce(&mut ModelState)) -> Result<()> {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let before = models.get(model).cloned().unwrap_or_default();
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return Ok(());
        }
        models.insert(model.into(), after);
        models.retain(|_, state| *state != ModelState::default());
        let text =
            serde_json::to_string_pretty(&*models).map_err(|why| Error::file(&self.path, why))?;
        // Under the lock, so that the newest state is the last one written.
        replace(&self.path, text.as_bytes()).map_err(|why| Error::file(&self.path, why))
    }
}

fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("json.new");
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn state_comes_back_after_a_restart() {
        let scratch = Scratch::new("state");
        let path = scratch.path().join("state.json");
        let state = StateFile::open(path.clone()).unwrap();
        assert_eq!(state.get("m"), ModelState::default());
        state.change("m", |state| state.stable = Some(3)).unwrap();
        let rejected = Rejected { reason: "5 % failed".into(), mark: u64::MAX };
        state.change("m", |state| drop(state.rejected.insert(4, rejected.clone()))).unwrap();
        let again = StateFile::open(path.clone()).unwrap();
        assert_eq!((again.get("m").stable, &again.get("m").rejected[&4]), (Some(3), &rejected));
        // What is torn is said, and not taken for an empty state.
        std::fs::write(&path, "{\"m\":").unwrap();
        let torn = StateFile::open(path).map(drop).unwrap_err().to_string();
        assert!(torn.contains("move the file away"), "{torn}");
    }
}
