//! `raddle serve` and `raddle check-config`: ONNX models behind `raddle-server`.

mod devices;
mod gpu;
mod onnx;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use raddle_server::config::ServerSettings;
use raddle_server::{check, log, serve};

/// Options of `raddle serve` and `raddle check-config`. What is given here counts
/// more than the settings file.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The model repository: DIR/NAME/VERSION/model.onnx with an optional
    /// DIR/NAME/config.pbtxt, or DIR/NAME.onnx.
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    models: Option<PathBuf>,
    /// Settings in TOML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where HTTP is served; 127.0.0.1:8000 if not given. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Where gRPC is served; 127.0.0.1:8001 if not given.
    #[arg(long, value_name = "ADDR")]
    grpc: Option<SocketAddr>,
    /// Where metrics are served; 127.0.0.1:8002 if not given.
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    /// Where models go whose instance_group does not say.
    #[arg(long, value_enum, default_value_t)]
    device: devices::Choice,
    /// Seconds between looks at the repository; 0 never looks.
    #[arg(long, value_name = "SECONDS")]
    poll: Option<f64>,
    /// Lets requests name shared memory of this machine.
    #[arg(long)]
    allow_shared_memory: bool,
    /// Log JSON lines.
    #[arg(long)]
    log_json: bool,
}

/// Why serving ended or did not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The server's own word.
    #[error(transparent)]
    Server(#[from] raddle_server::Error),
    /// The devices are not there.
    #[error("--device: {0}")]
    Device(#[from] raddle::Error),
}

fn settings(options: &Options) -> Result<ServerSettings, ServeError> {
    let mut settings = match &options.config {
        Some(file) => ServerSettings::load(file)?,
        None => ServerSettings::default(),
    };
    if let Some(models) = &options.models {
        settings.models.clone_from(models);
    }
    settings.http = options.http.unwrap_or(settings.http);
    settings.grpc = options.grpc.unwrap_or(settings.grpc);
    settings.metrics = options.metrics.unwrap_or(settings.metrics);
    settings.poll_seconds = options.poll.unwrap_or(settings.poll_seconds);
    settings.allow_shared_memory |= options.allow_shared_memory;
    Ok(settings)
}

/// Serves until the process is told to end.
///
/// ## Errors
/// See [`ServeError`].
pub fn run(options: &Options) -> Result<(), ServeError> {
    let began = Instant::now();
    log::set_json(options.log_json);
    let settings = settings(options)?;
    let backend = onnx::OnnxBackend { devices: devices::Devices::find(options.device)? };
    serve::run(settings, Arc::new(backend), |running| {
        let bound = &running.bound;
        println!(
            "ready in {:.3} s: http {}, grpc {}, metrics {}",
            began.elapsed().as_secs_f64(),
            bound.http,
            bound.grpc,
            bound.metrics
        );
    })?;
    Ok(())
}

/// Checks everything that can be checked without serving; exits with 1 if something
/// is wrong.
///
/// ## Errors
/// See [`ServeError`].
pub fn check(options: &Options) -> Result<ExitCode, ServeError> {
    let backend = onnx::OnnxBackend { devices: devices::Devices::find(options.device)? };
    let findings = check::check(&settings(options)?, &backend)?;
    let mut wrong = 0;
    for finding in &findings {
        match &finding.problem {
            None => println!("ok      {}", finding.what),
            Some(problem) => {
                wrong += 1;
                println!("wrong   {}: {problem}", finding.what);
            }
        }
    }
    println!("{} checked, {wrong} wrong", findings.len());
    Ok(ExitCode::from(u8::from(wrong > 0)))
}
