//! A server on the trial model in a process of its own, which is the benchmark's program
//! started with other arguments.

// Each of the programs that include this file uses some of it.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use raddle_server::config::ServerSettings;

use super::trial::{TrialBackend, settings, write_config, write_version};

/// A fresh repository with one version of a model.
pub fn repository(name: &str, words: &str, config: &str) -> PathBuf {
    // The program may have been carried to another machine.
    let own = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let place = if own.is_dir() { own.to_owned() } else { std::env::temp_dir() };
    let root = place.join("raddle-trials").join(name);
    // There is one from the last time, or none.
    let _ = std::fs::remove_dir_all(&root);
    write_version(&root, "m", 1, words);
    write_config(&root, "m", config);
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
    /// Starts this very program as a server with so many threads for its clients; 0 for
    /// as many as there are cores.
    pub fn start(root: &Path, threads: usize) -> Self {
        Self::start_with(root, threads, &[])
    }

    /// The same with variables of the environment.
    pub fn start_with(root: &Path, threads: usize, variables: &[(&str, &str)]) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut child = Command::new(program)
            .arg("serve")
            .arg(root)
            .arg(threads.to_string())
            .envs(variables.iter().copied())
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

    /// Seconds of user and system time of the process, and its page faults. *Source:*
    /// proc(5), fields 14, 15 and 10 of `stat`.
    pub fn used(&self) -> (f64, f64) {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(path).expect("it runs");
        let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
        let fields = fields.split_whitespace().map(|field| field.parse().unwrap_or(0.0));
        let fields: Vec<f64> = fields.collect();
        ((fields[11] + fields[12]) / 100.0, fields[7])
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

/// Serves until the process ends, if it was started by [`Server::start`]; whether it was.
pub fn is_server() -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [command, root, threads] = arguments.as_slice() else { return false };
    if command != "serve" {
        return false;
    }
    let settings = settings(Path::new(root));
    let threads = threads.parse().expect("a number of threads");
    let backend = Arc::new(TrialBackend(Arc::default()));
    let settings = ServerSettings { threads, ..settings };
    let served = raddle_server::serve::run(settings, backend, |running| {
        println!("{}\n{}", running.bound.http, running.bound.grpc);
        std::io::stdout().flush().expect("somebody listens");
    });
    served.expect("the server runs");
    true
}
