//! `raddle zoo`: writes well-known networks as ONNX files, with seeded weights or
//! with trained ones from a file.

use std::path::PathBuf;
use std::time::Instant;

use raddle_weights::Weights;
use raddle_zoo::{Head, MODELS, Source};

/// Options of `raddle zoo`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The network; all of them are listed if none is given.
    name: Option<String>,
    /// The file to write; NAME.onnx if not given.
    #[arg(short, long, value_name = "FILE.onnx")]
    output: Option<PathBuf>,
    /// What the random weights depend on; the same seed gives the same file everywhere.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Trained weights under torchvision's names: .pth, .pt, .safetensors or .npz.
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    weights: Option<PathBuf>,
    /// Layers of a classifier that stands in for the network's own, as in a
    /// `torch.nn.Sequential`: dropout, linear and relu, with commas.
    #[arg(long, value_name = "LAYERS", requires = "weights")]
    head: Option<Head>,
}

/// Why no file was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZooError {
    /// The model does not exist, or the weights do not fit it.
    #[error(transparent)]
    Model(#[from] raddle_zoo::Error),
    /// The weights could not be read.
    #[error(transparent)]
    Weights(#[from] raddle_weights::Error),
    /// The file could not be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Runs the command.
///
/// ## Errors
///
/// See [`ZooError`].
pub fn run(options: &Options) -> Result<(), ZooError> {
    let Some(name) = &options.name else {
        for model in &MODELS {
            println!("{:<14}{}", model.name, model.about);
        }
        return Ok(());
    };
    let model = raddle_zoo::find(name)?;
    let start = Instant::now();
    let weights = options.weights.as_ref().map(Weights::load).transpose()?;
    let source = weights.as_ref().map_or(Source::Seed(options.seed), Source::Weights);
    let file = match options.head.clone() {
        Some(head) => model.build_with_head(source, head)?,
        None => model.build(source)?,
    };
    let path = options.output.clone().unwrap_or_else(|| format!("{name}.onnx").into());
    std::fs::write(&path, &file)
        .map_err(|source| ZooError::Write { path: path.clone(), source })?;
    let origin = match &options.weights {
        Some(weights) => format!("weights of {}", weights.display()),
        None => format!("random weights of seed {}", options.seed),
    };
    println!(
        "made {}: {name}, {origin}, {:.1} MB in {:.2} s",
        path.display(),
        file.len() as f64 / 1e6,
        start.elapsed().as_secs_f64()
    );
    Ok(())
}
