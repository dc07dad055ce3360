//! What a model is to the server: some questions and one order.
//!
//! The server knows no file format and no device. A [`Backend`] loads files into
//! [`Model`]s, a model makes [`Instance`]s on devices by name, and each instance
//! runs one batch at a time on a thread of its own: two instances on one GPU copy
//! and compute at once if each has its own stream.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::config::ModelConfig;
use crate::tensor::{Datatype, Rope, Tensor};

/// Loads models. One for a server; called on threads that may block.
pub trait Backend: Send + Sync + 'static {
    /// Name that metadata gives as the platform: `raddle_onnx`.
    fn platform(&self) -> &str;

    /// Names of files that hold a model, the preferred one first: `model.onnx`.
    fn file_names(&self) -> &[&str];

    /// Devices that instances can be placed on, the default first.
    fn devices(&self) -> Vec<Device>;

    /// The machine's GPUs for the metrics, whether or not instances may be placed there.
    fn gpus(&self) -> Vec<Device> {
        let devices = self.devices();
        devices.into_iter().filter(|device| device.name.starts_with("gpu")).collect()
    }

    /// Loads a model.
    ///
    /// ## Errors
    /// What is wrong with the file.
    fn load(&self, source: &Source<'_>) -> Result<Arc<dyn Model>, ModelError>;
}

/// A device as a backend names it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Device {
    /// `cpu`, or `gpu:0` and so on. Instance groups choose by kind and number.
    pub name: String,
    /// The vendor's id, for the metrics' label `gpu_uuid`; empty for the CPU.
    pub uuid: String,
    /// Bytes in use and in all.
    pub memory: Option<(u64, u64)>,
    /// Share of time that kernels ran, from 0 to 1.
    pub utilisation: Option<f64>,
    /// Power in watts.
    pub power_watts: Option<f64>,
}

/// What is to be loaded.
#[derive(Debug)]
pub struct Source<'a> {
    /// Name of the model.
    pub name: &'a str,
    /// Version of the model.
    pub version: u64,
    /// The file with the model.
    pub file: &'a Path,
    /// The model's configuration.
    pub config: &'a ModelConfig,
}

/// A loaded model.
pub trait Model: Send + Sync {
    /// Inputs and outputs.
    fn signature(&self) -> &Signature;

    /// Makes an instance on a device of [`Backend::devices`], and tells what it is at
    /// where that takes long.
    ///
    /// ## Errors
    /// Why the device cannot run it.
    fn instance(&self, device: &str, tell: Tell<'_>) -> Result<Box<dyn Instance>, ModelError>;

    /// Whether a batch takes no more than some microseconds. Such a model runs on the
    /// thread that has the request if nobody waits, since handing the request to the
    /// instance's own thread and back would take longer. Its instances must not block.
    fn is_quick(&self) -> bool {
        false
    }

    /// Whether [`Self::stage`] does anything.
    fn is_staging(&self) -> bool {
        false
    }

    /// Copies a request's input to where an instance wants it, such as memory that a
    /// device copies from, before the request waits: on the thread that has the request,
    /// beside those of other requests and while instances are at other batches. `input`
    /// counts the signature's inputs, which `tensor` fits. `None` leaves it to the instance.
    fn stage(&self, input: usize, tensor: &Tensor) -> Option<Staged> {
        let _ = (input, tensor);
        None
    }

    /// Memory that the model and its instances hold, by device.
    fn memory_bytes(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
}

/// Says what an instance is at, for those who wait for it.
pub type Tell<'a> = &'a dyn Fn(&str);

/// A request's input where its model put it; dropped with the request.
pub type Staged = Box<dyn Any + Send + Sync>;

/// A model on a device; runs one batch at a time.
pub trait Instance: Send {
    /// Runs a batch. Outputs have the batch's rows in the batch's order, in their
    /// first dimension.
    ///
    /// ## Errors
    /// A batch of several requests that fails is run again one by one, so that one
    /// bad request does not fail its neighbours. After [`ModelError::Lost`] the
    /// instance is dropped and made anew.
    fn run(&mut self, batch: &Batch<'_>) -> Result<Outcome, ModelError>;
}

/// What a model takes and gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    /// Inputs in order.
    pub inputs: Vec<TensorSpec>,
    /// Outputs in order.
    pub outputs: Vec<TensorSpec>,
    /// Whether rows along the first dimension have nothing to do with each other.
    pub has_rows: bool,
}

/// Name, type and shape of an input or output.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorSpec {
    /// The name.
    pub name: String,
    /// Type of the elements.
    pub datatype: Datatype,
    /// Lengths of all dimensions, the batch's included; -1 where it is open.
    pub shape: Vec<i64>,
    /// Whether requests may leave it out.
    pub is_optional: bool,
}

impl Signature {
    /// Whether the first dimension of every input and output is open and means rows, so
    /// that requests can be put together along it.
    pub fn is_batchable(&self) -> bool {
        let mut all = self.inputs.iter().chain(&self.outputs);
        self.has_rows && !self.inputs.is_empty() && all.all(|spec| spec.shape.first() == Some(&-1))
    }
}

/// Requests that run at once.
#[derive(Debug)]
pub struct Batch<'a> {
    /// Inputs that were given, in the order of the signature.
    pub inputs: Vec<BatchInput<'a>>,
    /// Length of the first dimension of every input; 1 for a model that does not batch.
    pub rows: usize,
}

