//! Any model on a GPU: values of any rank and type in row-major order, each node a few
//! launches of kernels that hold for all shapes.
//!
//! What is known on the host stays there: constants, shapes, and what nodes make of
//! them. Where a kernel's launch depends on the elements of a run's input, a shape or a
//! list of axes, a program belongs to these elements as well; which inputs these are is
//! found when a program is made. A model whose shapes depend on elements of anything
//! longer than a list cannot run here, and is told so.

mod attended;
mod attention;
mod call;
mod elementwise;
mod follow;
mod grouped;
mod halves;
mod images;
mod indexed;
mod lazy;
mod movement;
mod norms;
mod products;
mod recurrent;
mod sums;
mod value;
mod windows;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use raddle::{Graph as Captured, Stream};
use raddle_kernels::dense::generated::Shelf;
use raddle_kernels::dense::{Arithmetic, Words};
use raddle_tensor::graph::{Graph, Node, NodeId, ValueId};
use raddle_tensor::{DType, Plan, Tensor, Value, evaluate};

use super::plan::refusal;
use super::recent::Recent;
use super::{StepReport, lock};
use crate::{Error, Result};

use call::Call;
use images::Images;
use lazy::Content;
use value::{Dense, Kit};

/// Longest input whose elements a program may depend on.
const LIST_LEN_MAX: usize = 64;

/// Why a node did not become launches.
#[derive(Debug)]
pub enum Failure {
    /// Something failed.
    Error(Error),
    /// An operation refused its operands.
    Tensor(raddle_tensor::Error),
    /// There is no kernel, for this reason.
    Why(String),
    /// The elements of a value have to be known on the host.
    NeedsHost(ValueId),
}

impl Failure {
    pub fn why(why: impl Into<String>) -> Self {
        Self::Why(why.into())
    }
}

impl From<raddle_tensor::Error> for Failure {
    fn from(error: raddle_tensor::Error) -> Self {
        Self::Tensor(error)
    }
}

impl From<raddle_kernels::Error> for Failure {
    fn from(error: raddle_kernels::Error) -> Self {
        Self::Error(error.into())
    }
}

impl From<raddle::Error> for Failure {
    fn from(error: raddle::Error) -> Self {
        Self::Error(error.into())
    }
}

/// A result of a node.
#[derive(Clone, Debug)]
pub enum Made {
    /// On the device.
    Device(Dense),
    /// Images on the device whose channels lie last; the value has them behind the images.
    Images(Images),
    /// Known when the program is made.
    Host(Tensor),
}

impl From<Images> for Made {
    fn from(images: Images) -> Self {
        Self::Images(images)
    }
}

impl From<Dense> for Made {
    fn from(dense: Dense) -> Self {
        Self::Device(dense)
    }
}

/// An output of a program.
enum Output {
    /// On the device.
    Device(Dense),
    /// The same in all runs.
    Host(Tensor),
    /// The input with this number, in another shape perhaps.
    Given(usize, Vec<usize>),
}

/// What a program was made for: each input's type, shape and, where they matter, elements.
type Key = Vec<(DType, Vec<usize>, Option<Vec<u64>>)>;

/// Captured launches for inputs of some types and shapes.
struct Program {
    /// None where nothing is launched.
    captured: Option<Captured>,
    /// Words of inputs that are on the device.
    inputs: Vec<Option<Arc<Words>>>,
    outputs: Vec<Output>,
    report: Vec<StepReport>,
    launches: usize,
    /// What the launches read.
    _uploads: Vec<Arc<Words>>,
}

/// Constants on the device.
#[derive(Default)]
struct Constants {
    /// As they are.
    uploaded: Mutex<HashMap<ValueId, Dense>>,
    /// Weights of convolutions with channels last.
    packed: Mutex<HashMap<ValueId, Dense>>,
    /// Floats of 16 bits as `f32`.
    widened: Mutex<HashMap<ValueId, Dense>>,
    /// Kernels that were written for the model.
    shelf: Shelf,
    /// Weights of convolutions in groups, which lie otherwise.
    grouped: Mutex<HashMap<ValueId, Dense>>,
}

