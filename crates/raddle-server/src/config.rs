//! A model's configuration: Triton's `config.pbtxt`, or the same as JSON in a load
//! request, or worked out from the model when there is neither.
//!
//! What is known to Triton and has no meaning here is accepted and listed as
//! ignored; what would change results or scheduling and is not done is refused.

mod fields;
mod settings;
mod text;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::canary::CanaryRules;
use crate::error::{Error, Result};
use crate::model::{Signature, TensorSpec};
use crate::tensor::Datatype;
use fields::Fields;

pub use settings::{Limits, ServerSettings, duration};

/// Largest batch of a model that can batch and has no configuration.
const MAX_BATCH_DEFAULT: usize = 32;
/// Requests that may wait where the configuration does not say.
const QUEUE_SIZE_DEFAULT: usize = 1024;

/// A model's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Name of the model; that of its folder.
    pub name: String,
    /// Platform and backend as the file names them.
    pub platform: String,
    /// Which versions are served.
    pub version_policy: VersionPolicy,
    /// Most rows of a batch; `None` until it is worked out, 0 if requests cannot be
    /// put together.
    pub max_batch_size: Option<usize>,
    /// Inputs as the file declares them, without the batch's dimension.
    pub inputs: Vec<TensorSpec>,
    /// Outputs likewise.
    pub outputs: Vec<TensorSpec>,
    /// Where instances are placed.
    pub instance_groups: Vec<InstanceGroup>,
    /// Name of the model's file in a version's folder.
    pub default_model_filename: Option<String>,
    /// How requests are put together.
    pub batching: Batching,
    /// Free parameters for the backend.
    pub parameters: BTreeMap<String, String>,
    /// How new versions take over; at once if `None`.
    pub canary: Option<CanaryRules>,
    /// Fields that were given and have no effect here.
    pub ignored: Vec<String>,
}

/// Which versions of a model are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionPolicy {
    /// The newest ones.
    Latest(usize),
    /// All.
    All,
    /// These.
    Specific(Vec<u64>),
}

/// Instances on devices of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceGroup {
    /// Kind of the devices.
    pub kind: Kind,
    /// Instances on each device.
    pub count: usize,
    /// Numbers of GPUs; all if empty.
    pub gpus: Vec<u32>,
}

/// Kind of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A GPU if there is one, else the CPU.
    Auto,
    /// GPUs.
    Gpu,
    /// The CPU.
    Cpu,
}

/// How requests wait and are put together.
#[derive(Debug, Clone, PartialEq)]
pub struct Batching {
    /// Whether requests are put together at all.
    pub is_dynamic: bool,
    /// Sizes that are worth waiting for, in ascending order.
    pub preferred_sizes: Vec<usize>,
    /// Longest that a request waits for others.
    pub delay: Duration,
    /// Number of priorities, 1 being the highest; 0 for none.
    pub priority_levels: u64,
    /// Priority of requests that name none.
    pub default_priority: u64,
    /// Most requests that wait.
    pub queue_size: usize,
    /// Longest that a request may wait in the queue, unless it says otherwise.
    pub timeout: Option<Duration>,
    /// Whether requests may set a shorter time.
    pub may_override_timeout: bool,
}

impl Default for Batching {
    fn default() -> Self {
        Self {
            is_dynamic: true,
            preferred_sizes: Vec::new(),
            delay: Duration::ZERO,
            priority_levels: 0,
            default_priority: 0,
            queue_size: QUEUE_SIZE_DEFAULT,
            timeout: None,
            may_override_timeout: true,
        }
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            platform: String::new(),
            version_policy: VersionPolicy::Latest(1),
            max_batch_size: None,
            inputs: Vec::new(),
            outputs: Vec::new(),
            instance_groups: Vec::new(),
            default_model_filename: None,
            batching: Batching::default(),
            parameters: BTreeMap::new(),
            canary: None,
            ignored: Vec::new(),
        }
    }
}

/// Fields of Triton's configuration that change nothing here.
const IGNORED: [&str; 8] = [
    "optimization",
    "cc_model_filenames",
    "metric_tags",
    "model_operations",
    "model_repository_agents",
    "model_metrics",
    "model_warmup",
    "runtime",
];

/// Fields that would have to be obeyed.
const REFUSED: [&str; 5] =
    ["sequence_batching", "ensemble_scheduling", "response_cache", "batch_input", "batch_output"];

impl ModelConfig {
    /// Reads a configuration in protobuf's text format.
    ///
    /// ## Errors
    /// [`Error::File`] with line or field.
    pub fn from_text(source: &str, path: &Path) -> Result<Self> {
        let value = text::parse(source).map_err(|why| Error::file(path, why))?;
        Self::from_value(value).map_err(|why| Error::file(path, why))
    }

