//! Models that are no plain convolutional networks, in 16 bits on all devices, against
//! the plan for the CPU in `f32`.

use raddle_tensor::graph::{Attribute, Dim};
use raddle_tensor::{Tensor, Value, ops};

use super::*;
use crate::{Model, Options};

/// Builds a graph node by node; names are numbers.
struct Builder {
    graph: Graph,
    seed: u64,
}

impl Builder {
    fn new(dtype: DType, dims: &[usize]) -> (Self, ValueId) {
        let mut graph = Graph::default();
        let dims = dims.iter().map(|&len| Dim::Fixed(len)).collect();
        let input = graph.add_value("x", Some(ValueType::Tensor(dtype, Some(dims))));
        graph.inputs.push(input);
        (Self { graph, seed: 0x9e37_79b9 }, input)
    }

    /// Numbers whose sums over the first dimension are about one.
    fn weights(&mut self, shape: &[usize]) -> ValueId {
        let scale = 1.5 / (shape[0] as f32).sqrt();
        let mut element = || {
            self.seed ^= self.seed << 13;
            self.seed ^= self.seed >> 7;
            self.seed ^= self.seed << 17;
            ((self.seed >> 40) as f32 / (1 << 23) as f32 - 1.0) * scale
        };
        let elements: Vec<f32> = (0..shape.iter().product()).map(|_| element()).collect();
        self.constant(Tensor::new(shape, elements).unwrap())
    }

    fn constant(&mut self, tensor: Tensor) -> ValueId {
        self.graph.add_constant(format!("c{}", self.graph.values.len()), tensor)
    }

    fn ints(&mut self, list: &[i64]) -> ValueId {
        self.constant(Tensor::vector(list.to_vec()))
    }

    fn node(&mut self, op: &str, inputs: &[ValueId], attributes: &[(&str, Attribute)]) -> ValueId {
        let output = self.graph.add_value(format!("v{}", self.graph.values.len()), None);
        let node = Node {
            name: format!("{op}{}", self.graph.nodes.len()),
            op: ops::find("", op, 17).unwrap(),
            inputs: inputs.iter().copied().map(Some).collect(),
            outputs: vec![Some(output)],
            attributes: attributes.iter().map(|(key, it)| ((*key).into(), it.clone())).collect(),
            opset: 17,
        };
        self.graph.add_node(node).unwrap();
        output
    }

    fn linear(&mut self, x: ValueId, [inputs, outputs]: [usize; 2]) -> ValueId {
        let (w, b) = (self.weights(&[inputs, outputs]), self.weights(&[outputs]));
        let y = self.node("MatMul", &[x, w], &[]);
        self.node("Add", &[y, b], &[])
    }

    fn transposed(&mut self, x: ValueId, order: &[i64]) -> ValueId {
        self.node("Transpose", &[x], &[("perm", Attribute::Ints(order.to_vec()))])
    }

    /// Attention of `[2, steps, 64]` with two heads, without the last projection.
    fn attention(&mut self, x: ValueId, steps: i64, mask: Option<ValueId>) -> ValueId {
        let heads = self.ints(&[2, steps, 2, 32]);
        let [q, k, v] = [[0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]].map(|order| {
            let y = self.linear(x, [64, 64]);
            let y = self.node("Reshape", &[y, heads], &[]);
            self.transposed(y, &order)
        });
        let scores = self.node("MatMul", &[q, k], &[]);
        let scale = self.constant(Tensor::scalar(32f32.sqrt()));
        let mut scores = self.node("Div", &[scores, scale], &[]);
        if let Some(mask) = mask {
            scores = self.node("Add", &[scores, mask], &[]);
        }
        let weights = self.node("Softmax", &[scores], &[("axis", Attribute::Int(-1))]);
        let y = self.node("MatMul", &[weights, v], &[]);
        let y = self.transposed(y, &[0, 2, 1, 3]);
        let shape = self.ints(&[2, steps, 64]);
        self.node("Reshape", &[y, shape], &[])
    }

    fn normalised(&mut self, x: ValueId) -> ValueId {
        let (scale, bias) = (self.weights(&[64]), self.weights(&[64]));
        self.node("LayerNormalization", &[x, scale, bias], &[])
    }

    fn finish(mut self, output: ValueId) -> Graph {
        self.graph.outputs.push(output);
        self.graph
    }
}

fn floats(shape: &[usize]) -> Tensor {
    let len = shape.iter().product();
    let elements = (0..len).map(|at| ((at * 7919) % 255) as f32 / 127.0 - 1.0).collect();
    Tensor::new(shape, elements).unwrap()
}