/// A model on a GPU, in the types that it has.
pub struct DenseSession {
    order: Vec<NodeId>,
    arithmetic: Arithmetic,
    /// Inputs whose elements launches depend on.
    listed: Mutex<BTreeSet<usize>>,
    /// Shared by siblings.
    constants: Arc<Constants>,
    programs: Mutex<Recent<Key, Mutex<Program>>>,
}

impl std::fmt::Debug for DenseSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DenseSession").field("nodes", &self.order.len()).finish_non_exhaustive()
    }
}

impl DenseSession {
    /// A session of a graph whose numbers of `f32` are multiplied in a way.
    pub fn new(graph: &Graph, arithmetic: Arithmetic) -> Result<Self> {
        let order = Plan::new(graph.clone())?.order().collect();
        Ok(Self {
            order,
            arithmetic,
            listed: Mutex::default(),
            constants: Arc::default(),
            programs: Mutex::default(),
        })
    }

    /// A session of the same graph with programs of its own.
    pub fn sibling(&self) -> Self {
        Self {
            order: self.order.clone(),
            arithmetic: self.arithmetic,
            listed: Mutex::new(lock(&self.listed).clone()),
            constants: Arc::clone(&self.constants),
            programs: Mutex::default(),
        }
    }

    /// Runs the model with its inputs in order.
    pub fn run(&self, graph: &Graph, stream: &Stream, inputs: &[Tensor]) -> Result<Vec<Value>> {
        let program = self.program(graph, stream, inputs)?;
        let mut program = lock(&program);
        for (words, tensor) in program.inputs.iter_mut().zip(inputs) {
            if let Some(words) = words {
                let words = Arc::get_mut(words).expect("outputs do not hold inputs");
                value::write(stream, words, tensor)?;
            }
        }
        if let Some(captured) = &program.captured {
            captured.launch(stream)?;
        }
        let outputs = program.outputs.iter().map(|output| match output {
            Output::Device(dense) => value::read(stream, dense),
            Output::Host(tensor) => Ok(tensor.clone()),
            Output::Given(at, shape) => Ok(inputs[*at].clone().reshape(shape)?),
        });
        outputs.map(|tensor| tensor.map(Value::Tensor)).collect()
    }

    /// What the program for such inputs does.
    pub fn report(
        &self,
        graph: &Graph,
        stream: &Stream,
        inputs: &[Tensor],
    ) -> Result<Vec<StepReport>> {
        let program = self.program(graph, stream, inputs)?;
        let report = lock(&program).report.clone();
        Ok(report)
    }

    /// Launches of all programs that are kept, each counted once.
    pub fn launches(&self) -> usize {
        lock(&self.programs).values().map(|program| lock(program).launches).sum()
    }

    /// Replays the program `count` times, inputs and outputs as they are.
    pub fn replay(
        &self,
        graph: &Graph,
        stream: &Stream,
        inputs: &[Tensor],
        count: usize,
    ) -> Result<()> {
        let program = self.program(graph, stream, inputs)?;
        let program = lock(&program);
        let Some(captured) = &program.captured else { return Ok(()) };
        for _ in 0..count {
            captured.launch(stream)?;
        }
        Ok(())
    }

    fn program(
        &self,
        graph: &Graph,
        stream: &Stream,
        inputs: &[Tensor],
    ) -> Result<Arc<Mutex<Program>>> {
        let mut programs = lock(&self.programs);
        let mut listed = lock(&self.listed);
        loop {
            let key = inputs.iter().enumerate().map(|(at, tensor)| {
                let elements = listed.contains(&at).then(|| value::to_words(tensor)).flatten();
                (tensor.dtype(), tensor.shape().to_vec(), elements)
            });
            let key: Key = key.collect();
            if let Some(program) = programs.get(&key) {
                return Ok(program);
            }
            match self.compile(graph, stream, inputs, &listed) {
                Ok(program) => return Ok(programs.insert(key, Mutex::new(program))),
                Err((node, failure)) => self.learn(graph, inputs, &mut listed, node, failure)?,
            }
        }
    }

