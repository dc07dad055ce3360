//! ONNX models as `raddle-server` serves them, on the CPU or on GPUs (`gpu`).
//!
//! A request's bytes are copied once, into the batch's tensor or to where a GPU copies
//! from, and an output's elements are the reply's bytes. Floats of pictures can come as 8-bit pixels or as
//! JPEG and PNG files, if the model's configuration says so in `parameters`:
//! `input_format` is `uint8` or `encoded`, `mean` and `std` are `R,G,B`. Another
//! parameter, `precision`, is the type that a GPU computes in: `f32`, `tf32`, `f16` or `bf16`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use half::{bf16, f16};
use raddle_cuda::{GpuUse, Nvml};
use raddle_server::config::ModelConfig;
use raddle_server::model::{
    Backend, Batch, BatchInput, Device, Instance, Model, ModelError, Outcome, Output, Signature,
    Source, Staged, Tell, TensorSpec,
};
use raddle_server::tensor::{Datatype, Tensor as Wire, join_strings, strings};
use raddle_tensor::graph::{Dim, Graph, ValueId, ValueType};
use raddle_tensor::{DType, Data, Error as TensorError, Plan, Tensor, Value};
use rayon::prelude::*;

use super::devices::Devices;
use super::gpu::OnGpus;
use crate::run::images::{PictureOptions, Taker};
use crate::run::required;

/// Loads ONNX files.
pub struct OnnxBackend {
    /// Where they can be run.
    pub devices: Arc<Devices>,
}

impl Backend for OnnxBackend {
    fn platform(&self) -> &str {
        "raddle_onnx"
    }

    fn file_names(&self) -> &[&str] {
        &["model.onnx"]
    }

    fn devices(&self) -> Vec<Device> {
        self.devices.named()
    }

    fn gpus(&self) -> Vec<Device> {
        // Without NVML there is nothing to tell, which `raddle doctor` explains.
        let found = Nvml::load().and_then(Nvml::gpus).unwrap_or_default();
        let device = |(number, gpu): (usize, GpuUse)| Device {
            name: format!("gpu:{number}"),
            uuid: gpu.uuid,
            memory: gpu.memory,
            utilisation: gpu.utilisation,
            power_watts: gpu.power_watts,
        };
        found.into_iter().enumerate().map(device).collect()
    }

    fn load(&self, source: &Source<'_>) -> Result<Arc<dyn Model>, ModelError> {
        let graph = raddle_onnx::load_graph(source.file).map_err(failed)?;
        let pictures = Pictures::of(&graph, source.config)?;
        let own = signature(&graph)?;
        let mut signature = own.clone();
        if let Some(pictures) = &pictures {
            pictures.change(&mut signature);
        }
        let gpus = OnGpus::new(Arc::clone(&self.devices), &signature, &own, source.config)?;
        Ok(Arc::new(Served { graph, plan: Mutex::default(), pictures, signature, gpus }))
    }
}

pub fn failed(why: impl ToString) -> ModelError {
    ModelError::Failed(why.to_string())
}

pub fn bytes_of(tensor: &Tensor) -> u64 {
    (tensor.len() * tensor.dtype().bits().div_ceil(8)) as u64
}

/// A loaded model; instances share it.
struct Served {
    /// As it was written: each kind of device has passes of its own.
    graph: Graph,
    /// For the CPU, once an instance is there.
    plan: Mutex<Option<Plan>>,
    pictures: Option<Arc<Pictures>>,
    signature: Signature,
    gpus: OnGpus,
}

impl Model for Served {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn instance(&self, device: &str, tell: Tell<'_>) -> Result<Box<dyn Instance>, ModelError> {
        let pictures = self.pictures.clone();
        if device == "cpu" {
            let mut kept = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
            let plan = match &*kept {
                Some(plan) => plan.clone(),
                None => {
                    let plan = Plan::new(self.graph.clone()).and_then(Plan::optimised);
                    kept.insert(plan.map_err(failed)?).clone()
                }
            };
            return Ok(Box::new(OnCpu { plan, pictures }));
        }
        Ok(Box::new(self.gpus.instance(device, &self.graph, pictures, tell)?))
    }