    /// Reads a configuration in JSON, as load requests give it.
    ///
    /// ## Errors
    /// [`Error::Invalid`] with the field.
    pub fn from_json(source: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(source)
            .map_err(|why| Error::invalid(format!("parameter config is no JSON: {why}")))?;
        Self::from_value(value).map_err(|why| Error::invalid(format!("parameter config: {why}")))
    }

    fn from_value(value: Value) -> Result<Self, String> {
        let mut fields = Fields::new(value, "")?;
        let mut config = Self { batching: batching(&mut fields)?, ..Self::default() };
        config.name = fields.text("name")?.unwrap_or_default();
        let platform = fields.text("platform")?;
        config.platform = fields.text("backend")?.or(platform).unwrap_or_default();
        config.max_batch_size = fields.number("max_batch_size")?;
        config.version_policy = version_policy(&mut fields)?;
        config.inputs = fields.list("input")?.into_iter().map(spec).collect::<Result<_, _>>()?;
        config.outputs = fields.list("output")?.into_iter().map(spec).collect::<Result<_, _>>()?;
        let groups = fields.list("instance_group")?;
        config.instance_groups = groups.into_iter().map(group).collect::<Result<_, _>>()?;
        let file = fields.text("default_model_filename")?;
        config.default_model_filename = file.filter(|name| !name.is_empty());
        config.parameters = fields.map("parameters", |mut value| {
            let text = value.text("string_value")?.unwrap_or_default();
            value.finish()?;
            Ok(text)
        })?;
        config.canary = fields.message("canary")?.map(canary).transpose()?;
        if let Some(mut policy) = fields.message("model_transaction_policy")? {
            if policy.flag("decoupled")? == Some(true) {
                return Err("model_transaction_policy.decoupled is not supported".into());
            }
            policy.finish()?;
        }
        if let Some(field) = REFUSED.iter().find(|name| fields.has(name)) {
            return Err(format!("{field} is not supported"));
        }
        for name in IGNORED {
            if fields.skip(name) {
                config.ignored.push(name.into());
            }
        }
        fields.finish()?;
        Ok(config)
    }

    /// Fills in what the file leaves open and holds the rest against the model.
    ///
    /// ## Errors
    /// [`Error::Invalid`] with what the configuration says and the model has.
    pub fn complete(&mut self, signature: &Signature) -> Result<()> {
        let batch = match self.max_batch_size {
            Some(size) if size > 0 && !signature.is_batchable() => {
                return Err(Error::invalid(format!(
                    "model {}: max_batch_size is {size}, but the first dimension of inputs and \
                     outputs is not open; set it to 0",
                    self.name
                )));
            }
            Some(size) => size,
            None if signature.is_batchable() => MAX_BATCH_DEFAULT,
            None => 0,
        };
        self.max_batch_size = Some(batch);
        self.check_specs("input", &self.inputs, &signature.inputs)?;
        self.check_specs("output", &self.outputs, &signature.outputs)?;
        let declared = |specs: &[TensorSpec]| {
            let without_batch = |spec: &TensorSpec| TensorSpec {
                shape: spec.shape[usize::from(batch > 0)..].to_vec(),
                ..spec.clone()
            };
            specs.iter().map(without_batch).collect()
        };
        self.inputs = declared(&signature.inputs);
        self.outputs = declared(&signature.outputs);
        self.batching.preferred_sizes.retain(|&size| size > 0 && size <= batch);
        self.batching.preferred_sizes.sort_unstable();
        if self.instance_groups.is_empty() {
            self.instance_groups.push(InstanceGroup { kind: Kind::Auto, count: 1, gpus: vec![] });
        }
        Ok(())
    }

    fn check_specs(&self, what: &str, own: &[TensorSpec], model: &[TensorSpec]) -> Result<()> {
        let is_batching = self.max_batch_size.is_some_and(|size| size > 0);
        for spec in own {
            let known = model.iter().find(|known| known.name == spec.name);
            let known = known.ok_or_else(|| {
                let names: Vec<&str> = model.iter().map(|spec| spec.name.as_str()).collect();
                Error::invalid(format!(
                    "model {}: the configuration has {what} {}, the model has {}",
                    self.name,
                    spec.name,
                    names.join(", ")
                ))
            })?;
            let shape = &known.shape[usize::from(is_batching)..];
            let is_same = |(&own, &known): (&i64, &i64)| own == known || own == -1 || known == -1;
            let fits = spec.shape.len() == shape.len() && spec.shape.iter().zip(shape).all(is_same);
            if spec.datatype != known.datatype || !fits {
                return Err(Error::invalid(format!(
                    "model {}: {what} {} is {} {:?} in the model, {} {:?} in the configuration",
                    self.name,
                    spec.name,
                    known.datatype.name(),
                    shape,
                    spec.datatype.name(),
                    spec.shape
                )));
            }
        }
        Ok(())
    }

