//! Models on a GPU.
//!
//! ```text
//! graph --passes--> graph --plan--> steps --lower, for given shapes--> launches in a CUDA graph
//! ```
//!
//! `plan` groups nodes into steps: a convolution takes the bias, the addition and the
//! activation behind it, and the shortcut of a residual block, into its own launch.
//! `lower` runs the steps to collect the convolutions, whose kernels are then loaded
//! beside each other, once more to pick kernels by measurement (`tune`, kept on disk by
//! `kept`), then captures them; memory of values goes back to the pool at their last use, so that the
//! capture's addresses are the memory plan. A program belongs to one set of input
//! shapes and is replayed with one driver call; a session keeps the latest ones.
//!
//! Values are images with channels last (`[image, row, column, channel]`, channels
//! rounded up to eights); `[batch, feature]` is an image of one pixel.

mod convolution;
mod dense;
mod grouped;
mod half;
mod kept;
mod lower;
mod pinned;
mod plan;
mod recent;
mod tensor;
mod tune;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use raddle::device::{bf16, f16};
use raddle::{Buffer, Device, Graph as Captured, Stream};
use raddle_kernels::dense::Arithmetic;
use raddle_tensor::graph::{Dim, Graph, ValueType};
use raddle_tensor::{DType, Tensor, Value, passes};

use crate::{Precision, Result};

use dense::DenseSession;
use lower::{Lowering, Mode, Weights};
use plan::Step;
use recent::Recent;

pub use half::Route;
pub use pinned::{Feed, Fetched, Phases, Piece, PixelTable, Ran};

/// Passes of `raddle-tensor` that hold for every device.
const PASSES: [&str; 3] = ["fold-constants", "fold-batch-norm", "remove-dead"];

/// Those that keep every value's type and shape.
const DENSE_PASSES: [&str; 3] = ["fold-batch-norm", "fuse-attention", "remove-dead"];

/// A model on a GPU: its steps, its weights, and a program for each set of shapes.
#[derive(Debug)]
pub struct GpuSession {
    device: Device,
    stream: Stream,
    graph: Arc<Graph>,
    steps: Arc<[Step]>,
    weights: Typed,
    route: Route,
    /// What bytes of pictures mean, if they may come.
    pixels: Option<Arc<PixelTable>>,
    programs: Mutex<Programs>,
    /// Held while a program is made, since measurements disturb each other; shared by
    /// sessions of one model.
    making: Arc<Mutex<()>>,
}

/// Programs by the shapes of inputs.
type Programs = Recent<Vec<Vec<usize>>, Mutex<Program>>;

/// Weights in the type that the session computes in.
#[derive(Debug)]
enum Typed {
    /// Values in their own types.
    Dense(DenseSession),
    F16(Arc<Weights<f16>>),
    BF16(Arc<Weights<bf16>>),
}

/// Captured launches for one set of input shapes.
struct Program {
    captured: Captured,
    inputs: Vec<Buffer<f32>>,
    outputs: Vec<(Vec<usize>, Buffer<f32>)>,
    /// Where inputs that come as pixels lie, made when they first come.
    staging: Vec<Option<Buffer<u8>>>,
    report: Vec<StepReport>,
    times: PrepareTimes,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("report", &self.report).finish_non_exhaustive()
    }
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// The nodes that it computes.
    pub nodes: String,
    /// The kernel, and the shape it has.
    pub kernel: String,
    /// Floating-point operations, where they are counted.
    pub flops: f64,
    /// Seconds that a launch took when kernels were measured, where they were.
    pub seconds: Option<f64>,
}

/// Where the time went until a program was ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrepareTimes {
    /// To pack and upload weights and to learn which convolutions there are.
    pub collect: Duration,
    /// To load their kernels.
    pub load: Duration,
    /// To measure which are fastest.
    pub measure: Duration,
    /// To capture the program.
    pub capture: Duration,
}

impl GpuSession {
    /// Plans `graph` for `device`.
    ///
    /// ## Errors
    /// [`crate::Error::Graph`] for a graph that is wrong, a failure of the runtime. What has no
    /// kernel shows when a program is made.
    pub fn new(graph: &Graph, device: &Device, precision: Precision) -> Result<Self> {
        match precision {
            Precision::F32 => Self::dense(graph, device, Arithmetic::F32),
            Precision::TF32 => Self::dense(graph, device, Arithmetic::TF32),
            Precision::F16 | Precision::BF16 => half::session(graph, device, precision),
        }
    }