/// One input of a batch.
#[derive(Debug)]
pub struct BatchInput<'a> {
    /// Name of the input.
    pub name: &'a str,
    /// Type of the elements.
    pub datatype: Datatype,
    /// Shape of the whole batch.
    pub shape: Vec<usize>,
    /// The requests' data one after the other.
    pub parts: Vec<&'a Rope>,
    /// For each part what [`Model::stage`] made of it, if it made anything.
    pub staged: Vec<Option<&'a (dyn Any + Send + Sync)>>,
}

impl BatchInput<'_> {
    /// Bytes of all parts.
    pub fn len_bytes(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    /// Copies all data into one buffer: the one copy that a request's data makes.
    ///
    /// *Panics* unless `target` has [`Self::len_bytes`] bytes.
    pub fn copy_to(&self, target: &mut [u8]) {
        let mut rest = target;
        for part in &self.parts {
            let (head, tail) = rest.split_at_mut(part.len());
            part.copy_to(head);
            rest = tail;
        }
        assert!(rest.is_empty(), "the target is as long as the input");
    }
}

/// What a batch gave.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Outputs in the order of the signature.
    pub outputs: Vec<Output>,
    /// Time to bring the inputs to the device.
    pub copy_in: Duration,
    /// Time to compute.
    pub compute: Duration,
    /// Time to bring the outputs back.
    pub copy_out: Duration,
}

/// One output of a batch.
#[derive(Debug, Clone)]
pub struct Output {
    /// Shape of the whole batch.
    pub shape: Vec<usize>,
    /// Elements in row-major order, little-endian; shared with the replies without
    /// a copy (`Bytes::from_owner` takes any buffer, pinned ones included).
    pub data: Bytes,
}

/// Why a model did not load or run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The inputs are not what the model can take: the client's fault.
    #[error("{0}")]
    BadInput(String),
    /// The file cannot be used, or running it failed.
    #[error("{0}")]
    Failed(String),
    /// The instance cannot run anything any more.
    #[error("the device was lost: {0}")]
    Lost(String),
    /// The model panicked: a bug of the backend.
    #[error("the model panicked: {0}")]
    Panicked(String),
}

impl ModelError {
    /// Whether the client is at fault.
    pub fn is_bad_input(&self) -> bool {
        matches!(self, Self::BadInput(_))
    }

    /// Whether the instance must be made anew.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Panicked(_))
    }
}

/// Where a version of a model lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    /// Number of the version.
    pub version: u64,
    /// The file.
    pub path: PathBuf,
}