    fn is_staging(&self) -> bool {
        self.gpus.is_staging(self.pictures.as_deref())
    }

    fn stage(&self, _: usize, tensor: &Wire) -> Option<Staged> {
        self.gpus.stage(tensor)
    }

    fn memory_bytes(&self) -> Vec<(String, u64)> {
        let bytes = self.graph.constants.iter().map(|(_, tensor)| bytes_of(tensor)).sum();
        let mut all = vec![("cpu".into(), bytes)];
        all.extend(self.gpus.memory_bytes(&self.graph));
        all
    }
}

/// How pictures come in.
pub struct Pictures {
    taker: Taker,
    is_encoded: bool,
}

impl Pictures {
    /// What the parameters say; `None` if floats come in.
    pub fn of(graph: &Graph, config: &ModelConfig) -> Result<Option<Arc<Self>>, ModelError> {
        let parameter = |name: &str| config.parameters.get(name).map(String::as_str);
        let is_encoded = match parameter("input_format") {
            None => return Ok(None),
            Some("encoded") => true,
            Some("uint8") => false,
            Some(other) => {
                return Err(failed(format!(
                    "parameter input_format is {other:?}, expected uint8 or encoded"
                )));
            }
        };
        let options = PictureOptions::parse(parameter("mean"), parameter("std"));
        let options = options.map_err(|why| failed(format!("parameter mean or std: {why}")))?;
        let taker = Taker::of(graph, &options).map_err(failed)?;
        Ok(Some(Arc::new(Self { taker, is_encoded })))
    }

    /// What clients send instead of floats.
    fn change(&self, signature: &mut Signature) {
        let side = self.taker.side() as i64;
        let input = &mut signature.inputs[0];
        let rows = input.shape[0];
        (input.datatype, input.shape) = match self.is_encoded {
            true => (Datatype::Bytes, vec![rows, 1]),
            false => (Datatype::Uint8, vec![rows, side, side, 3]),
        };
    }

    /// What makes pixels the model's floats.
    pub fn taker(&self) -> &Taker {
        &self.taker
    }

    /// Whether files come and not pixels.
    pub fn are_encoded(&self) -> bool {
        self.is_encoded
    }

    /// Writes the pixels of a batch's pictures.
    pub fn write(&self, input: &BatchInput<'_>, target: &mut [u8]) -> Result<(), ModelError> {
        if !self.is_encoded {
            input.copy_to(target);
            return Ok(());
        }
        let files = strings(&gather(input).into(), input.name).map_err(failed)?;
        // The warm-up's empty texts stand for black pictures.
        let are_black = files.iter().all(Bytes::is_empty);
        let pictures = target.par_chunks_exact_mut(self.taker.len()).zip(&files);
        let decoded = pictures.map(|(target, file)| {
            match are_black {
                true => target.fill(0),
                false => target.copy_from_slice(&self.taker.decode(file)?),
            }
            Ok(())
        });
        decoded.collect::<Result<(), String>>().map_err(ModelError::BadInput)
    }

    /// The floats of a batch's pictures.
    pub fn tensor(&self, input: &BatchInput<'_>) -> Result<Tensor, ModelError> {
        let rows = input.shape[0];
        let mut pixels = vec![0; rows * self.taker.len()];
        self.write(input, &mut pixels)?;
        let mut floats = vec![0.0; pixels.len()];
        let pictures = pixels.par_chunks_exact(self.taker.len());
        let targets = floats.par_chunks_exact_mut(self.taker.len());
        pictures.zip(targets).for_each(|(pixels, target)| self.taker.normalise(pixels, target));
        Tensor::new(&self.taker.shape(rows), floats).map_err(failed)
    }
}

/// A model that runs on the CPU, on rayon's threads.
struct OnCpu {
    plan: Plan,
    pictures: Option<Arc<Pictures>>,
}

