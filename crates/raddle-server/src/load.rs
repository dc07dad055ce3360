//! The load generator: asks a server for inferences and tells how it answered.
//!
//! Closed loop: a number of clients, each asks again when it has its answer. Open
//! loop: requests come at a rate whatever the server does, and latency counts from
//! the moment a request should have been sent, so that a stall is not left out.

mod report;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hyper::Method;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::client::{GrpcClient, HttpClient};
use crate::error::{Error, Result};
use crate::protocol::{InferRequest, Input, proto};
use crate::tensor::{Datatype, Tensor, element_count, join_strings};
use crate::tls::Trust;

pub use report::{chart, json, table};

/// Requests that an open loop has under way at most; more are counted as not sent.
const UNDERWAY_MAX: usize = 20_000;
/// gRPC connections that clients share: one is one lock in the server.
const GRPC_CONNECTIONS: usize = 8;

/// Where a server is and which protocol it is spoken to in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whether it is gRPC; HTTP otherwise.
    pub is_grpc: bool,
    /// Whether it is spoken to within TLS.
    pub is_secret: bool,
    /// Name or address with the port.
    pub authority: String,
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "{url:?}: expected http://HOST:PORT or grpc://HOST:PORT, with TLS https:// or grpcs://"
            )
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(expected)?;
        let authority = rest.trim_end_matches('/');
        let has_port = authority.rsplit_once(':').is_some_and(|(_, it)| it.parse::<u16>().is_ok());
        match scheme {
            "http" | "grpc" | "https" | "grpcs" if has_port && !authority.contains('/') => {
                Ok(Self {
                    is_grpc: scheme.starts_with("grpc"),
                    is_secret: scheme.ends_with('s'),
                    authority: authority.into(),
                })
            }
            _ => Err(expected()),
        }
    }
}

/// How requests come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrival {
    /// So many clients, each asks when it has its answer.
    Clients(usize),
    /// So many requests a second, at random moments.
    Rate(f64),
}

/// What is asked, and for how long.
#[derive(Clone)]
pub struct Plan {
    /// The server.
    pub target: Target,
    /// The model.
    pub model: String,
    /// Its version; the server's choice if empty.
    pub version: String,
    /// Rows of each request.
    pub rows: usize,
    /// Lengths for the dimensions that the model leaves open, besides the rows.
    pub open_dim: usize,
    /// Time before counting begins.
    pub warm_up: Duration,
    /// Time of counting.
    pub duration: Duration,
    /// Longest that a client waits for an answer; no limit if `None`.
    pub timeout: Option<Duration>,
    /// Value of the header `authorization`.
    pub authorization: Option<String>,
    /// What is trusted, for a target within TLS.
    pub trust: Option<Trust>,
}

/// What one run found.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How requests came.
    pub arrival: Arrival,
    /// Seconds that were counted.
    pub seconds: f64,
    /// Latencies of answered requests in microseconds, in ascending order.
    pub latencies: Vec<u32>,
    /// Failures by what they said.
    pub failures: BTreeMap<String, u64>,
    /// How long refusals for lack of room took in microseconds, in ascending order.
    pub refusals: Vec<u32>,
    /// Requests of an open loop that were not sent, since too many were under way.
    pub unsent: u64,
    /// Bytes of a request's tensors.
    pub request_bytes: usize,
}

impl Outcome {
    /// Answered requests a second.
    pub fn throughput(&self) -> f64 {
        self.latencies.len() as f64 / self.seconds
    }

    /// The latency in milliseconds that a share of all answers was not above.
    pub fn percentile_ms(&self, share: f64) -> f64 {
        percentile_ms(&self.latencies, share)
    }

    /// The same for refusals.
    pub fn refusal_ms(&self, share: f64) -> f64 {
        percentile_ms(&self.refusals, share)
    }

