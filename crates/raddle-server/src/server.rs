//! The server behind both protocols: models by name, and the way of a request
//! through them.

mod describe;
mod lifecycle;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::canary::CanaryRules;
use crate::config::ServerSettings;
use crate::error::{self, Error, Result};
use crate::loading::Loading;
use crate::model::Backend;
use crate::policy::Policy;
use crate::protocol::{Answered, InferReply, InferRequest, Input};
use crate::repository::Repository;
use crate::served::{Hints, Served};
use crate::shared_memory::SharedMemory;
use crate::state::StateFile;
use crate::stats::Stats;
use crate::tensor::{Rope, Tensor};
use crate::version::{Reply, Version};

pub use describe::{CanaryView, IndexEntry, config_message};
pub use lifecycle::Reason;

/// Times that a request looks for another version when its own is being retired.
const RETRIES: usize = 8;

/// A server: models, settings, counters. No sockets.
pub struct Server {
    /// The settings.
    pub settings: ServerSettings,
    /// Loads models.
    pub backend: Arc<dyn Backend>,
    repository: Repository,
    policy: Policy,
    state: StateFile,
    models: RwLock<BTreeMap<String, Arc<Served>>>,
    /// Counters outlive the versions they count for, so that a reload resets nothing.
    stats: Mutex<BTreeMap<(String, u64), Arc<Stats>>>,
    /// Regions of shared memory that clients registered.
    pub shared_memory: SharedMemory,
    /// What is being loaded.
    pub loading: Arc<Loading>,
    /// When the server was made: canaries count time from here.
    epoch: Instant,
    is_ready: std::sync::atomic::AtomicBool,
}

/// What a request brings besides its message.
#[derive(Debug, Clone)]
pub struct Context {
    /// When its last byte had come.
    pub received: Instant,
    /// When the client stops waiting.
    pub deadline: Option<Instant>,
    /// Hints for the choice of a version.
    pub hints: Hints,
}

impl Context {
    /// A request that has just come.
    pub fn now() -> Self {
        Self { received: Instant::now(), deadline: None, hints: Hints::default() }
    }
}

/// Where a request's time went, for traces.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// The version that answered.
    pub version: u64,
    /// Time in the queue.
    pub queue: Duration,
    /// When its batch began.
    pub began: Instant,
    /// Times of the batch.
    pub times: crate::stats::Times,
    /// Rows of the batch.
    pub batch_rows: usize,
}

impl Server {
    /// A server without models; `lifecycle` loads them.
    ///
    /// ## Errors
    /// [`Error::File`] if the repository or the state cannot be read,
    /// [`Error::Invalid`] for settings that make no sense, [`Error::Policy`] for those
    /// that break rules.
    pub fn new(settings: ServerSettings, backend: Arc<dyn Backend>) -> Result<Arc<Self>> {
        settings.check()?;
        let policy = Policy::open(&settings.policy)?;
        policy.check_server(&settings)?;
        let repository = Repository::open(&settings.models, backend.file_names())?;
        let state = StateFile::open(settings.state_path())?;
        let shared_memory = SharedMemory::new(settings.allow_shared_memory);
        Ok(Arc::new(Self {
            settings,
            backend,
            repository,
            policy,
            state,
            models: RwLock::default(),
            stats: Mutex::default(),
            shared_memory,
            loading: Arc::default(),
            epoch: Instant::now(),
            is_ready: false.into(),
        }))
    }