    /// Devices that instances go to, one entry for each instance.
    ///
    /// ## Errors
    /// [`Error::Invalid`] if a device is not there.
    pub fn placement(&self, devices: &[String]) -> Result<Vec<String>> {
        let gpus: Vec<&String> = devices.iter().filter(|name| name.starts_with("gpu")).collect();
        let mut placed = Vec::new();
        for group in &self.instance_groups {
            let kind = match group.kind {
                Kind::Auto if gpus.is_empty() => Kind::Cpu,
                Kind::Auto => Kind::Gpu,
                kind => kind,
            };
            let chosen: Vec<String> = match (kind, group.gpus.as_slice()) {
                (Kind::Cpu, _) => vec!["cpu".into()],
                (_, []) => gpus.iter().map(|&name| name.clone()).collect(),
                (_, numbers) => numbers.iter().map(|number| format!("gpu:{number}")).collect(),
            };
            let missing = chosen.iter().find(|name| !devices.contains(name));
            if chosen.is_empty() || missing.is_some() {
                return Err(Error::invalid(format!(
                    "model {}: instance_group asks for {}, this machine has {}",
                    self.name,
                    missing.map_or("a GPU", String::as_str),
                    devices.join(", ")
                )));
            }
            for _ in 0..group.count {
                placed.extend(chosen.iter().cloned());
            }
        }
        Ok(placed)
    }

    /// The configuration as JSON, in the names of Triton's protobuf.
    pub fn to_json(&self) -> Value {
        let spec = |spec: &TensorSpec| {
            json!({
                "name": spec.name,
                "data_type": spec.datatype.config_name(),
                "dims": spec.shape,
                "optional": spec.is_optional,
            })
        };
        let group = |group: &InstanceGroup| {
            let kind = match group.kind {
                Kind::Auto => "KIND_AUTO",
                Kind::Gpu => "KIND_GPU",
                Kind::Cpu => "KIND_CPU",
            };
            json!({ "kind": kind, "count": group.count, "gpus": group.gpus })
        };
        let mut json = json!({
            "name": self.name,
            "platform": self.platform,
            "backend": self.platform,
            "version_policy": match &self.version_policy {
                VersionPolicy::Latest(count) => json!({ "latest": { "num_versions": count } }),
                VersionPolicy::All => json!({ "all": {} }),
                VersionPolicy::Specific(list) => json!({ "specific": { "versions": list } }),
            },
            "max_batch_size": self.max_batch_size.unwrap_or(0),
            "input": self.inputs.iter().map(spec).collect::<Vec<_>>(),
            "output": self.outputs.iter().map(spec).collect::<Vec<_>>(),
            "instance_group": self.instance_groups.iter().map(group).collect::<Vec<_>>(),
            "default_model_filename": self.default_model_filename.as_deref().unwrap_or_default(),
            "parameters": self.parameters.iter()
                .map(|(key, value)| (key.clone(), json!({ "string_value": value })))
                .collect::<serde_json::Map<_, _>>(),
        });
        if self.batching.is_dynamic {
            let batching = &self.batching;
            json["dynamic_batching"] = json!({
                "preferred_batch_size": batching.preferred_sizes,
                "max_queue_delay_microseconds": batching.delay.as_micros() as u64,
                "preserve_ordering": false,
                "priority_levels": batching.priority_levels,
                "default_priority_level": batching.default_priority,
                "default_queue_policy": {
                    "timeout_action": "REJECT",
                    "default_timeout_microseconds":
                        batching.timeout.map_or(0, |timeout| timeout.as_micros() as u64),
                    "allow_timeout_override": batching.may_override_timeout,
                    "max_queue_size": batching.queue_size,
                },
            });
        }
        if let Some(canary) = &self.canary {
            json["canary"] = canary.to_json();
        }
        json
    }
}

fn version_policy(fields: &mut Fields) -> Result<VersionPolicy, String> {
    let Some(mut policy) = fields.message("version_policy")? else {
        return Ok(VersionPolicy::Latest(1));
    };
    let found = if let Some(mut latest) = policy.message("latest")? {
        let count = latest.number("num_versions")?.unwrap_or(1);
        latest.finish()?;
        VersionPolicy::Latest(count.max(1))
    } else if let Some(mut specific) = policy.message("specific")? {
        let versions = specific.numbers("versions")?;
        specific.finish()?;
        VersionPolicy::Specific(versions)
    } else if let Some(all) = policy.message("all")? {
        all.finish()?;
        VersionPolicy::All
    } else {
        VersionPolicy::Latest(1)
    };
    policy.finish()?;
    Ok(found)
}