    fn of(
        graph: Graph,
        device: &Device,
        steps: Vec<Step>,
        weights: Typed,
        route: Route,
    ) -> Result<Self> {
        let (device, stream) = (device.clone(), device.stream()?);
        let (graph, steps) = (Arc::new(graph), steps.into());
        let (programs, making) = (Mutex::default(), Arc::default());
        let pixels = None;
        Ok(Self { device, stream, graph, steps, weights, route, pixels, programs, making })
    }

    /// Another session of the same model with a stream and programs of its own: both
    /// run at once. Weights and choices of kernels are shared.
    ///
    /// ## Errors
    /// A failure of the runtime.
    pub fn sibling(&self) -> Result<Self> {
        let weights = match &self.weights {
            Typed::Dense(session) => Typed::Dense(session.sibling()),
            Typed::F16(weights) => Typed::F16(Arc::clone(weights)),
            Typed::BF16(weights) => Typed::BF16(Arc::clone(weights)),
        };
        Ok(Self {
            device: self.device.clone(),
            stream: self.device.stream()?,
            graph: Arc::clone(&self.graph),
            steps: Arc::clone(&self.steps),
            weights,
            route: self.route.clone(),
            pixels: self.pixels.clone(),
            programs: Mutex::default(),
            making: Arc::clone(&self.making),
        })
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The way that the model goes.
    #[must_use]
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// The model as it is run.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Values in their own types.
    fn dense(graph: &Graph, device: &Device, arithmetic: Arithmetic) -> Result<Self> {
        let mut graph = graph.clone();
        for pass in passes::PASSES.iter().filter(|pass| DENSE_PASSES.contains(&pass.name)) {
            (pass.run)(&mut graph)?;
        }
        let weights = Typed::Dense(DenseSession::new(&graph, arithmetic)?);
        Self::of(graph, device, Vec::new(), weights, Route::Dense)
    }

    /// Inputs of these shapes in the declared types, to prepare and to time with: floats
    /// all over -1 to 1, and zeros of other types, which may be indices.
    fn samples(&self, shapes: &[Vec<usize>]) -> Result<Vec<Tensor>> {
        let inputs = self.graph.inputs.iter().zip(shapes);
        let samples = inputs.map(|(&id, shape)| {
            let dtype = match self.graph.values[id.index()].declared {
                Some(ValueType::Tensor(dtype, _)) => dtype,
                _ => DType::F32,
            };
            let floats = || (0..shape.iter().product()).map(noise).collect::<Vec<f32>>();
            Ok(match dtype {
                DType::F16 | DType::BF16 | DType::F32 | DType::F64 => {
                    Tensor::computed(shape, dtype, floats())?
                }
                _ => Tensor::zeros(shape, dtype)?,
            })
        });
        samples.collect()
    }

    /// Runs the model; see [`crate::Session::run`].
    ///
    /// ## Errors
    /// As [`crate::Session::run`].
    pub fn run<N: AsRef<str>>(
        &self,
        inputs: impl IntoIterator<Item = (N, Value)>,
    ) -> Result<Vec<(String, Value)>> {
        let given: Vec<(N, Value)> = inputs.into_iter().collect();
        let inputs = self.arrange(&given)?;
        if let Typed::Dense(session) = &self.weights {
            let values = session.run(&self.graph, &self.stream, &inputs)?;
            let names = self.graph.outputs.iter().map(|&id| self.graph.name_of(id).to_owned());
            return Ok(names.zip(values).collect());
        }
        let shapes: Vec<_> = inputs.iter().map(|tensor| tensor.shape().to_vec()).collect();
        let program = self.program(&shapes)?;
        let mut program = lock(&program);
        let Program { captured, inputs: buffers, outputs, .. } = &mut *program;
        for (buffer, tensor) in buffers.iter_mut().zip(&inputs) {
            self.stream.write(buffer, tensor.elements::<f32>()?)?;
        }
        captured.launch(&self.stream)?;
        let names = self.graph.outputs.iter().map(|&id| self.graph.name_of(id).to_owned());
        names
            .zip(outputs)
            .map(|(name, (shape, buffer))| {
                let elements = self.stream.to_vec(&*buffer)?;
                Ok((name, Value::Tensor(Tensor::new(shape, elements)?)))
            })
            .collect()
    }

    /// Prepares the program for inputs of these shapes, in the model's order, and says
    /// what it does.
    ///
    /// ## Errors
    /// As [`crate::Session::run`].
    pub fn prepare(&self, shapes: &[Vec<usize>]) -> Result<Vec<StepReport>> {
        if let Typed::Dense(session) = &self.weights {
            let samples = self.samples(shapes)?;
            let mut report = session.report(&self.graph, &self.stream, &samples)?;
            if let Route::DenseHalf { .. } = self.route {
                let (nodes, kernel) = ("model".to_owned(), self.route.to_string());
                report.insert(0, StepReport { nodes, kernel, flops: 0.0, seconds: None });
            }
            return Ok(report);
        }
        Ok(lock(&*self.program(shapes)?).report.clone())
    }

    /// Where the time went until the program for such inputs was ready; nothing is
    /// known of a session in [`Precision::F32`].
    ///
    /// ## Errors
    /// As [`crate::Session::run`].
    pub fn prepare_times(&self, shapes: &[Vec<usize>]) -> Result<Option<PrepareTimes>> {
        if let Typed::Dense(_) = &self.weights {
            return Ok(None);
        }
        Ok(Some(lock(&*self.program(shapes)?).times))
    }

    /// Launches of kernels in the programs that a session in [`Precision::F32`] keeps, each
    /// program counted once: none where the host alone knows the outputs.
    #[must_use]
    pub fn launches(&self) -> Option<usize> {
        match &self.weights {
            Typed::Dense(session) => Some(session.launches()),
            Typed::F16(_) | Typed::BF16(_) => None,
        }
    }

    /// The time of one replay on the device in seconds, for each of `count` after
    /// `warm_up` more: inputs and outputs stay where they are.
    ///
    /// ## Errors
    /// As [`crate::Session::run`].
    pub fn time_replays(
        &self,
        shapes: &[Vec<usize>],
        warm_up: usize,
        count: usize,
    ) -> Result<Vec<f64>> {
        if let Typed::Dense(session) = &self.weights {
            let samples = self.samples(shapes)?;
            let replay = |n| session.replay(&self.graph, &self.stream, &samples, n);
            replay(warm_up)?;
            let times = (0..count).map(|_| {
                let (replayed, ms) = self.stream.time(|| replay(1))?;
                replayed.map(|()| ms / 1e3)
            });
            return times.collect();
        }
        let program = self.program(shapes)?;
        let program = lock(&program);
        for _ in 0..warm_up {
            program.captured.launch(&self.stream)?;
        }
        self.stream.synchronize()?;
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let (launched, ms) =
                self.stream.time(|| program.captured.launch(&self.stream).map(drop))?;
            launched?;
            times.push(ms / 1e3);
        }
        Ok(times)
    }

