//! Every pass leaves the results of a graph as they were.

use super::*;
use crate::graph::{Attribute, Dim, ValueType};
use crate::{DType, Plan, Value, ops};

mod attention;

/// A number between -1 and 1 for each index.
fn numbers(shape: &[usize], seed: usize) -> Tensor {
    let len = shape.iter().product();
    let number = |at: usize| ((at + seed) * 2_654_435_761 % 1009) as f32 / 504.5 - 1.0;
    Tensor::new(shape, (0..len).map(number).collect()).expect("as long as its shape")
}

fn node(
    graph: &mut Graph,
    name: &str,
    inputs: &[ValueId],
    attributes: &[(&str, Attribute)],
) -> ValueId {
    let output = graph.add_value(format!("{name}{}", graph.values.len()), None);
    let attributes = attributes.iter().map(|(name, it)| ((*name).to_owned(), it.clone()));
    let node = Node {
        name: String::new(),
        op: ops::find("", name, 17).expect("in the table"),
        inputs: inputs.iter().copied().map(Some).collect(),
        outputs: vec![Some(output)],
        attributes: attributes.collect(),
        opset: 17,
    };
    graph.add_node(node).expect("fits its row");
    output
}

/// A residual block: convolution, batch norm, activation, grouped and depthwise
/// convolutions, an addition that matches and one that broadcasts.
fn block() -> Graph {
    let mut graph = Graph::default();
    let dims = Some(vec![Dim::Symbol("n".into()), Dim::Fixed(8), Dim::Fixed(9), Dim::Fixed(11)]);
    let x = graph.add_value("x", Some(ValueType::Tensor(DType::F32, dims)));
    graph.inputs = vec![x];
    let pads = Attribute::Ints(vec![1; 4]);
    let constant = |graph: &mut Graph, shape: &[usize], seed| {
        graph.add_constant(format!("c{seed}"), numbers(shape, seed))
    };
    let w = constant(&mut graph, &[8, 8, 3, 3], 1);
    let y = node(&mut graph, "Conv", &[x, w], &[("pads", pads.clone())]);
    let scale: Vec<ValueId> = (2..5).map(|seed| constant(&mut graph, &[8], seed)).collect();
    let positive = (0..8).map(|at| 0.1 + at as f32 / 4.0).collect();
    let variance = graph.add_constant("variance", Tensor::vector::<f32>(positive));
    let norm = [y, scale[0], scale[1], scale[2], variance];
    let y = node(&mut graph, "BatchNormalization", &norm, &[]);
    let y = node(&mut graph, "Add", &[x, y], &[]);
    let y = node(&mut graph, "Relu", &[y], &[]);
    let w = constant(&mut graph, &[6, 4, 1, 3], 6);
    let group = ("group", Attribute::Int(2));
    let y = node(&mut graph, "Conv", &[y, w], &[group, ("strides", Attribute::Ints(vec![1, 2]))]);
    let row = constant(&mut graph, &[6, 1, 1], 7);
    let y = node(&mut graph, "Add", &[y, row], &[]);
    let factor = node(&mut graph, "Sigmoid", &[y], &[]);
    let y = node(&mut graph, "Mul", &[factor, y], &[]);
    let (w, b) = (constant(&mut graph, &[6, 1, 3, 3], 8), constant(&mut graph, &[6], 9));
    let group = ("group", Attribute::Int(6));
    let y = node(&mut graph, "Conv", &[y, w, b], &[group, ("pads", pads)]);
    let low = graph.add_constant("low", Tensor::scalar(0f32));
    let high = graph.add_constant("high", Tensor::scalar(6f32));
    let low = node(&mut graph, "Identity", &[low], &[]);
    let y = node(&mut graph, "Clip", &[y, low, high], &[]);
    let y = node(&mut graph, "GlobalAveragePool", &[y], &[]);
    let y = gelu(&mut graph, y, std::f32::consts::SQRT_2);
    let y = node(&mut graph, "Flatten", &[y], &[]);
    let w = constant(&mut graph, &[20, 6], 10);
    let y = node(&mut graph, "Gemm", &[y, w], &[("transB", Attribute::Int(1))]);
    let (w, row) = (constant(&mut graph, &[20, 17], 12), constant(&mut graph, &[17], 13));
    let y = node(&mut graph, "MatMul", &[y, w], &[]);
    let y = node(&mut graph, "Add", &[row, y], &[]);
    let unused = node(&mut graph, "Relu", &[y], &[]);
    let _ = node(&mut graph, "Relu", &[unused], &[]);
    graph.outputs = vec![y];
    graph
}

/// The activation of opsets before 20.
fn gelu(graph: &mut Graph, x: ValueId, root: f32) -> ValueId {
    let number = |graph: &mut Graph, number: f32| {
        graph.add_constant(format!("number{}", graph.values.len()), Tensor::scalar(number))
    };
    let (root, one, half) = (number(graph, root), number(graph, 1.0), number(graph, 0.5));
    let scaled = node(graph, "Div", &[x, root], &[]);
    let erf = node(graph, "Erf", &[scaled], &[]);
    let sum = node(graph, "Add", &[erf, one], &[]);
    let product = node(graph, "Mul", &[x, sum], &[]);
    node(graph, "Mul", &[product, half], &[])
}

