//! `raddle run`: runs an ONNX model on arrays or pictures.
//!
//! The model is a file, or `zoo:NAME` for one of `raddle zoo` that is made in
//! memory. What cannot be done is said before anything is computed; nothing falls
//! back silently.

mod bench;
mod classify;
pub mod images;
mod inputs;
mod outputs;
mod precision;
mod progress;
mod resize;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Instant;

use raddle_models::gpu::{GpuSession, PrepareTimes};
use raddle_onnx::Model;
use raddle_tensor::graph::Graph;
use raddle_tensor::{DType, Plan, Value};
use raddle_zoo::Source;

pub use inputs::{FreeDim, required};
pub use outputs::describe_type;

/// Options of `raddle run`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// An ONNX file, or zoo:NAME for a network of `raddle zoo` with random weights.
    model: String,
    /// An input: NAME=FILE.npy, NAME=FILE.npz, NAME=FILE.npz:ARRAY, or FILE.npz for
    /// all arrays that it has. Other formats that hold arrays will do as well.
    #[arg(long = "input", value_name = "NAME=FILE")]
    inputs: Vec<inputs::Given>,
    /// Fill the inputs that are not given with random numbers.
    #[arg(long)]
    random: bool,
    /// The length of a dimension that the model leaves open, for --random; 1 if not given.
    #[arg(long = "dim", value_name = "NAME=LENGTH")]
    dims: Vec<FreeDim>,
    /// Pictures to classify: a JPEG or PNG file, or a folder of them.
    #[arg(long, value_name = "FILE_OR_DIR", conflicts_with_all = ["inputs", "random", "dims"])]
    image: Option<PathBuf>,
    #[command(flatten)]
    picture: images::PictureOptions,
    #[command(flatten)]
    classes: classify::ClassOptions,
    /// Where the outputs go: a folder for one .npy file each, or a .npz or
    /// .safetensors file for all.
    #[arg(long, value_name = "DIR_OR_FILE")]
    output: Option<PathBuf>,
    /// Where to run: cpu or gpu:N.
    #[arg(long)]
    device: Option<Device>,
    /// Type to store and exchange floats in: f32, f16 or bf16; or tf32, which a GPU
    /// multiplies f32 in, on its tensor cores. On a GPU, f16 and bf16 are what convolutional
    /// networks compute in all through, and other models where range and precision allow.
    #[arg(long, default_value = "f32")]
    dtype: Precision,
    /// Repeat the run N times and print the times.
    #[arg(long, value_name = "N")]
    bench: Option<u32>,
    /// What the random weights and inputs depend on.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Where a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Device {
    Cpu,
    Gpu(u32),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let gpu = |number: &str| number.parse().ok().map(Self::Gpu);
        match text {
            "cpu" => Some(Self::Cpu),
            "gpu" => Some(Self::Gpu(0)),
            _ => text.strip_prefix("gpu:").and_then(gpu),
        }
        .ok_or_else(|| "expected cpu, gpu or gpu:N".into())
    }
}

/// The type that floats are stored and exchanged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Precision(raddle_models::Precision);

impl Precision {
    /// As sessions take it.
    pub fn precision(self) -> raddle_models::Precision {
        self.0
    }

    /// The type in memory.
    fn dtype(self) -> DType {
        match self.0 {
            raddle_models::Precision::F32 | raddle_models::Precision::TF32 => DType::F32,
            raddle_models::Precision::F16 => DType::F16,
            raddle_models::Precision::BF16 => DType::BF16,
        }
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" => Ok(Self(raddle_models::Precision::F32)),
            "tf32" => Ok(Self(raddle_models::Precision::TF32)),
            "f16" => Ok(Self(raddle_models::Precision::F16)),
            "bf16" => Ok(Self(raddle_models::Precision::BF16)),
            _ => Err("expected f32, tf32, f16 or bf16".into()),
        }
    }
}

