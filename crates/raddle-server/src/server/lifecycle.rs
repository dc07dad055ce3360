//! Versions come and go: loading, reloading, unloading, watching the folder, canaries.
//!
//! Everything here blocks and runs on threads for that, one at a time for each model.
//! A new version is loaded and warmed up beside the old one, and only then are the
//! routes swapped; the old one answers what it has and is dropped. What does not load
//! leaves everything as it was, with the reason.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::Server;
use crate::canary::{Judge, Verdict};
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::log::{self, field};
use crate::model::{ModelError, Source};
use crate::repository::Found;
use crate::served::{Admin, Routes, Served};
use crate::state::{CanaryState, Rejected};
use crate::version::Version;

/// What a look at a model's folder is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// The server starts.
    Start,
    /// The folder is looked at every now and then.
    Poll,
    /// A request asks for it, maybe with a configuration of its own.
    Request(Option<Box<ModelConfig>>),
}

impl Server {
    /// Loads all models that are there. What fails is logged and shown in the index.
    ///
    /// ## Errors
    /// [`Error::File`] if the repository cannot be read.
    pub fn load_all(&self) -> Result<()> {
        for name in self.repository.names()? {
            if !self.state.get(&name).is_unloaded {
                // The reason was logged and is in the index.
                let _ = self.sync(&name, Reason::Start);
            }
        }
        self.set_ready(true);
        Ok(())
    }

    /// Looks for changes: new models and versions, changed and removed files.
    pub fn poll(&self) {
        let names = match self.repository.names() {
            Ok(names) => names,
            Err(error) => {
                log::warn("the repository cannot be read", &[field("why", error)]);
                return;
            }
        };
        for name in &names {
            if !self.state.get(name).is_unloaded {
                let _ = self.sync(name, Reason::Poll);
            }
        }
        for served in self.models() {
            if !names.contains(&served.name) && served.routes().stable.is_some() {
                log::info("the model is gone from the repository", &[field("model", &served.name)]);
                self.clear(&served);
            }
        }
    }

    /// Brings the served versions of a model to what its folder says.
    ///
    /// ## Errors
    /// Why the model, or its newest version, is not served as the folder says.
    pub fn sync(&self, name: &str, reason: Reason) -> Result<()> {
        let found = match self.repository.find(name) {
            Err(error @ Error::UnknownModel { .. }) => return Err(error),
            found => found,
        };
        let served = self.entry(name);
        let mut admin = served.admin.lock().unwrap_or_else(PoisonError::into_inner);
        let found = found.inspect_err(|error| self.note_failure(&served, 0, error, &reason))?;
        if let Reason::Request(config) = &reason {
            admin.given_config = config.as_deref().cloned();
            self.state.change(name, |state| state.is_unloaded = false)?;
        }
        let result = self.bring_up(&served, &mut admin, found, &reason);
        match &result {
            Err(error) if served.routes().versions.is_empty() => {
                self.note_failure(&served, 0, error, &reason);
            }
            _ => served.set_reason(0, None),
        }
        result
    }

    /// Unloads a model until it is asked for again.
    ///
    /// ## Errors
    /// [`Error::UnknownModel`]; [`Error::File`] if that cannot be written down.
    pub fn unload(&self, name: &str) -> Result<()> {
        let served = self.model(name)?;
        self.state.change(name, |state| {
            state.is_unloaded = true;
            state.canary = None;
        })?;
        self.clear(&served);
        served.set_reason(0, Some("unloaded".into()));
        served.note("unloaded by request".into());
        Ok(())
    }

    /// Retires all versions of a model and waits for them.
    fn clear(&self, served: &Served) {
        let mut admin = served.admin.lock().unwrap_or_else(PoisonError::into_inner);
        admin.marks.clear();
        admin.given_config = None;
        served.judge.lock().unwrap_or_else(PoisonError::into_inner).take();
        let old = served.swap(Routes::default());
        old.versions.values().for_each(|version| version.retire());
    }

    /// Retires everything; requests under way are answered.
    pub fn shut_down(&self) {
        self.set_ready(false);
        for served in self.models() {
            self.clear(&served);
        }
    }