    /// Notes the inputs that a node's launch depends on; everything else is an error.
    fn learn(
        &self,
        graph: &Graph,
        inputs: &[Tensor],
        listed: &mut BTreeSet<usize>,
        node: Option<NodeId>,
        failure: Failure,
    ) -> Result<()> {
        let node = node.map(|id| &graph.nodes[id.0 as usize]);
        let value = match (failure, node) {
            (Failure::NeedsHost(value), _) => value,
            (Failure::Error(error), _) => return Err(error),
            (Failure::Tensor(error), Some(node)) => return Err(graph.at(node, error).into()),
            (Failure::Tensor(error), None) => return Err(error.into()),
            (Failure::Why(why), Some(node)) => return Err(refusal(graph, node, why)),
            (Failure::Why(why), None) => return Err(raddle_tensor::Error::Invalid(why).into()),
        };
        let found: Vec<usize> = sources(graph, value);
        let name = |at: usize| graph.name_of(graph.inputs[at]);
        let is_list = |&at: &usize| inputs[at].rank() <= 1 && inputs[at].len() <= LIST_LEN_MAX;
        let why = match found.iter().find(|at| !is_list(at)) {
            Some(&at) => format!("what is launched depends on the elements of input {}", name(at)),
            None if found.iter().all(|at| listed.contains(at)) => {
                format!("what is launched depends on the elements of {}", graph.name_of(value))
            }
            None => {
                listed.extend(found);
                return Ok(());
            }
        };
        match node {
            Some(node) => Err(refusal(graph, node, why)),
            None => Err(raddle_tensor::Error::Invalid(why).into()),
        }
    }

    /// Runs once, which tells what is not supported and loads kernels, then captures.
    fn compile(
        &self,
        graph: &Graph,
        stream: &Stream,
        inputs: &[Tensor],
        listed: &BTreeSet<usize>,
    ) -> Result<Program, (Option<NodeId>, Failure)> {
        let outside = |error: Failure| (None, error);
        let mut placed = Vec::new();
        let arithmetic = self.arithmetic;
        let shelf = &self.constants.shelf;
        let mut kit = Kit::new([stream, stream], arithmetic, shelf);
        for (at, tensor) in inputs.iter().enumerate() {
            let is_here = !listed.contains(&at) && value::scalar(tensor.dtype()).is_some();
            placed.push(is_here.then(|| kit.upload_input(tensor)).transpose().map_err(outside)?);
        }
        kit.uploads.clear();
        let lowering = |stream: &Stream, setup: &Stream| {
            let kit = Kit::new([stream, setup], arithmetic, shelf);
            Lowering::new(graph, kit, &self.constants).run(&self.order, inputs, &placed)
        };
        let first = lowering(stream, stream)?;
        stream.synchronize().map_err(|error| outside(error.into()))?;
        let first = if first.launches == 0 { Some(first) } else { None };
        let (captured, lowered) = match first {
            Some(lowered) => (None, lowered),
            None => {
                let mut failure = None;
                let captured = stream.capture(|captured| {
                    lowering(captured, stream).map_err(|error| {
                        failure = Some(error);
                        raddle::Error::Capture { operation: "lowering a model" }
                    })
                });
                if let Some(failure) = failure {
                    return Err(failure);
                }
                let (captured, lowered) = captured.map_err(|error| outside(error.into()))?;
                captured.upload(stream).map_err(|error| outside(error.into()))?;
                (Some(captured), lowered)
            }
        };
        let Lowered { outputs, report, launches, uploads } = lowered;
        let words = |dense: &Dense| dense.content.placed().expect("it is in memory");
        let is_own = |dense: &Dense, own: &Option<Dense>| {
            own.as_ref().is_some_and(|own| Arc::ptr_eq(&words(own), &words(dense)))
        };
        let outputs = outputs.into_iter().map(|made| match made {
            Made::Host(tensor) => Output::Host(tensor),
            Made::Images(_) => unreachable!("outputs have their channels in place"),
            Made::Device(dense) => match placed.iter().position(|own| is_own(&dense, own)) {
                Some(at) => Output::Given(at, dense.shape),
                None => Output::Device(dense),
            },
        });
        let outputs = outputs.collect();
        let inputs = placed.into_iter().map(|dense| dense.map(|it| words(&it))).collect();
        Ok(Program { captured, inputs, outputs, report, launches, _uploads: uploads })
    }
}