/// Why a model was not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The model is damaged or needs what is not supported.
    #[error("{model}: {source}")]
    Load {
        /// The file.
        model: String,
        /// What is wrong.
        source: raddle_onnx::Error,
    },
    /// The run failed.
    #[error(transparent)]
    Run(#[from] raddle_tensor::Error),
    /// The network of the zoo does not exist.
    #[error(transparent)]
    Zoo(#[from] raddle_zoo::Error),
    /// An array could not be read or written.
    #[error(transparent)]
    Array(#[from] raddle_weights::Error),
    /// The inputs do not fit the model.
    #[error(transparent)]
    Input(#[from] inputs::InputError),
    /// The pictures could not be read, or the model takes none.
    #[error(transparent)]
    Image(#[from] images::ImageError),
    /// The classes could not be told.
    #[error(transparent)]
    Classify(#[from] classify::ClassifyError),
    /// The outputs could not be written.
    #[error(transparent)]
    Output(#[from] outputs::OutputError),
    /// The model does not work in the type asked for.
    #[error(transparent)]
    Precision(#[from] precision::PrecisionError),
    /// The GPU cannot run the model, or failed.
    #[error(transparent)]
    Gpu(#[from] raddle_models::Error),
}

/// Runs the command.
///
/// ## Errors
///
/// See [`RunError`].
pub fn run(options: &Options) -> Result<(), RunError> {
    let start = Instant::now();
    let model = match options.device {
        Some(Device::Gpu(number)) => Loaded::on_gpu(options, number)?,
        _ => {
            println!("device  {}", describe_cpu(options.device));
            Loaded::on_cpu(load(&options.model, options.seed)?, options.dtype.dtype())?
        }
    };
    println!("model   {}, loaded in {}", options.model, seconds(start));
    match &options.image {
        Some(pictures) => run_on_images(options, &model, pictures),
        None => run_on_arrays(options, &model),
    }
}

/// A model on a device, in the type asked for.
enum Loaded {
    Cpu { plan: Plan, dtype: DType },
    Gpu(Box<raddle_models::Model>, Box<GpuSession>),
}

impl Loaded {
    fn on_cpu(model: Model, dtype: DType) -> Result<Self, RunError> {
        if dtype == DType::F32 {
            return Ok(Self::Cpu { plan: model.plan().clone(), dtype });
        }
        let mut graph = model.plan().graph().clone();
        precision::convert(&mut graph, dtype)?;
        Ok(Self::Cpu { plan: Plan::new(graph)?, dtype })
    }

    fn on_gpu(options: &Options, number: u32) -> Result<Self, RunError> {
        let precision = options.dtype.0;
        // Opening a GPU takes longer than reading a model.
        let opening = std::thread::spawn(move || raddle::Device::cuda(number));
        let failed = |source| RunError::Load { model: options.model.clone(), source };
        let graph = match options.model.strip_prefix("zoo:") {
            Some(network) => {
                let bytes = raddle_zoo::find(network)?.build(Source::Seed(options.seed))?;
                raddle_onnx::read_graph(&bytes).map_err(failed)
            }
            None => raddle_onnx::load_graph(&options.model).map_err(failed),
        };
        let device = match opening.join() {
            Ok(device) => device.map_err(raddle_models::Error::from)?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        println!("device  {device}, {}", precision.name());
        let graph = graph?;
        let model = raddle_models::Model::from_graph(graph)?;
        let session = GpuSession::new(model.graph(), &device, precision)?;
        println!("route   {}", session.route());
        Ok(Self::Gpu(Box::new(model), Box::new(session)))
    }

    fn graph(&self) -> &Graph {
        match self {
            Self::Cpu { plan, .. } => plan.graph(),
            Self::Gpu(model, _) => model.graph(),
        }
    }

    /// Runs the model on inputs of its own types.
    fn run(&self, inputs: &[(String, Value)]) -> Result<Vec<(String, Value)>, RunError> {
        let inputs = inputs.iter().map(|(name, value)| (name.as_str(), value.clone()));
        match self {
            Self::Cpu { plan, dtype } => {
                let values = plan.run(inputs)?;
                let graph = plan.graph();
                let names = graph.outputs.iter().map(|&id| graph.name_of(id).to_owned());
                Ok(precision::widen(names.zip(values).collect(), *dtype)?)
            }
            Self::Gpu(_, session) => Ok(session.run(inputs)?),
        }
    }

    /// Where the time of the first run on such inputs went, where that is known.
    fn prepare_times(&self, inputs: &[(String, Value)]) -> Result<Option<PrepareTimes>, RunError> {
        let Self::Gpu(model, session) = self else { return Ok(None) };
        let graph = model.graph();
        let shapes = graph.inputs.iter().map(|&id| {
            let given = inputs.iter().find(|(name, _)| name == graph.name_of(id));
            given.and_then(|(_, value)| value.as_tensor()).map(|tensor| tensor.shape().to_vec())
        });
        match shapes.collect::<Option<Vec<_>>>() {
            Some(shapes) => Ok(session.prepare_times(&shapes)?),
            None => Ok(None),
        }
    }
}

fn run_on_arrays(options: &Options, model: &Loaded) -> Result<(), RunError> {
    let graph = model.graph();
    let mut values = inputs::read(graph, &options.inputs)?;
    if options.random {
        inputs::fill(graph, &mut values, &options.dims, options.seed)?;
    }
    inputs::check_complete(graph, &values)?;
    let values = precision::convert_inputs(graph, values)?;
    for (name, value) in &values {
        println!("input   {name}: {}", outputs::describe(value));
    }
    let start = Instant::now();
    let found = model.run(&values)?;
    println!("run     {}", seconds(start));
    if let Some(times) = model.prepare_times(&values)? {
        println!(
            "ready   weights {:.3} s, kernels loaded {:.3} s, measured {:.3} s, captured {:.3} s",
            times.collect.as_secs_f64(),
            times.load.as_secs_f64(),
            times.measure.as_secs_f64(),
            times.capture.as_secs_f64()
        );
    }
    if let Some(count) = options.bench {
        println!("bench   {}", bench::repeat(count, || model.run(&values).map(drop))?);
    }
    report(options, &found)
}

/// Prints what came out, and writes it.
fn report(options: &Options, found: &[(String, Value)]) -> Result<(), RunError> {
    for (name, value) in found {
        println!("output  {name}: {}", outputs::describe(value));
    }
    if let Some(path) = &options.output {
        for file in outputs::write(path, found)? {
            println!("wrote   {}", file.display());
        }
    }
    Ok(())
}

fn run_on_images(
    options: &Options,
    model: &Loaded,
    pictures: &std::path::Path,
) -> Result<(), RunError> {
    let files = images::find(pictures)?;
    let taker = images::Taker::of(model.graph(), &options.picture)?;
    let classifier = classify::Classifier::new(model.graph(), &options.classes)?;
    let progress = progress::Progress::new("classifying", files.len());
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    let (mut read, mut compute) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
    for batch in files.chunks(taker.batch_len()) {
        let start = Instant::now();
        let (names, tensor) = taker.batch(batch, &mut failures)?;
        read += start.elapsed();
        if let Some(tensor) = tensor {
            let values = vec![(taker.input().to_owned(), Value::Tensor(tensor))];
            let values = precision::convert_inputs(model.graph(), values)?;
            let start = Instant::now();
            let found = model.run(&values)?;
            compute += start.elapsed();
            let is_first = rows.is_empty();
            rows.extend(names.into_iter().zip(classifier.classify(&found, batch.len())?));
            if let Some(count) = options.bench.filter(|_| is_first) {
                println!("bench   {}", bench::repeat(count, || model.run(&values).map(drop))?);
            }
        }
        progress.add(batch.len());
    }
    drop(progress);
    println!(
        "images  {} of {}, read in {:.3} s, classified in {:.3} s\n",
        rows.len(),
        files.len(),
        read.as_secs_f64(),
        compute.as_secs_f64()
    );
    for (path, best) in &rows {
        print!("{}", classifier.describe(path, best));
    }
    images::all_read(failures)?;
    Ok(())
}

/// Loads a model from a file, or makes one of the zoo.
pub fn load(name: &str, seed: u64) -> Result<Model, RunError> {
    let loaded = match name.strip_prefix("zoo:") {
        Some(network) => Model::from_bytes(&raddle_zoo::find(network)?.build(Source::Seed(seed))?),
        None => Model::load(name),
    };
    loaded.map_err(|source| RunError::Load { model: name.to_owned(), source })
}

/// The device in words, with the reason if it is not the one that one may expect.
fn describe_cpu(asked: Option<Device>) -> String {
    let threads = rayon::current_num_threads();
    let reason = match asked {
        Some(_) => String::new(),
        None => match raddle::Device::list().into_iter().find(raddle::Device::is_gpu) {
            Some(gpu) => {
                format!(" ({} is idle: it runs models with --device gpu)", gpu.name())
            }
            None => " (no GPU found)".into(),
        },
    };
    format!("CPU, {threads} threads{reason}")
}

fn seconds(start: Instant) -> String {
    format!("{:.3} s", start.elapsed().as_secs_f64())
}