    /// Whether all models that were there at the start are loaded, and the server is
    /// not stopping.
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Relaxed)
    }

    /// Says whether the server wants requests.
    pub fn set_ready(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Relaxed);
    }

    /// Time since the server was made.
    pub fn uptime(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// All models by name.
    pub fn models(&self) -> Vec<Arc<Served>> {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        models.values().cloned().collect()
    }

    /// A model by name.
    ///
    /// ## Errors
    /// [`Error::UnknownModel`].
    pub fn model(&self, name: &str) -> Result<Arc<Served>> {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        models.get(name).cloned().ok_or_else(|| Error::UnknownModel { model: name.into() })
    }

    /// The version that a question about a model is about.
    ///
    /// ## Errors
    /// [`Error::UnknownModel`], [`Error::UnknownVersion`], [`Error::NotReady`].
    pub fn version(&self, model: &str, version: &str) -> Result<Arc<Version>> {
        let hints = Hints { canary: Some(false), key: None };
        self.model(model)?.pick(version, &hints)
    }

    /// Answers an inference request. Dropping the future cancels it.
    ///
    /// ## Errors
    /// See [`Error`]; what is wrong with the request is found before it waits.
    pub async fn infer(
        &self,
        request: InferRequest,
        context: &Context,
    ) -> Result<(InferReply, Timeline)> {
        let served = self.model(&request.model)?;
        let mut version = served.pick(&request.version, &context.hints)?;
        let timeout = (request.timeout_us > 0).then(|| Duration::from_micros(request.timeout_us));
        let asked = timeout.and_then(|timeout| context.received.checked_add(timeout));
        let deadline = [asked, context.deadline].into_iter().flatten().min();
        let outputs: Vec<_> = request.outputs;
        let mut inputs = self.fetch(request.inputs)?;
        for _ in 0..RETRIES {
            let underway = Underway::new(&version, context.received);
            let reply = match self
                .try_version(&version, inputs, &outputs, request.priority, deadline)
                .await
            {
                Err((Error::NotReady(_), Some(given))) => {
                    underway.withdraw();
                    inputs = given;
                    version = served.pick(&request.version, &context.hints)?;
                    continue;
                }
                Err((error, _)) => return Err(underway.fail(error)),
                Ok(reply) => reply,
            };
            underway.succeed();
            let timeline = Timeline {
                version: version.number,
                queue: reply.queue,
                began: reply.began,
                times: reply.times,
                batch_rows: reply.batch_rows,
            };
            let reply = InferReply {
                model: request.model,
                version: version.number,
                id: request.id,
                outputs: self.deliver(reply, &outputs, request.is_binary_output)?,
            };
            return Ok((reply, timeline));
        }
        Err(Error::NotReady(format!("model {}", served.name)))
    }

    async fn try_version(
        &self,
        version: &Version,
        inputs: Vec<Tensor>,
        outputs: &[crate::protocol::OutputRequest],
        priority: u64,
        deadline: Option<Instant>,
    ) -> Result<Reply, (Error, Option<Vec<Tensor>>)> {
        let known = &version.signature.outputs;
        if let Some(output) = outputs.iter().find(|it| !known.iter().any(|own| own.name == it.name))
        {
            let names: Vec<&str> = known.iter().map(|own| own.name.as_str()).collect();
            let error = Error::invalid(format!(
                "model {} has no output {}; its outputs are {}",
                version.model_name,
                output.name,
                names.join(", ")
            ));
            return Err((error, None));
        }
        let prepared = version.prepare(inputs).map_err(|error| (error, None))?;
        version.run(prepared, priority, deadline).await
    }

    /// Inputs with the data of those in shared memory.
    fn fetch(&self, inputs: Vec<Input>) -> Result<Vec<Tensor>> {
        let limit = self.settings.limits.tensor_bytes;
        let fetch = |Input { mut tensor, region }: Input| {
            let bytes = region.as_ref().map_or(tensor.data.len() as u64, |region| region.bytes);
            if bytes > limit {
                let setting = "[limits] tensor_bytes";
                return Err(Error::TooLarge { what: "a tensor", found: bytes, limit, setting });
            }
            if let Some(region) = region {
                tensor.data = self.shared_memory.read(&region)?.into();
            }
            Ok(tensor)
        };
        inputs.into_iter().map(fetch).collect()
    }

    /// The outputs that are wanted, in the order they were asked for.
    fn deliver(
        &self,
        reply: Reply,
        wanted: &[crate::protocol::OutputRequest],
        is_binary: bool,
    ) -> Result<Vec<Answered>> {
        if wanted.is_empty() {
            let answered = |tensor| Answered { tensor, is_binary, region: None };
            return Ok(reply.outputs.into_iter().map(answered).collect());
        }
        let mut delivered = Vec::with_capacity(wanted.len());
        for output in wanted {
            let found = reply.outputs.iter().find(|tensor| tensor.name == output.name);
            let Some(found) = found else { continue };
            let mut tensor = found.clone();
            let mut region = output.region.clone();
            if let Some(region) = &mut region {
                self.shared_memory.write(region, &tensor.data)?;
                region.bytes = tensor.data.len() as u64;
                tensor.data = Rope::default();
            }
            let is_binary = output.is_binary.unwrap_or(is_binary);
            delivered.push(Answered { tensor, is_binary, region });
        }
        Ok(delivered)
    }

    /// Counters of a version.
    fn stats_of(&self, model: &str, version: u64) -> Arc<Stats> {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(stats.entry((model.into(), version)).or_default())
    }

    /// Counters of all versions that were ever loaded, by model and version.
    pub fn all_stats(&self) -> Vec<((String, u64), Arc<Stats>)> {
        let stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.iter().map(|(key, stats)| (key.clone(), Arc::clone(stats))).collect()
    }
}

/// A request at a version; counted as cancelled if it is dropped on the way.
struct Underway<'a> {
    version: &'a Version,
    received: Instant,
    is_over: bool,
}

impl<'a> Underway<'a> {
    fn new(version: &'a Version, received: Instant) -> Self {
        version.stats.pending.fetch_add(1, Relaxed);
        Self { version, received, is_over: false }
    }

    /// The version takes no requests any more, so this is none of its own.
    fn withdraw(mut self) {
        self.is_over = true;
    }

    fn succeed(mut self) {
        self.is_over = true;
        let latency = self.received.elapsed();
        self.version.stats.success.add(latency);
        self.version.stats.latency.add(latency);
        self.version.note(false, latency, p99_max(self.version));
    }

    fn fail(mut self, failure: Error) -> Error {
        self.is_over = true;
        let (latency, reason) = (self.received.elapsed(), failure.reason());
        self.version.stats.add_failure(reason, latency);
        if reason == error::Reason::Backend {
            self.version.note(true, latency, p99_max(self.version));
        }
        failure
    }
}

fn p99_max(version: &Version) -> Duration {
    let rules = version.config.canary.as_ref();
    rules.map_or_else(|| CanaryRules::default().p99_max, |rules| rules.p99_max)
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.version.stats.pending.fetch_sub(1, Relaxed);
        if !self.is_over {
            self.version.stats.add_failure(error::Reason::Cancelled, self.received.elapsed());
        }
    }
}
