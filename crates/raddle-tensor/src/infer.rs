//! Types of all values of a graph before it runs: element type, dimensions that
//! may be symbols, and the elements of small tensors that shapes are made of.
//!
//! How a row's outputs follow from its inputs is a column of the op table
//! ([`InferRule`]); this module walks the graph. Nothing is
//! guessed: what a rule cannot know stays open, as a length that is equal to
//! itself only, a tensor without dimensions or a value without a type. Types
//! that a file declares for values other than inputs are not believed.

mod context;
mod expr;
pub mod rules;

use std::cell::Cell;
use std::collections::HashMap;

pub use context::InferContext;
pub use expr::Expr;

use crate::convert::Compute;
use crate::exec::{evaluate, order, producers};
use crate::graph::{Dim, Graph, Node, Subgraph, ValueId, ValueType};
use crate::op::{DTypeRule, InferRule, ShapeRule};
use crate::{Class, DType, Error, Result, Tensor, Value};

/// Dimensions of a tensor.
pub type Dims = Vec<Expr>;

/// Longest tensor whose elements are followed or computed ahead.
const KNOWN_LEN_MAX: usize = 1 << 12;

/// Largest expression that is kept; what is larger becomes an open length.
const EXPR_SIZE_MAX: usize = 256;

/// Most nodes that are looked at, bodies as often as they are; hostile files
/// can nest loops so that the number of passes over the innermost one explodes.
const VISITS_MAX: u32 = 1 << 20;

/// What is known about a tensor.
#[derive(Clone, PartialEq, Debug)]
pub struct TensorInfo {
    /// Element type.
    pub dtype: DType,
    /// Lengths of the dimensions; `None` if even their number is open.
    pub dims: Option<Dims>,
    /// The elements, where a shape may depend on them.
    pub known: Option<Known>,
}

/// Elements that are known before a run.
#[derive(Clone, PartialEq, Debug)]
pub enum Known {
    /// All of them.
    Tensor(Tensor),
    /// Whole numbers that depend on symbols, in row-major order.
    Elements(Vec<Expr>),
}

impl TensorInfo {
    /// A tensor of a type and dimensions.
    pub fn new(dtype: DType, dims: impl Into<Option<Dims>>) -> Self {
        Self { dtype, dims: dims.into(), known: None }
    }

    /// A tensor of a type and a fixed shape.
    pub fn fixed(dtype: DType, shape: &[usize]) -> Self {
        Self::new(dtype, shape.iter().map(|&len| len.into()).collect::<Dims>())
    }

    /// A tensor with its elements.
    pub fn constant(tensor: &Tensor) -> Self {
        let known = Some(Known::Tensor(tensor.clone()));
        Self { known, ..Self::fixed(tensor.dtype(), tensor.shape()) }
    }

    /// A tensor as a model declares it; `None` for other values.
    pub fn declared(value_type: &ValueType, mut open: impl FnMut() -> Expr) -> Option<Self> {
        let ValueType::Tensor(dtype, dims) = value_type else { return None };
        let mut dim = |dim: &Dim| match dim {
            Dim::Fixed(len) => (*len).into(),
            Dim::Symbol(name) => Expr::symbol(name),
            Dim::Unknown => open(),
        };
        let dims = dims.as_ref().map(|dims| dims.iter().map(&mut dim).collect::<Dims>());
        Some(Self::new(*dtype, dims))
    }

    /// The shape, if it depends on nothing.
    pub fn shape(&self) -> Option<Vec<usize>> {
        self.dims.as_ref()?.iter().map(Expr::as_len).collect()
    }

    /// The shape for these lengths of symbols.
    pub fn shape_with(&self, symbols: &HashMap<String, usize>) -> Option<Vec<usize>> {
        let len = |dim: &Expr| usize::try_from(dim.value(symbols)?).ok();
        self.dims.as_ref()?.iter().map(len).collect()
    }

    /// The elements, if they are whole numbers and known.
    pub fn elements(&self) -> Option<Vec<Expr>> {
        let tensor = match self.known.as_ref()? {
            Known::Elements(elements) => return Some(elements.clone()),
            Known::Tensor(tensor) if tensor.len() <= KNOWN_LEN_MAX => tensor,
            Known::Tensor(_) => return None,
        };
        match tensor.dtype().class() {
            Class::I64 | Class::U64 | Class::Bool => {
                Some(i64::widen(tensor).ok()?.iter().map(|&x| x.into()).collect())
            }
            Class::F32 | Class::F64 => {
                let whole = |x: &f64| (x.fract() == 0.0 && x.abs() < 1e15).then_some(*x as i64);
                f64::widen(tensor).ok()?.iter().map(|x| whole(x).map(Expr::from)).collect()
            }
            Class::String | Class::Complex => None,
        }
    }

