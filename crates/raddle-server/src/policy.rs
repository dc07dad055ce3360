//! Rules that configurations must keep, in Rego: those that are shipped and the
//! user's own.
//!
//! Rules fill the set `deny` of the package `raddle`. They see the server's settings,
//! or a model's complete configuration with the devices that its instances go to, as
//! `input`, and the bounds of the settings as `data.bounds`. What breaks a rule is not
//! loaded.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use regorus::Engine;
use regorus::utils::limits::ExecutionTimerConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::{ModelConfig, ServerSettings};
use crate::error::{Error, Result};

const SHIPPED: &str = include_str!("policy/shipped.rego");
/// The set of violations.
const DENY: &str = "data.raddle.deny";
/// Longest that all rules may take for one configuration.
const TIME_MAX: Duration = Duration::from_secs(5);

/// Which rules hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicySettings {
    /// Files of rules, and folders whose `.rego` files are rules.
    pub rules: Vec<PathBuf>,
    /// Bounds that the shipped rules hold configurations to.
    pub bounds: Bounds,
}

/// Bounds of the shipped rules; the user's see them as well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bounds {
    /// Most rows of a batch.
    pub batch_max: u64,
    /// Most requests in a queue.
    pub queue_max: u64,
    /// Longest that a request waits for others.
    pub delay_us_max: u64,
    /// Most instances of a model.
    pub instances_max: u64,
    /// Devices that models may use: `cpu`, `gpu` for all GPUs, `gpu:0` for one.
    pub devices: Vec<String>,
    /// Fewest connections that a server must take.
    pub connections_min: u64,
    /// Most connections that a server may take.
    pub connections_max: u64,
    /// Longest listen queue.
    pub backlog_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            batch_max: 1024,
            queue_max: 65_536,
            delay_us_max: 1_000_000,
            instances_max: 64,
            devices: vec!["cpu".into(), "gpu".into()],
            connections_min: 1,
            connections_max: 65_536,
            backlog_max: 65_535,
        }
    }
}

/// Rules that were read.
pub struct Policy {
    /// With rules and bounds, without an input.
    engine: Mutex<Engine>,
}

impl Policy {
    /// Reads all rules.
    ///
    /// ## Errors
    /// [`Error::File`] with the file and what is wrong in it.
    pub fn open(settings: &PolicySettings) -> Result<Self> {
        let mut engine = Engine::new();
        engine.set_execution_timer_config(ExecutionTimerConfig {
            limit: TIME_MAX,
            check_interval: NonZeroU32::MIN.saturating_add(1023),
        });
        add(&mut engine, Path::new("the shipped rules"), SHIPPED.into())?;
        for path in files(&settings.rules)? {
            let text = std::fs::read_to_string(&path).map_err(|why| Error::file(&path, why))?;
            let package = add(&mut engine, &path, text)?;
            if package != "data.raddle" {
                let why = format!("is in package {package}, expected package raddle");
                return Err(Error::file(path, why));
            }
        }
        let bounds = json!({ "bounds": settings.bounds }).to_string();
        engine.add_data_json(&bounds).map_err(|why| failed("the bounds", &why))?;
        let policy = Self { engine: engine.into() };
        // Rules that contradict each other or do not compile are found now.
        policy.violations("the rules", &json!({ "kind": "nothing" }))?;
        Ok(policy)
    }

    /// Holds the server's settings against the rules.
    ///
    /// ## Errors
    /// [`Error::Policy`] with rule, file and value of each violation.
    pub fn check_server(&self, settings: &ServerSettings) -> Result<()> {
        let file = settings.source.as_ref();
        let file = file.map_or("the command line".into(), |path| path.display().to_string());
        self.check(&file, &json!({ "kind": "server", "server": settings }))
    }

    /// Holds a model's complete configuration against the rules; `devices` are those
    /// of its instances, one for each.
    ///
    /// ## Errors
    /// As [`Self::check_server`].
    pub fn check_model(
        &self,
        models: &Path,
        config: &ModelConfig,
        devices: &[String],
    ) -> Result<()> {
        let file = models.join(&config.name).join("config.pbtxt");
        let file = match file.is_file() {
            true => file.display().to_string(),
            false => format!("model {} (without a config.pbtxt)", config.name),
        };
        let input = json!({ "kind": "model", "model": config.to_json(), "devices": devices });
        self.check(&file, &input)
    }

    fn check(&self, file: &str, input: &Value) -> Result<()> {
        let violations = self.violations(file, input)?;
        if violations.is_empty() {
            return Ok(());
        }
        Err(Error::Policy(format!("{file}: {}", violations.join("; "))))
    }

    fn violations(&self, file: &str, input: &Value) -> Result<Vec<String>> {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        let evaluate = |engine: &mut Engine| {
            engine.set_input_json(&input.to_string())?;
            engine.eval_rule(DENY.into())?.to_json_str()
        };
        let found = evaluate(&mut engine).map_err(|why| failed(file, &why))?;
        let found: Value = serde_json::from_str(&found).unwrap_or_default();
        let mut violations: Vec<String> =
            found.as_array().into_iter().flatten().map(violation).collect();
        violations.sort_unstable();
        Ok(violations)
    }
}

