//! Graphs in 16 bits hold against themselves in `f32`, and compute there what they may.

use super::*;
use crate::graph::{Capture, Subgraph, ValueType};
use crate::passes::ON_REQUEST;
use crate::{Plan, Value};

/// A number between -1 and 1 for each index.
fn numbers(shape: &[usize], seed: usize) -> Tensor {
    let len = shape.iter().product();
    let number = |at: usize| ((at + seed) * 2_654_435_761 % 1009) as f32 / 504.5 - 1.0;
    Tensor::new(shape, (0..len).map(number).collect()).expect("as long as its shape")
}

/// A graph with an input `x` of `f32`.
fn start() -> (Graph, ValueId) {
    let mut graph = Graph::default();
    let x = graph.add_value("x", Some(ValueType::Tensor(DType::F32, None)));
    graph.inputs = vec![x];
    (graph, x)
}

fn node(
    graph: &mut Graph,
    op: &str,
    inputs: &[ValueId],
    attributes: &[(&str, Attribute)],
) -> ValueId {
    let output = graph.add_value(format!("{op}{}", graph.values.len()), None);
    let node = Node {
        name: String::new(),
        op: ops::find("", op, 17).expect("in the table"),
        inputs: inputs.iter().copied().map(Some).collect(),
        outputs: vec![Some(output)],
        attributes: attributes.iter().map(|(name, it)| ((*name).into(), it.clone())).collect(),
        opset: 17,
    };
    graph.add_node(node).expect("fits its row");
    output
}

fn number(graph: &mut Graph, number: f32) -> ValueId {
    graph.add_constant(format!("n{}", graph.values.len()), Tensor::scalar(number))
}

fn matrix(graph: &mut Graph, shape: &[usize]) -> ValueId {
    let seed = graph.values.len();
    graph.add_constant(format!("c{seed}"), numbers(shape, seed))
}

/// A normalisation over the last dimension as older exporters spell it out.
fn normalised(graph: &mut Graph, x: ValueId, len: usize) -> ValueId {
    let last = [("axes", Attribute::Ints(vec![-1]))];
    let mean = node(graph, "ReduceMean", &[x], &last);
    let centred = node(graph, "Sub", &[x, mean], &[]);
    let two = number(graph, 2.0);
    let squares = node(graph, "Pow", &[centred, two], &[]);
    let variance = node(graph, "ReduceMean", &[squares], &last);
    let epsilon = number(graph, 1e-12);
    let sum = node(graph, "Add", &[variance, epsilon], &[]);
    let deviation = node(graph, "Sqrt", &[sum], &[]);
    let scaled = node(graph, "Div", &[centred, deviation], &[]);
    let (scale, bias) = (matrix(graph, &[len]), matrix(graph, &[len]));
    let scaled = node(graph, "Mul", &[scaled, scale], &[]);
    node(graph, "Add", &[scaled, bias], &[])
}