/// The inputs whose elements a value is made of.
fn sources(graph: &Graph, value: ValueId) -> Vec<usize> {
    let (mut open, mut seen, mut found) = (vec![value], BTreeSet::new(), BTreeSet::new());
    while let Some(value) = open.pop() {
        if !seen.insert(value) {
            continue;
        }
        if let Some(at) = graph.inputs.iter().position(|&id| id == value) {
            found.insert(at);
        }
        let makes = |node: &&Node| node.outputs.contains(&Some(value));
        if let Some(node) = graph.nodes.iter().find(makes) {
            // Of these only the operand's shape counts.
            if !matches!(node.op.name, "Shape" | "Size") {
                open.extend(node.reads());
            }
        }
    }
    found.into_iter().collect()
}

/// What running the nodes gave.
struct Lowered {
    outputs: Vec<Made>,
    report: Vec<StepReport>,
    launches: usize,
    uploads: Vec<Arc<Words>>,
}

/// One run of the nodes.
pub struct Lowering<'a> {
    graph: &'a Graph,
    kit: Kit<'a>,
    values: HashMap<ValueId, Made>,
    /// Values with their channels in the other place.
    others: HashMap<ValueId, Dense>,
    constants: &'a Constants,
    is_constant: BTreeSet<ValueId>,
    /// Nodes that read a value; of an output of the graph, one more that is none.
    readers: HashMap<ValueId, Vec<usize>>,
    /// What launches made ahead of their turn: nothing for a value that only lay between.
    ahead: HashMap<NodeId, Option<Made>>,
}

impl<'a> Lowering<'a> {
    fn new(graph: &'a Graph, kit: Kit<'a>, constants: &'a Constants) -> Self {
        let known = graph.constants.iter();
        let values = known.map(|(id, tensor)| (*id, Made::Host(tensor.clone()))).collect();
        let is_constant = graph.constants.iter().map(|(id, _)| *id).collect();
        let mut readers: HashMap<ValueId, Vec<usize>> = HashMap::new();
        for (at, node) in graph.nodes.iter().enumerate() {
            node.reads().for_each(|id| readers.entry(id).or_default().push(at));
        }
        graph.outputs.iter().for_each(|id| readers.entry(*id).or_default().push(usize::MAX));
        let (ahead, others) = (HashMap::new(), HashMap::new());
        Self { graph, kit, values, others, constants, is_constant, readers, ahead }
    }

    /// The node that alone reads a value which is no output.
    fn only_reader(&self, value: ValueId) -> Option<(NodeId, &'a Node)> {
        match self.readers.get(&value)?[..] {
            [at] => Some((NodeId(at as u32), self.graph.nodes.get(at)?)),
            _ => None,
        }
    }

