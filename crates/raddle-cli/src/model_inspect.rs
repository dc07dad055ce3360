//! `raddle inspect`: what a model is made of, what it costs and what of it can
//! run, as text, JSON, or a picture.
//!
//! The structure is read from the file alone, so that a model which cannot run is
//! shown all the same. Shapes and memory are inferred; nothing is run.

mod cost;
mod fused;
mod launches;
mod layout;
mod picture;
mod report;
mod show;
mod structure;

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use crate::run::{FreeDim, Precision};

/// Options of `raddle inspect`.
#[derive(Debug, clap::Args)]
pub struct InspectOptions {
    /// An ONNX file, or zoo:NAME for a network of `raddle zoo`.
    model: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Write a picture of the graph, as it is written and as it runs.
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
    /// Write a page with both pictures, the operations and all nodes.
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
    /// The length of a dimension that the model leaves open; 1 if not given.
    #[arg(long = "dim", value_name = "NAME=LENGTH")]
    dims: Vec<FreeDim>,
    /// Print every node.
    #[arg(long)]
    nodes: bool,
    /// Print the launches that the nodes become with the kernels for GPUs: on gpu:N, or on the
    /// simulator, which takes its time but needs no GPU.
    #[arg(long, value_name = "DEVICE")]
    device: Option<launches::Target>,
    /// With --device, the type to compute in: f32, tf32, f16 or bf16.
    #[arg(long, default_value = "f32", requires = "device")]
    dtype: Precision,
}

/// Why a model was not shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no ONNX model.
    #[error("{model}: {source}")]
    File {
        /// The file.
        model: String,
        /// What is wrong.
        source: raddle_onnx::Error,
    },
    /// The network of the zoo does not exist.
    #[error(transparent)]
    Zoo(#[from] raddle_zoo::Error),
}

/// Runs the command.
///
/// ## Errors
///
/// See [`ModelError`]. A model that cannot run is no error: the report says why.
pub fn run(options: &InspectOptions) -> Result<(), ModelError> {
    let name = &options.model;
    let (bytes, loaded) = match name.strip_prefix("zoo:") {
        Some(network) => {
            let bytes = raddle_zoo::find(network)?.build(raddle_zoo::Source::Seed(0))?;
            let loaded = raddle_onnx::read_graph(&bytes);
            (bytes, loaded)
        }
        None => {
            let path = PathBuf::from(name);
            let bytes = std::fs::read(&path).map_err(|source| ModelError::Io { path, source })?;
            (bytes, raddle_onnx::load_graph(name))
        }
    };
    let structure = structure::Structure::read(&bytes)
        .map_err(|source| ModelError::File { model: name.clone(), source })?;
    let target = options.device.map(|device| (device, options.dtype.precision()));
    let report = report::Report::new(name, structure, loaded, &options.dims, target);
    let write = |path: &PathBuf, text: String| {
        std::fs::write(path, text)
            .map_err(|source| ModelError::Io { path: path.clone(), source })?;
        eprintln!("wrote {}", path.display());
        Ok::<_, ModelError>(())
    };
    if let Some(path) = &options.svg {
        write(path, picture::svg(&report))?;
    }
    if let Some(path) = &options.html {
        write(path, picture::html(&report))?;
    }
    let text = match options.json {
        true => format!("{:#}\n", show::json(&report)),
        false => show::text(&report, options.nodes),
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        // The reader, `head` for one, has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => {
            written.map_err(|source| ModelError::Io { path: "standard output".into(), source })
        }
    }
}