/// Attention over masked places, a residual and a normalisation: `x: [2, 6, 8]`.
fn attention() -> Graph {
    let (mut graph, x) = start();
    let [q, k, v] = [0, 1, 2].map(|_| matrix(&mut graph, &[8, 8]));
    let [q, k, v] = [q, k, v].map(|w| node(&mut graph, "MatMul", &[x, w], &[]));
    let swap = [("perm", Attribute::Ints(vec![0, 2, 1]))];
    let k = node(&mut graph, "Transpose", &[k], &swap);
    let scores = node(&mut graph, "MatMul", &[q, k], &[]);
    // The scale is made of a shape, as in models with free dimensions.
    let shape = node(&mut graph, "Shape", &[q], &[]);
    let two = graph.add_constant("two", Tensor::vector(vec![2i64]));
    let width = node(&mut graph, "Gather", &[shape, two], &[]);
    let to = [("to", Attribute::Int(DType::F32.onnx_number().into()))];
    let width = node(&mut graph, "Cast", &[width], &to);
    let scale = node(&mut graph, "Sqrt", &[width], &[]);
    let scores = node(&mut graph, "Div", &[scores, scale], &[]);
    // Ones where nothing is masked, by the largest number of f32.
    let limit = number(&mut graph, 0.9);
    let row = graph.add_constant("row", numbers(&[6], 5));
    let mask = node(&mut graph, "Less", &[row, limit], &[]);
    let mask = node(&mut graph, "Cast", &[mask], &to);
    let first = graph.add_constant("zero", Tensor::scalar(0i64));
    let some = node(&mut graph, "Gather", &[x, first], &[("axis", Attribute::Int(2))]);
    let zero = number(&mut graph, 0.0);
    let some = node(&mut graph, "Mul", &[some, zero], &[]);
    let mask = node(&mut graph, "Add", &[some, mask], &[]);
    let one = number(&mut graph, 1.0);
    let hidden = node(&mut graph, "Sub", &[one, mask], &[]);
    let most = number(&mut graph, f32::MIN);
    let hidden = node(&mut graph, "Mul", &[hidden, most], &[]);
    let axes = graph.add_constant("axes", Tensor::vector(vec![1i64]));
    let hidden = node(&mut graph, "Unsqueeze", &[hidden, axes], &[]);
    let scores = node(&mut graph, "Add", &[scores, hidden], &[]);
    let weights = node(&mut graph, "Softmax", &[scores], &[("axis", Attribute::Int(-1))]);
    let y = node(&mut graph, "MatMul", &[weights, v], &[]);
    let sum = node(&mut graph, "Add", &[y, x], &[]);
    let y = normalised(&mut graph, sum, 8);
    let y = node(&mut graph, "Erf", &[y], &[]);
    let w = matrix(&mut graph, &[8, 5]);
    let y = node(&mut graph, "MatMul", &[y, w], &[]);
    graph.outputs = vec![y];
    graph
}

fn run(graph: &Graph, x: &Tensor) -> Vec<f32> {
    let plan = Plan::new(graph.clone()).expect("a sound graph");
    let outputs = plan.run([("x", Value::from(x.clone()))]).expect("it runs");
    outputs[0].as_tensor().expect("a tensor").elements::<f32>().expect("floats").to_vec()
}

/// Runs both passes and holds results against those of `f32`; gives what `f16` made.
fn check(graph: &Graph, x: &Tensor) -> Graph {
    let expected = run(graph, x);
    let scale = expected.iter().fold(0f32, |max, x| max.max(x.abs()));
    let mut made = Vec::new();
    for (pass, bound) in ON_REQUEST.iter().zip([1e-2, 4e-2]) {
        let mut half = graph.clone();
        let count = (pass.run)(&mut half).expect("a sound graph");
        assert!(count > 0, "{} found nothing to do", pass.name);
        let found = run(&half, x);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            let error = (found - expected).abs() / scale;
            assert!(error <= bound, "{}: {found} for {expected}", pass.name);
        }
        made.push(half);
    }
    made.swap_remove(0)
}

/// The types of operands and results of the nodes of an operation, in order.
fn types_of(graph: &Graph, op: &str) -> Vec<[DType; 2]> {
    let types = infer::types(graph, &[]).expect("a sound graph");
    let dtype = |id: Option<ValueId>| types[id.expect("it is there").index()].as_ref();
    let dtype = |id| dtype(id).expect("its type is known").dtype;
    let order = graph.order().expect("a sound graph").into_iter();
    let nodes = order.map(|at| &graph.nodes[at]).filter(|node| node.op.name == op);
    nodes.map(|node| [dtype(node.inputs[0]), dtype(node.outputs[0])]).collect()
}

const F32: [DType; 2] = [DType::F32; 2];
const F16: [DType; 2] = [DType::F16; 2];

