//! `raddle load`: a load generator for servers that speak the KServe v2 protocol.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use raddle_server::load::{self, Arrival, Plan, Target};
use raddle_server::tls::Trust;

/// Options of `raddle load`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The server: http://HOST:PORT or grpc://HOST:PORT; https or grpcs with TLS.
    #[arg(long)]
    url: Target,
    /// The model.
    #[arg(long)]
    model: String,
    /// Its version or label; the server's choice if not given.
    #[arg(long, default_value = "")]
    version: String,
    /// Numbers of clients that ask again as soon as they are answered, one run each.
    #[arg(long, value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    concurrency: Vec<u32>,
    /// Requests a second at random moments, one run each, instead of clients: latency
    /// counts from the moment that a request was due.
    #[arg(long, value_delimiter = ',', conflicts_with = "concurrency", value_parser = rate)]
    rate: Vec<f64>,
    /// Seconds of each run.
    #[arg(long, default_value = "10", value_parser = seconds)]
    duration: Duration,
    /// Seconds before counting begins.
    #[arg(long, default_value = "1", value_parser = seconds)]
    warm_up: Duration,
    /// Rows of each request.
    #[arg(long, default_value_t = 1)]
    rows: usize,
    /// Length of dimensions that the model leaves open, besides the rows.
    #[arg(long, default_value_t = 1)]
    open_dim: usize,
    /// Seconds that an answer may take.
    #[arg(long, value_parser = seconds)]
    timeout: Option<Duration>,
    /// Certificates in PEM that a server within TLS must have one of, or one from.
    #[arg(long, value_name = "FILE.pem")]
    authority: Option<PathBuf>,
    /// A bearer token.
    #[arg(long)]
    token: Option<String>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Write a chart of latency by percentile.
    #[arg(long, value_name = "FILE.svg")]
    chart: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches('s').parse::<f64>().ok();
    let time = number.and_then(|number| Duration::try_from_secs_f64(number).ok());
    time.filter(|time| *time <= Duration::from_secs(86_400))
        .ok_or_else(|| "expected seconds, such as 10 or 0.5s".into())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| *rate > 0.0 && *rate <= 1e7);
    rate.ok_or_else(|| "expected requests a second above 0".into())
}

/// Why there was no load.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The server cannot be reached or does not have the model.
    #[error(transparent)]
    Server(#[from] raddle_server::Error),
    /// The chart could not be written, or threads not started.
    #[error("{what}: {source}")]
    Io {
        /// The file, or what was to be done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Runs the command; exits with 1 if a run had no answers at all.
///
/// ## Errors
/// See [`LoadError`].
pub fn run(options: &Options) -> Result<ExitCode, LoadError> {
    let plan = Plan {
        target: options.url.clone(),
        model: options.model.clone(),
        version: options.version.clone(),
        rows: options.rows,
        open_dim: options.open_dim,
        warm_up: options.warm_up,
        duration: options.duration,
        timeout: options.timeout,
        trust: options.authority.as_deref().map(Trust::open).transpose()?,
        authorization: options.token.as_ref().map(|token| format!("Bearer {token}")),
    };
    let arrivals: Vec<Arrival> = match options.rate.is_empty() {
        true => options.concurrency.iter().map(|&it| Arrival::Clients(it as usize)).collect(),
        false => options.rate.iter().map(|&it| Arrival::Rate(it)).collect(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|source| LoadError::Io { what: "no threads".into(), source })?;
    let is_terminal = std::io::stderr().is_terminal();
    let mut outcomes = Vec::new();
    for arrival in arrivals {
        let progress = |answered: u64| {
            if is_terminal {
                let mut line = std::io::stderr();
                // Only a courtesy.
                let _ = write!(line, "\r{arrival:?}: {answered} answered ").and(line.flush());
            }
        };
        outcomes.push(runtime.block_on(load::run(&plan, arrival, progress))?);
        if is_terminal {
            eprint!("\r{:60}\r", "");
        }
    }
    if options.json {
        println!("{:#}", load::json(&plan, &outcomes));
    } else {
        print!("{}", load::table(&outcomes));
    }
    if let Some(path) = &options.chart {
        let io = |source| LoadError::Io { what: path.display().to_string(), source };
        std::fs::write(path, load::chart(&plan, &outcomes)).map_err(io)?;
    }
    let has_answers = outcomes.iter().all(|outcome| !outcome.latencies.is_empty());
    Ok(ExitCode::from(u8::from(!has_answers)))
}
