//! Holds what inference says about a graph against what a run gave.

use std::collections::HashMap;

use raddle_onnx::Model;
use raddle_tensor::graph::{Graph, ValueId};
use raddle_tensor::infer::{self, Expr, Known, TensorInfo};
use raddle_tensor::{DType, Tensor, Value};

/// Longest input whose elements inference is told, where shapes are asked for.
const LIST_LEN_MAX: usize = 64;

/// Types and shapes of all values of a run, those of inputs included.
pub struct Observed {
    values: Vec<(ValueId, Value)>,
    inputs: Vec<(ValueId, Tensor)>,
}

/// Runs a model; returns its outputs and what there was on the way.
///
/// ## Errors
/// What the run says.
pub fn observe(
    model: &Model,
    inputs: &[(String, Value)],
) -> Result<(Vec<Value>, Observed), String> {
    let mut values = Vec::new();
    let named = inputs.iter().map(|(name, value)| (name, value.clone()));
    let mut see = |id, value: &Value| values.push((id, value.clone()));
    let outputs = model.plan().run_observed(named, &mut see).map_err(|error| error.to_string())?;
    let graph = model.plan().graph();
    let id_of = |name: &str| graph.inputs.iter().find(|&&id| graph.name_of(id) == name).copied();
    let tensors =
        inputs.iter().filter_map(|(name, value)| Some((id_of(name)?, value.as_tensor()?.clone())));
    Ok((outputs, Observed { values, inputs: tensors.collect() }))
}

/// Infers types from the inputs' shapes, then from symbols in place of all
/// lengths, and compares both with what was observed.
///
/// ## Errors
/// What inference says wrongly, or does not say though the shapes are known.
pub fn check(graph: &Graph, observed: &Observed) -> Result<(), String> {
    let given = |info: &dyn Fn(usize, &Tensor) -> TensorInfo| -> Vec<(ValueId, TensorInfo)> {
        let inputs = observed.inputs.iter().enumerate();
        inputs.map(|(at, (id, tensor))| (*id, info(at, tensor))).collect()
    };
    let symbols: HashMap<String, usize> = observed
        .inputs
        .iter()
        .enumerate()
        .flat_map(|(at, (_, tensor))| tensor.shape().iter().enumerate().map(move |it| (at, it)))
        .map(|(at, (axis, &len))| (symbol(at, axis), len))
        .collect();
    let symbolic = given(&|at, tensor| {
        let dims = (0..tensor.rank()).map(|axis| Expr::symbol(&symbol(at, axis)));
        TensorInfo::new(tensor.dtype(), dims.collect::<Vec<_>>())
    });
    agrees(graph, &symbolic, observed, &symbols).map_err(|why| format!("with symbols: {why}"))?;
    let fixed = given(&|_, tensor| TensorInfo::fixed(tensor.dtype(), tensor.shape()));
    agrees(graph, &fixed, observed, &HashMap::new())
        .map_err(|why| format!("from shapes: {why}"))?;
    let with_lists = given(&|_, tensor| match is_list(tensor) {
        true => TensorInfo::constant(tensor),
        false => TensorInfo::fixed(tensor.dtype(), tensor.shape()),
    });
    let open = agrees(graph, &with_lists, observed, &HashMap::new());
    match open.map_err(|why| format!("with lists: {why}"))? {
        Some(open) => Err(format!("the type of {open} is not inferred")),
        None => Ok(()),
    }
}

fn symbol(input: usize, axis: usize) -> String {
    format!("input{input}axis{axis}")
}

/// Whether an input is a shape, a list of axes or the like.
fn is_list(tensor: &Tensor) -> bool {
    let is_small = tensor.rank() <= 1 && tensor.len() <= LIST_LEN_MAX;
    is_small && (tensor.dtype().is_number() || tensor.dtype() == DType::Bool)
}

/// The first value whose shape stays open, if nothing is said wrongly.
fn agrees(
    graph: &Graph,
    given: &[(ValueId, TensorInfo)],
    observed: &Observed,
    symbols: &HashMap<String, usize>,
) -> Result<Option<String>, String> {
    let infos = infer::types(graph, given).map_err(|error| error.to_string())?;
    let mut open = None;
    for (id, value) in &observed.values {
        let (name, Some(tensor)) = (graph.name_of(*id), value.as_tensor()) else { continue };
        let Some(info) = &infos[id.index()] else {
            open.get_or_insert_with(|| name.to_owned());
            continue;
        };
        let found = format!("{}{:?}", tensor.dtype(), tensor.shape());
        let differ = || format!("{name}: inferred {} {:?}, found {found}", info.dtype, info.dims);
        if info.dtype != tensor.dtype() {
            return Err(differ());
        }
        let Some(dims) = &info.dims else {
            open.get_or_insert_with(|| name.to_owned());
            continue;
        };
        if dims.len() != tensor.rank() {
            return Err(differ());
        }
        for (dim, &len) in dims.iter().zip(tensor.shape()) {
            match dim.value(symbols) {
                Some(value) if value == len as i64 => {}
                None if dim.is_open() => drop(open.get_or_insert_with(|| name.to_owned())),
                _ => return Err(differ()),
            }
        }
        known_agree(info, tensor, symbols).map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(open)
}

fn known_agree(
    info: &TensorInfo,
    tensor: &Tensor,
    symbols: &HashMap<String, usize>,
) -> Result<(), String> {
    let Some(Known::Elements(elements)) = &info.known else { return Ok(()) };
    let actual = TensorInfo::constant(tensor).elements();
    let is_same = actual.is_some_and(|actual| {
        actual.len() == elements.len()
            && actual.iter().zip(elements).all(|(actual, inferred)| {
                inferred.is_open() || inferred.value(symbols) == actual.number()
            })
    });
    if is_same { Ok(()) } else { Err(format!("inferred elements {elements:?}, found {tensor:?}")) }
}