#[test]
fn products_go_to_16_bits_and_powers_do_not() {
    let graph = attention();
    let half = check(&graph, &numbers(&[2, 6, 8], 3));
    assert_eq!(types_of(&half, "MatMul"), [F16; 6]);
    assert_eq!(types_of(&half, "Softmax"), [F16]);
    assert_eq!(types_of(&half, "Pow"), [F32]);
    // The quotient of scores and a number of the host, and that of a normalisation.
    assert_eq!(types_of(&half, "Div"), [F16, F32]);
    // The largest number of f32 is kept from f16, and limited on its way there.
    assert_eq!(types_of(&half, "Clip"), [F32]);
    let declared = |graph: &Graph| graph.values[graph.inputs[0].index()].declared.clone();
    assert_eq!(declared(&half), declared(&graph));
    assert_eq!(half.outputs, graph.outputs);
}

#[test]
fn images_and_layers_stay_in_16_bits() {
    let (mut graph, x) = start();
    let ints = |list: &[i64]| Attribute::Ints(list.to_vec());
    let w = matrix(&mut graph, &[6, 3, 3, 3]);
    let y = node(&mut graph, "Conv", &[x, w], &[("pads", ints(&[1; 4]))]);
    let (low, high) = (number(&mut graph, 0.0), number(&mut graph, f32::MAX));
    let y = node(&mut graph, "Clip", &[y, low, high], &[]);
    let scales = graph.add_constant("scales", Tensor::vector(vec![1f32, 1.0, 2.0, 2.0]));
    let y = node(&mut graph, "Resize", &[y, scales, scales], &[]);
    graph.nodes.last_mut().expect("it was added").inputs[1] = None;
    let window = [("kernel_shape", ints(&[2, 2])), ("strides", ints(&[4, 2]))];
    let y = node(&mut graph, "MaxPool", &[y], &window);
    let shape = graph.add_constant("shape", Tensor::vector(vec![4i64, 2, 9]));
    let y = node(&mut graph, "Reshape", &[y, shape], &[]);
    let (w, r) = (matrix(&mut graph, &[1, 20, 9]), matrix(&mut graph, &[1, 20, 5]));
    let y = node(&mut graph, "LSTM", &[y, w, r], &[]);
    graph.outputs = vec![y];
    let half = check(&graph, &numbers(&[2, 3, 4, 3], 7));
    for op in ["Clip", "Resize", "MaxPool", "Reshape", "Conv", "LSTM"] {
        assert_eq!(types_of(&half, op), [F16], "{op}");
    }
    let resize = half.nodes.iter().find(|node| node.op.name == "Resize");
    assert_eq!(resize.expect("it is there").inputs[2], Some(scales));
    // A device may want images in f32: then what follows them is too.
    let mut kept = graph.clone();
    let count = to_half(&mut kept, DType::F16, &["Conv"]).expect("a sound graph");
    let f32s = ["Clip", "Resize", "MaxPool", "Reshape", "Conv"];
    assert!(f32s.iter().all(|op| types_of(&kept, op) == [F32]));
    assert_eq!((count, types_of(&kept, "LSTM")), (1, vec![F16]));
}

#[test]
fn what_bodies_read_stays_as_it_is() {
    let (mut graph, x) = start();
    let w = matrix(&mut graph, &[4, 4]);
    let y = node(&mut graph, "MatMul", &[x, w], &[]);
    let condition = graph.add_constant("condition", Tensor::scalar(true));
    let body = |op: &str| {
        let mut body = Graph::default();
        let inner = body.add_value("inner", None);
        let out = node(&mut body, op, &[inner], &[]);
        body.outputs = vec![out];
        let captures = vec![Capture { outer: y, inner }];
        Attribute::Graph(Box::new(Subgraph { graph: body, captures }))
    };
    let (then, other) = (body("Relu"), body("Neg"));
    let branches = [("then_branch", then), ("else_branch", other)];
    let chosen = node(&mut graph, "If", &[condition], &branches);
    let chosen = node(&mut graph, "MatMul", &[chosen, w], &[]);
    graph.outputs = vec![chosen];
    let half = check(&graph, &numbers(&[3, 4], 1));
    let body = half.nodes.iter().find(|node| node.op.name == "If").expect("it is there");
    assert!(body.reads().any(|id| id == y), "it reads the value in its own type");
    assert_eq!(types_of(&half, "MatMul")[0], F16);
}
