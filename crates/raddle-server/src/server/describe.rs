//! What the server says about itself and its models, as the protocol's messages.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use super::Server;
use crate::config::{Kind, ModelConfig, VersionPolicy};
use crate::error::Result;
use crate::model::TensorSpec;
use crate::protocol::EXTENSIONS;
use crate::protocol::proto;
use crate::served::Served;
use crate::stats::{Stage, Stats};
use crate::version::Version;

/// A row of the repository index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// Name of the model.
    pub name: String,
    /// Number of the version; empty if none is known.
    pub version: String,
    /// `READY`, `LOADING` or `UNAVAILABLE`.
    pub state: &'static str,
    /// Why it is unavailable.
    pub reason: String,
}

/// State of a model's canary.
#[derive(Debug, Clone, PartialEq)]
pub struct CanaryView {
    /// The version for everybody.
    pub stable: Option<u64>,
    /// The version on trial, its share in percent and its step.
    pub canary: Option<(u64, u32, usize)>,
    /// Requests of the canary within the window: all, failed, slow.
    pub window: (u64, u64, u64),
}

impl Server {
    /// Metadata of the server.
    pub fn metadata(&self) -> proto::ServerMetadata {
        let is_there =
            |name: &&&str| **name != "system_shared_memory" || self.settings.allow_shared_memory;
        proto::ServerMetadata {
            name: "raddle".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            extensions: EXTENSIONS.iter().filter(is_there).map(|&name| name.into()).collect(),
        }
    }

    /// Metadata of a model.
    ///
    /// ## Errors
    /// As [`Server::version`].
    pub fn model_metadata(&self, model: &str, version: &str) -> Result<proto::ModelMetadata> {
        let found = self.version(model, version)?;
        let spec = |spec: &TensorSpec| proto::TensorMetadata {
            name: spec.name.clone(),
            datatype: spec.datatype.name().into(),
            shape: spec.shape.clone(),
        };
        let versions = self.model(model)?.routes().versions.keys().map(u64::to_string).collect();
        Ok(proto::ModelMetadata {
            name: model.into(),
            versions,
            platform: self.backend.platform().into(),
            inputs: found.signature.inputs.iter().map(spec).collect(),
            outputs: found.signature.outputs.iter().map(spec).collect(),
        })
    }

    /// The repository index; only what is ready if `is_ready`.
    pub fn index(&self, is_ready: bool) -> Vec<IndexEntry> {
        let mut entries = Vec::new();
        for served in self.models() {
            let routes = served.routes();
            for number in routes.versions.keys() {
                entries.push(IndexEntry {
                    name: served.name.clone(),
                    version: number.to_string(),
                    state: "READY",
                    reason: String::new(),
                });
            }
            let reasons = served.reasons.lock().unwrap_or_else(PoisonError::into_inner);
            for (number, reason) in reasons.iter() {
                // A failed reload leaves the version ready, and says why it is the old one.
                match entries
                    .iter_mut()
                    .find(|it| it.name == served.name && it.version == number.to_string())
                {
                    Some(entry) => entry.reason.clone_from(reason),
                    None => entries.push(IndexEntry {
                        name: served.name.clone(),
                        version: if *number == 0 { String::new() } else { number.to_string() },
                        state: "UNAVAILABLE",
                        reason: reason.clone(),
                    }),
                }
            }
        }
        for (name, number, at) in self.loading.list() {
            let (version, reason) = (number.to_string(), format!("being loaded: {at}"));
            match entries.iter_mut().find(|it| it.name == name && it.version == version) {
                // The one before goes on meanwhile.
                Some(entry) if entry.state == "READY" => entry.reason = reason,
                Some(entry) => (entry.state, entry.reason) = ("LOADING", reason),
                None => entries.push(IndexEntry { name, version, state: "LOADING", reason }),
            }
        }
        if !is_ready {
            let known: Vec<String> = entries.iter().map(|entry| entry.name.clone()).collect();
            for name in self.repository.names().unwrap_or_default() {
                if !known.contains(&name) {
                    let (version, reason) = (String::new(), "not loaded".into());
                    entries.push(IndexEntry { name, version, state: "UNAVAILABLE", reason });
                }
            }
        }
        entries.retain(|entry| !is_ready || entry.state == "READY");
        entries
    }

    /// Statistics of a model's ready versions, or of all models if the name is empty.
    ///
    /// ## Errors
    /// As [`Server::version`].
    pub fn statistics(&self, model: &str, version: &str) -> Result<proto::Statistics> {
        let mut model_stats = Vec::new();
        if model.is_empty() {
            for served in self.models() {
                model_stats.extend(served.routes().versions.values().map(|it| statistics_of(it)));
            }
        } else if version.is_empty() {
            let routes = self.model(model)?.routes();
            model_stats.extend(routes.versions.values().map(|it| statistics_of(it)));
        } else {
            model_stats.push(statistics_of(&*self.version(model, version)?));
        }
        Ok(proto::Statistics { model_stats })
    }

    /// State of a model's canary.
    pub fn canary(&self, served: &Served) -> CanaryView {
        let routes = served.routes();
        let judge = served.judge.lock().unwrap_or_else(PoisonError::into_inner);
        let window = judge.as_ref().map_or((0, 0, 0), |judge| {
            let window = judge.window();
            (window.judged, window.errors, window.slow)
        });
        let step = judge.as_ref().map_or(0, |judge| judge.step());
        CanaryView {
            stable: routes.stable.as_ref().map(|version| version.number),
            canary: routes.canary.as_ref().map(|(version, share)| (version.number, *share, step)),
            window,
        }
    }

