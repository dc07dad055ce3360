//! A loaded version of a model: its queue and the threads of its instances.
//!
//! A version is born ready: its instances are made and warmed up before anybody can
//! see it. It ends by [`Version::retire`]: no new request gets in, those that are in
//! are answered, then threads end and the model is dropped with its memory.

mod batch;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::canary::Totals;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::loading::Progress;
use crate::log::{self, field};
use crate::model::{Instance, Model, ModelError, Signature, Staged, Tell};
use crate::queue::{Queue, Refusal, Taken, Ticket, Waiting};
use crate::stats::{Stats, Times};
use crate::tensor::Tensor;

use batch::{batch, is_alike, split, zeros};

/// A loaded version.
pub struct Version {
    /// Name of the model.
    pub model_name: Arc<str>,
    /// Number of the version.
    pub number: u64,
    /// The complete configuration.
    pub config: ModelConfig,
    /// What the model takes and gives.
    pub signature: Signature,
    /// What is counted.
    pub stats: Arc<Stats>,
    /// When it was loaded.
    pub loaded: Instant,
    /// Devices of the instances.
    pub placement: Vec<String>,
    queue: Arc<Queue<Pending>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// One for each instance; whoever runs a batch holds its lock.
    slots: Vec<Mutex<Option<Box<dyn Instance>>>>,
    is_quick: bool,
    is_staging: bool,
    model: Mutex<Option<Arc<dyn Model>>>,
    /// When each instance began the batch that it runs, in nanoseconds since `loaded`
    /// plus one, and the batch's requests.
    running: Arc<Vec<(AtomicU64, AtomicU64)>>,
    judged: AtomicU64,
    errors: AtomicU64,
    slow: AtomicU64,
}

/// An input of a request.
pub struct Given {
    /// Its place in the signature.
    pub at: usize,
    /// What came.
    pub tensor: Tensor,
    /// Where the model put it, if it did so before the request's turn.
    pub staged: Option<Staged>,
}

/// A request in the queue.
pub struct Pending {
    /// Inputs that are given, in the order of the signature.
    pub inputs: Vec<Given>,
    /// Rows in a batch.
    pub rows: usize,
    /// When the answer is no use any more.
    pub deadline: Option<Instant>,
    shape: u64,
    reply: oneshot::Sender<Result<Reply, Error>>,
}

/// Inputs that fit a version.
pub struct Prepared {
    inputs: Vec<Given>,
    rows: usize,
    shape: u64,
}

/// A request's answer.
#[derive(Debug)]
pub struct Reply {
    /// Outputs in the order of the signature.
    pub outputs: Vec<Tensor>,
    /// Time in the queue.
    pub queue: Duration,
    /// When the batch that it was part of began.
    pub began: Instant,
    /// Times of that batch.
    pub times: Times,
    /// Rows of that batch.
    pub batch_rows: usize,
}

impl Waiting for Pending {
    fn rows(&self) -> usize {
        self.rows
    }

