//! The model of tests and trials: it does what its file says in words.
//!
//! | word | what the model does |
//! |---|---|
//! | `copy` | gives its rows of numbers back |
//! | `add N` | adds a number |
//! | `strings` | takes and gives texts as well |
//! | `answer N` | takes rows of bytes, looks at none, and gives `N` bytes for each |
//! | `load MS` | takes its time to load |
//! | `slow MS`, `slow-tenth MS` | takes its time for each batch; more for every tenth |
//! | `fail`, `fail-on N`, `fail-each N` | fails; for rows that begin with `N`; for every `N`th row |
//! | `panic-on N`, `lose-on N` | panics or loses its device for rows that begin with `N` |
//! | `gate`, `made-behind-gate` | waits until the test opens a gate; before there is an instance |
//! | `quick` | runs where its requests are |
//! | `stage` | takes inputs before their turn |
//! | `broken` | does not load |
//!
//! Time passes asleep, as it does while a GPU works. What a batch of zeros, such as the
//! warm-up, does is only to take its time and give its answer.

// Each of the programs that include this file uses some of it.
#![allow(dead_code)]

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use raddle_server::config::ServerSettings;
use raddle_server::model::{
    Backend, Batch, BatchInput, Device, Instance, Model, ModelError, Outcome, Output, Signature,
    Source, Staged, Tell, TensorSpec,
};
use raddle_server::tensor::{Datatype, Tensor};

/// Things that tests look at.
#[derive(Default)]
pub struct Probe {
    /// Models that are alive.
    pub models: AtomicI64,
    /// Instances that were made.
    pub instances: AtomicU32,
    /// Inputs that were staged before their turn, and that a batch found staged.
    pub staged: [AtomicU32; 2],
    /// Rows of each batch that was run after the warm-up, in order.
    pub batches: Mutex<Vec<usize>>,
    /// First numbers of the inputs of each batch.
    pub firsts: Mutex<Vec<i32>>,
    gate: Mutex<bool>,
    gate_opened: Condvar,
    waiting: Mutex<usize>,
    waits: Condvar,
}

impl Probe {
    /// Lets all `gate` models go on.
    pub fn open_gate(&self) {
        *self.gate.lock().unwrap() = true;
        self.gate_opened.notify_all();
    }

    /// Waits until a `gate` model runs a batch.
    pub fn wait_for_batch(&self) {
        let mut waiting = self.waiting.lock().unwrap();
        while *waiting == 0 {
            waiting = self.waits.wait(waiting).unwrap();
        }
    }

    fn pass_gate(&self) {
        *self.waiting.lock().unwrap() += 1;
        self.waits.notify_all();
        let mut gate = self.gate.lock().unwrap();
        while !*gate {
            gate = self.gate_opened.wait(gate).unwrap();
        }
    }
}

/// What a model's file says.
#[derive(Clone)]
struct Words(Arc<[String]>);

impl Words {
    fn has(&self, word: &str) -> bool {
        self.0.iter().any(|own| own == word)
    }

    /// The number after a word.
    fn number(&self, word: &str) -> Option<i32> {
        let at = self.0.iter().position(|own| own == word)?;
        self.0.get(at + 1)?.parse().ok()
    }

    fn time(&self, word: &str) -> Duration {
        Duration::from_millis(self.number(word).unwrap_or(0) as u64)
    }

    fn answer_len(&self) -> Option<usize> {
        self.number("answer").map(|len| len as usize)
    }

    fn signature(&self) -> Signature {
        let spec = |name: &str, datatype, row: i64, is_optional| TensorSpec {
            name: name.into(),
            datatype,
            shape: vec![-1, row],
            is_optional,
        };
        let (datatype, row) = match self.answer_len() {
            Some(len) => (Datatype::Uint8, len as i64),
            None => (Datatype::Int32, -1),
        };
        let mut inputs = vec![spec("x", datatype, -1, false)];
        let mut outputs = vec![spec("y", datatype, row, false)];
        if self.has("strings") {
            inputs.push(spec("s", Datatype::Bytes, 1, true));
            outputs.push(spec("t", Datatype::Bytes, 1, false));
        }
        Signature { inputs, outputs, has_rows: true }
    }
}