/// The same with its products in other places.
fn gelus() -> Vec<(Graph, usize)> {
    let start = || {
        let mut graph = Graph::default();
        let x = graph.add_value("x", None);
        graph.inputs = vec![x];
        (graph, x)
    };
    let mut graphs = Vec::new();
    for (root, expected) in [(std::f32::consts::SQRT_2, 1), (1.5, 0)] {
        let (mut graph, x) = start();
        graph.outputs = vec![gelu(&mut graph, x, root)];
        graphs.push((graph, expected));
    }
    for half_first in [true, false] {
        let (mut graph, x) = start();
        let root = graph.add_constant("r", Tensor::scalar(std::f32::consts::FRAC_1_SQRT_2));
        let one = graph.add_constant("one", Tensor::scalar(1f32));
        let half = graph.add_constant("half", Tensor::scalar(0.5f32));
        let scaled = node(&mut graph, "Mul", &[root, x], &[]);
        let erf = node(&mut graph, "Erf", &[scaled], &[]);
        let sum = node(&mut graph, "Add", &[one, erf], &[]);
        let y = if half_first {
            let halved = node(&mut graph, "Mul", &[x, half], &[]);
            node(&mut graph, "Mul", &[halved, sum], &[])
        } else {
            let halved = node(&mut graph, "Mul", &[sum, half], &[]);
            node(&mut graph, "Mul", &[x, halved], &[])
        };
        graph.outputs = vec![y];
        graphs.push((graph, 1));
    }
    graphs
}

#[test]
fn gelu_is_found_in_all_its_forms_and_nowhere_else() {
    for (graph, expected) in gelus() {
        let before = run(&graph);
        let mut fused = graph.clone();
        assert_eq!(gelu::fuse(&mut fused).expect("a sound graph"), expected);
        assert_eq!(fused.nodes.len() == 1, expected == 1);
        assert_close(&run(&fused), &before, "fuse-gelu");
    }
}

fn run(graph: &Graph) -> Vec<f32> {
    let plan = Plan::new(graph.clone()).expect("a sound graph");
    let x = Value::from(numbers(&[3, 8, 9, 11], 11));
    let outputs = plan.run([("x", x)]).expect("a sound graph");
    outputs[0].as_tensor().expect("a tensor").elements::<f32>().expect("floats").to_vec()
}

fn assert_close(found: &[f32], expected: &[f32], pass: &str) {
    assert_eq!(found.len(), expected.len(), "{pass}");
    for (found, expected) in found.iter().zip(expected) {
        // Sums of up to 72 products of numbers below 1, four times over.
        assert!((found - expected).abs() < 1e-4, "{pass}: {found} for {expected}");
    }
}

#[test]
fn each_pass_alone_keeps_the_results() {
    for pass in &PASSES {
        // What goes in and out of blocks is what another pass makes.
        let is_later = pass.name == "keep-blocks";
        let mut graph = match pass.name {
            "keep-blocks" => blocks(),
            "pack-recurrent" => layer(),
            "fuse-attention" => attention::spelled_out(attention::Form::default()),
            _ => block(),
        };
        let expected = run(&graph);
        if is_later {
            convolutions::pack(&mut graph).expect("a sound graph");
        }
        let changes = (pass.run)(&mut graph).expect("a sound graph");
        assert!(changes > 0, "{} found nothing to do", pass.name);
        assert_close(&run(&graph), &expected, pass.name);
    }
}

#[test]
fn all_passes_leave_the_nodes_that_are_needed() {
    let expected = run(&block());
    let mut graph = block();
    let report = optimise(&mut graph).expect("a sound graph");
    assert_close(&run(&graph), &expected, "all");
    let names: Vec<_> = graph.nodes.iter().map(|node| node.op.name).collect();
    let packed = names.iter().filter(|name| **name == "PackedConv").count();
    assert_eq!((packed, names.len()), (3, 10), "{names:?}");
    assert_eq!(report.last(), Some(&("remove-dead", 2)));
}

/// A recurrent layer over the rows of an image.
fn layer() -> Graph {
    let mut graph = Graph::default();
    let x = graph.add_value("x", Some(ValueType::Tensor(DType::F32, None)));
    graph.inputs = vec![x];
    let shape = graph.add_constant("shape", Tensor::vector(vec![-1i64, 2, 11]));
    let rows = node(&mut graph, "Reshape", &[x, shape], &[]);
    let w = graph.add_constant("w", numbers(&[1, 20, 11], 1));
    let r = graph.add_constant("r", numbers(&[1, 20, 5], 2));
    let states = node(&mut graph, "LSTM", &[rows, w, r], &[]);
    graph.outputs = vec![states];
    graph
}