    fn shape(&self) -> u64 {
        self.shape
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

impl Version {
    /// Makes and warms up the instances of a loaded model. Blocks.
    ///
    /// ## Errors
    /// [`Error::Model`] if an instance cannot be made or fails in its warm-up.
    pub fn start(
        number: u64,
        config: ModelConfig,
        model: Arc<dyn Model>,
        placement: Vec<String>,
        stats: Arc<Stats>,
        progress: &Arc<Progress>,
    ) -> Result<Arc<Self>> {
        let rows_max = config.max_batch_size.unwrap_or(0);
        let queue = Queue::new(config.batching.clone(), rows_max, placement.len());
        let running = placement.iter().map(|_| (AtomicU64::new(0), AtomicU64::new(0))).collect();
        let slots = placement.iter().map(|_| Mutex::new(None)).collect();
        let version = Arc::new(Self {
            model_name: config.name.as_str().into(),
            number,
            signature: model.signature().clone(),
            config,
            stats,
            loaded: Instant::now(),
            placement,
            queue: Arc::new(queue),
            threads: Mutex::new(Vec::new()),
            slots,
            is_quick: model.is_quick(),
            is_staging: model.is_staging(),
            model: Mutex::new(Some(Arc::clone(&model))),
            running: Arc::new(running),
            judged: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            slow: AtomicU64::new(0),
        });
        let (ready, readiness) = mpsc::channel();
        for slot in 0..version.placement.len() {
            let worker = Worker { slot, version: Arc::clone(&version), model: Arc::clone(&model) };
            let (ready, progress) = (ready.clone(), Arc::clone(progress));
            let thread = std::thread::Builder::new()
                .name(format!("{}:{number}:{slot}", version.model_name))
                .spawn(move || worker.run(&ready, progress))
                .map_err(|why| version.failed(ModelError::Failed(why.to_string())))?;
            version.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        drop(ready);
        let mut outcome = Ok(());
        for _ in &version.placement {
            let failed = match readiness.recv() {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error,
                Err(_) => ModelError::Panicked("while an instance was made".into()),
            };
            outcome = Err(version.failed(failed));
        }
        if outcome.is_err() {
            version.retire();
        }
        outcome.map(|()| version)
    }

    fn failed(&self, source: ModelError) -> Error {
        Error::Model { model: self.model_name.to_string(), version: self.number, source }
    }

    /// Whether requests are put together along the first dimension.
    pub fn is_batching(&self) -> bool {
        self.config.max_batch_size.is_some_and(|size| size > 0)
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Memory that the model holds, by device.
    pub fn memory_bytes(&self) -> Vec<(String, u64)> {
        let model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        model.as_ref().map(|model| model.memory_bytes()).unwrap_or_default()
    }

    /// Holds inputs against the signature.
    ///
    /// ## Errors
    /// [`Error::Invalid`] with name, expected and found.
    pub fn prepare(&self, inputs: Vec<Tensor>) -> Result<Prepared> {
        let specs = &self.signature.inputs;
        let mut prepared: Vec<Given> = Vec::with_capacity(inputs.len());
        for tensor in inputs {
            let Some(at) = specs.iter().position(|spec| spec.name == tensor.name) else {
                return Err(Error::invalid(format!(
                    "model {} has no input {}; its inputs are {}",
                    self.model_name,
                    tensor.name,
                    names(&self.signature)
                )));
            };
            if prepared.iter().any(|given| given.at == at) {
                return Err(Error::invalid(format!("input {} is given twice", tensor.name)));
            }
            prepared.push(Given { at, tensor, staged: None });
        }
        prepared.sort_unstable_by_key(|given| given.at);
        let is_given = |at: usize| prepared.iter().any(|given| given.at == at);
        let mut missing =
            specs.iter().enumerate().filter(|(at, it)| !it.is_optional && !is_given(*at));
        if let Some((_, spec)) = missing.next() {
            return Err(Error::invalid(format!(
                "input {} of model {} is not given",
                spec.name, self.model_name
            )));
        }
        let mut rows = None;
        let mut hasher = DefaultHasher::new();
        let first = usize::from(self.is_batching());
        for Given { at, tensor, .. } in &prepared {
            self.check_input(tensor, &specs[*at], &mut rows)?;
            (at, &tensor.shape[first..]).hash(&mut hasher);
        }
        Ok(Prepared { inputs: prepared, rows: rows.unwrap_or(1), shape: hasher.finish() })
    }

    fn check_input(
        &self,
        tensor: &Tensor,
        spec: &crate::model::TensorSpec,
        rows: &mut Option<usize>,
    ) -> Result<()> {
        let is_same = |(&found, &wanted): (&usize, &i64)| wanted < 0 || found as i64 == wanted;
        let fits = tensor.shape.len() == spec.shape.len()
            && tensor.shape.iter().zip(&spec.shape).all(is_same);
        if tensor.datatype != spec.datatype || !fits {
            return Err(Error::invalid(format!(
                "input {} of model {}: expected {} {:?}, found {} {:?}",
                spec.name,
                self.model_name,
                spec.datatype.name(),
                spec.shape,
                tensor.datatype.name(),
                tensor.shape
            )));
        }
        tensor.check()?;
        let Some(max) = self.config.max_batch_size.filter(|&size| size > 0) else { return Ok(()) };
        let found = tensor.shape[0];
        if found == 0 || found > max {
            return Err(Error::invalid(format!(
                "input {} of model {}: a batch of {found}, expected 1 to {max}",
                spec.name, self.model_name
            )));
        }
        match rows.replace(found) {
            Some(before) if before != found => Err(Error::invalid(format!(
                "inputs of model {} have batches of {before} and {found}",
                self.model_name
            ))),
            _ => Ok(()),
        }
    }

    /// Runs a request. Dropping the future takes it out of the queue.
    ///
    /// ## Errors
    /// The error, with the inputs if the version is being retired, so that another
    /// can take them.
    pub async fn run(
        &self,
        prepared: Prepared,
        priority: u64,
        deadline: Option<Instant>,
    ) -> Result<Reply, (Error, Option<Vec<Tensor>>)> {
        let Prepared { inputs, rows, shape } = prepared;
        let (reply, answer) = oneshot::channel();
        let deadline = self.deadline(deadline);
        let pending = Pending { inputs, rows, deadline, shape, reply };
        let pending = match self.run_here(pending) {
            None => return wait(answer, deadline, &self.model_name).await.map_err(|it| (it, None)),
            Some(pending) => self.stage(pending),
        };
        let ticket = self.queue.push(priority, pending).map_err(|(refusal, pending)| {
            let inputs = pending.inputs.into_iter().map(|it| it.tensor).collect();
            self.refused(refusal, inputs)
        })?;
        let reply = wait(answer, deadline, &self.model_name).await;
        drop::<Ticket<Pending>>(ticket);
        reply.map_err(|error| (error, None))
    }

    /// Runs a request of a quick model on this very thread, if an instance is idle and
    /// nobody waits: handing it over would take longer than running it. Gives it back
    /// otherwise.
    fn run_here(&self, pending: Pending) -> Option<Pending> {
        if !self.is_quick || self.queue.len() > 0 {
            return Some(pending);
        }
        for (at, slot) in self.slots.iter().enumerate() {
            let Ok(mut slot) = slot.try_lock() else { continue };
            // An instance that is lost, or of a version that is being retired, is the
            // queue's to deal with.
            let Some(instance) = slot.as_mut() else { continue };
            if self.serve(at, instance, vec![(Instant::now(), pending)]) {
                *slot = None;
            }
            return None;
        }
        Some(pending)
    }

    /// Lets the model put the inputs of a request that will wait where its batch wants
    /// them: on this thread, while instances are at other batches. What came is kept,
    /// since another version may have to take it.
    fn stage(&self, mut pending: Pending) -> Pending {
        if !self.is_staging || self.queue.len() >= self.config.batching.queue_size {
            return pending;
        }
        let model = self.model.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(model) = model else { return pending };
        for given in &mut pending.inputs {
            // One that panics has put nothing anywhere, which its instance can do yet.
            let staged = guarded(|| model.stage(given.at, &given.tensor));
            given.staged = staged.ok().flatten();
        }
        pending
    }

    /// The earlier of a request's deadline and the model's own.
    fn deadline(&self, asked: Option<Instant>) -> Option<Instant> {
        let batching = &self.config.batching;
        let own = batching.timeout.map(|timeout| Instant::now() + timeout);
        match (asked, own) {
            (Some(asked), Some(own)) if batching.may_override_timeout => Some(asked.min(own)),
            (asked, None) => asked,
            (_, own) => own,
        }
    }

    fn refused(&self, refusal: Refusal, inputs: Vec<Tensor>) -> (Error, Option<Vec<Tensor>>) {
        let model = self.model_name.to_string();
        match refusal {
            Refusal::Full(retry_after) => {
                let limit = self.config.batching.queue_size;
                (Error::QueueFull { model, limit, retry_after }, None)
            }
            Refusal::TooLate(_) => {
                let stage = "already, since the queue is longer than it leaves time for";
                (Error::Deadline { model, stage }, None)
            }
            Refusal::Closed => (Error::NotReady(format!("model {model}")), Some(inputs)),
        }
    }

    /// Notes an answered request for the judge of a canary.
    pub fn note(&self, is_error: bool, latency: Duration, p99_max: Duration) {
        self.judged.fetch_add(1, Relaxed);
        self.errors.fetch_add(u64::from(is_error), Relaxed);
        self.slow.fetch_add(u64::from(latency > p99_max), Relaxed);
    }

    /// Requests that were judged.
    pub fn totals(&self) -> Totals {
        Totals {
            judged: self.judged.load(Relaxed),
            errors: self.errors.load(Relaxed),
            slow: self.slow.load(Relaxed),
        }
    }

    /// Requests under way that have taken longer than `limit`.
    pub fn overdue(&self, limit: Duration) -> u64 {
        let now = Instant::now();
        let Some(begin) = now.checked_sub(limit) else { return 0 };
        let since = begin.saturating_duration_since(self.loaded).as_nanos() as u64;
        let is_old = |began: u64| began > 0 && began <= since;
        let slots = self.running.iter().filter(|(began, _)| is_old(began.load(Relaxed)));
        let running: u64 = slots.map(|(_, requests)| requests.load(Relaxed)).sum();
        running + self.queue.older_than(begin) as u64
    }

    /// Takes no more requests, answers those that are there, and gives everything
    /// back. Blocks until the last is answered.
    pub fn retire(&self) {
        self.queue.close();
        let threads: Vec<_> = {
            let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
            threads.drain(..).collect()
        };
        for thread in threads {
            // A worker catches panics of its model; one of its own was reported.
            let _ = thread.join();
        }
        self.model.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn names(signature: &Signature) -> String {
    let names: Vec<&str> = signature.inputs.iter().map(|spec| spec.name.as_str()).collect();
    names.join(", ")
}

async fn wait(
    answer: oneshot::Receiver<Result<Reply, Error>>,
    deadline: Option<Instant>,
    model: &str,
) -> Result<Reply> {
    let answer = match deadline {
        None => answer.await,
        Some(deadline) => match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(answer) => answer,
            Err(_) => {
                let stage = "before the answer was there";
                return Err(Error::Deadline { model: model.into(), stage });
            }
        },
    };
    answer.unwrap_or_else(|_| Err(Error::NotReady(format!("model {model}"))))
}

/// The thread of one instance.
struct Worker {
    slot: usize,
    version: Arc<Version>,
    model: Arc<dyn Model>,
}

impl Worker {
    fn run(self, ready: &mpsc::Sender<Result<(), ModelError>>, progress: Arc<Progress>) {
        let device = &self.version.placement[self.slot];
        let tell = |what: &str| progress.instance_at(self.slot, device, what);
        tell("is made");
        let mut instance = match self.make(&tell) {
            Ok(instance) => instance,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let warmed = self.warm_up(&mut instance, &tell);
        progress.instance_done(self.slot);
        drop(progress);
        let is_ready = warmed.is_ok();
        let slot = &self.version.slots[self.slot];
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = is_ready.then_some(instance);
        // Nobody listens any more if another instance failed.
        if ready.send(warmed).is_ok() && is_ready {
            while let Some(taken) = self.version.queue.take() {
                self.take_turn(&mut slot.lock().unwrap_or_else(PoisonError::into_inner), taken);
            }
        }
        slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn take_turn(&self, slot: &mut Option<Box<dyn Instance>>, taken: Taken<Pending>) {
        if slot.is_none() {
            *slot = self.make(&|_| {}).ok();
        }
        match slot {
            Some(instance) => {
                if self.version.serve(self.slot, instance, taken) {
                    *slot = None;
                }
            }
            None => {
                let error = ModelError::Lost("and a new instance could not be made".into());
                self.version.fail(taken, &error);
            }
        }
    }

    fn make(&self, tell: Tell<'_>) -> Result<Box<dyn Instance>, ModelError> {
        let device = &self.version.placement[self.slot];
        guarded(|| self.model.instance(device, tell)).and_then(|made| made)
    }

    /// Runs batches of zeros in the sizes that will come, so that the first request
    /// finds everything compiled and allocated.
    fn warm_up(&self, instance: &mut Box<dyn Instance>, tell: Tell<'_>) -> Result<(), ModelError> {
        let version = &*self.version;
        let mut sizes = vec![1];
        if version.is_batching() {
            sizes.extend(&version.config.batching.preferred_sizes);
            sizes.extend(version.config.max_batch_size);
        }
        sizes.dedup();
        for rows in sizes {
            tell(&format!("warms up with {rows} rows"));
            let zeros = zeros(version, rows);
            let failed = match guarded(|| instance.run(&batch(version, &[&zeros], rows))) {
                Ok(Ok(_)) => continue,
                Ok(Err(error)) | Err(error) => error,
            };
            // A model may have good reasons not to take zeros or lengths of one.
            let is_open = version.signature.inputs.iter().any(|spec| spec.shape[1..].contains(&-1));
            if failed.is_fatal() || !(is_open || failed.is_bad_input()) {
                return Err(failed);
            }
            log::warn(
                "the warm-up failed",
                &[
                    field("model", &*version.model_name),
                    field("version", version.number),
                    field("rows", rows),
                    field("why", failed),
                ],
            );
        }
        Ok(())
    }
}

impl Version {
    /// Runs a batch and answers its requests; whether the instance is lost.
    fn serve(&self, slot: usize, instance: &mut Box<dyn Instance>, taken: Taken<Pending>) -> bool {
        let began = Instant::now();
        let (began_cell, requests_cell) = &self.running[slot];
        let since = began.saturating_duration_since(self.loaded).as_nanos() as u64;
        requests_cell.store(taken.len() as u64, Relaxed);
        began_cell.store(since + 1, Relaxed);
        let wanted: Taken<Pending> =
            taken.into_iter().filter(|(_, pending)| !pending.reply.is_closed()).collect();
        let is_lost = self.serve_wanted(instance, wanted, began);
        began_cell.store(0, Relaxed);
        is_lost
    }

    fn serve_wanted(
        &self,
        instance: &mut Box<dyn Instance>,
        mut wanted: Taken<Pending>,
        began: Instant,
    ) -> bool {
        if wanted.is_empty() {
            return false;
        }
        let version = self;
        let rows = wanted.iter().map(|(_, pending)| pending.rows).sum();
        let requests: Vec<_> = wanted.iter().map(|(_, pending)| &pending.inputs).collect();
        let is_uniform = requests.iter().all(|inputs| is_alike(version, inputs, requests[0]));
        let outcome = if is_uniform {
            guarded(|| instance.run(&batch(version, &requests, rows))).and_then(|ran| ran)
        } else {
            Err(ModelError::Failed("requests of unlike shapes came together".into()))
        };
        let error = match outcome.and_then(|outcome| split(version, outcome, &wanted, rows)) {
            Ok((outputs, times)) => {
                self.answer(wanted, outputs, times, rows, began);
                return false;
            }
            Err(error) => error,
        };
        if error.is_fatal() || wanted.len() == 1 {
            self.fail(wanted, &error);
            return error.is_fatal();
        }
        // One of them may be at fault, and the others shall not pay for it.
        while let Some(request) = wanted.pop() {
            if self.serve_wanted(instance, vec![request], Instant::now()) {
                self.fail(wanted, &error);
                return true;
            }
        }
        false
    }

    fn answer(
        &self,
        wanted: Taken<Pending>,
        outputs: Vec<Vec<Tensor>>,
        times: Times,
        rows: usize,
        began: Instant,
    ) {
        let stats = &self.stats;
        stats.add_batch(wanted.len() as u64, rows, times);
        self.queue.note_batch(rows, began.elapsed());
        for ((came, pending), outputs) in wanted.into_iter().zip(outputs) {
            let queue = began.saturating_duration_since(came);
            stats.queue.add(queue);
            stats.queue_latency.add(queue);
            stats.copy_latency.add(times.copy_in + times.copy_out);
            stats.compute_latency.add(times.compute);
            // Whoever gave up since then needs no answer.
            let _ =
                pending.reply.send(Ok(Reply { outputs, queue, began, times, batch_rows: rows }));
        }
    }

    fn fail(&self, taken: Taken<Pending>, error: &ModelError) {
        for (_, pending) in taken {
            let _ = pending.reply.send(Err(self.failed(error.clone())));
        }
    }
}

/// Calls into the model; a panic there is the model's error.
fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, ModelError> {
    std::panic::catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        ModelError::Panicked(text.unwrap_or_else(|| "without a message".into()))
    })
}
