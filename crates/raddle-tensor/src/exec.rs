//! Runs a graph on the CPU: nodes in topological order, every value freed at
//! its last use.
//!
//! A [`Plan`] is made once: it orders the nodes, refuses cycles and undefined
//! values, and knows for each node which operands nobody needs afterwards.
//! Those are moved into the operation, which may then write in place. A plan is
//! immutable and can run on many threads at once. Shapes need no plan: each
//! operation computes them from its operands.

use std::sync::Arc;

use crate::graph::{Dim, Graph, Node, NodeId, Subgraph, ValueId, ValueType};
use crate::op::{DTypeRule, ShapeRule};
use crate::{DType, Error, OpContext, Result, Tensor, Value, parallel, passes, shape, spare};

/// A graph, checked and ready to run.
#[derive(Clone, Debug)]
pub struct Plan {
    graph: Arc<Graph>,
    steps: Vec<Step>,
}

/// A node in the order of execution.
#[derive(Clone, Debug)]
struct Step {
    node: usize,
    /// Values that nobody needs after this node.
    last_uses: Vec<ValueId>,
    bodies: Vec<Plan>,
}

/// The values of a run that exist at a moment.
pub struct Scope {
    slots: Vec<Option<Value>>,
}

/// A scope without values.
pub static NOWHERE: Scope = Scope { slots: Vec::new() };

impl Plan {
    /// Orders and checks a graph.
    ///
    /// ## Errors
    /// [`Error::Cycle`], [`Error::Undefined`], [`Error::Duplicate`].
    pub fn new(graph: Graph) -> Result<Self> {
        Self::with_captures(Arc::new(graph), &[])
    }

    /// The same plan after all [passes](crate::passes).
    ///
    /// ## Errors
    /// Those of the passes.
    pub fn optimised(self) -> Result<Self> {
        let mut graph = Arc::unwrap_or_clone(self.graph);
        passes::optimise(&mut graph)?;
        Self::new(graph)
    }

    fn with_captures(graph: Arc<Graph>, captured: &[ValueId]) -> Result<Self> {
        let producers = producers(&graph, captured)?;
        let order = order(&graph, &producers)?;
        let mut needed = vec![false; graph.values.len()];
        for output in &graph.outputs {
            needed[output.index()] = true;
        }
        let mut steps = Vec::with_capacity(order.len());
        for &at in order.iter().rev() {
            let node = &graph.nodes[at];
            let mut last_uses = Vec::new();
            for value in node.reads() {
                if !std::mem::replace(&mut needed[value.index()], true) {
                    last_uses.push(value);
                }
            }
            let bodies = node.subgraphs().map(Self::of_body).collect::<Result<_>>();
            let bodies = bodies.map_err(|source| graph.at(node, source))?;
            steps.push(Step { node: at, last_uses, bodies });
        }
        steps.reverse();
        Ok(Self { graph, steps })
    }

    fn of_body(body: &Subgraph) -> Result<Self> {
        let captured: Vec<_> = body.captures.iter().map(|capture| capture.inner).collect();
        Self::with_captures(Arc::new(body.graph.clone()), &captured)
    }