impl Instance for OnCpu {
    fn run(&mut self, batch: &Batch<'_>) -> Result<Outcome, ModelError> {
        let began = Instant::now();
        let graph = self.plan.graph();
        let mut inputs = Vec::with_capacity(batch.inputs.len());
        for input in &batch.inputs {
            let tensor = match &self.pictures {
                Some(pictures) => pictures.tensor(input)?,
                None => read(graph, input_id(graph, input)?, input, &input.shape)?,
            };
            inputs.push((input.name, Value::Tensor(tensor)));
        }
        let copied = Instant::now();
        let values = self.plan.run(inputs).map_err(|why| match why {
            // What the graph says of its inputs is about the request; so is an index
            // that the data holds.
            TensorError::InputType { .. } => ModelError::BadInput(why.to_string()),
            why => failed(why),
        })?;
        let computed = Instant::now();
        let outputs = values.into_iter().map(write).collect::<Result<_, _>>()?;
        Ok(Outcome {
            outputs,
            copy_in: copied - began,
            compute: computed - copied,
            copy_out: computed.elapsed(),
        })
    }
}

/// The graph's input that a batch's input is for.
pub fn input_id(graph: &Graph, input: &BatchInput<'_>) -> Result<ValueId, ModelError> {
    let id = graph.inputs.iter().find(|&&id| graph.name_of(id) == input.name);
    id.copied().ok_or_else(|| failed(format!("no input {}", input.name)))
}

/// Names, types and shapes of what a graph takes and gives.
fn signature(graph: &Graph) -> Result<Signature, ModelError> {
    let spec = |id: ValueId, is_optional| {
        let info = &graph.values[id.index()];
        let Some(ValueType::Tensor(dtype, Some(dims))) = &info.declared else {
            return Err(failed(format!(
                "{} is no tensor of a declared type and rank, as serving needs",
                info.name
            )));
        };
        let unknown = || failed(format!("{} is {dtype}, which the protocol has not", info.name));
        let shape = dims.iter().map(|dim| match dim {
            Dim::Fixed(len) => *len as i64,
            Dim::Symbol(_) | Dim::Unknown => -1,
        });
        Ok(TensorSpec {
            name: info.name.clone(),
            datatype: datatype(*dtype).ok_or_else(unknown)?,
            shape: shape.collect(),
            is_optional,
        })
    };
    let needed: Vec<ValueId> = required(graph).collect();
    let inputs = graph.inputs.iter().map(|id| spec(*id, !needed.contains(id)));
    let outputs = graph.outputs.iter().map(|id| spec(*id, false));
    let first = |id: &ValueId| match &graph.values[id.index()].declared {
        Some(ValueType::Tensor(_, Some(dims))) => dims.first(),
        _ => None,
    };
    // One symbol at the head of everything that is needed: those are rows.
    let ends: Vec<Option<&Dim>> = needed.iter().chain(&graph.outputs).map(first).collect();
    let has_rows = ends.iter().all(|dim| *dim == ends[0]) && needed.len() == graph.inputs.len();
    Ok(Signature {
        inputs: inputs.collect::<Result<_, _>>()?,
        outputs: outputs.collect::<Result<_, _>>()?,
        has_rows,
    })
}

fn datatype(dtype: DType) -> Option<Datatype> {
    Some(match dtype {
        DType::F64 => Datatype::Fp64,
        DType::F32 => Datatype::Fp32,
        DType::F16 => Datatype::Fp16,
        DType::BF16 => Datatype::Bf16,
        DType::I8 => Datatype::Int8,
        DType::I16 => Datatype::Int16,
        DType::I32 => Datatype::Int32,
        DType::I64 => Datatype::Int64,
        DType::U8 => Datatype::Uint8,
        DType::U16 => Datatype::Uint16,
        DType::U32 => Datatype::Uint32,
        DType::U64 => Datatype::Uint64,
        DType::Bool => Datatype::Bool,
        DType::String => Datatype::Bytes,
        DType::F8E4M3FN
        | DType::F8E4M3FNUZ
        | DType::F8E5M2
        | DType::F8E5M2FNUZ
        | DType::F8E8M0
        | DType::F4E2M1
        | DType::I2
        | DType::I4
        | DType::U2
        | DType::U4
        | DType::Complex64
        | DType::Complex128 => return None,
    })
}

fn gather(input: &BatchInput<'_>) -> Vec<u8> {
    let mut bytes = vec![0; input.len_bytes()];
    input.copy_to(&mut bytes);
    bytes
}

