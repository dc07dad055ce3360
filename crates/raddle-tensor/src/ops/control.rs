//! Control flow: bodies that run once, many times, or along an axis of tensors.
//!
//! Bodies are planned together with the graph around them; here they are only
//! given their inputs. Outputs that are collected step by step become one tensor
//! at the end.

use crate::Kind::{Graph, Int, Ints};
use crate::convert::Compute;
use crate::graph::{Dim, ValueType};
use crate::infer::rules;
use crate::movement::{concat, slice};
use crate::{Error, LATEST, MANY, Op, OpContext, Result, Tensor, Value, op, shape};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("If", 1..=LATEST)
        .outputs(1, MANY)
        .attributes(&[("then_branch", Graph), ("else_branch", Graph)])
        .infer(rules::branch)
        .run(branch),
    op("Loop", 1..=LATEST)
        .inputs(2, MANY)
        .outputs(1, MANY)
        .attributes(&[("body", Graph)])
        .infer(rules::repeat)
        .run(repeat),
    op("Scan", 8..=8)
        .inputs(2, MANY)
        .outputs(1, MANY)
        .attributes(&[("body", Graph), ("directions", Ints), ("num_scan_inputs", Int)])
        .infer(rules::scan)
        .run(scan_batches),
    op("Scan", 9..=LATEST)
        .inputs(1, MANY)
        .outputs(1, MANY)
        .attributes(&[
            ("body", Graph),
            ("num_scan_inputs", Int),
            ("scan_input_axes", Ints),
            ("scan_input_directions", Ints),
            ("scan_output_axes", Ints),
            ("scan_output_directions", Ints),
        ])
        .infer(rules::scan)
        .run(scan),
];

/// The truth value of an input with one element.
fn truth(ctx: &OpContext<'_>, index: usize) -> Result<bool> {
    truth_of(ctx.tensor(index)?)
        .ok_or_else(|| Error::invalid(format!("input {index} must hold one truth value")))
}

fn truth_of(tensor: &Tensor) -> Option<bool> {
    match tensor.elements::<bool>() {
        Ok(&[value]) => Some(value),
        _ => None,
    }
}

fn branch(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let name = if truth(ctx, 0)? { "then_branch" } else { "else_branch" };
    ctx.run_body(name, Vec::new())
}

/// Inputs: most steps, condition, carried values. The body maps (step,
/// condition, carried values) to (condition, carried values, collected values).
fn repeat(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let steps_max = if ctx.has(0) { ctx.i64(0)? } else { i64::MAX };
    let mut goes_on = if ctx.has(1) { truth(ctx, 1)? } else { true };
    let mut carried = (2..ctx.input_count()).map(|at| ctx.take(at)).collect::<Result<Vec<_>>>()?;
    let carried_len = carried.len();
    let body = ctx.body("body")?;
    let Some(collected_len) = body.graph.outputs.len().checked_sub(carried_len + 1) else {
        let (expected, found) = (format!("at least {}", carried_len + 1), body.graph.outputs.len());
        return Err(Error::Arity { what: "outputs of a body", expected, found });
    };
    let mut collected: Vec<Vec<Tensor>> = vec![Vec::new(); collected_len];
    let mut step = 0;
    while goes_on && step < steps_max {
        let mut inputs = vec![Tensor::scalar(step).into(), Tensor::scalar(true).into()];
        inputs.append(&mut carried);
        let mut outputs = ctx.run_body("body", inputs)?.into_iter();
        let condition = outputs.next().and_then(Value::into_tensor);
        goes_on = condition.as_ref().and_then(truth_of).ok_or_else(|| {
            Error::invalid("the first output of a loop's body must be one truth value")
        })?;
        carried.extend(outputs.by_ref().take(carried_len));
        for (list, value) in collected.iter_mut().zip(outputs) {
            list.push(tensor_of(value)?);
        }
        step += 1;
    }
    let declared = body.graph.outputs[1 + carried_len..].iter();
    for (list, id) in collected.into_iter().zip(declared) {
        let tensor = match list.is_empty() {
            true => nothing_of(body.graph.values[id.index()].declared.as_ref())?,
            false => stack(&list, 0)?,
        };
        carried.push(tensor.into());
    }
    Ok(carried)
}

fn tensor_of(value: Value) -> Result<Tensor> {
    let found = value.kind();
    value
        .into_tensor()
        .ok_or_else(|| Error::invalid(format!("a body collects {found}, expected a tensor")))
}

