//! What a request costs: CPU time of a server with a model that does nothing, for
//! each protocol and size, and how many requests a core can take.
//!
//! `cargo bench -p raddle-server` starts the server in a process of its own on one
//! thread, loads it with the load generator in another, and reads the server's CPU
//! time from `/proc`. Wall time is not judged: it depends on who else is there.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use raddle_server::config::ServerSettings;
use raddle_server::load::{self, Arrival, Plan};
use raddle_server::model::{
    Backend, Batch, Device, Instance, Model, ModelError, Outcome, Output, Signature, Source,
    TensorSpec,
};
use raddle_server::tensor::Datatype;

/// Gives one byte back for each row, and looks at nothing.
struct Nothing(Signature);

impl Backend for Nothing {
    fn platform(&self) -> &str {
        "nothing"
    }

    fn file_names(&self) -> &[&str] {
        &["model.txt"]
    }

    fn devices(&self) -> Vec<Device> {
        vec![Device { name: "cpu".into(), ..Device::default() }]
    }

    fn load(&self, _: &Source<'_>) -> Result<Arc<dyn Model>, ModelError> {
        Ok(Arc::new(Self(self.0.clone())))
    }
}

impl Model for Nothing {
    fn signature(&self) -> &Signature {
        &self.0
    }

    fn is_quick(&self) -> bool {
        std::env::args().nth(2).as_deref() == Some("here")
    }

    fn instance(&self, _: &str) -> Result<Box<dyn Instance>, ModelError> {
        Ok(Box::new(Answer(bytes::Bytes::from(vec![0; 4096 * 64]))))
    }
}

/// 4 KB for each row, shared by all answers.
struct Answer(bytes::Bytes);

impl Instance for Answer {
    fn run(&mut self, batch: &Batch<'_>) -> Result<Outcome, ModelError> {
        let data = self.0.slice(..batch.rows * 4096);
        let outputs = vec![Output { shape: vec![batch.rows, 4096], data }];
        Ok(Outcome { outputs, ..Outcome::default() })
    }
}

fn backend() -> Arc<dyn Backend> {
    let spec = |name: &str, len| TensorSpec {
        name: name.into(),
        datatype: Datatype::Uint8,
        shape: vec![-1, len],
        is_optional: false,
    };
    Arc::new(Nothing(Signature {
        inputs: vec![spec("x", -1)],
        outputs: vec![spec("y", 4096)],
        has_rows: true,
    }))
}

fn main() {
    // The program may have been carried to another machine.
    let own = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let place = if own.is_dir() { own.to_owned() } else { std::env::temp_dir() };
    let root = place.join("raddle-cost");
    if std::env::args().nth(1).as_deref() == Some("serve") {
        return serve(&root);
    }
    std::fs::create_dir_all(root.join("m/1")).expect("the target folder is writable");
    std::fs::write(root.join("m/1/model.txt"), "nothing").expect("the target folder is writable");
    let config = "max_batch_size: 64 dynamic_batching {}";
    std::fs::write(root.join("m/config.pbtxt"), config).expect("the target folder is writable");
    let program = std::env::current_exe().expect("this program has a path");
    for place in ["here", "thread"] {
        println!(
            "the model runs {}",
            match place {
                "here" => "where the request is (a quick model)",
                _ => "on its instance's own thread",
            }
        );
        measure(&program, place);
    }
}

/// Loads a server in a process of its own.
fn measure(program: &Path, place: &str) {
    let mut child = Command::new(program)
        .args(["serve", place])
        .stdout(Stdio::piped())
        .stdin(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut address = || lines.next().expect("a line").expect("a line is text");
    let (http, grpc) = (address(), address());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("there are threads");
    println!(
        "{:>6} {:>8} {:>12} {:>14} {:>14}",
        "", "bytes", "requests", "us CPU/request", "per core"
    );
    for (name, url) in [("http", format!("http://{http}")), ("grpc", format!("grpc://{grpc}"))] {
        for bytes in [64, 4096, 150_528, 602_112] {
            let plan = Plan {
                target: url.parse().expect("it is a URL"),
                model: "m".into(),
                version: String::new(),
                rows: 1,
                open_dim: bytes,
                warm_up: Duration::from_millis(500),
                duration: Duration::from_secs(3),
                timeout: None,
                authorization: None,
                trust: None,
            };
            // Warm-up outside of what is measured.
            let warm = Plan { duration: Duration::from_millis(1), ..plan.clone() };
            runtime.block_on(load::run(&warm, Arrival::Clients(32), |_| {})).expect("it answers");
            let plan = Plan { warm_up: Duration::ZERO, ..plan };
            let (before, faults_before) = used(child.id());
            let found = runtime.block_on(load::run(&plan, Arrival::Clients(32), |_| {}));
            let found = found.expect("the server answers");
            let (after, faults_after) = used(child.id());
            let seconds = after - before;
            assert_eq!(found.failed(), 0, "{:?}", found.failures);
            let us = seconds * 1e6 / found.latencies.len() as f64;
            let faults = (faults_after - faults_before) / found.latencies.len() as f64;
            println!(
                "{name:>6} {bytes:>8} {:>12} {us:>14.1} {:>14.0} {faults:>14.2}",
                found.latencies.len(),
                1e6 / us
            );
        }
    }
    drop(child.stdin.take());
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

fn serve(root: &Path) {
    let any = "127.0.0.1:0".parse().expect("it is an address");
    let settings = ServerSettings {
        models: root.to_owned(),
        http: any,
        grpc: any,
        metrics: any,
        threads: 1,
        poll_seconds: 0.0,
        ..ServerSettings::default()
    };
    let served = raddle_server::serve::run(settings, backend(), |running| {
        println!("{}\n{}", running.bound.http, running.bound.grpc);
        std::io::stdout().flush().expect("somebody listens");
    });
    served.expect("the server runs");
}

/// Seconds of user and system time of a process, and its page faults. *Source:* proc(5),
/// fields 14, 15 and 10 of `stat`.
fn used(process: u32) -> (f64, f64) {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    let fields: Vec<f64> = stat
        .rsplit_once(')')
        .expect("a name in brackets")
        .1
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    ((fields[11] + fields[12]) / 100.0, fields[7])
}
