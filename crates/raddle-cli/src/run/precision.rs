//! A model in half precision: weights, inputs and what flows between nodes are
//! stored as `f16` or `bf16`; each operation still computes in `f32`.
//!
//! Operands that ONNX fixes to `f32` (sizes of `Resize`, scales of quantisation)
//! stay as they are; a node that then has operands of two types is an error of
//! its own when the model runs. So do weights in Winograd's form, whose rounding the
//! transform of the result would magnify.

use std::collections::BTreeSet;

use raddle_tensor::convert::{Compute, Overflow};
use raddle_tensor::graph::{Attribute, Graph, Node, ValueId, ValueType};
use raddle_tensor::{DType, Tensor, Value};

/// Why a model does not work in the type asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrecisionError {
    /// A weight that is beyond the type's range.
    #[error("{name} holds {value}, which {dtype} cannot hold; run the model with another --dtype")]
    Range {
        /// Weight or input.
        name: String,
        /// The value.
        value: f32,
        /// The type.
        dtype: DType,
    },
    /// The tensor refused.
    #[error(transparent)]
    Tensor(#[from] raddle_tensor::Error),
}

/// Rewrites a graph of `f32` for another type; for `f32` itself nothing changes.
///
/// ## Errors
/// [`PrecisionError::Range`].
pub fn convert(graph: &mut Graph, dtype: DType) -> Result<(), PrecisionError> {
    if dtype == DType::F32 {
        return Ok(());
    }
    let kept: BTreeSet<ValueId> = graph.nodes.iter().flat_map(fixed_operands).collect();
    for (id, tensor) in &mut graph.constants {
        if !kept.contains(id) {
            *tensor = narrow(&graph.values[id.index()].name, tensor, dtype)?;
        }
    }
    for (at, info) in graph.values.iter_mut().enumerate() {
        if let (Some(declared), false) = (&mut info.declared, kept.contains(&ValueId(at as u32))) {
            retype(declared, dtype);
        }
    }
    for node in &mut graph.nodes {
        let name = node.name.clone();
        for (key, attribute) in &mut node.attributes {
            convert_attribute(&name, key, attribute, dtype)?;
        }
    }
    Ok(())
}

/// Operands that stay `f32` whatever the type of the others is.
fn fixed_operands(node: &Node) -> Vec<ValueId> {
    let fixed: &[usize] = match node.op.name {
        "Resize" => &[1, 2],
        "Upsample" | "QuantizeLinear" | "DequantizeLinear" => &[1],
        "QLinearConv" | "QLinearMatMul" => &[1, 4, 6],
        "NonMaxSuppression" => &[0, 1, 3, 4],
        "PackedConv" if is_winograd(node) => &[1],
        _ => &[],
    };
    fixed.iter().filter_map(|&at| node.inputs.get(at).copied().flatten()).collect()
}

fn is_winograd(node: &Node) -> bool {
    matches!(node.attribute("form"), Some(Attribute::String(form)) if form == "winograd")
}

fn convert_attribute(
    node: &str,
    key: &mut String,
    attribute: &mut Attribute,
    dtype: DType,
) -> Result<(), PrecisionError> {
    // A `Constant` may hold its numbers without a type, as floats.
    let tensor = match (key.as_str(), &*attribute) {
        ("value_float", Attribute::Float(value)) => Some(Tensor::scalar(*value)),
        ("value_floats", Attribute::Floats(values)) => Some(Tensor::vector(values.clone())),
        _ => None,
    };
    if let Some(tensor) = tensor {
        *key = "value".into();
        *attribute = Attribute::Tensor(narrow(node, &tensor, dtype)?);
        return Ok(());
    }
    match attribute {
        Attribute::Tensor(tensor) => *tensor = narrow(node, tensor, dtype)?,
        Attribute::Int(number)
            if matches!(key.as_str(), "to" | "dtype")
                && *number == i64::from(DType::F32.onnx_number()) =>
        {
            *number = dtype.onnx_number().into();
        }
        Attribute::Type(declared) => retype(declared, dtype),
        Attribute::Graph(body) => convert(&mut body.graph, dtype)?,
        Attribute::Graphs(bodies) => {
            for body in bodies {
                convert(&mut body.graph, dtype)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn retype(declared: &mut ValueType, dtype: DType) {
    match declared {
        ValueType::Tensor(own @ DType::F32, _) => *own = dtype,
        ValueType::Tensor(..) => {}
        ValueType::Sequence(item) | ValueType::Optional(item) => retype(item, dtype),
    }
}

/// A tensor of `f32` in the type; others are left alone.
fn narrow(name: &str, tensor: &Tensor, dtype: DType) -> Result<Tensor, PrecisionError> {
    if tensor.dtype() != DType::F32 {
        return Ok(tensor.clone());
    }
    let elements = tensor.elements::<f32>()?;
    let data = f32::narrow(elements.to_vec(), dtype, Overflow::Special)?;
    let narrowed = Tensor::from_data(tensor.shape(), dtype, data)?;
    let back = f32::widen(&narrowed)?;
    let lost = elements.iter().zip(&*back).find(|(a, b)| a.is_finite() && !b.is_finite());
    match lost {
        Some((&value, _)) => Err(PrecisionError::Range { name: name.into(), value, dtype }),
        None => Ok(narrowed),
    }
}

/// Brings inputs of `f32` to the type that a converted graph declares.
///
/// ## Errors
/// [`PrecisionError::Range`].
pub fn convert_inputs(
    graph: &Graph,
    mut inputs: Vec<(String, Value)>,
) -> Result<Vec<(String, Value)>, PrecisionError> {
    for (name, value) in &mut inputs {
        let id = graph.inputs.iter().find(|&&id| graph.name_of(id) == name.as_str());
        let declared = id.and_then(|id| graph.values[id.index()].declared.as_ref());
        if let (
            Some(ValueType::Tensor(dtype @ (DType::F16 | DType::BF16), _)),
            Value::Tensor(tensor),
        ) = (declared, &*value)
        {
            *value = Value::Tensor(narrow(name, tensor, *dtype)?);
        }
    }
    Ok(inputs)
}

/// Brings outputs back to `f32` if the graph was converted.
///
/// ## Errors
/// [`PrecisionError::Tensor`].
pub fn widen(
    outputs: Vec<(String, Value)>,
    dtype: DType,
) -> Result<Vec<(String, Value)>, PrecisionError> {
    let widen = |value: Value| -> Result<Value, PrecisionError> {
        match value {
            Value::Tensor(tensor) if dtype != DType::F32 && tensor.dtype() == dtype => {
                let elements = f32::widen(&tensor)?.into_owned();
                Ok(Value::Tensor(Tensor::new(tensor.shape(), elements)?))
            }
            other => Ok(other),
        }
    };
    outputs.into_iter().map(|(name, value)| Ok((name, widen(value)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_beyond_the_range_are_refused() {
        let tensor = Tensor::vector(vec![1.0f32, f32::INFINITY, 70_000.0]);
        let error = narrow("w", &tensor, DType::F16).unwrap_err().to_string();
        assert_eq!(
            error,
            "w holds 70000, which float16 cannot hold; run the model with another --dtype"
        );
        let narrowed = narrow("w", &tensor, DType::BF16).unwrap();
        assert_eq!(narrowed.dtype(), DType::BF16);
        let back = widen(vec![("w".into(), narrowed.into())], DType::BF16).unwrap();
        let back = back[0].1.as_tensor().unwrap().elements::<f32>().unwrap().to_vec();
        assert_eq!(back, [1.0, f32::INFINITY, 70_144.0]);
    }
}