/// Runs a graph in 16 bits on all devices and holds it against the CPU's `f32`; gives the
/// launches of each node in `f16`.
fn check(graph: Graph, x: Tensor) -> Vec<(String, String)> {
    let model = Model::from_graph(graph).unwrap();
    let given = || [("x", Value::Tensor(x.clone()))];
    let reference = model.on(&Device::cpu(), Options::default()).unwrap().run(given()).unwrap();
    let expected = reference[0].1.as_tensor().unwrap();
    let scale = expected.elements::<f32>().unwrap().iter().fold(0f32, |max, x| max.max(x.abs()));
    let mut devices = vec![Device::cpu()];
    match Device::cuda(0) {
        Ok(device) => devices.push(device),
        Err(error) => println!("SKIPPED on a GPU: {error}"),
    }
    let mut launches = Vec::new();
    for device in devices {
        for (precision, bound) in [(Precision::BF16, 4e-2), (Precision::F16, 1e-2)] {
            let session = GpuSession::new(model.graph(), &device, precision).unwrap();
            let Route::DenseHalf { halves, .. } = *session.route() else {
                panic!("{}", session.route());
            };
            assert!(halves > 0, "nothing is in 16 bits");
            // The second run replays the program of the first.
            for _ in 0..2 {
                let outputs = session.run(given()).unwrap();
                let found = outputs[0].1.as_tensor().unwrap();
                assert_eq!(found.shape(), expected.shape());
                let pairs = found
                    .elements::<f32>()
                    .unwrap()
                    .iter()
                    .zip(expected.elements::<f32>().unwrap());
                for (found, expected) in pairs {
                    let error = (found - expected) / scale;
                    assert!(error.abs() <= bound, "{device} {precision:?}: {found}, {expected}");
                }
            }
            let report = session.prepare(&[x.shape().to_vec()]).unwrap();
            assert!(report[0].kernel.contains("nodes in 16 bits"), "{}", report[0].kernel);
            let steps = report.into_iter().skip(1);
            launches = steps.map(|step| (step.nodes, step.kernel)).collect();
        }
    }
    launches
}

/// How many nodes of an operation have so many launches.
fn count(launches: &[(String, String)], kernel: &str) -> usize {
    launches.iter().filter(|(_, own)| own == kernel).count()
}

#[test]
fn encoders_of_text_run_in_16_bits() {
    const STEPS: usize = 24;
    let (mut b, ids) = Builder::new(DType::I64, &[2, STEPS]);
    let table = b.weights(&[50, 64]);
    let mut x = b.node("Gather", &[table, ids], &[]);
    // Places of the last token are masked, as exporters write it.
    let last = b.constant(Tensor::scalar(49i64));
    let is_last = b.node("Equal", &[ids, last], &[]);
    let to = [("to", Attribute::Int(DType::F32.onnx_number().into()))];
    let hidden = b.node("Cast", &[is_last], &to);
    let most = b.constant(Tensor::scalar(f32::MIN));
    let hidden = b.node("Mul", &[hidden, most], &[]);
    let axes = b.ints(&[1, 2]);
    let mask = b.node("Unsqueeze", &[hidden, axes], &[]);
    for _ in 0..2 {
        let y = b.attention(x, STEPS as i64, Some(mask));
        let y = b.linear(y, [64, 64]);
        let sum = b.node("Add", &[x, y], &[]);
        x = b.normalised(sum);
        let y = b.linear(x, [64, 256]);
        let root = b.constant(Tensor::scalar(std::f32::consts::SQRT_2));
        let (one, half) = (b.constant(Tensor::scalar(1f32)), b.constant(Tensor::scalar(0.5f32)));
        let scaled = b.node("Div", &[y, root], &[]);
        let erf = b.node("Erf", &[scaled], &[]);
        let sum = b.node("Add", &[erf, one], &[]);
        let y = b.node("Mul", &[y, sum], &[]);
        let y = b.node("Mul", &[y, half], &[]);
        let y = b.linear(y, [256, 64]);
        let sum = b.node("Add", &[x, y], &[]);
        x = b.normalised(sum);
    }
    let ids = (0..2 * STEPS).map(|at| (at * 13 % 50) as i64).collect();
    let launches = check(b.finish(x), Tensor::new(&[2, STEPS], ids).unwrap());
    // A product with constant weights is one launch, whichever kernel has it.
    assert_eq!(count(&launches, "1 launch of MatMul"), 12, "{launches:#?}");
    assert_eq!(count(&launches, "1 launch of Attention"), 2, "{launches:#?}");
}

#[test]
fn rows_of_numbers_run_in_16_bits() {
    let (mut b, x) = Builder::new(DType::F32, &[72, 96]);
    let (w, bias) = (b.weights(&[96, 160]), b.weights(&[160]));
    let y = b.node("Gemm", &[x, w, bias], &[]);
    let y = b.node("Relu", &[y], &[]);
    let (w, bias) = (b.weights(&[64, 160]), b.weights(&[64]));
    let y = b.node("Gemm", &[y, w, bias], &[("transB", Attribute::Int(1))]);
    let y = b.node("Tanh", &[y], &[]);
    // Columns that are no eights are multiplied by other kernels.
    let (w, bias) = (b.weights(&[64, 63]), b.weights(&[63]));
    let y = b.node("Gemm", &[y, w, bias], &[]);
    let y = b.node("Sigmoid", &[y], &[]);
    let shape = b.ints(&[8, 9, 63]);
    let y = b.node("Reshape", &[y, shape], &[]);
    let launches = check(b.finish(y), floats(&[72, 96]));
    assert_eq!(count(&launches, "1 launch of Gemm"), 3, "{launches:#?}");
}