/// What a loop without steps collects: no tensors of the declared type.
fn nothing_of(declared: Option<&ValueType>) -> Result<Tensor> {
    let Some(ValueType::Tensor(dtype, dims)) = declared else {
        return Err(Error::invalid(
            "the loop has no steps, and its body does not declare what it collects",
        ));
    };
    let fixed = |dim: &Dim| if let Dim::Fixed(len) = dim { *len } else { 0 };
    let dims = dims.iter().flatten().map(fixed);
    let shape: Vec<usize> = std::iter::once(0).chain(dims).collect();
    Tensor::zeros(&shape, *dtype)
}

/// Tensors of one shape beside each other along a new axis.
pub fn stack(tensors: &[Tensor], axis: usize) -> Result<Tensor> {
    let widened = tensors
        .iter()
        .map(|tensor| {
            let mut shape = tensor.shape().to_vec();
            shape.insert(axis.min(shape.len()), 1);
            tensor.clone().reshape(&shape)
        })
        .collect::<Result<Vec<_>>>()?;
    concat(&widened.iter().collect::<Vec<_>>(), axis)
}

/// Which way and along which axis a scanned tensor is walked.
struct Walk {
    axis: usize,
    is_reversed: bool,
}

impl Walk {
    /// One for each of `count` tensors whose ranks `rank` tells.
    fn read(
        ctx: &OpContext<'_>,
        [axes, directions]: [&str; 2],
        count: usize,
        rank: impl Fn(usize) -> usize,
    ) -> Result<Vec<Self>> {
        let list = |name: &str| -> Result<Vec<i64>> {
            let list = ctx.ints(name)?.map_or_else(|| vec![0; count], <[i64]>::to_vec);
            if list.len() == count {
                return Ok(list);
            }
            Err(ctx.bad_attribute(name, format!("must have {count} numbers, found {}", list.len())))
        };
        let (axes, directions) = (list(axes)?, list(directions)?);
        (0..count)
            .map(|at| {
                let axis = shape::axis(axes[at], rank(at))?;
                Ok(Self { axis, is_reversed: directions[at] != 0 })
            })
            .collect()
    }

    /// The part of `tensor` at a step, without the axis.
    fn part(&self, tensor: &Tensor, step: usize) -> Result<Value> {
        let len = tensor.shape()[self.axis];
        let at = if self.is_reversed { len - 1 - step } else { step };
        let mut shape = tensor.shape().to_vec();
        shape.remove(self.axis);
        Ok(slice(tensor, self.axis, at, 1)?.reshape(&shape)?.into())
    }
}

/// Number of state variables and of scanned inputs behind `first` other inputs.
fn scan_counts(ctx: &OpContext<'_>, first: usize) -> Result<(usize, usize)> {
    let scanned = ctx.int("num_scan_inputs", 0)?;
    let most = ctx.input_count() - first;
    let scanned = usize::try_from(scanned).ok().filter(|count| (1..=most).contains(count));
    let scanned = scanned
        .ok_or_else(|| ctx.bad_attribute("num_scan_inputs", format!("must be 1 to {most}")))?;
    let states = most - scanned;
    let outputs = ctx.body("body")?.graph.outputs.len();
    if outputs < states {
        let expected = format!("at least {states}");
        return Err(Error::Arity { what: "outputs of a body", expected, found: outputs });
    }
    Ok((states, scanned))
}

fn scan(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (states_len, scanned_len) = scan_counts(ctx, 0)?;
    let scanned: Vec<Tensor> =
        (states_len..ctx.input_count()).map(|at| ctx.take_tensor(at)).collect::<Result<_>>()?;
    let names = ["scan_input_axes", "scan_input_directions"];
    let walks = Walk::read(ctx, names, scanned_len, |at| scanned[at].rank())?;
    let states = (0..states_len).map(|at| ctx.take(at)).collect::<Result<Vec<_>>>()?;
    let (mut outputs, collected) = run_scan(ctx, states, &scanned, &walks, None)?;
    let names = ["scan_output_axes", "scan_output_directions"];
    let rank =
        |at: usize| collected.get(at).and_then(|list| list.first()).map_or(1, |t| t.rank() + 1);
    let walks = Walk::read(ctx, names, collected.len(), rank)?;
    for (mut list, walk) in collected.into_iter().zip(walks) {
        if walk.is_reversed {
            list.reverse();
        }
        outputs.push(stack(&list, walk.axis)?.into());
    }
    Ok(outputs)
}

