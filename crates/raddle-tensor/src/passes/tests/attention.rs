//! Attention in the forms that models write it in, and what only looks like it.

use super::{assert_close, node, numbers, run};
use crate::graph::{Attribute, Dim, Graph, ValueId, ValueType};
use crate::passes::attention::fuse;
use crate::{DType, Tensor};

/// Where factors are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scale {
    None,
    Divided,
    Multiplied,
    /// On queries and turned keys.
    OnOperands,
    /// On turned keys, computed by the run.
    OfRun,
}

#[derive(Clone, Copy, Debug)]
pub struct Form {
    scale: Scale,
    /// Shape of the mask, if there is one, and whether it is the left operand.
    mask: Option<(&'static [usize], bool)>,
    /// Whether queries and keys come from `[batch, length, head, element]`.
    is_turned: bool,
    axis: i64,
    /// Whether somebody else reads the probabilities.
    is_read: bool,
    /// Whether queries have no batch.
    is_broadcast: bool,
}

impl Default for Form {
    fn default() -> Self {
        Self {
            scale: Scale::Divided,
            mask: Some((&[9, 9], false)),
            is_turned: false,
            axis: -1,
            is_read: false,
            is_broadcast: false,
        }
    }
}

/// An attention of the input's 8 heads of 9 rows, or of 9 heads of 8 rows if it is turned.
pub fn spelled_out(form: Form) -> Graph {
    let mut graph = Graph::default();
    let dims = Some(vec![Dim::Symbol("n".into()), Dim::Fixed(8), Dim::Fixed(9), Dim::Fixed(11)]);
    let x = graph.add_value("x", Some(ValueType::Tensor(DType::F32, dims)));
    graph.inputs = vec![x];
    let number = |graph: &mut Graph, number: f32| {
        graph.add_constant(format!("number{}", graph.values.len()), Tensor::scalar(number))
    };
    let turned = |graph: &mut Graph, x: ValueId, order: &[i64]| {
        node(graph, "Transpose", &[x], &[("perm", Attribute::Ints(order.to_vec()))])
    };
    let (mut query, value, mut key) = match form.is_turned {
        true => (
            turned(&mut graph, x, &[0, 2, 1, 3]),
            turned(&mut graph, x, &[0, 2, 1, 3]),
            turned(&mut graph, x, &[0, 2, 3, 1]),
        ),
        false => (x, x, turned(&mut graph, x, &[0, 1, 3, 2])),
    };
    if form.is_broadcast {
        query = graph.add_constant("query", numbers(&[1, 8, 9, 11], 5));
    }
    if form.scale == Scale::OnOperands {
        let factor = number(&mut graph, 1.7);
        query = node(&mut graph, "Mul", &[query, factor], &[]);
        key = node(&mut graph, "Mul", &[factor, key], &[]);
    }
    if form.scale == Scale::OfRun {
        let axes = [("keepdims", Attribute::Int(0))];
        let factor = node(&mut graph, "ReduceMax", &[x], &axes);
        key = node(&mut graph, "Mul", &[key, factor], &[]);
    }
    let mut scores = node(&mut graph, "MatMul", &[query, key], &[]);
    if let Scale::Divided | Scale::Multiplied = form.scale {
        let factor = number(&mut graph, 0.6);
        let op = if form.scale == Scale::Divided { "Div" } else { "Mul" };
        scores = node(&mut graph, op, &[scores, factor], &[]);
    }
    if let Some((shape, is_left)) = form.mask {
        let mask = graph.add_constant("mask", numbers(shape, 7));
        let operands = if is_left { [mask, scores] } else { [scores, mask] };
        scores = node(&mut graph, "Add", &operands, &[]);
    }
    let axis = [("axis", Attribute::Int(form.axis))];
    let probabilities = node(&mut graph, "Softmax", &[scores], &axis);
    let y = node(&mut graph, "MatMul", &[probabilities, value], &[]);
    graph.outputs = vec![y];
    if form.is_read {
        graph.outputs.push(probabilities);
    }
    graph
}

fn check(form: Form, is_found: bool) {
    let graph = spelled_out(form);
    let expected = run(&graph);
    let mut fused = graph.clone();
    assert_eq!(fuse(&mut fused).expect("a sound graph"), usize::from(is_found), "{form:?}");
    assert_close(&run(&fused), &expected, "fuse-attention");
    let count = |name: &str| fused.nodes.iter().filter(|node| node.op.name == name).count();
    assert_eq!(count("Attention"), usize::from(is_found), "{form:?}");
    assert_eq!(count("Softmax"), usize::from(!is_found), "{form:?}");
}

#[test]
fn attention_is_found_in_all_its_forms() {
    let plain = Form::default();
    check(plain, true);
    for scale in [Scale::None, Scale::Multiplied, Scale::OnOperands, Scale::OfRun] {
        check(Form { scale, mask: None, ..plain }, true);
        check(Form { scale, axis: 3, ..plain }, true);
    }
    for shape in [&[1, 1, 1, 9][..], &[9, 1], &[1], &[8, 9, 9], &[1, 8, 1, 1]] {
        check(Form { mask: Some((shape, true)), ..plain }, true);
    }
    let mask = Some((&[8, 8][..], false));
    for scale in [Scale::Divided, Scale::OnOperands, Scale::OfRun] {
        check(Form { is_turned: true, mask, scale, ..plain }, true);
    }
}

#[test]
fn what_only_looks_like_attention_stays() {
    let plain = Form::default();
    check(Form { axis: 2, ..plain }, false);
    check(Form { is_read: true, ..plain }, false);
    check(Form { is_broadcast: true, ..plain }, false);
    // Nobody knows that there are three images.
    check(Form { mask: Some((&[3, 1, 9, 9], false)), ..plain }, false);
    check(Form { mask: Some((&[1, 1, 1, 9, 9], false)), ..plain }, false);
}
