//! The model of the tests, and a server around it.
//!
//! A model's file says in words what the model does: `copy` gives its input back,
//! `add N` adds a number, `slow MS` takes its time, `fail` fails, `fail-on N` fails
//! for inputs that begin with N, `panic-on N`, `lose-on N`, `broken` does not load,
//! `gate` waits until the test opens a gate, `quick` runs where its requests are.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use raddle_server::config::ServerSettings;
use raddle_server::model::{
    Backend, Batch, Device, Instance, Model, ModelError, Outcome, Output, Signature, Source,
    TensorSpec,
};
use raddle_server::protocol::{InferRequest, Input};
use raddle_server::serve::Running;
use raddle_server::tensor::{Datatype, Tensor};

/// Things that tests look at.
#[derive(Default)]
pub struct Probe {
    /// Models that are alive.
    pub models: AtomicI64,
    /// Instances that were made.
    pub instances: AtomicU32,
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

pub struct FakeBackend(pub Arc<Probe>);

impl Backend for FakeBackend {
    fn platform(&self) -> &str {
        "fake"
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
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        if words.first().is_none_or(|word| word == "broken") {
            return Err(ModelError::Failed("the file is broken".into()));
        }
        self.0.models.fetch_add(1, SeqCst);
        let spec = |name: &str, datatype, shape: &[i64], is_optional| TensorSpec {
            name: name.into(),
            datatype,
            shape: shape.to_vec(),
            is_optional,
        };
        let int = Datatype::Int32;
        let mut signature = Signature {
            inputs: vec![spec("x", int, &[-1, -1], false)],
            outputs: vec![spec("y", int, &[-1, -1], false)],
            has_rows: true,
        };
        if words.contains(&"strings".to_owned()) {
            signature.inputs.push(spec("s", Datatype::Bytes, &[-1, 1], true));
            signature.outputs.push(spec("t", Datatype::Bytes, &[-1, 1], false));
        }
        Ok(Arc::new(FakeModel { signature, words, probe: Arc::clone(&self.0) }))
    }
}

struct FakeModel {
    signature: Signature,
    words: Vec<String>,
    probe: Arc<Probe>,
}

impl Drop for FakeModel {
    fn drop(&mut self) {
        self.probe.models.fetch_sub(1, SeqCst);
    }
}

impl Model for FakeModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn is_quick(&self) -> bool {
        self.words.iter().any(|word| word == "quick")
    }

    fn instance(&self, _: &str) -> Result<Box<dyn Instance>, ModelError> {
        self.probe.instances.fetch_add(1, SeqCst);
        let (words, probe) = (self.words.clone(), Arc::clone(&self.probe));
        Ok(Box::new(FakeInstance { words, probe, has_strings: self.signature.inputs.len() > 1 }))
    }
}

struct FakeInstance {
    words: Vec<String>,
    probe: Arc<Probe>,
    has_strings: bool,
}

impl FakeInstance {
    /// The number after a word.
    fn number(&self, word: &str) -> Option<i32> {
        let at = self.words.iter().position(|own| own == word)?;
        self.words.get(at + 1)?.parse().ok()
    }
}

impl Instance for FakeInstance {
    fn run(&mut self, batch: &Batch<'_>) -> Result<Outcome, ModelError> {
        let x = &batch.inputs[0];
        let mut bytes = vec![0; x.len_bytes()];
        x.copy_to(&mut bytes);
        let mut numbers: Vec<i32> =
            bytes.chunks_exact(4).map(|it| i32::from_le_bytes(it.try_into().unwrap())).collect();
        let is_warm_up = numbers.iter().all(|&number| number == 0);
        if !is_warm_up {
            self.probe.batches.lock().unwrap().push(batch.rows);
            self.probe.firsts.lock().unwrap().extend(numbers.first());
            if self.words.iter().any(|word| word == "gate") {
                self.probe.pass_gate();
            }
            if let Some(ms) = self.number("slow") {
                std::thread::sleep(Duration::from_millis(ms as u64));
            }
            if self.words.iter().any(|word| word == "fail") {
                return Err(ModelError::Failed("told to fail".into()));
            }
            let row = x.shape[1];
            let begins_with = |wanted: i32| numbers.chunks(row.max(1)).any(|row| row[0] == wanted);
            if self.number("fail-on").is_some_and(begins_with) {
                return Err(ModelError::BadInput("told to fail on this".into()));
            }
            assert!(!self.number("panic-on").is_some_and(begins_with), "told to panic");
            if self.number("lose-on").is_some_and(begins_with) {
                return Err(ModelError::Lost("told to be lost".into()));
            }
        }
        let add = self.number("add").unwrap_or(0);
        numbers.iter_mut().for_each(|number| *number = number.wrapping_add(add));
        let data: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let mut outputs = vec![Output { shape: x.shape.clone(), data: data.into() }];
        if self.has_strings {
            let mut data = vec![0; 4 * batch.rows];
            if let Some(s) = batch.inputs.get(1) {
                data = vec![0; s.len_bytes()];
                s.copy_to(&mut data);
            }
            outputs.push(Output { shape: vec![batch.rows, 1], data: data.into() });
        }
        Ok(Outcome { outputs, compute: Duration::from_micros(5), ..Outcome::default() })
    }
}

/// A repository and a server on it.
pub struct Rig {
    pub probe: Arc<Probe>,
    pub root: PathBuf,
    pub running: Running,
}

/// An empty folder below the target folder.
pub fn fresh(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Writes a version the way that is promised to be safe: beside, then renamed.
pub fn write_version(root: &Path, model: &str, version: u64, words: &str) {
    let dir = root.join(model).join(version.to_string());
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("model.new"), words).unwrap();
    std::fs::rename(dir.join("model.new"), dir.join("model.txt")).unwrap();
}

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

impl Rig {
    pub async fn start(settings: ServerSettings) -> Self {
        let probe = Arc::new(Probe::default());
        let root = settings.models.clone();
        let backend = Arc::new(FakeBackend(Arc::clone(&probe)));
        let running = Running::start(settings, backend).await.expect("the server starts");
        Self { probe, root, running }
    }

    /// A server with one model of one version.
    pub async fn with(name: &str, words: &str) -> Self {
        let root = fresh(name);
        write_version(&root, "m", 1, words);
        Self::start(settings(&root)).await
    }
}

/// A request with numbers, one row.
pub fn request(model: &str, numbers: &[i32]) -> InferRequest {
    rows(model, &[numbers])
}

/// A request with rows of numbers.
pub fn rows(model: &str, rows: &[&[i32]]) -> InferRequest {
    let data: Vec<u8> = rows.concat().iter().flat_map(|number| number.to_le_bytes()).collect();
    let tensor = Tensor {
        name: "x".into(),
        datatype: Datatype::Int32,
        shape: vec![rows.len(), rows[0].len()],
        data: data.into(),
    };
    let inputs = vec![Input { tensor, region: None }];
    InferRequest { model: model.into(), inputs, is_binary_output: true, ..InferRequest::default() }
}

/// The numbers of an output.
pub fn numbers(tensor: &Tensor) -> Vec<i32> {
    let data = tensor.data.to_bytes();
    data.chunks_exact(4).map(|it| i32::from_le_bytes(it.try_into().unwrap())).collect()
}

/// A runtime with two threads.
pub fn block_on(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap().block_on(test);
}