    fn entry(&self, name: &str) -> Arc<Served> {
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        let entry = models.entry(name.into());
        Arc::clone(entry.or_insert_with(|| Arc::new(Served::new(name))))
    }

    fn note_failure(&self, served: &Served, version: u64, error: &Error, reason: &Reason) {
        let text = error.to_string();
        let reasons = served.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = reasons.get(&version).is_some_and(|known| *known == text);
        drop(reasons);
        if is_known && *reason == Reason::Poll {
            return;
        }
        log::error(
            "the model was not loaded",
            &[field("model", &served.name), field("version", version), field("why", &text)],
        );
        served.note(format!("version {version} was not loaded: {text}"));
        served.set_reason(version, Some(text));
    }

    fn bring_up(
        &self,
        served: &Arc<Served>,
        admin: &mut Admin,
        found: Found,
        reason: &Reason,
    ) -> Result<()> {
        let config = match &admin.given_config {
            Some(given) => ModelConfig { name: served.name.clone(), ..given.clone() },
            None => found.config.clone(),
        };
        let found = Found { config, ..found };
        let state = self.state.get(&served.name);
        let mut wanted = found.wanted();
        let is_rejected = |number: &u64| {
            let mark = found.versions[number].1;
            state.rejected.get(number).is_some_and(|rejected| rejected.mark == mark)
        };
        if matches!(reason, Reason::Request(_)) {
            self.state.change(&served.name, |state| state.rejected.clear())?;
        } else if wanted.iter().any(is_rejected) {
            // A version that was taken back stays out, and the one before it stays in.
            let kept = |number: &u64| !is_rejected(number);
            wanted = Found {
                versions: found.versions.clone().into_iter().filter(|(it, _)| kept(it)).collect(),
                ..found.clone()
            }
            .wanted();
        }
        // A canary's partner stays although the policy names only the newest.
        let keeps_stable = found.config.canary.is_some();
        if let Some(stable) =
            state.stable.filter(|it| keeps_stable && found.versions.contains_key(it))
            && !wanted.contains(&stable)
            && wanted.last().is_some_and(|newest| *newest > stable)
        {
            wanted.insert(0, stable);
        }
        if wanted.is_empty() {
            return Err(Error::File {
                path: self.settings.models.join(&served.name),
                why: format!("no version with a file {}", self.backend.file_names().join(" or ")),
            });
        }
        self.load_wanted(served, admin, &found, &wanted, reason)
    }

    fn load_wanted(
        &self,
        served: &Arc<Served>,
        admin: &mut Admin,
        found: &Found,
        wanted: &[u64],
        reason: &Reason,
    ) -> Result<()> {
        let old = served.routes();
        let mut versions = BTreeMap::new();
        let mut failure = None;
        let mut is_changed = false;
        for &number in wanted {
            let (file, mark) = &found.versions[&number];
            let config_mark = match &admin.given_config {
                Some(given) => hash(&given.to_json().to_string()),
                None => found.config_mark,
            };
            let marks = (*mark, config_mark);
            let current = old.versions.get(&number);
            let is_same = admin.marks.get(&number) == Some(&marks);
            if is_same && (current.is_some() || *reason == Reason::Poll) {
                versions.extend(current.map(|version| (number, Arc::clone(version))));
                continue;
            }
            admin.marks.insert(number, marks);
            match self.load(served, found, file) {
                Ok(version) => {
                    is_changed = true;
                    served.set_reason(number, None);
                    versions.insert(number, version);
                }
                Err(error) => {
                    self.note_failure(served, number, &error, reason);
                    // The old one of this number goes on.
                    versions.extend(current.map(|version| (number, Arc::clone(version))));
                    failure = Some(error);
                }
            }
        }
        // Without any of the wanted versions the old ones go on.
        if versions.is_empty() {
            return failure.map_or(Ok(()), Err);
        }
        // If the newest did not load, the ones before it are not given up.
        if failure.is_some() {
            for (number, version) in &old.versions {
                versions.entry(*number).or_insert_with(|| Arc::clone(version));
            }
        }
        if is_changed || versions.len() != old.versions.len() {
            self.route(served, versions, found)?;
        }
        failure.map_or(Ok(()), Err)
    }