/// The one copy of a request's data: into `len` elements of the right type, with zeros
/// behind it.
fn elements<T: bytemuck::Pod>(input: &BatchInput<'_>, len: usize) -> Vec<T> {
    let mut elements = vec![T::zeroed(); len];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut elements);
    input.copy_to(&mut bytes[..input.len_bytes()]);
    elements
}

/// An input as a tensor of a shape that holds it.
pub fn read(
    graph: &Graph,
    id: ValueId,
    input: &BatchInput<'_>,
    shape: &[usize],
) -> Result<Tensor, ModelError> {
    let len = shape.iter().product();
    let Some(ValueType::Tensor(dtype, _)) = graph.values[id.index()].declared else {
        return Err(failed(format!("{} is no tensor", input.name)));
    };
    let data = match input.datatype {
        Datatype::Bool => {
            Data::new(elements::<u8>(input, len).iter().map(|&it| it != 0).collect::<Vec<_>>())
        }
        Datatype::Uint8 => Data::new(elements::<u8>(input, len)),
        Datatype::Uint16 => Data::new(elements::<u16>(input, len)),
        Datatype::Uint32 => Data::new(elements::<u32>(input, len)),
        Datatype::Uint64 => Data::new(elements::<u64>(input, len)),
        Datatype::Int8 => Data::new(elements::<i8>(input, len)),
        Datatype::Int16 => Data::new(elements::<i16>(input, len)),
        Datatype::Int32 => Data::new(elements::<i32>(input, len)),
        Datatype::Int64 => Data::new(elements::<i64>(input, len)),
        Datatype::Fp16 => {
            let bits = elements::<u16>(input, len).into_iter();
            Data::new(bits.map(f16::from_bits).collect::<Vec<_>>())
        }
        Datatype::Bf16 => {
            let bits = elements::<u16>(input, len).into_iter();
            Data::new(bits.map(bf16::from_bits).collect::<Vec<_>>())
        }
        Datatype::Fp32 => Data::new(elements::<f32>(input, len)),
        Datatype::Fp64 => Data::new(elements::<f64>(input, len)),
        Datatype::Bytes => {
            let texts = strings(&gather(input).into(), input.name).map_err(failed)?;
            let texts = texts.into_iter().map(|text| String::from_utf8(text.to_vec()));
            let texts: Result<Vec<String>, _> = texts.collect();
            let name = input.name;
            Data::new(texts.map_err(|_| ModelError::BadInput(format!("{name} is not UTF-8")))?)
        }
    };
    Tensor::from_data(shape, dtype, data).map_err(failed)
}

/// Elements that are the reply's bytes as they are.
struct Owned<T>(Arc<Vec<T>>);

impl<T: bytemuck::Pod> AsRef<[u8]> for Owned<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// A value as a reply's output.
pub fn write(value: Value) -> Result<Output, ModelError> {
    let kind = value.kind();
    let tensor = value.into_tensor().ok_or_else(|| failed(format!("an output is {kind}")))?;
    let shape = tensor.shape().to_vec();
    let data = match tensor.into_data() {
        Data::F64(it) => Bytes::from_owner(Owned(it)),
        Data::F32(it) => Bytes::from_owner(Owned(it)),
        Data::F16(it) => it.iter().flat_map(|it| it.to_le_bytes()).collect(),
        Data::BF16(it) => it.iter().flat_map(|it| it.to_le_bytes()).collect(),
        Data::I8(it) => Bytes::from_owner(Owned(it)),
        Data::I16(it) => Bytes::from_owner(Owned(it)),
        Data::I32(it) => Bytes::from_owner(Owned(it)),
        Data::I64(it) => Bytes::from_owner(Owned(it)),
        Data::U8(it) => Bytes::from_owner(Owned(it)),
        Data::U16(it) => Bytes::from_owner(Owned(it)),
        Data::U32(it) => Bytes::from_owner(Owned(it)),
        Data::U64(it) => Bytes::from_owner(Owned(it)),
        Data::Bool(it) => it.iter().map(|&it| u8::from(it)).collect(),
        Data::String(it) => join_strings(it.iter()).into(),
        Data::Complex64(_) | Data::Complex128(_) => {
            return Err(failed("an output is complex, which the protocol has not"));
        }
    };
    Ok(Output { shape, data })
}