    /// Nodes in the order in which they run.
    pub fn order(&self) -> impl Iterator<Item = NodeId> {
        self.steps.iter().map(|step| NodeId(step.node as u32))
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Runs the graph with values for inputs by name; inputs with a constant of
    /// their own may be left out. Returns the outputs in the graph's order.
    ///
    /// ## Errors
    /// [`Error::UnknownInput`], [`Error::InputNotGiven`], [`Error::InputType`],
    /// and [`Error::Node`] for what fails inside.
    pub fn run<N: AsRef<str>>(
        &self,
        inputs: impl IntoIterator<Item = (N, Value)>,
    ) -> Result<Vec<Value>> {
        let scope = self.given(inputs)?;
        parallel::inside(|| self.execute(scope, &mut |_, _| {}))
    }

    /// As [`Self::run`]; `observe` sees every value of the graph as it is made,
    /// those of bodies not.
    ///
    /// ## Errors
    /// As [`Self::run`].
    pub fn run_observed<N: AsRef<str>>(
        &self,
        inputs: impl IntoIterator<Item = (N, Value)>,
        observe: &mut dyn FnMut(ValueId, &Value),
    ) -> Result<Vec<Value>> {
        self.execute(self.given(inputs)?, observe)
    }

    /// A scope with the inputs of a run.
    fn given<N: AsRef<str>>(&self, inputs: impl IntoIterator<Item = (N, Value)>) -> Result<Scope> {
        let graph = &*self.graph;
        let mut scope = self.scope();
        let mut is_given = vec![false; graph.inputs.len()];
        for (name, value) in inputs {
            let name = name.as_ref();
            let Some(at) = graph.inputs.iter().position(|&id| graph.name_of(id) == name) else {
                let inputs: Vec<_> = graph.inputs.iter().map(|&id| graph.name_of(id)).collect();
                return Err(Error::UnknownInput { name: name.into(), inputs: inputs.join(", ") });
            };
            is_given[at] = true;
            scope.slots[graph.inputs[at].index()] = Some(value);
        }
        for (&id, is_given) in graph.inputs.iter().zip(is_given) {
            if !is_given && scope.slots[id.index()].is_none() {
                return Err(Error::InputNotGiven { name: graph.name_of(id).into() });
            }
        }
        self.check_inputs(&scope)?;
        Ok(scope)
    }

    /// Runs a body of control flow with values for its inputs in order.
    pub(crate) fn run_body(
        &self,
        body: &Subgraph,
        inputs: Vec<Value>,
        outer: &Scope,
    ) -> Result<Vec<Value>> {
        let mut scope = self.scope();
        if inputs.len() != self.graph.inputs.len() {
            let expected = self.graph.inputs.len().to_string();
            return Err(Error::Arity { what: "inputs of a body", expected, found: inputs.len() });
        }
        for (id, value) in self.graph.inputs.iter().zip(inputs) {
            scope.slots[id.index()] = Some(value);
        }
        for capture in &body.captures {
            scope.slots[capture.inner.index()] = outer.slots[capture.outer.index()].clone();
        }
        self.execute(scope, &mut |_, _| {})
    }

    fn scope(&self) -> Scope {
        let mut slots = vec![None; self.graph.values.len()];
        for (id, tensor) in &self.graph.constants {
            slots[id.index()] = Some(Value::Tensor(tensor.clone()));
        }
        Scope { slots }
    }

    fn execute(
        &self,
        mut scope: Scope,
        observe: &mut dyn FnMut(ValueId, &Value),
    ) -> Result<Vec<Value>> {
        for step in &self.steps {
            let node = &self.graph.nodes[step.node];
            let outputs = run_node(node, step, &mut scope);
            let outputs = outputs.map_err(|source| self.graph.at(node, source))?;
            for (id, value) in node.outputs.iter().zip(outputs) {
                // A value that nobody reads is not kept.
                if let Some(id) = id {
                    observe(*id, &value);
                    scope.slots[id.index()] = Some(value);
                }
            }
        }
        let outputs = self.graph.outputs.iter().map(|id| {
            let undefined =
                || Error::Undefined { what: "output", name: self.graph.name_of(*id).into() };
            scope.slots[id.index()].clone().ok_or_else(undefined)
        });
        outputs.collect()
    }

    /// Holds the values of inputs against their declarations; symbols must
    /// stand for one length each.
    fn check_inputs(&self, scope: &Scope) -> Result<()> {
        let mut symbols: Vec<(&str, usize)> = Vec::new();
        for &id in &self.graph.inputs {
            let info = &self.graph.values[id.index()];
            let (Some(declared), Some(value)) = (&info.declared, &scope.slots[id.index()]) else {
                continue;
            };
            if !fits(value, declared, &mut symbols) {
                return Err(Error::InputType {
                    name: info.name.clone(),
                    expected: describe_type(declared),
                    found: describe_value(value),
                });
            }
        }
        Ok(())
    }
}

impl Graph {
    /// Indices of nodes in an order in which each comes after those it reads
    /// from: the order in which a plan runs them.
    ///
    /// ## Errors
    /// [`Error::Cycle`], [`Error::Undefined`], [`Error::Duplicate`].
    pub fn order(&self) -> Result<Vec<usize>> {
        order(self, &producers(self, &[])?)
    }
}

/// Which node makes each value; `usize::MAX` for values that are there from the start.
pub fn producers(graph: &Graph, captured: &[ValueId]) -> Result<Vec<Option<usize>>> {
    let mut producers = vec![None; graph.values.len()];
    let start = graph.inputs.iter().chain(captured);
    for id in start.chain(graph.constants.iter().map(|(id, _)| id)) {
        producers[id.index()] = Some(usize::MAX);
    }
    for (at, node) in graph.nodes.iter().enumerate() {
        for id in node.outputs.iter().flatten() {
            if producers[id.index()].replace(at).is_some() {
                return Err(Error::Duplicate { name: graph.name_of(*id).into() });
            }
        }
    }
    let undefined = |what, id: ValueId| Error::Undefined { what, name: graph.name_of(id).into() };
    for node in &graph.nodes {
        if let Some(id) = node.reads().find(|id| producers[id.index()].is_none()) {
            return Err(graph.at(node, undefined("input", id)));
        }
    }
    match graph.outputs.iter().find(|id| producers[id.index()].is_none()) {
        Some(&id) => Err(undefined("output", id)),
        None => Ok(producers),
    }
}

/// Nodes in an order in which each comes after those it reads from.
pub fn order(graph: &Graph, producers: &[Option<usize>]) -> Result<Vec<usize>> {
    let producer = |id: ValueId| producers[id.index()].filter(|&at| at != usize::MAX);
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
    let mut waits_for = vec![0usize; graph.nodes.len()];
    for (at, node) in graph.nodes.iter().enumerate() {
        for before in node.reads().filter_map(producer) {
            readers[before].push(at);
            waits_for[at] += 1;
        }
    }
    // The file's own order wherever it is possible.
    let is_sorted = graph
        .nodes
        .iter()
        .enumerate()
        .all(|(at, node)| node.reads().filter_map(producer).all(|before| before < at));
    if is_sorted {
        return Ok((0..graph.nodes.len()).collect());
    }
    let mut ready: Vec<usize> = (0..graph.nodes.len()).filter(|&at| waits_for[at] == 0).collect();
    ready.reverse();
    let mut order = Vec::with_capacity(graph.nodes.len());
    while let Some(at) = ready.pop() {
        order.push(at);
        for &reader in &readers[at] {
            waits_for[reader] -= 1;
            if waits_for[reader] == 0 {
                ready.push(reader);
            }
        }
    }
    match waits_for.iter().position(|&count| count > 0) {
        Some(at) => Err(Error::Cycle { node: graph.node_name(&graph.nodes[at]) }),
        None => Ok(order),
    }
}

fn run_node(node: &Node, step: &Step, scope: &mut Scope) -> Result<Vec<Value>> {
    let captured: Vec<_> = node.subgraphs().flat_map(|body| &body.captures).collect();
    let is_captured = |id: ValueId| captured.iter().any(|capture| capture.outer == id);
    let mut inputs = Vec::with_capacity(node.inputs.len());
    for (at, id) in node.inputs.iter().enumerate() {
        let value = id.and_then(|id| {
            let is_last = step.last_uses.contains(&id)
                && !node.inputs[at + 1..].contains(&Some(id))
                && !is_captured(id);
            let slot = &mut scope.slots[id.index()];
            if is_last { slot.take() } else { slot.clone() }
        });
        inputs.push(value);
    }
    let rules = Rules::of(node, &inputs);
    let mut ctx = OpContext { node, bodies: &step.bodies, inputs, scope };
    let outputs = (node.op.reference)(&mut ctx)?;
    ctx.inputs.into_iter().flatten().for_each(spare::keep);
    for id in &step.last_uses {
        scope.slots[id.index()].take().into_iter().for_each(spare::keep);
    }
    if outputs.len() < node.outputs.len() {
        let expected = node.outputs.len().to_string();
        return Err(Error::Arity { what: "outputs", expected, found: outputs.len() });
    }
    rules.check(&outputs)?;
    Ok(outputs)
}

/// Runs a node without bodies on its own.
pub fn evaluate(node: &Node, inputs: Vec<Option<Value>>) -> Result<Vec<Value>> {
    let scope = Scope { slots: Vec::new() };
    let rules = Rules::of(node, &inputs);
    let mut ctx = OpContext { node, bodies: &[], inputs, scope: &scope };
    let outputs = (node.op.reference)(&mut ctx)?;
    rules.check(&outputs)?;
    Ok(outputs)
}

/// What the row says about the first output, for these inputs.
struct Rules {
    dtype: Option<DType>,
    shape: Option<Vec<usize>>,
}

impl Rules {
    fn of(node: &Node, inputs: &[Option<Value>]) -> Self {
        let tensor = |at: usize| inputs.get(at)?.as_ref()?.as_tensor();
        let dtype = match node.op.dtype {
            DTypeRule::Like(at) => tensor(at).map(Tensor::dtype),
            DTypeRule::Is(dtype) => Some(dtype),
            DTypeRule::Attribute(name, default) => match node.attribute(name) {
                Some(crate::graph::Attribute::Int(number)) => DType::from_onnx(*number),
                _ => Some(default),
            },
            DTypeRule::Computed => None,
        };
        let shape = match node.op.shape {
            ShapeRule::Like(at) => tensor(at).map(|tensor| tensor.shape().to_vec()),
            ShapeRule::Broadcast => (0..inputs.len())
                .try_fold(Vec::new(), |all, at| shape::broadcast(&all, tensor(at)?.shape()).ok()),
            ShapeRule::Computed => None,
        };
        Self { dtype, shape }
    }