    fn run(
        mut self,
        order: &[NodeId],
        inputs: &[Tensor],
        placed: &[Option<Dense>],
    ) -> Result<Lowered, (Option<NodeId>, Failure)> {
        let graph = self.graph;
        for ((&id, tensor), dense) in graph.inputs.iter().zip(inputs).zip(placed) {
            self.is_constant.remove(&id);
            match dense {
                Some(dense) => self.values.insert(id, Made::Device(dense.clone())),
                None if value::scalar(tensor.dtype()).is_some() => {
                    self.values.insert(id, Made::Host(tensor.clone()))
                }
                None => self.values.remove(&id),
            };
        }
        let mut last_use = HashMap::new();
        for &id in order {
            for value in graph.nodes[id.0 as usize].reads() {
                last_use.insert(value, id);
            }
        }
        let mut report = Vec::new();
        for &id in order {
            let node = &graph.nodes[id.0 as usize];
            self.kit.origin = graph.node_name(node).into();
            let before = self.kit.launches;
            let made = match self.ahead.remove(&id) {
                Some(made) => made.into_iter().collect(),
                None => self.node(node).map_err(|failure| (Some(id), failure))?,
            };
            for (output, made) in node.outputs.iter().zip(made) {
                if let Some(output) = output {
                    self.values.insert(*output, made);
                }
            }
            self.report(&mut report, node, before);
            for value in node.reads() {
                let is_last = last_use.get(&value) == Some(&id);
                if is_last && !graph.outputs.contains(&value) {
                    self.values.remove(&value);
                    self.others.remove(&value);
                }
            }
        }
        let mut outputs = Vec::new();
        for id in &graph.outputs {
            let unfit = || (None, Failure::why("an output is an input of a type without kernels"));
            outputs.push(match self.values.get(id).cloned().ok_or_else(unfit)? {
                Made::Images(_) => {
                    self.channels_first(*id).map_err(|failure| (None, failure))?.into()
                }
                made => made,
            });
        }
        // The last ones first: their launch keeps those that they are made of.
        let mut last: Vec<_> = outputs
            .iter_mut()
            .filter_map(|made| match made {
                Made::Device(dense) => Some(dense),
                _ => None,
            })
            .collect();
        last.sort_by_key(|dense| std::cmp::Reverse(dense.content.number()));
        for dense in last {
            let words = self.kit.words(dense).map_err(|failure| (None, failure))?;
            dense.content = Content::Placed(words);
        }
        report.append(&mut self.kit.written);
        let Kit { launches, uploads, .. } = self.kit;
        Ok(Lowered { outputs, report, launches, uploads })
    }

    /// Notes what a node launched: kernels that were written for several, then its own.
    fn report(&mut self, report: &mut Vec<StepReport>, node: &Node, before: usize) {
        let own = self.kit.launches - before - self.kit.written.len();
        report.append(&mut self.kit.written);
        if own > 0 {
            let plural = if own == 1 { "" } else { "es" };
            let kernel = format!("{own} launch{plural} of {}", node.op.name);
            let nodes = self.graph.node_name(node);
            report.push(StepReport { nodes, kernel, flops: 0.0, seconds: None });
        }
    }

    /// The results of a node, as many as it names.
    fn node(&mut self, node: &'a Node) -> Result<Vec<Made>, Failure> {
        if node.subgraphs().next().is_some() {
            return Err(Failure::why("bodies run on the CPU only"));
        }
        if node.reads().any(|id| !self.values.contains_key(&id)) {
            return Err(Failure::why("an operand is an input of a type without kernels"));
        }
        let on_host = |id: &ValueId| match &self.values[id] {
            Made::Host(tensor) => Some(Value::Tensor(tensor.clone())),
            Made::Device(_) | Made::Images(_) => None,
        };
        let operands: Option<Vec<Option<Value>>> = node
            .inputs
            .iter()
            .map(|id| id.as_ref().map_or(Some(None), |id| on_host(id).map(Some)))
            .collect();
        let (Some(operands), true) = (operands, node.op.is_pure) else {
            return Call::new(self, node).lower();
        };
        let values = evaluate(node, operands)?.into_iter();
        let tensors = values.map(|value| match value {
            Value::Tensor(tensor) => Ok(Made::Host(tensor)),
            other => Err(Failure::why(format!("{} cannot be on a GPU", other.kind()))),
        });
        tensors.collect()
    }
}
