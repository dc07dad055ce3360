//! Instances of ONNX models on a GPU: each has a stream and captured programs of its
//! own, and shares weights with the others of its model on the device.
//!
//! A program belongs to one number of rows, and making one takes far longer than
//! running it. So an instance makes programs for some sizes before it takes requests,
//! and runs a batch in the smallest size that holds it. In 16 bits a request's bytes go
//! into pinned memory that the device copies from, as soon as they are there (`staging`);
//! pixels become floats on the device; and an output's pinned memory is the reply's. In
//! `f32` they go through tensors, with zeros behind.

mod staging;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use raddle::Pinned;
use raddle_models::gpu::{Feed, GpuSession, Piece};
use raddle_models::{Error, Precision};
use raddle_server::config::ModelConfig;
use raddle_server::model::{
    Batch, BatchInput, Instance, ModelError, Outcome, Output, Signature, Staged, Tell,
};
use raddle_server::tensor::{Datatype, Tensor};
use raddle_tensor::graph::Graph;
use raddle_tensor::{Error as TensorError, Value};
use rayon::prelude::*;

use super::devices::Devices;
use super::onnx::{Pictures, bytes_of as bytes_of_weights, failed, input_id, read, write};
use staging::{Held, Kind, Pool, ROW_BYTES_MIN, bytes_of};

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
    /// Where inputs wait for their batch; made for the first instance.
    pool: OnceLock<Arc<Pool>>,
    /// Whether sessions take inputs from there; known with the first one.
    is_pinned: OnceLock<bool>,
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
            Some("tf32") => Precision::TF32,
            Some("f16") => Precision::F16,
            Some("bf16") => Precision::BF16,
            Some(other) => {
                return Err(failed(format!(
                    "parameter precision is {other:?}, expected f32, tf32, f16 or bf16"
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
        let (first, pool, is_pinned) = (Mutex::default(), OnceLock::new(), OnceLock::new());
        Ok(Self { devices, precision, sizes, shapes, first, pool, is_pinned })
    }

    /// Whether inputs are copied when they come: as they are, to sessions in 16 bits.
    pub fn is_staging(&self, pictures: Option<&Pictures>) -> bool {
        let is_half = matches!(self.precision, Precision::F16 | Precision::BF16);
        is_half && pictures.is_none_or(|it| !it.are_encoded())
    }

    /// Copies an input to where an instance wants it; `None` before there is one, if it
    /// wants none, or if there is no room.
    pub fn stage(&self, tensor: &Tensor) -> Option<Staged> {
        self.is_pinned.get().filter(|is_pinned| **is_pinned)?;
        let rows = if self.sizes.is_empty() { 1 } else { *tensor.shape.first()? };
        let held = self.pool.get()?.hold(&tensor.data, rows)?;
        Some(Box::new(held))
    }

    /// An instance on a device, with its programs.
    pub fn instance(
        &self,
        device: &str,
        graph: &Graph,
        pictures: Option<Arc<Pictures>>,
        tell: Tell<'_>,
    ) -> Result<OnGpu, ModelError> {
        tell("opens the device");
        let opened = self.devices.open(device)?;
        let session = {
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            match first.get(device) {
                Some(session) => session.sibling(),
                None => {
                    tell("brings the weights to the device");
                    let session = GpuSession::new(graph, &opened, self.precision);
                    let mut session = session.map_err(|error| refused(&error))?;
                    let taker =
                        pictures.as_ref().filter(|_| session.is_pinned()).map(|it| it.taker());
                    if let Some(taker) = taker {
                        let taken = session.take_pixels(taker.table(), taker.is_channels_first());
                        taken.map_err(|error| refused(&error))?;
                    }
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
                tell(&format!(
                    "makes the program for {rows} rows, with kernels that no cache has yet"
                ));
                session.prepare(&shapes).map_err(|error| refused(&error))?;
            }
        }
        let kind = if pictures.is_some() { Kind::Pixels } else { Kind::Floats };
        self.is_pinned.get_or_init(|| session.is_pinned());
        let pool = self.pool.get_or_init(|| Pool::new(&opened, kind));
        Ok(OnGpu { session, pictures, sizes: self.sizes.clone(), pool: Arc::clone(pool) })
    }

    /// Bytes of weights by device, where the model's own are `bytes`.
    pub fn memory_bytes(&self, graph: &Graph) -> Vec<(String, u64)> {
        let bytes: u64 = graph.constants.iter().map(|(_, tensor)| bytes_of_weights(tensor)).sum();
        let is_wide = matches!(self.precision, Precision::F32 | Precision::TF32);
        let bytes = if is_wide { bytes } else { bytes / 2 };
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
        Error::NotOnGpu { .. } => {
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
    pool: Arc<Pool>,
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
        let began = Instant::now();
        let rows = self.rows(batch);
        let (mut shapes, mut inputs) = (Vec::new(), Vec::new());
        let mut before = Duration::ZERO;
        for input in &batch.inputs {
            if self.pictures.is_none() && input.datatype != Datatype::Fp32 {
                let found = input.datatype.name();
                return Err(failed(format!("input {} is {found}, expected FP32", input.name)));
            }
            let mut shape = match &self.pictures {
                Some(pictures) => pictures.taker().shape(input.shape[0]).to_vec(),
                None => input.shape.clone(),
            };
            self.pad(&mut shape, rows);
            shapes.push(shape);
            let (pieces, took) = self.pieces(input, rows)?;
            inputs.push(pieces);
            before += took;
        }
        let lens: Vec<usize> = inputs.iter().flatten().map(Piece::len).collect();
        let feeds = batch.inputs.iter().zip(&shapes).zip(inputs);
        let feeds = feeds.map(|((input, shape), pieces)| Feed { name: input.name, shape, pieces });
        let feeds = feeds.collect();
        let copied = began.elapsed();
        let ran = self.session.run_pinned(feeds).map_err(|error| {
            lens.into_iter().for_each(|len| self.pool.forget(len));
            self.error(error)
        })?;
        ran.pieces.into_iter().flatten().for_each(|piece| self.pool.put(piece));
        let outputs = ran.outputs.into_iter().map(|it| {
            let data = Bytes::from_owner(PinnedBytes(it.elements));
            self.cut(Output { shape: it.shape, data }, batch.rows)
        });
        Ok(Outcome {
            outputs: outputs.collect(),
            copy_in: before + copied + ran.phases.copy_in,
            compute: ran.phases.compute,
            copy_out: ran.phases.copy_out,
        })
    }

    /// An input in pinned memory for a program of so many rows, and the mean time that it
    /// took to put those parts there that came before their turn.
    fn pieces(
        &self,
        input: &BatchInput<'_>,
        rows: usize,
    ) -> Result<(Vec<Piece>, Duration), ModelError> {
        let is_batching = !self.sizes.is_empty();
        let own = if is_batching { input.shape[0].max(1) } else { 1 };
        let pictures = self.pictures.as_ref().filter(|it| it.are_encoded());
        let row_bytes = match pictures {
            Some(pictures) => pictures.taker().len(),
            None => input.len_bytes() / own,
        };
        if pictures.is_none() && row_bytes >= ROW_BYTES_MIN {
            return self.long_rows(input, row_bytes);
        }
        let len = row_bytes * if is_batching { rows } else { 1 };
        let mut piece = self.pool.piece(len).map_err(|it| self.error(it))?;
        let head = &mut bytes_of(&mut piece)[..row_bytes * own];
        let written = match pictures {
            Some(pictures) => pictures.write(input, head),
            None => {
                input.copy_to(head);
                Ok(())
            }
        };
        match written {
            Ok(()) => Ok((vec![piece], Duration::ZERO)),
            Err(error) => {
                self.pool.put(piece);
                Err(error)
            }
        }
    }

    /// A piece for each row. What did not come before its turn is copied now, by several
    /// threads if there is much of it.
    fn long_rows(
        &self,
        input: &BatchInput<'_>,
        row_bytes: usize,
    ) -> Result<(Vec<Piece>, Duration), ModelError> {
        let (mut took, mut pieces) = (Duration::ZERO, Vec::new());
        let (mut missing, mut places) = (Vec::new(), Vec::new());
        for (part, staged) in input.parts.iter().zip(&input.staged) {
            let held = staged.and_then(|staged| staged.downcast_ref::<Held>());
            if let Some((staged, time)) = held.and_then(Held::take) {
                took += time;
                pieces.extend(staged.into_iter().map(Some));
                continue;
            }
            let mut rest = (*part).clone();
            while let Some(row) = rest.split_to(row_bytes) {
                places.push(pieces.len());
                missing.push(row);
                pieces.push(None);
            }
        }
        let copied: Vec<Result<Piece, Error>> = match missing.len() * row_bytes < PARALLEL_BYTES_MIN
        {
            true => missing.iter().map(|row| self.pool.copied(row)).collect(),
            false => missing.par_iter().map(|row| self.pool.copied(row)).collect(),
        };
        let mut failure = None;
        for (place, copied) in places.into_iter().zip(copied) {
            match copied {
                Ok(piece) => pieces[place] = Some(piece),
                Err(error) => failure = Some(self.error(error)),
            }
        }
        let pieces = pieces.into_iter().flatten();
        let Some(failure) = failure else {
            let count = u32::try_from(input.parts.len()).unwrap_or(u32::MAX).max(1);
            return Ok((pieces.collect(), took / count));
        };
        pieces.for_each(|piece| self.pool.put(piece));
        Err(failure)
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

/// Pinned elements as a reply's bytes.
struct PinnedBytes(Pinned<f32>);

impl AsRef<[u8]> for PinnedBytes {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use raddle_server::model::TensorSpec;
    use raddle_server::tensor::{Rope, join_strings};
    use raddle_tensor::graph::{Dim, Node, ValueType};
    use raddle_tensor::{DType, ops};

    use super::super::devices::Choice;
    use super::*;

    const JPEG: &[u8] = include_bytes!("../../tests/cli/tiny.jpg");

    /// Edge of the pictures, whose rows are long enough to be staged.
    const EDGE: usize = 148;
    const AREA: usize = EDGE * EDGE;

    /// The mean of each channel of pictures.
    fn means() -> Graph {
        let mut graph = Graph::default();
        let dims = [Dim::Symbol("n".into()), Dim::Fixed(3), Dim::Fixed(EDGE), Dim::Fixed(EDGE)];
        let declared = ValueType::Tensor(DType::F32, Some(dims.into()));
        let input = graph.add_value("x", Some(declared));
        graph.inputs.push(input);
        let output = graph.add_value("y", None);
        let node = Node {
            name: String::new(),
            op: ops::find("", "GlobalAveragePool", 17).unwrap(),
            inputs: vec![Some(input)],
            outputs: vec![Some(output)],
            attributes: Default::default(),
            opset: 17,
        };
        graph.add_node(node).unwrap();
        graph.outputs.push(output);
        graph
    }

    fn config(format: &str) -> ModelConfig {
        let parameters = [("precision", "f16"), ("input_format", format), ("std", "1,1,1")];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let parameters = parameters.into_iter().filter(|(_, value)| !value.is_empty());
        let mut config = ModelConfig::default();
        (config.max_batch_size, config.parameters) = (Some(4), parameters.collect());
        config.batching.preferred_sizes = vec![4];
        config.parameters.insert("mean".into(), "0,0,0".into());
        config
    }

    /// An instance on the simulator, and what its inputs are copied by.
    fn instance(format: &str) -> (OnGpus, OnGpu) {
        let (graph, config) = (means(), config(format));
        let pictures = Pictures::of(&graph, &config).unwrap();
        let spec = |name: &str, shape: &[i64]| TensorSpec {
            name: name.into(),
            datatype: Datatype::Fp32,
            shape: shape.to_vec(),
            is_optional: false,
        };
        let signature = Signature {
            inputs: vec![spec("x", &[-1, 3, EDGE as i64, EDGE as i64])],
            outputs: vec![spec("y", &[-1, 3, 1, 1])],
            has_rows: true,
        };
        let devices = Devices::find(Choice::Simulator).unwrap();
        let gpus = OnGpus::new(devices, &signature, &signature, &config).unwrap();
        assert_eq!(gpus.is_staging(pictures.as_deref()), format != "encoded");
        assert!(gpus.stage(&row(Datatype::Uint8, &[0; 3 * AREA])).is_none(), "nobody is there");
        let told = RefCell::new(Vec::new());
        let tell = |what: &str| told.borrow_mut().push(what.to_owned());
        let instance = gpus.instance("gpu:0", &graph, pictures, &tell).unwrap();
        let programs = told.borrow().iter().filter(|it| it.contains("the program for")).count();
        assert_eq!(programs, 2, "of 1 and 4 rows: {told:?}");
        (gpus, instance)
    }

    /// A request's only row.
    fn row(datatype: Datatype, bytes: &[u8]) -> Tensor {
        let shape = match datatype {
            Datatype::Fp32 => vec![1, 3, EDGE, EDGE],
            Datatype::Uint8 => vec![1, EDGE, EDGE, 3],
            _ => vec![1, 1],
        };
        Tensor { name: "x".into(), datatype, shape, data: bytes.to_vec().into() }
    }

    /// Runs a batch of one row each, of which some are staged, and gives the outputs.
    fn run(format: &str, datatype: Datatype, rows: &[Vec<u8>], staged: &[usize]) -> Vec<f32> {
        let (gpus, mut instance) = instance(format);
        let parts: Vec<Rope> = rows.iter().map(|row| Rope::from(row.clone())).collect();
        let held = |(at, bytes): (usize, &Vec<u8>)| {
            staged.contains(&at).then(|| gpus.stage(&row(datatype, bytes)).unwrap())
        };
        let held: Vec<Option<Staged>> = rows.iter().enumerate().map(held).collect();
        let mut shape = row(datatype, &[]).shape;
        shape[0] = rows.len();
        // What is taken once is not there a second time, as when a batch is run again.
        let [first, second]: [Vec<f32>; 2] = [(); 2].map(|()| {
            let staged = held.iter().map(Option::as_deref).collect();
            let (parts, shape) = (parts.iter().collect(), shape.clone());
            let input = BatchInput { name: "x", datatype, shape, parts, staged };
            let batch = Batch { inputs: vec![input], rows: rows.len() };
            let outcome = instance.run(&batch).unwrap();
            assert_eq!(outcome.outputs[0].shape, [rows.len(), 3, 1, 1]);
            let data = &outcome.outputs[0].data;
            let floats = data.chunks_exact(4).map(|it| f32::from_le_bytes(it.try_into().unwrap()));
            floats.collect()
        });
        assert_eq!(first, second);
        first
    }

    #[track_caller]
    fn assert_near(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 2e-3, "{found}, expected {expected}");
        }
    }

    #[test]
    fn floats_and_pixels_come_before_their_turn_or_at_it() {
        // Three pictures of one colour each, in four programs' rows.
        let colours = [[0u8, 51, 255], [255, 0, 102], [204, 153, 51]];
        let expected: Vec<f32> =
            colours.as_flattened().iter().map(|&it| f32::from(it) / 255.0).collect();
        let pixels = colours.map(|colour| colour.repeat(AREA));
        let floats = colours.map(|colour| {
            let planes = colour.map(|it| (f32::from(it) / 255.0).to_le_bytes().repeat(AREA));
            planes.concat()
        });
        for staged in [&[0, 2][..], &[0, 1, 2]] {
            assert_near(&run("uint8", Datatype::Uint8, &pixels, staged), &expected);
            assert_near(&run("", Datatype::Fp32, &floats, staged), &expected);
        }
    }

    #[test]
    fn files_are_decoded_beside_each_other() {
        let files = [JPEG, JPEG].map(|file| join_strings([file]));
        let found = run("encoded", Datatype::Bytes, &files, &[]);
        assert_eq!(found[..3], found[3..]);
        assert!(found.iter().all(|mean| (0.2..0.8).contains(mean)), "{found:?}");
    }
}
