//! The model of the trials, and a server on it in a process of its own.
//!
//! A model's file has words: `load MS` is the time that loading takes, `run MS` that of
//! a batch, `fail N` fails every Nth request, `slow MS` is added to every tenth batch.
//! Time passes asleep, as it does while a GPU works.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use raddle_server::config::ServerSettings;
use raddle_server::model::{
    Backend, Batch, Device, Instance, Model, ModelError, Outcome, Output, Signature, Source,
    TensorSpec,
};
use raddle_server::tensor::Datatype;

/// Length of a row in and out.
pub const ROW: usize = 1024;

struct Trial {
    signature: Signature,
    words: Vec<String>,
    /// Stands for the weights: a megabyte that must come back.
    weights: Vec<u8>,
}

impl Trial {
    fn number(&self, word: &str) -> Option<u64> {
        let at = self.words.iter().position(|own| own == word)?;
        self.words.get(at + 1)?.parse().ok()
    }

    fn time(&self, word: &str) -> Duration {
        Duration::from_micros((self.number(word).unwrap_or(0)) * 1000)
    }
}

struct TrialBackend;

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
        let spec = |name: &str| TensorSpec {
            name: name.into(),
            datatype: Datatype::Uint8,
            shape: vec![-1, ROW as i64],
            is_optional: false,
        };
        let signature =
            Signature { inputs: vec![spec("x")], outputs: vec![spec("y")], has_rows: true };
        let words = text.split_whitespace().map(str::to_owned).collect();
        let trial = Trial { signature, words, weights: vec![1; 1 << 20] };
        std::thread::sleep(trial.time("load"));
        Ok(Arc::new(trial))
    }
}

impl Model for Trial {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn instance(&self, _: &str) -> Result<Box<dyn Instance>, ModelError> {
        Ok(Box::new(TrialInstance {
            run: self.time("run"),
            slow: self.time("slow"),
            fail: self.number("fail"),
            answer: self.weights[..ROW * 64].to_vec().into(),
            batches: 0,
            rows: 0,
            owes_failure: false,
        }))
    }
}

/// Rows that do not fail, so that a version gets through its warm-up.
const WARM_UP_ROWS: u64 = 100;

struct TrialInstance {
    run: Duration,
    slow: Duration,
    fail: Option<u64>,
    answer: bytes::Bytes,
    batches: u64,
    rows: u64,
    /// Whether a batch of several requests failed: they are run again one by one, and one
    /// of them is the bad one.
    owes_failure: bool,
}

impl Instance for TrialInstance {
    fn run(&mut self, batch: &Batch<'_>) -> Result<Outcome, ModelError> {
        self.batches += 1;
        std::thread::sleep(self.run);
        if self.batches.is_multiple_of(10) {
            std::thread::sleep(self.slow);
        }
        let before = self.rows;
        self.rows += batch.rows as u64;
        let is_warm = before >= WARM_UP_ROWS;
        let is_due = self.fail.is_some_and(|every| is_warm && self.rows / every > before / every);
        if is_due || (self.owes_failure && batch.rows == 1) {
            self.owes_failure = batch.rows > 1;
            return Err(ModelError::Failed("told to fail".into()));
        }
        let outputs = vec![Output {
            shape: vec![batch.rows, ROW],
            data: self.answer.slice(..batch.rows * ROW),
        }];
        Ok(Outcome { outputs, compute: self.run, ..Outcome::default() })
    }
}

/// Puts a version in place as users are told to.
pub fn write_version(root: &Path, version: u64, words: &str) {
    let dir = root.join("m").join(version.to_string());
    std::fs::create_dir_all(&dir).expect("the target folder is writable");
    std::fs::write(dir.join("model.new"), words).expect("the target folder is writable");
    std::fs::rename(dir.join("model.new"), dir.join("model.txt")).expect("it was just written");
}

/// A fresh repository with one version.
pub fn repository(name: &str, words: &str, config: &str) -> PathBuf {
    // The program may have been carried to another machine.
    let own = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let place = if own.is_dir() { own.to_owned() } else { std::env::temp_dir() };
    let root = place.join("raddle-endurance").join(name);
    // There is one from the last time, or none.
    let _ = std::fs::remove_dir_all(&root);
    write_version(&root, 1, words);
    std::fs::write(root.join("m/config.pbtxt"), config).expect("the target folder is writable");
    root
}

/// A server in a process of its own; killed when dropped.
pub struct Server {
    child: Child,
    /// Where HTTP is served.
    pub http: SocketAddr,
    /// Where gRPC is served.
    pub grpc: SocketAddr,
}

impl Server {
    /// Starts this very program as a server.
    pub fn start(root: &Path) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut child = Command::new(program)
            .arg("serve")
            .arg(root)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut address = || {
            let line = lines.next().expect("a line").expect("a line is text");
            line.parse().expect("an address")
        };
        let (http, grpc) = (address(), address());
        Self { child, http, grpc }
    }

    /// Bytes of memory that the process holds. *Source:* proc(5), `VmRSS`.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        let kib = line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok());
        kib.expect("a number") * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server's side of this program.
pub fn serve(root: &Path) {
    let any = "127.0.0.1:0".parse().expect("it is an address");
    let settings = ServerSettings {
        models: root.to_owned(),
        http: any,
        grpc: any,
        metrics: any,
        poll_seconds: 0.0,
        ..ServerSettings::default()
    };
    let served = raddle_server::serve::run(settings, Arc::new(TrialBackend), |running| {
        println!("{}\n{}", running.bound.http, running.bound.grpc);
        std::io::stdout().flush().expect("somebody listens");
    });
    served.expect("the server runs");
}
