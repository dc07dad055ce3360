//! What a server stands: reloads and canaries under load, a thousand cycles of loading
//! and unloading, four times the load that it can take.
//!
//! `cargo bench -p raddle-server --bench endurance` runs all trials in some two minutes
//! and prints what they found; names of trials choose. Only this machine is talked to.
//! Latencies depend on who else is there, so runs are compared with each other.

mod process;
#[path = "../tests/trial/mod.rs"]
mod trial;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hyper::Method;
use raddle_server::client::{GrpcClient, HttpClient};
use raddle_server::load::{self, Arrival, Outcome, Plan};
use raddle_server::protocol::{InferRequest, Input};
use raddle_server::tensor::{Datatype, Tensor};
use serde_json::Value;

use process::{Server, is_server, repository};
use trial::write_version;

/// Bytes of a row in and out.
const ROW: usize = 1024;
const BATCHES: &str = "max_batch_size: 64 dynamic_batching {}";

fn main() {
    if is_server() {
        return;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_chosen = |name: &str| {
        let mut names = arguments.iter().filter(|it| !it.starts_with("--")).peekable();
        names.peek().is_none() || names.any(|it| it == name)
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().expect("there are threads");
    runtime.block_on(async {
        if is_chosen("reloads") {
            for clients in [64, 256] {
                reloads(clients).await;
            }
        }
        if is_chosen("cycles") {
            cycles().await;
        }
        if is_chosen("overload") {
            overload().await;
        }
        if is_chosen("canaries") {
            canary("errors", "answer 1024 slow 2 fail-each 20", 64).await;
            canary("latency", "answer 1024 slow 2 slow-tenth 900", 64).await;
        }
    });
}

/// One answer: when it was asked for, how long it took, who gave it.
struct Seen {
    at: Duration,
    ms: f64,
    version: Option<u64>,
}

/// Clients that ask until they are told to stop, half of them in each protocol.
struct Load {
    began: Instant,
    is_over: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<Vec<Seen>>>,
}

enum Client {
    Http(Box<HttpClient>),
    Grpc(GrpcClient),
}

impl Load {
    async fn start(server: &Server, clients: usize) -> Self {
        let (began, is_over) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let mut shared = Vec::new();
        for _ in 0..8 {
            shared.push(GrpcClient::connect(server.grpc).await.expect("the server listens"));
        }
        let mut tasks = Vec::new();
        for at in 0..clients {
            let mut client = match at % 2 {
                0 => Client::Grpc(shared[at / 2 % shared.len()].clone()),
                _ => {
                    let client = HttpClient::connect(server.http).await;
                    Client::Http(Box::new(client.expect("the server listens")))
                }
            };
            let is_over = Arc::clone(&is_over);
            tasks.push(tokio::spawn(async move {
                let mut seen = Vec::new();
                let wanted = request();
                while !is_over.load(Relaxed) {
                    let from = Instant::now();
                    let reply = match &mut client {
                        Client::Grpc(client) => client.infer(&wanted, None).await,
                        Client::Http(client) => client.infer(&wanted).await,
                    };
                    seen.push(Seen {
                        at: from - began,
                        ms: from.elapsed().as_secs_f64() * 1e3,
                        version: reply.ok().map(|reply| reply.version),
                    });
                }
                seen
            }));
        }
        Self { began, is_over, clients: tasks }
    }

    async fn stop(self) -> Vec<Seen> {
        self.is_over.store(true, Relaxed);
        let mut all = Vec::new();
        for client in self.clients {
            all.extend(client.await.expect("clients do not panic"));
        }
        all.sort_by_key(|seen| seen.at);
        all
    }
}

fn request() -> InferRequest {
    let (datatype, shape, data) = (Datatype::Uint8, vec![1, ROW], vec![7; ROW].into());
    let tensor = Tensor { name: "x".into(), datatype, shape, data };
    let inputs = vec![Input { tensor, region: None }];
    InferRequest { model: "m".into(), inputs, is_binary_output: true, ..InferRequest::default() }
}

fn percentile(mut all: Vec<f64>, share: f64) -> f64 {
    all.sort_by(f64::total_cmp);
    let at = (all.len() as f64 * share).ceil() as usize;
    all.get(at.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

async fn post(http: &mut HttpClient, path: &str) -> Value {
    http.json(Method::POST, path).await.expect("the server does it")
}

/// Ten new versions under load, with as much time between them as they take.
async fn reloads(clients: usize) {
    let root = repository("reloads", "answer 1024 load 300 slow 2", BATCHES);
    let server = Server::start(&root, 0);
    let mut http = HttpClient::connect(server.http).await.expect("the server listens");
    let load = Load::start(&server, clients).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut spans = Vec::new();
    for version in 2..12 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        write_version(&root, "m", version, "answer 1024 load 300 slow 2");
        let from = load.began.elapsed();
        post(&mut http, "/v2/repository/models/m/load").await;
        spans.push((from, load.began.elapsed()));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let seen: Vec<Seen> =
        load.stop().await.into_iter().filter(|it| it.at > Duration::from_secs(1)).collect();
    let failed = seen.iter().filter(|it| it.version.is_none()).count();
    let is_during = |it: &&Seen| spans.iter().any(|(from, to)| (*from..*to).contains(&it.at));
    let ms = |it: &Seen| it.ms;
    let during: Vec<f64> = seen.iter().filter(is_during).map(ms).collect();
    let steady: Vec<f64> = seen.iter().filter(|it| !is_during(it)).map(ms).collect();
    // A request that had to wait for the swap would be the slowest of those around it:
    // what it took above an ordinary one bounds the window from above.
    let windows = (2..12).filter_map(|version| {
        let first = seen.iter().find(|it| it.version == Some(version))?.at;
        let around = |it: &&Seen| it.at.abs_diff(first) < Duration::from_millis(50);
        Some(seen.iter().filter(around).map(ms).fold(0.0, f64::max))
    });
    let windows: Vec<f64> = windows.collect();
    let median = percentile(steady.clone(), 0.5);
    let (p99_steady, p99_during) = (percentile(steady, 0.99), percentile(during, 0.99));
    println!(
        "reloads, {clients} clients: {} answered, {failed} failed, {} of 10 versions served\n  \
         p99 steady {p99_steady:.2} ms, while reloading {p99_during:.2} ms ({:.2} times)\n  \
         slowest request around each swap: median of ten {:.2} ms, largest {:.2} ms, \
         an ordinary one {median:.2} ms",
        seen.len(),
        windows.len(),
        p99_during / p99_steady,
        percentile(windows.clone(), 0.5),
        percentile(windows, 1.0),
    );
    assert_eq!(failed, 0, "a reload fails nothing");
}

/// A thousand times loaded, asked and unloaded: once with one heap for all threads, where
/// what stays is the server's, and once as the allocator does it by itself, with a heap
/// for each thread that keeps what was freed there.
async fn cycles() {
    let root = repository("cycles", "answer 1024", BATCHES);
    for (what, variables) in
        [("one heap", &[("MALLOC_ARENA_MAX", "1")][..]), ("a heap for each thread", &[])]
    {
        let server = Server::start_with(&root, 0, variables);
        let mut http = HttpClient::connect(server.http).await.expect("the server listens");
        let mut marks = Vec::new();
        for cycle in 0..=1000 {
            http.infer(&request()).await.expect("the model is loaded");
            if cycle % 250 == 0 || cycle == 50 {
                marks.push((cycle, server.resident_bytes() as f64 / f64::from(1 << 20)));
            }
            post(&mut http, "/v2/repository/models/m/unload").await;
            post(&mut http, "/v2/repository/models/m/load").await;
        }
        let listed: Vec<String> =
            marks.iter().map(|(cycle, mib)| format!("{cycle}: {mib:.1} MiB")).collect();
        println!("cycles of load, request and unload, {what}: {}", listed.join(", "));
        let grown = marks[5].1 - marks[2].1;
        // A megabyte of weights that stayed each time would be 750.
        assert!(!variables.is_empty() || grown < 16.0, "{grown} MiB more");
        assert!(variables.is_empty() || grown < 0.5, "{grown} MiB more in 750 cycles");
    }
}

fn plan(server: &Server, seconds: u64) -> Plan {
    Plan {
        target: format!("grpc://{}", server.grpc).parse().expect("it is a URL"),
        model: "m".into(),
        version: String::new(),
        rows: 1,
        open_dim: ROW,
        warm_up: Duration::from_secs(1),
        duration: Duration::from_secs(seconds),
        timeout: None,
        authorization: None,
        trust: None,
    }
}

/// Four times the rate that the model can take.
async fn overload() {
    let config =
        "max_batch_size: 4 dynamic_batching { default_queue_policy { max_queue_size: 16 } }";
    let root = repository("overload", "answer 1024 slow 4", config);
    let server = Server::start(&root, 0);
    let plan = plan(&server, 5);
    let run = async |arrival| -> Outcome {
        load::run(&plan, arrival, |_| {}).await.expect("the server answers")
    };
    let peak = run(Arrival::Clients(16)).await.throughput();
    let over = run(Arrival::Rate(4.0 * peak)).await;
    let shed: u64 = over.failures.get("ResourceExhausted").copied().unwrap_or(0);
    println!(
        "overload: at most {peak:.0} answers a second; with requests at {:.0} a second \
         {:.0} ({:.1} %), p99 {:.1} ms\n  {shed} refused in {:.2} ms (p50), {:.2} ms (p99); \
         other failures: {}",
        4.0 * peak,
        over.throughput(),
        100.0 * over.throughput() / peak,
        over.percentile_ms(0.99),
        over.refusal_ms(0.5),
        over.refusal_ms(0.99),
        over.failed() - shed,
    );
    let mut http = HttpClient::connect(server.http).await.expect("it still listens");
    http.infer(&request()).await.expect("it still answers");
}

/// A canary that is bad in one way, from its start to the end of its traffic.
async fn canary(name: &str, words: &str, clients: usize) {
    let config = "max_batch_size: 64 dynamic_batching {} canary { steps: [10, 50] }";
    let root = repository(name, "answer 1024 slow 2", config);
    let server = Server::start(&root, 0);
    let mut http = HttpClient::connect(server.http).await.expect("the server listens");
    let load = Load::start(&server, clients).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    write_version(&root, "m", 2, words);
    post(&mut http, "/v2/repository/models/m/load").await;
    let from = load.began.elapsed();
    let reason = loop {
        let view = http.json(Method::GET, "/v2/models/m/canary").await.expect("it answers");
        if let Some(reason) = view["rejected"][0]["reason"].as_str() {
            break reason.to_owned();
        }
        assert!(load.began.elapsed() < from + Duration::from_secs(30), "{view}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let back = load.began.elapsed();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let seen = load.stop().await;
    let of_canary = seen.iter().filter(|it| it.version == Some(2)).count();
    let failed = seen.iter().filter(|it| it.version.is_none()).count();
    println!(
        "canary with {name}: taken back after {:.2} s ({reason}); it answered {of_canary} of {} \
         requests, {failed} failed",
        (back - from).as_secs_f64(),
        seen.len()
    );
    let path = root.join("canary.svg");
    std::fs::write(&path, chart(name, &seen, from, back)).expect("the target folder is writable");
    println!("  {}", path.display());
}

/// Share of failed requests and the slowest in each 100 ms, with the canary's time.
fn chart(name: &str, seen: &[Seen], from: Duration, back: Duration) -> String {
    const BIN: f64 = 0.1;
    let bins = seen.last().map_or(0, |it| (it.at.as_secs_f64() / BIN) as usize + 1);
    let mut rows = vec![(0u32, 0u32, Vec::new()); bins];
    for it in seen {
        let row = &mut rows[(it.at.as_secs_f64() / BIN) as usize];
        row.0 += 1;
        row.1 += u32::from(it.version.is_none());
        row.2.push(it.ms);
    }
    let is_errors = name == "errors";
    let value = |(all, failed, ms): &(u32, u32, Vec<f64>)| match is_errors {
        true => 100.0 * f64::from(*failed) / f64::from(*all).max(1.0),
        false => percentile(ms.clone(), 0.99).max(0.0),
    };
    let values: Vec<f64> = rows.iter().map(value).collect();
    let top = values.iter().copied().fold(0.0, f64::max).max(1e-3) * 1.1;
    let x = |seconds: f64| 60.0 + 680.0 * seconds / (bins as f64 * BIN);
    let y = |value: f64| 220.0 - 170.0 * value / top;
    let what = if is_errors { "failed requests in %" } else { "P99 in ms" };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 270\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"60\" y=\"24\">{what} of all clients, in each tenth of a second</text>\n"
    );
    let (start, end) = (x(from.as_secs_f64()), x(back.as_secs_f64()));
    // Writing to memory cannot fail.
    let _ = writeln!(
        svg,
        "<rect x=\"{start:.1}\" y=\"40\" width=\"{:.1}\" height=\"180\" fill=\"#f3e3dc\"/>\n\
         <text x=\"{start:.1}\" y=\"54\">canary with 10 %: taken back after {:.2} s</text>",
        end - start,
        (back - from).as_secs_f64()
    );
    for part in 0..=4 {
        let value = top * f64::from(part) / 4.0;
        let (line, text) = (y(value), y(value) + 4.0);
        let _ = writeln!(
            svg,
            "<line x1=\"60\" y1=\"{line:.1}\" x2=\"740\" y2=\"{line:.1}\" stroke=\"#dddddd\"/>\
             <text x=\"52\" y=\"{text:.1}\" text-anchor=\"end\">{value:.1}</text>"
        );
    }
    for second in 0..=(bins as f64 * BIN) as u32 {
        let at = x(f64::from(second));
        let _ =
            writeln!(svg, "<text x=\"{at:.1}\" y=\"240\" text-anchor=\"middle\">{second} s</text>");
    }
    let points: Vec<String> = values
        .iter()
        .enumerate()
        .map(|(at, &value)| format!("{:.1},{:.1}", x((at as f64 + 0.5) * BIN), y(value)))
        .collect();
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#a33b20\" stroke-width=\"2\"/>\n</svg>",
        points.join(" ")
    );
    svg
}
