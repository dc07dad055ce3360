//! Instances of ONNX models on a GPU: each has a stream and captured programs of its
//! own, and shares weights with the others of its model on the device.
//!
//! A program belongs to one number of rows, and making one takes far longer than
//! running it. So an instance makes programs for some sizes before it takes requests,
//! and runs a batch in the smallest size that holds it, with zeros behind. In 16 bits a
//! request's bytes go into pinned memory that the device copies from, and an output's
//! pinned memory is the reply's; in `f32` they go through tensors.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use raddle::Pinned;
use raddle_models::gpu::{Feed, GpuSession};
use raddle_models::{Error, Precision};
use raddle_server::config::ModelConfig;
use raddle_server::model::{Batch, BatchInput, Instance, ModelError, Outcome, Output, Signature};
use raddle_server::tensor::Datatype;
use raddle_tensor::graph::Graph;
use raddle_tensor::{Error as TensorError, Value};
use rayon::prelude::*;

use super::devices::Devices;
use super::onnx::{Pictures, bytes_of, failed, input_id, read, write};

/// From here on the parts of a batch are copied by several threads.
const PARALLEL_BYTES_MIN: usize = 1 << 21;

/// A model on GPUs: its weights on each device that instances were placed on.
pub struct OnGpus {
    devices: Arc<Devices>,
    precision: Precision,
    /// Numbers of rows that programs are made for; empty if requests are not put
    /// together.
    sizes: Vec<usize>,
    /// Shapes of the inputs, the rows' dimension included, where all but that are known.
    shapes: Option<Vec<Vec<usize>>>,
    /// A session that others share weights with, by device.
    first: Mutex<HashMap<String, GpuSession>>,
}

impl OnGpus {
    /// Reads what the configuration says of GPUs.
    pub fn new(
        devices: Arc<Devices>,
        signature: &Signature,
        model: &Signature,
        config: &ModelConfig,
    ) -> Result<Self, ModelError> {
        let precision = match config.parameters.get("precision").map(String::as_str) {
            None | Some("f32") => Precision::F32,
            Some("f16") => Precision::F16,
            Some("bf16") => Precision::BF16,
            Some(other) => {
                return Err(failed(format!(
                    "parameter precision is {other:?}, expected f32, f16 or bf16"
                )));
            }
        };
        let mut complete = config.clone();
        // What does not fit the model is the server's to refuse, as it does next.
        let sizes = match complete.complete(signature) {
            Ok(()) => sizes(&complete),
            Err(_) => Vec::new(),
        };
        let is_batching = !sizes.is_empty();
        let shapes = model.inputs.iter().map(|spec| {
            let rest = spec.shape.iter().enumerate().map(|(axis, &dim)| match axis {
                0 if is_batching => Some(1),
                _ => usize::try_from(dim).ok(),
            });
            rest.collect::<Option<Vec<usize>>>()
        });
        let shapes = shapes.collect();
        Ok(Self { devices, precision, sizes, shapes, first: Mutex::default() })
    }

    /// An instance on a device, with its programs.
    pub fn instance(
        &self,
        device: &str,
        graph: &Graph,
        pictures: Option<Arc<Pictures>>,
    ) -> Result<OnGpu, ModelError> {
        let opened = self.devices.open(device)?;
        let session = {
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            match first.get(device) {
                Some(session) => session.sibling(),
                None => {
                    let session = GpuSession::new(graph, &opened, self.precision);
                    let session = session.map_err(|error| refused(&error))?;
                    first.entry(device.to_owned()).or_insert(session).sibling()
                }
            }
        };
        let session = session.map_err(|error| refused(&error))?;
        if let Some(shapes) = &self.shapes {
            let sizes = if self.sizes.is_empty() { &[1][..] } else { &self.sizes };
            for &rows in sizes {
                let mut shapes = shapes.clone();
                if !self.sizes.is_empty() {
                    shapes.iter_mut().for_each(|shape| shape[0] = rows);
                }
                session.prepare(&shapes).map_err(|error| refused(&error))?;
            }
        }
        Ok(OnGpu { session, pictures, sizes: self.sizes.clone() })
    }

    /// Bytes of weights by device, where the model's own are `bytes`.
    pub fn memory_bytes(&self, graph: &Graph) -> Vec<(String, u64)> {
        let bytes: u64 = graph.constants.iter().map(|(_, tensor)| bytes_of(tensor)).sum();
        let bytes = if self.precision == Precision::F32 { bytes } else { bytes / 2 };
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.keys().map(|device| (device.clone(), bytes)).collect()
    }
}