/// Rules name what they know; whatever else they say is shown as it is.
fn violation(found: &Value) -> String {
    let text = |field: &str| found[field].as_str();
    let (Some(rule), Some(field)) = (text("rule"), text("field")) else {
        return format!("denied: {found}");
    };
    let expected = text("expected").unwrap_or("another value");
    format!("rule {rule}: {field} is {}, expected {expected}", found["value"])
}

fn failed(what: &str, why: &impl std::fmt::Display) -> Error {
    Error::Policy(format!("{what}: the rules cannot be evaluated: {}", flat(why)))
}

/// The engine's messages draw the place in lines of their own.
fn flat(why: &impl std::fmt::Display) -> String {
    let text = why.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" | ")
}

fn add(engine: &mut Engine, path: &Path, text: String) -> Result<String> {
    let added = engine.add_policy(path.display().to_string(), text);
    added.map_err(|why| Error::file(path, flat(&why)))
}

/// The files that are meant, those of a folder in the order of their names.
fn files(rules: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in rules {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let list = std::fs::read_dir(path).map_err(|why| Error::file(path, why))?;
        let inside = list.flatten().map(|entry| entry.path());
        let mut inside: Vec<_> =
            inside.filter(|it| it.extension().is_some_and(|it| it == "rego")).collect();
        inside.sort_unstable();
        files.extend(inside);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn model(text: &str) -> ModelConfig {
        let config = ModelConfig::from_text(text, Path::new("config.pbtxt")).unwrap();
        ModelConfig { name: "m".into(), ..config }
    }

    fn said(checked: Result<()>) -> String {
        checked.map_or_else(|error| error.to_string(), |()| "nothing".into())
    }

    #[test]
    fn shipped_rules_name_rule_file_and_value() {
        let scratch = Scratch::new("policy-shipped");
        std::fs::create_dir(scratch.path().join("m")).unwrap();
        std::fs::write(scratch.path().join("m/config.pbtxt"), "").unwrap();
        let file = scratch.path().join("m/config.pbtxt").display().to_string();
        let policy = Policy::open(&PolicySettings::default()).unwrap();
        let check = |text: &str, devices: &[&str]| {
            let devices: Vec<String> = devices.iter().map(|&it| it.into()).collect();
            said(policy.check_model(scratch.path(), &model(text), &devices))
        };
        let good = "max_batch_size: 64 dynamic_batching { preferred_batch_size: [8, 64] }";
        assert_eq!(check(good, &["cpu", "gpu:0", "gpu:7"]), "nothing");
        let rule = |rest: &str| format!("{file}: rule {rest}");
        assert_eq!(
            check("max_batch_size: 5000", &["cpu"]),
            rule("batch_size: max_batch_size is 5000, expected at most 1024")
        );
        assert_eq!(
            check("max_batch_size: 8", &["tpu:1"]),
            rule("device: instance_group is \"tpu:1\", expected one of cpu, gpu")
        );
        let both = check(
            "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 2000000 \
             default_queue_policy { max_queue_size: 100000 } }",
            &vec!["cpu"; 65],
        );
        for part in ["instances: instance_group.count is 65", "queue_size", "2000000"] {
            assert!(both.contains(part), "{both}");
        }
    }

    #[test]
    fn bounds_and_own_rules_hold_too() {
        let scratch = Scratch::new("policy-own");
        let rules = scratch.path().join("rules");
        std::fs::create_dir(&rules).unwrap();
        let own = "package raddle\n\
            deny contains v if {\n input.kind == \"model\"\n not input.model.canary\n\
            v := {\"rule\": \"canary_needed\", \"field\": \"canary\", \"value\": null,\n\
            \"expected\": \"steps\"}\n}\n\
            deny contains \"no tokens\" if {\n input.kind == \"server\"\n\
            input.server.tokens_file == null\n}\n";
        std::fs::write(rules.join("own.rego"), own).unwrap();
        std::fs::write(rules.join("notes.txt"), "no rule").unwrap();
        let bounds = Bounds { devices: vec!["gpu:1".into()], ..Bounds::default() };
        let settings = PolicySettings { rules: vec![rules.clone()], bounds };
        let policy = Policy::open(&settings).unwrap();
        let found = said(policy.check_model(
            scratch.path(),
            &model("max_batch_size: 8"),
            &["gpu:1".into(), "gpu:2".into()],
        ));
        assert_eq!(
            found,
            "model m (without a config.pbtxt): rule canary_needed: canary is null, expected \
             steps; rule device: instance_group is \"gpu:2\", expected one of gpu:1"
        );
        let mut server = ServerSettings::default();
        server.limits.connections = 100_000;
        assert_eq!(
            said(policy.check_server(&server)),
            "the command line: denied: \"no tokens\"; rule connections: limits.connections is \
             100000, expected 1 to 65536"
        );
        for (text, expected) in
            [("package other\n", "expected package raddle"), ("package raddle\ndeny {", "own.rego")]
        {
            std::fs::write(rules.join("own.rego"), text).unwrap();
            let error = Policy::open(&settings).err().expect("a wrong rule").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