    /// The same as JSON, with what happened lately.
    pub fn canary_json(&self, served: &Served) -> Value {
        let view = self.canary(served);
        let history = served.history.lock().unwrap_or_else(PoisonError::into_inner);
        let event = |event: &crate::served::Event| {
            let time = event.time.duration_since(UNIX_EPOCH).unwrap_or_default();
            json!({ "time_ms": time.as_millis() as u64, "what": event.what })
        };
        let state = self.state.get(&served.name);
        json!({
            "model": served.name,
            "stable": view.stable,
            "canary": view.canary.map(|(version, percent, step)| json!({
                "version": version, "percent": percent, "step": step,
                "window": { "requests": view.window.0, "errors": view.window.1, "slow": view.window.2 },
            })),
            "rejected": state.rejected.iter()
                .map(|(number, it)| json!({ "version": number, "reason": it.reason }))
                .collect::<Vec<_>>(),
            "history": history.iter().map(event).collect::<Vec<_>>(),
        })
    }
}

fn statistics_of(version: &Version) -> proto::ModelStatistics {
    let stats: &Stats = &version.stats;
    let duration = |stage: &Stage| {
        let (count, ns) = stage.get();
        Some(proto::Duration { count, ns })
    };
    let batch = |(size, batch): (usize, crate::stats::BatchSize)| {
        let part = |ns| Some(proto::Duration { count: batch.count, ns });
        proto::InferBatchStatistics {
            batch_size: size as u64,
            compute_input: part(batch.copy_in),
            compute_infer: part(batch.compute),
            compute_output: part(batch.copy_out),
        }
    };
    let memory = version.memory_bytes().into_iter().map(|(device, byte_size)| {
        let id = device.rsplit(':').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        let kind = if device.starts_with("gpu") { "GPU" } else { "CPU" };
        proto::MemoryUsage { kind: kind.into(), id, byte_size }
    });
    proto::ModelStatistics {
        name: version.model_name.to_string(),
        version: version.number.to_string(),
        last_inference: stats.last_ms.load(Relaxed),
        inference_count: stats.rows.load(Relaxed),
        execution_count: stats.batches.load(Relaxed),
        inference_stats: Some(proto::InferStatistics {
            success: duration(&stats.success),
            fail: duration(&stats.fail),
            queue: duration(&stats.queue),
            compute_input: duration(&stats.copy_in),
            compute_infer: duration(&stats.compute),
            compute_output: duration(&stats.copy_out),
            cache_hit: Some(proto::Duration::default()),
            cache_miss: Some(proto::Duration::default()),
        }),
        batch_stats: stats.sizes().into_iter().map(batch).collect(),
        memory_usage: memory.collect(),
    }
}

/// A configuration as Triton's message.
pub fn config_message(config: &ModelConfig) -> proto::Config {
    let batching = config.batching.is_dynamic.then(|| proto::ConfigBatching {
        preferred_batch_size: config.batching.preferred_sizes.iter().map(|&it| it as i32).collect(),
        max_queue_delay_microseconds: config.batching.delay.as_micros() as u64,
        priority_levels: config.batching.priority_levels,
        default_priority_level: config.batching.default_priority,
        default_queue_policy: Some(proto::ConfigQueuePolicy {
            default_timeout_microseconds: config
                .batching
                .timeout
                .map_or(0, |timeout| timeout.as_micros() as u64),
            allow_timeout_override: config.batching.may_override_timeout,
            max_queue_size: config.batching.queue_size as u32,
        }),
    });
    let policy = match &config.version_policy {
        VersionPolicy::Latest(count) => {
            proto::ConfigVersionChoice::Latest(proto::ConfigLatest { num_versions: *count as u32 })
        }
        VersionPolicy::All => proto::ConfigVersionChoice::All(proto::Empty {}),
        VersionPolicy::Specific(list) => {
            let versions = list.iter().map(|&number| number as i64).collect();
            proto::ConfigVersionChoice::Specific(proto::ConfigSpecific { versions })
        }
    };
    let groups = config.instance_groups.iter().enumerate().map(|(at, group)| {
        let kind = match group.kind {
            Kind::Auto => 0,
            Kind::Gpu => 1,
            Kind::Cpu => 2,
        };
        let gpus = group.gpus.iter().map(|&number| number as i32).collect();
        proto::ConfigInstanceGroup {
            name: format!("{}_{at}", config.name),
            count: group.count as i32,
            gpus,
            kind,
        }
    });
    proto::Config {
        name: config.name.clone(),
        platform: config.platform.clone(),
        backend: config.platform.clone(),
        version_policy: Some(proto::ConfigVersionPolicy { choice: Some(policy) }),
        max_batch_size: config.max_batch_size.unwrap_or(0) as i32,
        input: config
            .inputs
            .iter()
            .map(|spec| proto::ConfigInput {
                name: spec.name.clone(),
                data_type: spec.datatype.config_number(),
                dims: spec.shape.clone(),
                optional: spec.is_optional,
            })
            .collect(),
        output: config
            .outputs
            .iter()
            .map(|spec| proto::ConfigOutput {
                name: spec.name.clone(),
                data_type: spec.datatype.config_number(),
                dims: spec.shape.clone(),
            })
            .collect(),
        instance_group: groups.collect(),
        default_model_filename: config.default_model_filename.clone().unwrap_or_default(),
        dynamic_batching: batching,
        parameters: config
            .parameters
            .iter()
            .map(|(key, value)| {
                (key.clone(), proto::ConfigParameter { string_value: value.clone() })
            })
            .collect(),
    }
}