/// Loads trial models.
pub struct TrialBackend(pub Arc<Probe>);

impl Backend for TrialBackend {
    fn platform(&self) -> &str {
        "trial"
    }

    fn file_names(&self) -> &[&str] {
        &["model.txt"]
    }

    fn devices(&self) -> Vec<Device> {
        vec![Device { name: "cpu".into(), ..Device::default() }]
    }

    fn load(&self, source: &Source<'_>) -> Result<Arc<dyn Model>, ModelError> {
        let text = std::fs::read_to_string(source.file);
        let text = text.map_err(|why| ModelError::Failed(why.to_string()))?;
        let words = Words(text.split_whitespace().map(str::to_owned).collect());
        if words.0.first().is_none_or(|word| word == "broken") {
            return Err(ModelError::Failed("the file is broken".into()));
        }
        std::thread::sleep(words.time("load"));
        self.0.models.fetch_add(1, SeqCst);
        let (signature, probe) = (words.signature(), Arc::clone(&self.0));
        // A megabyte of weights that must come back, in a model that gives parts of it.
        let weights = words.answer_len().map_or(0, |len| (len * ROWS_MAX).max(1 << 20));
        let weights = Bytes::from(vec![1; weights]);
        Ok(Arc::new(Trial { signature, words, probe, weights }))
    }
}

/// Most rows of a batch that is given parts of the weights.
const ROWS_MAX: usize = 64;

struct Trial {
    signature: Signature,
    words: Words,
    probe: Arc<Probe>,
    weights: Bytes,
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.probe.models.fetch_sub(1, SeqCst);
    }
}

impl Model for Trial {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn is_quick(&self) -> bool {
        self.words.has("quick")
    }

    fn is_staging(&self) -> bool {
        self.words.has("stage")
    }

    fn stage(&self, input: usize, tensor: &Tensor) -> Option<Staged> {
        assert!(input < self.signature.inputs.len(), "the signature has the input");
        self.probe.staged[0].fetch_add(1, SeqCst);
        Some(Box::new(tensor.data.to_bytes()))
    }

    fn instance(&self, _: &str, tell: Tell<'_>) -> Result<Box<dyn Instance>, ModelError> {
        if self.words.has("made-behind-gate") {
            tell("waits for the gate");
            self.probe.pass_gate();
        }
        self.probe.instances.fetch_add(1, SeqCst);
        Ok(Box::new(TrialInstance {
            words: self.words.clone(),
            answer_len: self.words.answer_len(),
            slow: self.words.time("slow"),
            slow_tenth: self.words.time("slow-tenth"),
            fail_each: self.words.number("fail-each").map(|every| every as u64),
            probe: Arc::clone(&self.probe),
            weights: self.weights.clone(),
            has_strings: self.signature.inputs.len() > 1,
            batches: 0,
            rows: 0,
            owes_failure: false,
        }))
    }
}

/// Rows that do not fail by `fail-each`, so that a version gets through its warm-up.
const WARM_UP_ROWS: u64 = 100;

struct TrialInstance {
    words: Words,
    /// Numbers of the words that batches are measured with, read once.
    answer_len: Option<usize>,
    slow: Duration,
    slow_tenth: Duration,
    fail_each: Option<u64>,
    probe: Arc<Probe>,
    weights: Bytes,
    has_strings: bool,
    batches: u64,
    rows: u64,
    /// Whether a batch of several requests failed by `fail-each`: they are run again one
    /// by one, and one of them is the bad one.
    owes_failure: bool,
}

impl Instance for TrialInstance {
    fn run(&mut self, batch: &Batch<'_>) -> Result<Outcome, ModelError> {
        match self.answer_len {
            Some(len) => {
                self.pass_time();
                self.fail_each(batch.rows)?;
                let data = self.weights.slice(..batch.rows * len);
                let outputs = vec![Output { shape: vec![batch.rows, len], data }];
                Ok(Outcome { outputs, compute: self.slow, ..Outcome::default() })
            }
            None => self.calculate(batch),
        }
    }
}