    /// The elements as tensor, if they depend on nothing.
    pub fn tensor(&self) -> Option<&Tensor> {
        match self.known.as_ref()? {
            Known::Tensor(tensor) => Some(tensor),
            Known::Elements(_) => None,
        }
    }
}

/// What a walk over a graph and its bodies shares.
#[derive(Debug, Default)]
struct Walk {
    unknowns: Cell<u32>,
    visits: Cell<u32>,
}

impl Walk {
    fn unknown(&self) -> Expr {
        let number = self.unknowns.get();
        self.unknowns.set(number.wrapping_add(1));
        Expr::unknown(number)
    }
}

/// The type of each value of a graph, by [`ValueId`]; `None` for values that are
/// no tensors and for those of which nothing is known. Types in `given` replace
/// those that the graph declares for its inputs, and a length that they give to
/// a symbol holds for all inputs.
///
/// ## Errors
/// [`Error::Node`] around what a rule finds wrong, and the errors of a graph
/// without an order.
pub fn types(graph: &Graph, given: &[(ValueId, TensorInfo)]) -> Result<Vec<Option<TensorInfo>>> {
    let walk = Walk::default();
    let mut infos = constants(graph);
    let symbols = symbols(graph, given);
    for &id in &graph.inputs {
        let declared = graph.values[id.index()].declared.as_ref();
        let declared = declared.and_then(|it| TensorInfo::declared(it, || walk.unknown()));
        let declared = declared.map(|info| bound(info, &symbols));
        // The constant of an input is what it is if it is not given.
        let default = infos[id.index()].take().map(|info| TensorInfo { known: None, ..info });
        infos[id.index()] = declared.or(default);
    }
    for (id, info) in given {
        infos[id.index()] = Some(info.clone());
    }
    in_order(graph, &[], infos, &walk)
}

fn constants(graph: &Graph) -> Vec<Option<TensorInfo>> {
    let mut infos = vec![None; graph.values.len()];
    for (id, tensor) in &graph.constants {
        infos[id.index()] = Some(TensorInfo::constant(tensor));
    }
    infos
}

/// What the given types say about the symbols that a graph declares.
fn symbols(graph: &Graph, given: &[(ValueId, TensorInfo)]) -> HashMap<String, Expr> {
    let mut symbols = HashMap::new();
    for (id, info) in given {
        let declared = graph.values[id.index()].declared.as_ref();
        if let (Some(ValueType::Tensor(_, Some(declared))), Some(dims)) = (declared, &info.dims) {
            for (declared, dim) in declared.iter().zip(dims) {
                if let Dim::Symbol(name) = declared {
                    symbols.entry(name.clone()).or_insert_with(|| dim.clone());
                }
            }
        }
    }
    symbols
}

fn bound(mut info: TensorInfo, symbols: &HashMap<String, Expr>) -> TensorInfo {
    for dim in info.dims.iter_mut().flatten() {
        if let Some((_, known)) = symbols.iter().find(|(name, _)| *dim == Expr::symbol(name)) {
            *dim = known.clone();
        }
    }
    info
}

fn in_order(
    graph: &Graph,
    captured: &[ValueId],
    mut infos: Vec<Option<TensorInfo>>,
    walk: &Walk,
) -> Result<Vec<Option<TensorInfo>>> {
    for at in order(graph, &producers(graph, captured)?)? {
        let node = &graph.nodes[at];
        if walk.visits.get() == VISITS_MAX {
            break;
        }
        walk.visits.set(walk.visits.get() + 1);
        let ctx = InferContext::new(node, &infos, walk);
        let outputs = outputs(&ctx).map_err(|source| graph.at(node, source))?;
        for (id, info) in node.outputs.iter().zip(outputs) {
            if let Some(id) = id {
                infos[id.index()] = info;
            }
        }
    }
    Ok(infos)
}

/// The types of a body's outputs for types of its inputs and of what it captures.
fn of_body(
    body: &Subgraph,
    inputs: Vec<Option<TensorInfo>>,
    outer: &[Option<TensorInfo>],
    walk: &Walk,
) -> Result<Vec<Option<TensorInfo>>> {
    let mut infos = constants(&body.graph);
    for (id, info) in body.graph.inputs.iter().zip(inputs) {
        infos[id.index()] = info;
    }
    for capture in &body.captures {
        infos[capture.inner.index()] = outer[capture.outer.index()].clone();
    }
    let captured: Vec<_> = body.captures.iter().map(|capture| capture.inner).collect();
    let infos = in_order(&body.graph, &captured, infos, walk)?;
    Ok(body.graph.outputs.iter().map(|id| infos[id.index()].clone()).collect())
}