#[test]
fn products_of_several_matrices_run_on_tensor_cores() {
    let (mut b, x) = Builder::new(DType::F32, &[2, 3, 80, 64]);
    let w = b.weights(&[64, 64]);
    let y = b.node("MatMul", &[x, w], &[]);
    let turned = b.transposed(y, &[0, 1, 3, 2]);
    let y = b.node("MatMul", &[y, turned], &[]);
    let launches = check(b.finish(y), floats(&[2, 3, 80, 64]));
    // The operands of the second one are widened by written kernels, and multiplied in TF32.
    assert_eq!(count(&launches, "1 launch of MatMul"), 2, "{launches:#?}");
}

#[test]
fn recurrent_layers_run_in_16_bits() {
    let (mut b, x) = Builder::new(DType::F32, &[6, 2, 20]);
    for (op, gates) in [("LSTM", 4), ("GRU", 3)] {
        let scaled = |b: &mut Builder, shape: &[usize; 3]| {
            let turned = b.weights(&[shape[2], shape[1]]);
            let turned = b.transposed(turned, &[1, 0]);
            let axes = b.ints(&[0]);
            b.node("Unsqueeze", &[turned, axes], &[])
        };
        let inputs = if op == "LSTM" { 20 } else { 16 };
        let w = scaled(&mut b, &[1, gates * 16, inputs]);
        let r = scaled(&mut b, &[1, gates * 16, 16]);
        let last = *b.graph.outputs.last().unwrap_or(&x);
        let y = b.node(op, &[last, w, r], &[("hidden_size", Attribute::Int(16))]);
        let axes = b.ints(&[1]);
        let y = b.node("Squeeze", &[y, axes], &[]);
        b.graph.outputs = vec![y];
    }
    check(b.graph, floats(&[6, 2, 20]));
}

#[test]
fn convolutions_before_attention_stay_in_f32() {
    let (mut b, x) = Builder::new(DType::F32, &[2, 3, 8, 12]);
    let w = b.weights(&[64, 3, 3, 3]);
    let y = b.node("Conv", &[x, w], &[("strides", Attribute::Ints(vec![2, 2]))]);
    let y = b.node("Relu", &[y], &[]);
    let shape = b.ints(&[2, 64, 15]);
    let y = b.node("Reshape", &[y, shape], &[]);
    let y = b.transposed(y, &[0, 2, 1]);
    let attended = b.attention(y, 15, None);
    let sum = b.node("Add", &[y, attended], &[]);
    let y = b.normalised(sum);
    let graph = b.finish(y);
    check(graph.clone(), floats(&[2, 3, 8, 12]));
    let session = GpuSession::new(&graph, &Device::cpu(), Precision::F16).unwrap();
    let types = infer::types(session.graph(), &[]).unwrap();
    let dtype_of = |op: &str| {
        let node = session.graph().nodes.iter().find(|node| node.op.name == op).unwrap();
        types[node.outputs[0].unwrap().index()].as_ref().unwrap().dtype
    };
    assert_eq!((dtype_of("Conv"), dtype_of("Attention")), (DType::F32, DType::F16));
}

#[test]
fn the_way_says_what_stands_against_steps() {
    let (mut b, x) = Builder::new(DType::F32, &[2, 3, 8, 8]);
    let w = b.weights(&[8, 3, 3, 3]);
    let y = b.node("Conv", &[x, w], &[]);
    let y = b.node("Relu", &[y], &[]);
    let mut graph = b.finish(y);
    let route = |graph: &Graph, precision| Route::of(graph, precision).unwrap();
    assert_eq!(route(&graph, Precision::F16), Route::Steps);
    assert_eq!(route(&graph, Precision::F32), Route::Dense);
    // Images of several pixels cannot be flattened there.
    graph.outputs.clear();
    let mut b = Builder { graph, seed: 1 };
    let y = b.node("Flatten", &[y], &[]);
    let w = b.weights(&[288, 8]);
    let y = b.node("MatMul", &[y, w], &[]);
    let route = route(&b.finish(y), Precision::BF16);
    let Route::DenseHalf { halves, nodes, why } = &route else { panic!("{route}") };
    assert_eq!((*halves, *nodes), (1, 4));
    assert!(why.contains("Flatten2 (Flatten, opset 17)"), "{why}");
}
