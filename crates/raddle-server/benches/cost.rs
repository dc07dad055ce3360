//! What a request costs: CPU time of a server with a model that does nothing, for
//! each protocol and size, and how many requests a core can take.
//!
//! `cargo bench -p raddle-server --bench cost` starts the server in a process of its own
//! on one thread, loads it with the load generator in another, and reads the server's CPU
//! time from `/proc`. Wall time is not judged: it depends on who else is there. Words
//! choose: `quick` or `thread`, `http` or `grpc`, a number of bytes.

mod process;
#[path = "../tests/trial/mod.rs"]
mod trial;

use std::path::Path;
use std::time::Duration;

use raddle_server::load::{self, Arrival, Plan};

use process::{Server, is_server, repository};

fn main() {
    if is_server() {
        return;
    }
    let config = "max_batch_size: 64 dynamic_batching {}";
    for (name, words, what) in [
        ("quick", "answer 4096 quick", "where the request is (a quick model)"),
        ("thread", "answer 4096", "on its instance's own thread"),
    ] {
        if !is_chosen(&["quick", "thread"], name) {
            continue;
        }
        println!("the model runs {what}");
        measure(&repository(name, words, config));
    }
}

const SIZES: [usize; 4] = [64, 4096, 150_528, 602_112];

/// Whether a word was given, or none of those that exclude each other.
fn is_chosen(words: &[&str], word: &str) -> bool {
    let given: Vec<String> = std::env::args().filter(|own| words.contains(&own.as_str())).collect();
    given.is_empty() || given.iter().any(|own| own == word)
}

/// Loads a server in a process of its own.
fn measure(root: &Path) {
    let server = Server::start(root, 1);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("there are threads");
    println!(
        "{:>6} {:>8} {:>12} {:>14} {:>14}",
        "", "bytes", "requests", "us CPU/request", "per core"
    );
    for (name, url) in
        [("http", format!("http://{}", server.http)), ("grpc", format!("grpc://{}", server.grpc))]
    {
        let sizes = SIZES.map(|bytes| bytes.to_string());
        let sizes: Vec<&str> = sizes.iter().map(String::as_str).collect();
        for (bytes, size) in SIZES.into_iter().zip(&sizes) {
            if !is_chosen(&["http", "grpc"], name) || !is_chosen(&sizes, size) {
                continue;
            }
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
            let (before, faults_before) = server.used();
            let found = runtime.block_on(load::run(&plan, Arrival::Clients(32), |_| {}));
            let found = found.expect("the server answers");
            let (after, faults_after) = server.used();
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
}