    /// All failures.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

fn percentile_ms(sorted_us: &[u32], share: f64) -> f64 {
    let at = (sorted_us.len() as f64 * share).ceil() as usize;
    let found = sorted_us.get(at.saturating_sub(1));
    found.copied().map_or(f64::NAN, |us| f64::from(us) / 1e3)
}

/// A connection in either protocol.
enum Client {
    Http(Box<HttpClient>),
    Grpc(GrpcClient),
}

impl Client {
    async fn ask(&mut self, request: &InferRequest, timeout: Option<Duration>) -> Result<()> {
        let answer = async {
            match self {
                Self::Http(client) => client.infer(request).await.map(drop),
                Self::Grpc(client) => client.infer(request, timeout).await.map(drop),
            }
        };
        let Some(timeout) = timeout else { return answer.await };
        let stage = "before the client gave up";
        let late = || Error::Deadline { model: request.model.clone(), stage };
        tokio::time::timeout(timeout, answer).await.unwrap_or_else(|_| Err(late()))
    }
}

/// What the tasks of a run share.
struct Shared {
    plan: Plan,
    address: SocketAddr,
    request: InferRequest,
    /// When counting begins and ends.
    begin: Instant,
    end: Instant,
    /// Answers so far, for the progress.
    answered: AtomicU64,
}

/// What a task saw.
#[derive(Default)]
struct Seen {
    latencies: Vec<u32>,
    failures: BTreeMap<String, u64>,
    refusals: Vec<u32>,
}

impl Seen {
    /// Notes an answer that is counted.
    fn note(&mut self, shared: &Shared, from: Instant, answer: Result<()>) {
        let now = Instant::now();
        if now < shared.begin || now > shared.end {
            return;
        }
        let us = u32::try_from((now - from).as_micros()).unwrap_or(u32::MAX);
        match answer {
            Ok(()) => {
                shared.answered.fetch_add(1, Relaxed);
                self.latencies.push(us);
            }
            Err(error) => {
                if error.status() == crate::Status::ResourceExhausted {
                    self.refusals.push(us);
                }
                *self.failures.entry(name_of(&error)).or_default() += 1;
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.refusals.extend(other.refusals);
        for (what, count) in other.failures {
            *self.failures.entry(what).or_default() += count;
        }
    }
}

/// A failure's name in the report: its status, and for others their text.
fn name_of(error: &Error) -> String {
    match error {
        Error::Remote { status, .. } => format!("{status:?}"),
        other => other.to_string(),
    }
}

/// Runs one load; `progress` is told the answers so far once a second.
///
/// ## Errors
/// [`Error::Protocol`] if the server cannot be reached or does not have the model.
pub async fn run(plan: &Plan, arrival: Arrival, progress: impl Fn(u64)) -> Result<Outcome> {
    let address = resolve(&plan.target.authority).await?;
    let request = make_request(plan, address).await?;
    let request_bytes = request.inputs.iter().map(|input| input.tensor.data.len()).sum();
    let begin = Instant::now() + plan.warm_up;
    let end = begin + plan.duration;
    let answered = AtomicU64::new(0);
    let shared = Arc::new(Shared { plan: plan.clone(), address, request, begin, end, answered });
    let running = async {
        match arrival {
            Arrival::Clients(clients) => closed_loop(&shared, clients).await.map(|seen| (seen, 0)),
            Arrival::Rate(rate) => open_loop(&shared, rate).await,
        }
    };
    let mut running = std::pin::pin!(running);
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let (mut seen, unsent) = std::future::poll_fn(|cx| {
        while ticks.poll_tick(cx).is_ready() {
            progress(shared.answered.load(Relaxed));
        }
        running.as_mut().poll(cx)
    })
    .await?;
    seen.latencies.sort_unstable();
    seen.refusals.sort_unstable();
    Ok(Outcome {
        arrival,
        seconds: plan.duration.as_secs_f64(),
        latencies: seen.latencies,
        failures: seen.failures,
        refusals: seen.refusals,
        unsent,
        request_bytes,
    })
}

async fn resolve(authority: &str) -> Result<SocketAddr> {
    let unknown = |why: String| Error::Protocol(format!("{authority}: {why}"));
    let mut found =
        tokio::net::lookup_host(authority).await.map_err(|why| unknown(why.to_string()))?;
    found.next().ok_or_else(|| unknown("has no address".into()))
}

impl Shared {
    async fn connect(&self) -> Result<Client> {
        connect(&self.plan, self.address).await
    }
}

async fn connect(plan: &Plan, address: SocketAddr) -> Result<Client> {
    let Plan { target, trust, .. } = plan;
    let secret = match (target.is_secret, trust) {
        (false, _) => None,
        (true, Some(trust)) => {
            Some((trust, target.authority.rsplit_once(':').map_or("", |(host, _)| host)))
        }
        (true, None) => {
            let why = "a target within TLS needs a certificate to trust (--authority FILE)";
            return Err(Error::invalid(why));
        }
    };
    let mut headers = hyper::HeaderMap::new();
    if let Some(token) = &plan.authorization {
        let value = token.parse().map_err(|_| Error::invalid("the token is no header's value"))?;
        headers.insert("authorization", value);
    }
    Ok(if target.is_grpc {
        let mut client = GrpcClient::connect_with(address, secret).await?;
        client.headers = headers;
        Client::Grpc(client)
    } else {
        let mut client = HttpClient::connect_with(address, secret).await?;
        client.headers = headers;
        Client::Http(Box::new(client))
    })
}

async fn closed_loop(shared: &Arc<Shared>, clients: usize) -> Result<Seen> {
    let mut connections: Vec<Client> = Vec::new();
    for at in 0..clients {
        let client = match connections.get(at % GRPC_CONNECTIONS) {
            Some(Client::Grpc(first)) if at >= GRPC_CONNECTIONS => Client::Grpc(first.clone()),
            _ => shared.connect().await?,
        };
        connections.push(client);
    }
    let mut tasks = JoinSet::new();
    for mut client in connections {
        let shared = Arc::clone(shared);
        tasks.spawn(async move {
            let mut seen = Seen::default();
            while Instant::now() < shared.end {
                let from = Instant::now();
                let answer = client.ask(&shared.request, shared.plan.timeout).await;
                let is_broken = matches!(answer, Err(Error::Protocol(_) | Error::Deadline { .. }));
                let is_shed = answer
                    .as_ref()
                    .is_err_and(|error| error.status() == crate::Status::ResourceExhausted);
                seen.note(&shared, from, answer);
                if is_broken {
                    // A broken connection is one failure; the client goes on with another.
                    if let Ok(other) = shared.connect().await {
                        client = other;
                    } else {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                } else if is_shed {
                    // Whoever is refused waits a moment, as the server asks.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            seen
        });
    }
    let mut all = Seen::default();
    while let Some(seen) = tasks.join_next().await {
        all.merge(seen.map_err(|why| Error::Protocol(why.to_string()))?);
    }
    Ok(all)
}

async fn open_loop(shared: &Arc<Shared>, rate: f64) -> Result<(Seen, u64)> {
    let idle = Arc::new(std::sync::Mutex::new(Vec::new()));
    if shared.plan.target.is_grpc {
        for _ in 0..GRPC_CONNECTIONS {
            let client = shared.connect().await?;
            idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(client);
        }
    }
    let room = Arc::new(Semaphore::new(UNDERWAY_MAX));
    let mut tasks = JoinSet::new();
    let mut unsent = 0;
    let mut all = Seen::default();
    let mut due = Instant::now();
    let mut dice = 0x9e37_79b9_7f4a_7c15u64;
    let mut turn = 0;
    while due < shared.end {
        tokio::time::sleep_until(due.into()).await;
        while let Some(seen) = tasks.try_join_next() {
            all.merge(
                seen.map_err(|why: tokio::task::JoinError| Error::Protocol(why.to_string()))?,
            );
        }
        match Arc::clone(&room).try_acquire_owned() {
            Err(_) => unsent += u64::from(due >= shared.begin),
            Ok(permit) => {
                let (shared, idle, from) = (Arc::clone(shared), Arc::clone(&idle), due);
                turn += 1;
                let turn = turn;
                tasks.spawn(async move {
                    let _permit = permit;
                    let mut seen = Seen::default();
                    let answer = ask_once(&shared, &idle, turn).await;
                    seen.note(&shared, from, answer);
                    seen
                });
            }
        }
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        // Gaps of a Poisson process.
        let unit = ((dice >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        due += Duration::from_secs_f64(-unit.ln() / rate);
    }
    while let Some(seen) = tasks.join_next().await {
        all.merge(seen.map_err(|why| Error::Protocol(why.to_string()))?);
    }
    Ok((all, unsent))
}

/// Asks on an idle connection, or on a new one.
async fn ask_once(
    shared: &Shared,
    idle: &std::sync::Mutex<Vec<Client>>,
    turn: usize,
) -> Result<()> {
    let lock = || idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if shared.plan.target.is_grpc {
        // Any number of requests share a connection.
        let client = match &lock()[turn % GRPC_CONNECTIONS] {
            Client::Grpc(client) => client.clone(),
            Client::Http(_) => {
                return Err(Error::Protocol("a connection of the other kind".into()));
            }
        };
        return Client::Grpc(client).ask(&shared.request, shared.plan.timeout).await;
    }
    let spare = lock().pop();
    let mut client = match spare {
        Some(client) => client,
        None => shared.connect().await?,
    };
    let answer = client.ask(&shared.request, shared.plan.timeout).await;
    if !matches!(answer, Err(Error::Protocol(_) | Error::Deadline { .. })) {
        lock().push(client);
    }
    answer
}

/// A request with numbers for every input that the model needs.
async fn make_request(plan: &Plan, address: SocketAddr) -> Result<InferRequest> {
    let inputs = match connect(plan, address).await? {
        Client::Grpc(client) => {
            let name = proto::ModelName { name: plan.model.clone(), version: plan.version.clone() };
            let about: proto::ModelMetadata = client.call("ModelMetadata", &name).await?;
            about.inputs.into_iter().map(|it| (it.name, it.datatype, it.shape)).collect()
        }
        Client::Http(mut client) => {
            let about = client.json(Method::GET, &format!("/v2/models/{}", plan.model)).await?;
            let inputs: Vec<(String, String, Vec<i64>)> = about["inputs"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|it| {
                    let text = |field: &str| it[field].as_str().unwrap_or_default().to_owned();
                    let shape = it["shape"].as_array().into_iter().flatten();
                    let shape = shape.filter_map(serde_json::Value::as_i64).collect();
                    (text("name"), text("datatype"), shape)
                })
                .collect();
            inputs
        }
    };
    let mut request = InferRequest {
        model: plan.model.clone(),
        version: plan.version.clone(),
        is_binary_output: true,
        ..InferRequest::default()
    };
    for (name, datatype, dims) in inputs {
        let unknown = || Error::Protocol(format!("input {name} has the type {datatype}"));
        let datatype = Datatype::from_name(&datatype).ok_or_else(unknown)?;
        let shape: Vec<usize> = dims
            .iter()
            .enumerate()
            .map(|(at, &dim)| {
                let open = if at == 0 { plan.rows } else { plan.open_dim };
                usize::try_from(dim).unwrap_or(open)
            })
            .collect();
        let data = numbers(datatype, element_count(&name, &shape)?);
        let tensor = Tensor { name, datatype, shape, data: data.into() };
        request.inputs.push(Input { tensor, region: None });
    }
    Ok(request)
}

/// Numbers that every model can take: floats of -1 to 1, integers 0 and 1, short texts.
fn numbers(datatype: Datatype, count: usize) -> Vec<u8> {
    let mut state = 0x5eed_u64;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        state >> 33
    };
    let unit = |random: u64| (random % 2001) as f32 / 1000.0 - 1.0;
    match datatype {
        Datatype::Bytes => join_strings((0..count).map(|at| format!("text {at}"))),
        Datatype::Fp32 => (0..count).flat_map(|_| unit(next()).to_le_bytes()).collect(),
        Datatype::Fp64 => (0..count).flat_map(|_| f64::from(unit(next())).to_le_bytes()).collect(),
        // 0 and 1 in half precision and in bfloat16 end in these bytes.
        Datatype::Fp16 => (0..count).flat_map(|_| [0, [0, 0x3c][(next() % 2) as usize]]).collect(),
        Datatype::Bf16 => {
            (0..count).flat_map(|_| [[0, 0], [0x80, 0x3f]][(next() % 2) as usize]).collect()
        }
        integer => {
            let size = integer.size().unwrap_or(1);
            let mut data = vec![0; count * size];
            data.iter_mut().step_by(size).for_each(|byte| *byte = (next() % 2) as u8);
            data
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_understood() {
        let target: Target = "grpc://localhost:8001/".parse().unwrap();
        assert_eq!((target.is_grpc, target.authority.as_str()), (true, "localhost:8001"));
        let target: Target = "https://[::1]:8000".parse().unwrap();
        assert!(target.is_secret && !target.is_grpc);
        for wrong in ["localhost:8001", "ftp://a:1", "http://a", "http://a:1/b"] {
            assert!(wrong.parse::<Target>().unwrap_err().contains("http://HOST:PORT"), "{wrong}");
        }
    }

    #[test]
    fn percentiles_are_exact() {
        let outcome = Outcome {
            arrival: Arrival::Clients(1),
            seconds: 2.0,
            latencies: (1..=1000).map(|ms| ms * 1000).collect(),
            failures: BTreeMap::new(),
            refusals: Vec::new(),
            unsent: 0,
            request_bytes: 4,
        };
        assert_eq!((outcome.percentile_ms(0.5), outcome.percentile_ms(0.999)), (500.0, 999.0));
        assert_eq!(outcome.throughput(), 500.0);
    }

    #[test]
    fn numbers_fill_every_type() {
        for datatype in Datatype::all() {
            let data = numbers(datatype, 10);
            let tensor = Tensor { name: "x".into(), datatype, shape: vec![10], data: data.into() };
            tensor.check().unwrap();
        }
    }
}