    /// The mean time in seconds of `count` replays in a row.
    ///
    /// ## Errors
    /// As [`crate::Session::run`].
    pub fn time_back_to_back(&self, shapes: &[Vec<usize>], count: usize) -> Result<f64> {
        if let Typed::Dense(session) = &self.weights {
            let samples = self.samples(shapes)?;
            session.replay(&self.graph, &self.stream, &samples, 0)?;
            let replay = || session.replay(&self.graph, &self.stream, &samples, count);
            let (replayed, ms) = self.stream.time(replay)?;
            replayed?;
            return Ok(ms / 1e3 / count as f64);
        }
        let program = self.program(shapes)?;
        let program = lock(&program);
        let (launched, ms) = self.stream.time(|| {
            (0..count).try_for_each(|_| program.captured.launch(&self.stream).map(drop))
        })?;
        launched?;
        Ok(ms / 1e3 / count as f64)
    }

    /// Holds the given values against the model's inputs.
    fn arrange<N: AsRef<str>>(&self, given: &[(N, Value)]) -> Result<Vec<Tensor>> {
        let graph = &self.graph;
        for (name, _) in given {
            if !graph.inputs.iter().any(|&id| graph.name_of(id) == name.as_ref()) {
                let why = format!("the model has no input {}", name.as_ref());
                return Err(raddle_tensor::Error::Invalid(why).into());
            }
        }
        let find = |name: &str| given.iter().find(|(own, _)| own.as_ref() == name);
        graph
            .inputs
            .iter()
            .map(|&id| {
                let name = graph.name_of(id);
                let invalid = |why: String| raddle_tensor::Error::Invalid(why);
                // An input with a constant of its own may be left out.
                let own = graph.constants.iter().find(|(own, _)| *own == id);
                let value = find(name).map(|(_, value)| value.clone());
                let value = value.or_else(|| own.map(|(_, tensor)| tensor.clone().into()));
                let value = value.ok_or_else(|| invalid(format!("input {name} is missing")))?;
                let tensor = value
                    .into_tensor()
                    .ok_or_else(|| invalid(format!("input {name} is no tensor")))?;
                let declared = &graph.values[id.index()].declared;
                let is_type_open = matches!(self.weights, Typed::Dense(_));
                if !fits(&tensor, declared.as_ref(), is_type_open) {
                    let found = format!("{}{:?}", tensor.dtype(), tensor.shape());
                    let why = format!("input {name} is {found}, expected {declared:?}");
                    return Err(invalid(why).into());
                }
                Ok(tensor)
            })
            .collect()
    }