fn batching(fields: &mut Fields) -> Result<Batching, String> {
    // A file that says nothing of batching has none, as in Triton.
    let Some(mut dynamic) = fields.message("dynamic_batching")? else {
        return Ok(Batching { is_dynamic: false, ..Batching::default() });
    };
    let mut batching = Batching {
        preferred_sizes: dynamic.numbers("preferred_batch_size")?,
        delay: Duration::from_micros(dynamic.number("max_queue_delay_microseconds")?.unwrap_or(0)),
        priority_levels: dynamic.number("priority_levels")?.unwrap_or(0),
        default_priority: dynamic.number("default_priority_level")?.unwrap_or(0),
        ..Batching::default()
    };
    // Replies are matched to their requests, so their order is no promise to keep.
    dynamic.flag("preserve_ordering")?;
    let (levels, default) = (batching.priority_levels, batching.default_priority);
    if (levels > 0 && !(1..=levels).contains(&default)) || (levels == 0 && default > 0) {
        return Err(format!(
            "dynamic_batching.default_priority_level is {default}, expected 1 to {levels}"
        ));
    }
    if let Some(mut policy) = dynamic.message("default_queue_policy")? {
        if policy.text("timeout_action")?.is_some_and(|action| action != "REJECT") {
            return Err("default_queue_policy.timeout_action: only REJECT is supported".into());
        }
        let timeout = policy.number("default_timeout_microseconds")?.filter(|&micros| micros > 0);
        batching.timeout = timeout.map(Duration::from_micros);
        batching.may_override_timeout = policy.flag("allow_timeout_override")?.unwrap_or(false);
        // Triton's 0 is a queue without end, which no server has memory for.
        let size = policy.number("max_queue_size")?.filter(|&size| size > 0);
        batching.queue_size = size.unwrap_or(QUEUE_SIZE_DEFAULT);
        policy.finish()?;
    }
    dynamic.finish()?;
    Ok(batching)
}

fn spec(mut fields: Fields) -> Result<TensorSpec, String> {
    let name = fields.text("name")?.ok_or("a tensor of the configuration has no name")?;
    let datatype = fields.text("data_type")?.unwrap_or_default();
    let datatype = Datatype::from_config_name(&datatype)
        .ok_or_else(|| format!("{name}: data_type {datatype} is none of TYPE_FP32 and so on"))?;
    let shape = fields.numbers("dims")?;
    let is_optional = fields.flag("optional")?.unwrap_or(false);
    for field in ["format", "label_filename"] {
        fields.skip(field);
    }
    fields.finish()?;
    Ok(TensorSpec { name, datatype, shape, is_optional })
}

fn group(mut fields: Fields) -> Result<InstanceGroup, String> {
    fields.skip("name");
    let kind = match fields.text("kind")?.as_deref() {
        None | Some("KIND_AUTO") => Kind::Auto,
        Some("KIND_GPU") => Kind::Gpu,
        Some("KIND_CPU") => Kind::Cpu,
        Some(other) => {
            return Err(format!(
                "instance_group.kind is {other}, expected KIND_AUTO, KIND_GPU or KIND_CPU"
            ));
        }
    };
    let count = fields.number("count")?.unwrap_or(1);
    let gpus = fields.numbers("gpus")?;
    fields.finish()?;
    if !(1..=1024).contains(&count) {
        return Err(format!("instance_group.count is {count}, expected 1 to 1024"));
    }
    Ok(InstanceGroup { kind, count, gpus })
}

fn canary(mut fields: Fields) -> Result<CanaryRules, String> {
    let default = CanaryRules::default();
    let steps: Vec<u32> = fields.numbers("steps")?;
    let seconds = |value: Option<f64>, default| {
        value.map_or(Ok(default), |seconds| {
            Duration::try_from_secs_f64(seconds).map_err(|_| format!("{seconds} is no time"))
        })
    };
    let rules = CanaryRules {
        steps: if steps.is_empty() { default.steps } else { steps },
        step: seconds(fields.real("step_seconds")?, default.step)?,
        window: seconds(fields.real("window_seconds")?, default.window)?,
        error_rate_max: fields.real("error_rate_max")?.unwrap_or(default.error_rate_max),
        p99_max: seconds(fields.real("p99_ms_max")?.map(|ms| ms / 1e3), default.p99_max)?,
        samples_min: fields.number("samples_min")?.unwrap_or(default.samples_min),
    };
    fields.finish()?;
    rules.check()?;
    Ok(rules)
}

#[cfg(test)]
mod tests;