/// What lies between convolutions in blocks: activations in several nodes, pooling,
/// parts of an image that go different ways, weights for each channel.
fn blocks() -> Graph {
    let mut graph = Graph::default();
    let dims = Some(vec![Dim::Symbol("n".into()), Dim::Fixed(8), Dim::Fixed(9), Dim::Fixed(11)]);
    let x = graph.add_value("x", Some(ValueType::Tensor(DType::F32, dims)));
    graph.inputs = vec![x];
    let ints = |list: &[i64]| Attribute::Ints(list.to_vec());
    let constant = |graph: &mut Graph, shape: &[usize]| {
        let mut tensor = numbers(shape, graph.values.len());
        // Sums of about one.
        let factor = 2.0 / (tensor.len() as f32 / shape[0] as f32).sqrt();
        let elements = tensor.elements_mut::<f32>().expect("floats");
        elements.iter_mut().for_each(|x| *x *= factor);
        graph.add_constant(format!("c{}", graph.values.len()), tensor)
    };
    let number = |graph: &mut Graph, number: f32| {
        graph.add_constant(format!("number{}", graph.values.len()), Tensor::scalar(number))
    };
    let conv = |graph: &mut Graph, x: ValueId, shape: [usize; 4], attributes: &[_]| {
        let w = constant(graph, &shape);
        node(graph, "Conv", &[x, w], attributes)
    };
    let y = conv(&mut graph, x, [20, 8, 1, 1], &[]);
    let [three, zero, six] = [3.0, 0.0, 6.0].map(|x| number(&mut graph, x));
    let sum = node(&mut graph, "Add", &[y, three], &[]);
    let clipped = node(&mut graph, "Clip", &[sum, zero, six], &[]);
    let product = node(&mut graph, "Mul", &[y, clipped], &[]);
    let y = node(&mut graph, "Div", &[product, six], &[]);
    let pads = ("pads", ints(&[1; 4]));
    let y = conv(&mut graph, y, [40, 20, 3, 3], std::slice::from_ref(&pads));
    let row = constant(&mut graph, &[1, 40, 1, 1]);
    let y = node(&mut graph, "Add", &[row, y], &[]);
    let y = gelu(&mut graph, y, std::f32::consts::SQRT_2);
    // Weights for each channel that depend on the image.
    let mean = node(&mut graph, "GlobalAveragePool", &[y], &[]);
    let factor = conv(&mut graph, mean, [40, 40, 1, 1], &[]);
    let factor = node(&mut graph, "HardSigmoid", &[factor], &[]);
    let y = node(&mut graph, "Mul", &[y, factor], &[]);
    let window = |step: i64| {
        let strides = ("strides", ints(&[step; 2]));
        [("kernel_shape", ints(&[3, 3])), pads.clone(), strides]
    };
    let largest = node(&mut graph, "MaxPool", &[y], &window(2));
    let group = ("group", Attribute::Int(40));
    let y = conv(&mut graph, largest, [40, 1, 3, 3], &[group, pads.clone()]);
    let y = node(&mut graph, "Add", &[largest, y], &[]);
    let y = conv(&mut graph, y, [48, 40, 1, 1], &[]);
    // Two parts of one and two blocks.
    let lens = graph.add_constant("lens", Tensor::vector(vec![16i64, 32]));
    let few = node(&mut graph, "Split", &[y, lens], &[("axis", Attribute::Int(1))]);
    let many = graph.add_value("many", None);
    graph.nodes.last_mut().expect("it was added").outputs.push(Some(many));
    let many = node(&mut graph, "AveragePool", &[many], &window(1));
    let scale = constant(&mut graph, &[16, 1, 1]);
    let few = node(&mut graph, "Mul", &[few, scale], &[]);
    let y = node(&mut graph, "Concat", &[many, few], &[("axis", Attribute::Int(1))]);
    let scales = graph.add_constant("scales", Tensor::vector(vec![1f32, 1.0, 2.0, 2.0]));
    let y = node(&mut graph, "Resize", &[y, scales, scales], &[]);
    graph.nodes.last_mut().expect("it was added").inputs[1] = None;
    let y = node(&mut graph, "Identity", &[y], &[]);
    let y = conv(&mut graph, y, [10, 48, 3, 3], &[("strides", ints(&[2, 2])), pads]);
    let y = node(&mut graph, "Sigmoid", &[y], &[]);
    graph.outputs = vec![y];
    graph
}

#[test]
fn images_stay_in_blocks_from_the_first_convolution_to_the_last() {
    let expected = run(&blocks());
    let mut graph = blocks();
    optimise(&mut graph).expect("a sound graph");
    assert_close(&run(&graph), &expected, "all");
    let names: Vec<_> = graph.nodes.iter().map(|node| node.op.name).collect();
    let count = |name: &str| names.iter().filter(|found| **found == name).count();
    assert_eq!((count("PackedConv"), count("Block"), count("Unblock")), (6, 1, 1), "{names:?}");
    // The activations and the addition of a row, and the residual, are in convolutions.
    assert_eq!((count("Add"), count("Mul"), count("Div"), count("Gelu")), (0, 2, 0, 0));
    let unblock = graph.nodes.iter().find(|node| node.op.name == "Unblock");
    assert_eq!(unblock.and_then(only_output), Some(graph.outputs[0]));
}