    fn check(&self, outputs: &[Value]) -> Result<()> {
        let Some(found) = outputs.first().and_then(Value::as_tensor) else { return Ok(()) };
        let broken = |why| Err(Error::Rule { index: 0, why });
        match (self.dtype, &self.shape) {
            (Some(dtype), _) if dtype != found.dtype() => {
                broken(format!("expected type {dtype}, found {}", found.dtype()))
            }
            (_, Some(shape)) if shape != found.shape() => {
                broken(format!("expected shape {shape:?}, found {:?}", found.shape()))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a value is of a declared type, given what symbols stand for so far.
fn fits<'a>(value: &Value, declared: &'a ValueType, symbols: &mut Vec<(&'a str, usize)>) -> bool {
    match (value, declared) {
        (Value::Tensor(tensor), ValueType::Tensor(dtype, dims)) => {
            let Some(dims) = dims else { return tensor.dtype() == *dtype };
            tensor.dtype() == *dtype
                && tensor.rank() == dims.len()
                && tensor.shape().iter().zip(dims).all(|(&len, dim)| match dim {
                    Dim::Fixed(fixed) => *fixed == len,
                    Dim::Unknown => true,
                    Dim::Symbol(name) => match symbols.iter().find(|(known, _)| known == name) {
                        Some(&(_, known)) => known == len,
                        None => {
                            symbols.push((name, len));
                            true
                        }
                    },
                })
        }
        (Value::Sequence(sequence), ValueType::Sequence(item)) => {
            // Dimensions of the items may differ from each other.
            sequence.items.iter().all(|value| fits(value, item, &mut Vec::new()))
        }
        (Value::Optional(inner), ValueType::Optional(item)) => {
            inner.as_ref().is_none_or(|value| fits(value, item, symbols))
        }
        // An optional that is there may be given as the value itself.
        (value, ValueType::Optional(item)) => fits(value, item, symbols),
        _ => false,
    }
}

fn describe_type(declared: &ValueType) -> String {
    match declared {
        ValueType::Tensor(dtype, None) => format!("{dtype} of any shape"),
        ValueType::Tensor(dtype, Some(dims)) => {
            let dims: Vec<_> = dims
                .iter()
                .map(|dim| match dim {
                    Dim::Fixed(len) => len.to_string(),
                    Dim::Symbol(name) => name.clone(),
                    Dim::Unknown => "?".into(),
                })
                .collect();
            format!("{dtype}[{}]", dims.join(", "))
        }
        ValueType::Sequence(item) => format!("a sequence of {}", describe_type(item)),
        ValueType::Optional(item) => format!("an optional {}", describe_type(item)),
    }
}

fn describe_value(value: &Value) -> String {
    match value {
        Value::Tensor(tensor) => format!("{}{:?}", tensor.dtype(), tensor.shape()),
        Value::Sequence(sequence) => match sequence.items.first() {
            Some(first) => format!("a sequence of {}", describe_value(first)),
            None => format!("an empty sequence of {}", sequence.dtype),
        },
        Value::Optional(Some(inner)) => format!("an optional {}", describe_value(inner)),
        Value::Optional(None) => "an empty optional".into(),
    }
}