    fn program(&self, shapes: &[Vec<usize>]) -> Result<Arc<Mutex<Program>>> {
        let mut programs = lock(&self.programs);
        if let Some(program) = programs.get(shapes) {
            return Ok(program);
        }
        let program = match &self.weights {
            Typed::F16(weights) => self.compile(weights, shapes)?,
            Typed::BF16(weights) => self.compile(weights, shapes)?,
            Typed::Dense(_) => unreachable!("dense sessions have programs of their own"),
        };
        Ok(programs.insert(shapes.to_vec(), Mutex::new(program)))
    }

    /// Tunes, then captures.
    fn compile<T: tensor::Half>(
        &self,
        weights: &Weights<T>,
        shapes: &[Vec<usize>],
    ) -> Result<Program> {
        let buffers = shapes.iter().map(|shape| {
            // Numbers that are no zeros, so that tuning measures what runs later.
            let len = shape.iter().product();
            Ok(self.stream.upload(&(0..len).map(noise).collect::<Vec<f32>>())?)
        });
        let inputs: Vec<Buffer<f32>> = buffers.collect::<Result<_>>()?;
        let lowering = |stream: &Stream, mode: Mode| {
            Lowering::new(&self.graph, &self.device, stream, &self.stream, weights, mode).run(
                &self.steps,
                shapes,
                &inputs,
            )
        };
        let _making = lock(&self.making);
        let mut clock = Instant::now();
        let mut lap = || {
            let now = Instant::now();
            now - std::mem::replace(&mut clock, now)
        };
        let choices = &weights.choices;
        // The first run tells what is not supported and loads what is no convolution.
        lowering(&self.stream, Mode::Collect)?;
        self.stream.synchronize()?;
        let collect = lap();
        choices.load::<T>(&self.device)?;
        let load = lap();
        lowering(&self.stream, Mode::Measure)?;
        self.stream.synchronize()?;
        choices.keep();
        let measure = lap();
        let mut failure = None;
        let captured = self.stream.capture(|stream| {
            lowering(stream, Mode::Compute).map_err(|error| {
                failure = Some(error);
                raddle::Error::Capture { operation: "lowering a model" }
            })
        });
        if let Some(error) = failure {
            return Err(error);
        }
        let (captured, lowered) = captured?;
        captured.upload(&self.stream)?;
        let times = PrepareTimes { collect, load, measure, capture: lap() };
        let (outputs, report) = (lowered.outputs, lowered.report);
        let staging = inputs.iter().map(|_| None).collect();
        Ok(Program { captured, inputs, outputs, staging, report, times })
    }
}

/// Whether a tensor is what is declared; without a declaration it has to be of `f32`
/// unless any type is good.
fn fits(tensor: &Tensor, declared: Option<&ValueType>, is_type_open: bool) -> bool {
    let (dtype, dims) = match declared {
        None => (if is_type_open { tensor.dtype() } else { DType::F32 }, None),
        Some(ValueType::Tensor(dtype, dims)) => (*dtype, dims.as_ref()),
        Some(_) => return false,
    };
    let has_kernels = is_type_open || dtype == DType::F32;
    let fits = |dims: &Vec<Dim>| {
        dims.len() == tensor.rank()
            && dims.iter().zip(tensor.shape()).all(|(dim, &len)| match dim {
                Dim::Fixed(fixed) => *fixed == len,
                Dim::Symbol(_) | Dim::Unknown => true,
            })
    };
    has_kernels && tensor.dtype() == dtype && dims.is_none_or(fits)
}

fn noise(at: usize) -> f32 {
    (at.wrapping_mul(0x9e37_79b9) >> 8 & 0xffff) as f32 / 32768.0 - 1.0
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{DENSE_PASSES, PASSES, passes};

    #[test]
    fn all_passes_exist() {
        for name in PASSES.iter().chain(&DENSE_PASSES) {
            assert!(passes::PASSES.iter().any(|pass| pass.name == *name), "{name}");
        }
    }
}
