//! Batches of requests: put together from the inputs of several, and what they gave cut
//! into each one's share.

use super::{Given, Pending, Version};
use crate::model::{Batch, BatchInput, ModelError, Outcome, TensorSpec};
use crate::queue::Taken;
use crate::stats::Times;
use crate::tensor::{Datatype, Rope, Tensor};

/// Whether requests have the same inputs in the same shapes, but for the batch.
pub fn is_alike(version: &Version, one: &[Given], other: &[Given]) -> bool {
    let first = usize::from(version.is_batching());
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| {
            one.at == other.at && one.tensor.shape[first..] == other.tensor.shape[first..]
        })
}

/// The batch of requests that are alike.
pub fn batch<'a>(version: &'a Version, requests: &[&'a Vec<Given>], rows: usize) -> Batch<'a> {
    let inputs = requests[0].iter().enumerate().map(|(at, Given { at: index, tensor, .. })| {
        let mut shape = tensor.shape.clone();
        if version.is_batching() {
            shape[0] = rows;
        }
        BatchInput {
            name: &version.signature.inputs[*index].name,
            datatype: tensor.datatype,
            shape,
            parts: requests.iter().map(|inputs| &inputs[at].tensor.data).collect(),
            staged: requests.iter().map(|inputs| inputs[at].staged.as_deref()).collect(),
        }
    });
    Batch { inputs: inputs.collect(), rows }
}

/// Inputs of zeros and empty strings.
pub fn zeros(version: &Version, rows: usize) -> Vec<Given> {
    let zero = |(at, spec): (usize, &TensorSpec)| {
        let mut shape: Vec<usize> =
            spec.shape.iter().map(|&dim| usize::try_from(dim).unwrap_or(1)).collect();
        if version.is_batching() {
            shape[0] = rows;
        }
        let count: usize = shape.iter().product();
        let data = Rope::from(vec![0; count * spec.datatype.size().unwrap_or(4)]);
        let tensor = Tensor { name: spec.name.clone(), datatype: spec.datatype, shape, data };
        Given { at, tensor, staged: None }
    };
    let inputs = version.signature.inputs.iter().enumerate();
    inputs.filter(|(_, spec)| !spec.is_optional).map(zero).collect()
}

/// Each request's share of the outputs, without copying them.
pub fn split(
    version: &Version,
    outcome: Outcome,
    wanted: &Taken<Pending>,
    rows: usize,
) -> Result<(Vec<Vec<Tensor>>, Times), ModelError> {
    let specs = &version.signature.outputs;
    if outcome.outputs.len() != specs.len() {
        let found = outcome.outputs.len();
        let expected = specs.len();
        return Err(ModelError::Failed(format!("expected {expected} outputs, found {found}")));
    }
    let times =
        Times { copy_in: outcome.copy_in, compute: outcome.compute, copy_out: outcome.copy_out };
    let mut shares: Vec<Vec<Tensor>> = wanted.iter().map(|_| Vec::new()).collect();
    for (output, spec) in outcome.outputs.into_iter().zip(specs) {
        let whole = Tensor {
            name: spec.name.clone(),
            datatype: spec.datatype,
            shape: output.shape,
            data: output.data.into(),
        };
        whole.check().map_err(|why| ModelError::Failed(format!("output: {why}")))?;
        if !version.is_batching() {
            shares[0].push(whole);
            continue;
        }
        if whole.shape.first() != Some(&rows) {
            return Err(ModelError::Failed(format!(
                "output {}: expected {rows} rows, found shape {:?}",
                spec.name, whole.shape
            )));
        }
        if let [share] = &mut shares[..] {
            share.push(whole);
            continue;
        }
        let mut rest = whole.data.clone();
        for (share, (_, pending)) in shares.iter_mut().zip(wanted) {
            let mut shape = whole.shape.clone();
            shape[0] = pending.rows;
            let bytes = share_bytes(&whole, &rest, pending.rows, rows);
            let data = rest.split_to(bytes).unwrap_or_default();
            share.push(Tensor { shape, data, name: spec.name.clone(), datatype: spec.datatype });
        }
    }
    Ok((shares, times))
}

/// Bytes of the next `rows` rows of an output.
fn share_bytes(whole: &Tensor, rest: &Rope, rows: usize, all: usize) -> usize {
    if whole.datatype != Datatype::Bytes {
        return whole.data.len() / all * rows;
    }
    let count: usize = whole.shape[1..].iter().product::<usize>() * rows;
    let rest = rest.to_bytes();
    (0..count).fold(0, |at, _| {
        let prefix = rest.get(at..at + 4).and_then(|prefix| prefix.try_into().ok());
        at + 4 + u32::from_le_bytes(prefix.unwrap_or_default()) as usize
    })
}