    fn load(
        &self,
        served: &Served,
        found: &Found,
        file: &crate::model::ModelFile,
    ) -> Result<Arc<Version>> {
        let began = Instant::now();
        let progress = self.loading.begin(&served.name, file.version);
        progress.at("reads the file");
        let mut config = found.config.clone();
        let failed = |source: ModelError| Error::Model {
            model: served.name.clone(),
            version: file.version,
            source,
        };
        let source =
            Source { name: &served.name, version: file.version, file: &file.path, config: &config };
        let loaded =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.backend.load(&source)));
        let model = loaded
            .unwrap_or_else(|_| Err(ModelError::Panicked("while the file was loaded".into())))
            .map_err(failed)?;
        config.complete(model.signature())?;
        let platform = self.backend.platform();
        config.platform = platform.into();
        let devices: Vec<String> = self.backend.devices().into_iter().map(|it| it.name).collect();
        let placement = config.placement(&devices)?;
        self.policy.check_model(&self.settings.models, &config, &placement)?;
        let stats = self.stats_of(&served.name, file.version);
        let version = Version::start(file.version, config, model, placement, stats, &progress)?;
        log::info(
            "a version is loaded",
            &[
                field("model", &served.name),
                field("version", file.version),
                field("devices", version.placement.join(",")),
                field("ms", began.elapsed().as_millis()),
            ],
        );
        Ok(version)
    }

    /// Makes routes of the versions, beginning a canary if there is a new one and the
    /// configuration asks for it; retires what is not among them.
    fn route(
        &self,
        served: &Arc<Served>,
        versions: BTreeMap<u64, Arc<Version>>,
        found: &Found,
    ) -> Result<()> {
        let old = served.routes();
        let state = self.state.get(&served.name);
        let Some((&newest, newest_version)) = versions.last_key_value() else { return Ok(()) };
        let stable = state.stable.and_then(|number| versions.get(&number));
        let rules = found.config.canary.as_ref();
        let mut routes = Routes { versions: versions.clone(), ..Routes::default() };
        let mut judge = None;
        match (stable, rules) {
            (Some(stable), Some(rules)) if stable.number < newest => {
                let resumed = state.canary.filter(|canary| canary.version == newest);
                let step = resumed.map_or(0, |canary| canary.step);
                let begun = Judge::new(rules.clone(), step, self.epoch.elapsed());
                routes.stable = Some(Arc::clone(stable));
                routes.canary = Some((Arc::clone(newest_version), begun.weight()));
                served.note(format!("version {newest} is a canary with {} %", begun.weight()));
                log::info(
                    "a canary begins",
                    &[
                        field("model", &served.name),
                        field("version", newest),
                        field("stable", stable.number),
                        field("percent", begun.weight()),
                    ],
                );
                judge = Some(begun);
            }
            _ => {
                routes.stable = Some(Arc::clone(newest_version));
                served.note(format!("version {newest} serves"));
            }
        }
        let canary =
            judge.as_ref().map(|judge| CanaryState { version: newest, step: judge.step() });
        let stable = routes.stable.as_ref().map(|version| version.number);
        self.install(served, &old, routes, judge);
        self.state.change(&served.name, |state| {
            state.stable = stable;
            state.canary = canary;
        })
    }

    /// Swaps routes and judge, and retires what is no longer among the versions.
    fn install(&self, served: &Arc<Served>, old: &Routes, routes: Routes, judge: Option<Judge>) {
        let kept: Vec<Arc<Version>> = routes.versions.values().cloned().collect();
        *served.judge.lock().unwrap_or_else(PoisonError::into_inner) = judge;
        served.swap(routes);
        for version in old.versions.values() {
            if kept.iter().any(|kept| Arc::ptr_eq(kept, version)) {
                continue;
            }
            version.retire();
            log::info(
                "a version is retired",
                &[field("model", &served.name), field("version", version.number)],
            );
        }
    }

    /// Judges all canaries.
    pub fn judge(&self) {
        for served in self.models() {
            let verdict = {
                let mut judge = served.judge.lock().unwrap_or_else(PoisonError::into_inner);
                let routes = served.routes();
                let (Some(judge), Some((version, _))) = (judge.as_mut(), &routes.canary) else {
                    continue;
                };
                let overdue = version.overdue(judge.rules().p99_max);
                judge.judge(self.epoch.elapsed(), version.totals(), overdue)
            };
            if verdict != Verdict::Keep {
                self.decide(&served, &verdict);
            }
        }
    }

    /// Ends a canary as an operator says.
    ///
    /// ## Errors
    /// [`Error::UnknownModel`]; [`Error::Invalid`] if there is no canary.
    pub fn decide_by_request(&self, model: &str, verdict: &Verdict) -> Result<()> {
        let served = self.model(model)?;
        if served.routes().canary.is_none() {
            return Err(Error::invalid(format!("model {model} has no canary")));
        }
        self.decide(&served, verdict);
        Ok(())
    }

    fn decide(&self, served: &Arc<Served>, verdict: &Verdict) {
        let Some((version, _)) = served.routes().canary.clone() else { return };
        let event = match verdict {
            Verdict::Keep => return,
            Verdict::Advance(percent) => self.advance(served, &version, *percent),
            Verdict::Promote => self.promote(served, &version),
            Verdict::RollBack(why) => self.roll_back(served, &version, why),
        };
        log::warn("a verdict on a canary", &[field("model", &served.name), field("what", &event)]);
        served.note(event);
    }

    fn advance(&self, served: &Served, version: &Arc<Version>, percent: u32) -> String {
        served.update(|routes| {
            if let Some((canary, share)) = &mut routes.canary
                && Arc::ptr_eq(canary, version)
            {
                *share = percent;
            }
        });
        let judge = served.judge.lock().unwrap_or_else(PoisonError::into_inner);
        let step = judge.as_ref().map_or(0, Judge::step);
        drop(judge);
        let number = version.number;
        self.save(served, |state| state.canary = Some(CanaryState { version: number, step }));
        format!("canary {number} advances to {percent} %")
    }

    fn promote(&self, served: &Served, version: &Arc<Version>) -> String {
        let admin = served.admin.lock().unwrap_or_else(PoisonError::into_inner);
        let number = version.number;
        let before = served.routes().stable.clone();
        let spare = before.filter(|before| !self.is_wanted(served, before.number));
        served.update(|routes| {
            routes.canary = None;
            routes.stable = Some(Arc::clone(version));
            if let Some(spare) = &spare {
                routes.versions.remove(&spare.number);
            }
        });
        served.judge.lock().unwrap_or_else(PoisonError::into_inner).take();
        served.count_verdict(true);
        self.save(served, |state| {
            state.stable = Some(number);
            state.canary = None;
        });
        if let Some(spare) = spare {
            spare.retire();
        }
        drop(admin);
        format!("canary {number} is promoted")
    }

    fn roll_back(&self, served: &Served, version: &Arc<Version>, why: &str) -> String {
        let number = version.number;
        // From here on nobody gets it, whatever else is going on.
        served.update(|routes| {
            routes.canary = None;
            routes.versions.remove(&number);
        });
        let admin = served.admin.lock().unwrap_or_else(PoisonError::into_inner);
        served.judge.lock().unwrap_or_else(PoisonError::into_inner).take();
        served.count_verdict(false);
        let mark = admin.marks.get(&number).map_or(0, |(file, _)| *file);
        served.set_reason(number, Some(format!("taken back: {why}")));
        self.save(served, |state| {
            state.canary = None;
            state.rejected.insert(number, Rejected { reason: why.into(), mark });
        });
        version.retire();
        drop(admin);
        format!("canary {number} is taken back: {why}")
    }

    fn save(&self, served: &Served, change: impl FnOnce(&mut crate::state::ModelState)) {
        if let Err(error) = self.state.change(&served.name, change) {
            log::error("the state was not written", &[field("why", error)]);
        }
    }

    fn is_wanted(&self, served: &Served, version: u64) -> bool {
        self.repository.find(&served.name).is_ok_and(|found| found.wanted().contains(&version))
    }
}

fn hash(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