/// The types of a node's outputs.
fn outputs(ctx: &InferContext<'_>) -> Result<Vec<Option<TensorInfo>>> {
    let op = ctx.node.op;
    let mut infos = match op.infer {
        InferRule::Columns => vec![by_columns(ctx)],
        InferRule::First(rule) => {
            let dims = rule(ctx)?;
            vec![first_dtype(ctx).map(|dtype| TensorInfo::new(dtype, dims))]
        }
        InferRule::All(rule) => rule(ctx)?,
    };
    for dim in infos.iter_mut().flatten().filter_map(|info| info.dims.as_mut()).flatten() {
        if dim.size() > EXPR_SIZE_MAX {
            *dim = ctx.unknown();
        }
    }
    if let Some(values) = computed(ctx, &infos)? {
        return Ok(values);
    }
    if let (Some(rule), Some(Some(first))) = (op.elements, infos.first_mut())
        && let Some(shape) = first.shape()
        && shape.iter().product::<usize>() <= KNOWN_LEN_MAX
    {
        let elements = rule(ctx, &shape);
        let is_small = |all: &Vec<Expr>| all.iter().all(|x| x.size() <= EXPR_SIZE_MAX);
        first.known = elements.filter(is_small).and_then(|all| known(first.dtype, &shape, all));
    }
    Ok(infos)
}

/// Elements as a tensor if they are numbers, so that any operation can go on with them.
fn known(dtype: DType, shape: &[usize], elements: Vec<Expr>) -> Option<Known> {
    let numbers: Option<Vec<i64>> = elements.iter().map(Expr::number).collect();
    match numbers {
        Some(numbers) => Tensor::computed(shape, dtype, numbers).ok().map(Known::Tensor),
        None => Some(Known::Elements(elements)),
    }
}

/// Element type of the first output as the row says it.
fn first_dtype(ctx: &InferContext<'_>) -> Option<DType> {
    match ctx.node.op.dtype {
        DTypeRule::Like(at) => ctx.dtype(at),
        DTypeRule::Is(dtype) => Some(dtype),
        DTypeRule::Attribute(name, default) => {
            ctx.node.dtype_attribute(name).ok().map(|dtype| dtype.unwrap_or(default))
        }
        DTypeRule::Computed => None,
    }
}

fn by_columns(ctx: &InferContext<'_>) -> Option<TensorInfo> {
    let dims = match ctx.node.op.shape {
        ShapeRule::Like(at) => ctx.dims(at).map(<[Expr]>::to_vec),
        ShapeRule::Broadcast => rules::broadcast_inputs(ctx, 0..ctx.input_count()),
        ShapeRule::Computed => None,
    };
    Some(TensorInfo::new(first_dtype(ctx)?, dims))
}

/// The outputs with their elements, if everything that they depend on is known
/// and small. What fails is left to the run, which says where.
fn computed(
    ctx: &InferContext<'_>,
    infos: &[Option<TensorInfo>],
) -> Result<Option<Vec<Option<TensorInfo>>>> {
    let len_of =
        |info: &TensorInfo| info.shape()?.iter().try_fold(1usize, |len, &dim| len.checked_mul(dim));
    let is_small = |info: &Option<TensorInfo>| {
        info.as_ref().and_then(len_of).is_some_and(|len| len <= KNOWN_LEN_MAX)
    };
    if infos.is_empty() || !infos.iter().all(is_small) {
        return Ok(None);
    }
    let Some(values) = ctx.evaluate() else { return Ok(None) };
    for (index, (info, value)) in infos.iter().zip(&values).enumerate() {
        // Outputs that nobody wants may be anything.
        let is_wanted = ctx.node.outputs.get(index).is_some_and(Option::is_some);
        let Some(info) = info.as_ref().filter(|_| is_wanted) else { continue };
        let Some(tensor) = value.as_tensor() else { return Ok(None) };
        if info.dtype != tensor.dtype() || info.shape().as_deref() != Some(tensor.shape()) {
            let found = (tensor.dtype(), tensor.shape());
            let why = format!("expected {} {:?}, found {found:?}", info.dtype, info.dims);
            return Err(Error::Rule { index, why });
        }
    }
    Ok(Some(values.iter().map(|value| value.as_tensor().map(TensorInfo::constant)).collect()))
}

/// Runs a node on known tensors, if it is worth it.
fn run(node: &Node, inputs: Vec<Option<&Tensor>>) -> Option<Vec<Value>> {
    let len: usize = inputs.iter().flatten().map(|tensor| tensor.len()).sum();
    if !node.op.is_pure || node.subgraphs().next().is_some() || len > KNOWN_LEN_MAX {
        return None;
    }
    let inputs = inputs.into_iter().map(|tensor| tensor.cloned().map(Value::from)).collect();
    evaluate(node, inputs).ok()
}

#[cfg(test)]
mod tests;