/// Runs the body for every step; returns the last states and what was collected.
fn run_scan(
    ctx: &OpContext<'_>,
    mut states: Vec<Value>,
    scanned: &[Tensor],
    walks: &[Walk],
    steps: Option<usize>,
) -> Result<(Vec<Value>, Vec<Vec<Tensor>>)> {
    let states_len = states.len();
    let lens: Vec<usize> =
        scanned.iter().zip(walks).map(|(t, walk)| t.shape()[walk.axis]).collect();
    let len = lens.first().copied().unwrap_or(0);
    if lens.iter().any(|&other| other != len) {
        return Err(Error::invalid(format!("scanned inputs differ in length: {lens:?}")));
    }
    let steps = steps.unwrap_or(len);
    if steps > len || steps == 0 {
        return Err(Error::invalid(format!("cannot scan {steps} steps of {len}")));
    }
    let mut collected = vec![Vec::new(); ctx.body("body")?.graph.outputs.len() - states_len];
    for step in 0..steps {
        let mut inputs = std::mem::take(&mut states);
        for (tensor, walk) in scanned.iter().zip(walks) {
            inputs.push(walk.part(tensor, step)?);
        }
        let mut outputs = ctx.run_body("body", inputs)?.into_iter();
        states.extend(outputs.by_ref().take(states_len));
        for (list, value) in collected.iter_mut().zip(outputs) {
            list.push(tensor_of(value)?);
        }
    }
    Ok((states, collected))
}

/// Opset 8: every tensor has a batch dimension in front, scanned ones their
/// steps behind it; each batch has its own number of steps.
fn scan_batches(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (states_len, scanned_len) = scan_counts(ctx, 1)?;
    let tensors = (1..ctx.input_count()).map(|at| ctx.tensor(at)).collect::<Result<Vec<_>>>()?;
    let batch = tensors[0].shape().first().copied().unwrap_or(0);
    if batch == 0 || tensors.iter().any(|tensor| tensor.shape().first() != Some(&batch)) {
        return Err(Error::invalid("states and scanned inputs must share their first dimension"));
    }
    let steps = ctx.optional_i64s(0)?;
    let is_reversed = ctx.ints("directions")?.map_or_else(|| vec![0; scanned_len], <[i64]>::to_vec);
    if is_reversed.len() != scanned_len || steps.as_ref().is_some_and(|s| s.len() != batch) {
        return Err(ctx.bad_attribute("directions", format!("must have {scanned_len} numbers")));
    }
    let walks: Vec<_> =
        is_reversed.iter().map(|&it| Walk { axis: 0, is_reversed: it != 0 }).collect();
    let part = |tensor: &Tensor, at: usize| -> Result<Tensor> {
        slice(tensor, 0, at, 1)?.reshape(&tensor.shape()[1..])
    };
    let mut outputs: Vec<Vec<Tensor>> = Vec::new();
    for at in 0..batch {
        let parts = tensors.iter().map(|t| part(t, at)).collect::<Result<Vec<_>>>()?;
        let states = parts[..states_len].iter().cloned().map(Value::from).collect();
        let own = steps.as_ref().map(|steps| usize::try_from(steps[at]).unwrap_or(0));
        let len = parts[states_len].shape().first().copied().unwrap_or(0);
        let (states, collected) = run_scan(ctx, states, &parts[states_len..], &walks, own)?;
        let mut row = states.into_iter().map(tensor_of).collect::<Result<Vec<_>>>()?;
        for list in collected {
            row.push(pad_rows(stack(&list, 0)?, len)?);
        }
        outputs.resize(row.len(), Vec::new());
        outputs.iter_mut().zip(row).for_each(|(list, tensor)| list.push(tensor));
    }
    outputs.iter().map(|list| stack(list, 0).map(Value::from)).collect()
}

/// `tensor` with rows of zeros behind it up to `len`.
fn pad_rows(tensor: Tensor, len: usize) -> Result<Tensor> {
    let mut shape = tensor.shape().to_vec();
    shape[0] = len - shape[0];
    concat(&[&tensor, &Tensor::zeros(&shape, tensor.dtype())?], 0)
}

/// The elements of a small tensor in `f64`, for attributes that are inputs.
pub fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(f64::widen(tensor)?.into_owned())
}