impl TrialInstance {
    fn pass_time(&mut self) {
        self.batches += 1;
        let mut time = self.slow;
        if self.batches.is_multiple_of(10) {
            time += self.slow_tenth;
        }
        if !time.is_zero() {
            std::thread::sleep(time);
        }
    }

    fn fail_each(&mut self, rows: usize) -> Result<(), ModelError> {
        let Some(every) = self.fail_each else { return Ok(()) };
        let before = self.rows;
        self.rows += rows as u64;
        let is_due = before >= WARM_UP_ROWS && self.rows / every > before / every;
        if is_due || (self.owes_failure && rows == 1) {
            self.owes_failure = rows > 1;
            return Err(ModelError::Failed("told to fail".into()));
        }
        Ok(())
    }

    fn calculate(&mut self, batch: &Batch<'_>) -> Result<Outcome, ModelError> {
        let x = &batch.inputs[0];
        let bytes = self.read(x);
        let mut numbers: Vec<i32> =
            bytes.chunks_exact(4).map(|it| i32::from_le_bytes(it.try_into().unwrap())).collect();
        if numbers.iter().any(|&number| number != 0) {
            self.probe.batches.lock().unwrap().push(batch.rows);
            self.probe.firsts.lock().unwrap().extend(numbers.first());
            self.misbehave(&numbers, x.shape[1])?;
        }
        let add = self.words.number("add").unwrap_or(0);
        numbers.iter_mut().for_each(|number| *number = number.wrapping_add(add));
        let data: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let mut outputs = vec![Output { shape: x.shape.clone(), data: data.into() }];
        if self.has_strings {
            let texts = batch.inputs.get(1).map(|texts| self.read(texts));
            let data = texts.unwrap_or_else(|| vec![0; 4 * batch.rows]);
            outputs.push(Output { shape: vec![batch.rows, 1], data: data.into() });
        }
        Ok(Outcome { outputs, compute: Duration::from_micros(5), ..Outcome::default() })
    }

    fn read(&self, input: &BatchInput<'_>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(input.len_bytes());
        for (part, staged) in input.parts.iter().zip(&input.staged) {
            match staged {
                Some(staged) => {
                    self.probe.staged[1].fetch_add(1, SeqCst);
                    bytes.extend_from_slice(staged.downcast_ref::<Bytes>().expect("its own kind"));
                }
                None => bytes.extend_from_slice(&part.to_bytes()),
            }
        }
        bytes
    }

    fn misbehave(&mut self, numbers: &[i32], row: usize) -> Result<(), ModelError> {
        let words = self.words.clone();
        if words.has("gate") {
            self.probe.pass_gate();
        }
        self.pass_time();
        if words.has("fail") {
            return Err(ModelError::Failed("told to fail".into()));
        }
        let begins_with = |wanted: i32| numbers.chunks(row.max(1)).any(|row| row[0] == wanted);
        if words.number("fail-on").is_some_and(begins_with) {
            return Err(ModelError::BadInput("told to fail on this".into()));
        }
        assert!(!words.number("panic-on").is_some_and(begins_with), "told to panic");
        if words.number("lose-on").is_some_and(begins_with) {
            return Err(ModelError::Lost("told to be lost".into()));
        }
        Ok(())
    }
}

/// Puts a version in place the way that is promised to be safe: beside, then renamed.
pub fn write_version(root: &Path, model: &str, version: u64, words: &str) {
    let dir = root.join(model).join(version.to_string());
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("model.new"), words).unwrap();
    std::fs::rename(dir.join("model.new"), dir.join("model.txt")).unwrap();
}

/// Writes a model's configuration.
pub fn write_config(root: &Path, model: &str, text: &str) {
    std::fs::create_dir_all(root.join(model)).unwrap();
    std::fs::write(root.join(model).join("config.pbtxt"), text).unwrap();
}

/// Settings for a repository: any free ports, no looks at the folder.
pub fn settings(root: &Path) -> ServerSettings {
    let any = "127.0.0.1:0".parse().unwrap();
    ServerSettings {
        models: root.to_owned(),
        http: any,
        grpc: any,
        metrics: any,
        poll_seconds: 0.0,
        ..ServerSettings::default()
    }
}