/// Numbers of rows that get programs: one, those that the configuration prefers, or
/// powers of two where it prefers none, and the largest.
fn sizes(config: &ModelConfig) -> Vec<usize> {
    let max = config.max_batch_size.unwrap_or(0);
    if max == 0 {
        return Vec::new();
    }
    let preferred = &config.batching.preferred_sizes;
    let between: Vec<usize> = match preferred.is_empty() {
        true => (1..usize::BITS).map(|n| 1 << n).take_while(|&n| n < max).collect(),
        false => preferred.clone(),
    };
    let mut sizes: Vec<usize> = [1].into_iter().chain(between).chain([max]).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// Why a model has no instance on a GPU.
fn refused(error: &Error) -> ModelError {
    match error {
        Error::NotOnGpu { .. } | Error::Precision { .. } => {
            failed(format!("{error}; place it with instance_group {{ kind: KIND_CPU }}"))
        }
        error => failed(error),
    }
}

/// A model on a GPU.
pub struct OnGpu {
    session: GpuSession,
    pictures: Option<Arc<Pictures>>,
    sizes: Vec<usize>,
}

impl Instance for OnGpu {
    fn run(&mut self, batch: &Batch<'_>) -> Result<Outcome, ModelError> {
        let ran = match self.session.is_pinned() {
            true => self.run_pinned(batch),
            false => self.run_tensors(batch),
        };
        // Whatever it was that failed: nothing works on a lost device.
        match ran {
            Err(error) if self.session.device().is_lost() => {
                Err(ModelError::Lost(error.to_string()))
            }
            ran => ran,
        }
    }
}

impl OnGpu {
    /// Rows of the program that runs a batch.
    fn rows(&self, batch: &Batch<'_>) -> usize {
        let fits = self.sizes.iter().find(|&&size| size >= batch.rows);
        fits.copied().unwrap_or(batch.rows)
    }

    fn error(&self, error: Error) -> ModelError {
        match error {
            Error::Graph(error @ TensorError::InputType { .. }) => {
                ModelError::BadInput(error.to_string())
            }
            error => failed(error),
        }
    }

    /// In 16 bits: through pinned memory.
    fn run_pinned(&self, batch: &Batch<'_>) -> Result<Outcome, ModelError> {
        let rows = self.rows(batch);
        let (mut shapes, mut tensors) = (Vec::new(), Vec::new());
        for input in &batch.inputs {
            let tensor = self.pictures.as_ref().map(|it| it.tensor(input)).transpose()?;
            if tensor.is_none() && input.datatype != Datatype::Fp32 {
                let found = input.datatype.name();
                return Err(failed(format!("input {} is {found}, expected FP32", input.name)));
            }
            let mut shape = tensor.as_ref().map_or(&input.shape[..], |it| it.shape()).to_vec();
            self.pad(&mut shape, rows);
            shapes.push(shape);
            tensors.push(tensor);
        }
        let writes = batch.inputs.iter().zip(&tensors).map(|(input, tensor)| {
            move |target: &mut [f32]| match tensor {
                Some(tensor) => {
                    let elements = tensor.elements::<f32>().expect("pictures are floats");
                    target[..elements.len()].copy_from_slice(elements);
                    target[elements.len()..].fill(0.0);
                }
                None => copy_to(input, bytemuck::cast_slice_mut(target)),
            }
        });
        let writes: Vec<_> = writes.collect();
        let feeds = batch.inputs.iter().zip(&shapes).zip(&writes);
        let feeds = feeds.map(|((input, shape), write)| Feed { name: input.name, shape, write });
        let feeds: Vec<_> = feeds.collect();
        let (fetched, phases) = self.session.run_pinned(&feeds).map_err(|it| self.error(it))?;
        let outputs = fetched.into_iter().map(|it| {
            let data = Bytes::from_owner(PinnedBytes(it.elements));
            self.cut(Output { shape: it.shape, data }, batch.rows)
        });
        Ok(Outcome {
            outputs: outputs.collect(),
            copy_in: phases.copy_in,
            compute: phases.compute,
            copy_out: phases.copy_out,
        })
    }

    /// In the model's own types.
    fn run_tensors(&self, batch: &Batch<'_>) -> Result<Outcome, ModelError> {
        let began = Instant::now();
        let rows = self.rows(batch);
        let graph = self.session.graph();
        let mut inputs = Vec::with_capacity(batch.inputs.len());
        for input in &batch.inputs {
            let tensor = match &self.pictures {
                Some(pictures) => pictures.tensor(input)?,
                None => {
                    let mut shape = input.shape.clone();
                    self.pad(&mut shape, rows);
                    read(graph, input_id(graph, input)?, input, &shape)?
                }
            };
            inputs.push((input.name, Value::Tensor(tensor)));
        }
        let copied = Instant::now();
        let values = self.session.run(inputs).map_err(|it| self.error(it))?;
        let computed = Instant::now();
        let outputs = values.into_iter().map(|(_, value)| Ok(self.cut(write(value)?, batch.rows)));
        Ok(Outcome {
            outputs: outputs.collect::<Result<_, ModelError>>()?,
            copy_in: copied - began,
            compute: computed - copied,
            copy_out: computed.elapsed(),
        })
    }

    fn pad(&self, shape: &mut [usize], rows: usize) {
        if let (false, Some(first)) = (self.sizes.is_empty(), shape.first_mut()) {
            *first = rows;
        }
    }

    /// An output without the rows behind the batch's own.
    fn cut(&self, output: Output, rows: usize) -> Output {
        let Output { mut shape, data } = output;
        let all = shape.first().copied().unwrap_or(1);
        if self.sizes.is_empty() || rows >= all {
            return Output { shape, data };
        }
        shape[0] = rows;
        let bytes = data.len() / all * rows;
        Output { shape, data: data.slice(..bytes) }
    }
}

/// Copies an input's parts to the head of `target`, with zeros behind: the one copy of
/// a request's data.
fn copy_to(input: &BatchInput<'_>, target: &mut [u8]) {
    let len = input.len_bytes();
    let (head, tail) = target.split_at_mut(len);
    tail.fill(0);
    if len < PARALLEL_BYTES_MIN {
        input.copy_to(head);
        return;
    }
    let mut rest = head;
    let mut pieces = Vec::with_capacity(input.parts.len());
    for part in &input.parts {
        let (piece, behind) = rest.split_at_mut(part.len());
        pieces.push((part, piece));
        rest = behind;
    }
    pieces.into_par_iter().for_each(|(part, piece)| part.copy_to(piece));
}

/// Pinned elements as a reply's bytes.
struct PinnedBytes(Pinned<f32>);

impl AsRef<[u8]> for PinnedBytes {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}
