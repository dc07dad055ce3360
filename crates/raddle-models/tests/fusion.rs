//! What becomes one launch: chains of operations on elements, and reductions of rows with
//! what is around them, on the CPU device and on a GPU where there is one, against the plan
//! for the CPU.

use raddle::Device;
use raddle_models::gpu::{GpuSession, StepReport};
use raddle_models::{Model, Options, Precision};
use raddle_tensor::convert::Compute;
use raddle_tensor::graph::{Attribute, Dim, Graph, Node, ValueId, ValueType};
use raddle_tensor::{DType, Tensor, Value, ops};

/// A graph that is built node by node; names are numbers.
#[derive(Default)]
struct Builder(Graph);

impl Builder {
    fn input(&mut self, shape: &[usize], dtype: DType) -> ValueId {
        let dims = shape.iter().map(|&n| Dim::Fixed(n)).collect();
        let name = format!("x{}", self.0.inputs.len());
        let id = self.0.add_value(name, Some(ValueType::Tensor(dtype, Some(dims))));
        self.0.inputs.push(id);
        id
    }

    fn constant(&mut self, tensor: Tensor) -> ValueId {
        let name = format!("w{}", self.0.values.len());
        self.0.add_constant(name, tensor)
    }

    fn number(&mut self, number: f32) -> ValueId {
        self.constant(Tensor::new(&[], vec![number]).unwrap())
    }

    fn weights(&mut self, shape: &[usize]) -> ValueId {
        let len = shape.iter().product();
        let elements = (0..len).map(|at| noise(at, 17)).collect::<Vec<f32>>();
        self.constant(Tensor::new(shape, elements).unwrap())
    }

    fn node(&mut self, op: &str, inputs: &[ValueId], attributes: &[(&str, Attribute)]) -> ValueId {
        let output = self.0.add_value(format!("v{}", self.0.values.len()), None);
        let named = |(name, it): &(&str, Attribute)| ((*name).to_owned(), it.clone());
        let node = Node {
            name: format!("{op}{}", self.0.nodes.len()),
            op: ops::find("", op, 20).unwrap(),
            inputs: inputs.iter().copied().map(Some).collect(),
            outputs: vec![Some(output)],
            attributes: attributes.iter().map(named).collect(),
            opset: 20,
        };
        self.0.add_node(node).unwrap();
        output
    }

    fn conv(&mut self, x: ValueId, [outputs, inputs]: [usize; 2]) -> ValueId {
        let (weights, bias) = (self.weights(&[outputs, inputs, 3, 3]), self.weights(&[outputs]));
        self.node("Conv", &[x, weights, bias], &[("pads", Attribute::Ints(vec![1; 4]))])
    }

    fn finish(mut self, outputs: &[ValueId]) -> Graph {
        self.0.outputs.extend(outputs);
        self.0
    }
}

fn noise(at: usize, seed: usize) -> f32 {
    ((at * 7919 + seed * 104_729) % 511) as f32 / 256.0 - 1.0
}

/// Runs a graph on every device and holds it against the plan for the CPU; gives the steps.
fn steps_of(graph: &Graph, bound: f64) -> Vec<StepReport> {
    let model = Model::from_graph(graph.clone()).unwrap();
    let mut inputs = Vec::new();
    let mut shapes = Vec::new();
    for (seed, &id) in graph.inputs.iter().enumerate() {
        let Some(ValueType::Tensor(dtype, Some(dims))) = &graph.values[id.index()].declared else {
            panic!("inputs are declared")
        };
        let fixed = |dim: &Dim| match dim {
            Dim::Fixed(n) => *n,
            _ => panic!("dimensions are fixed"),
        };
        let shape: Vec<usize> = dims.iter().map(fixed).collect();
        let elements = (0..shape.iter().product()).map(|at| 2.0 * noise(at, seed));
        let tensor = Tensor::computed(&shape, *dtype, elements.collect::<Vec<f32>>()).unwrap();
        inputs.push((graph.name_of(id).to_owned(), Value::Tensor(tensor)));
        shapes.push(shape);
    }
    let elements = |outputs: Vec<(String, Value)>| -> Vec<(Vec<usize>, Vec<f64>)> {
        let tensors = outputs.into_iter().map(|(_, value)| value.into_tensor().unwrap());
        tensors.map(|it| (it.shape().to_vec(), f64::widen(&it).unwrap().into_owned())).collect()
    };
    let reference = model.on(&Device::cpu(), Options::default()).unwrap();
    let expected = elements(reference.run(inputs.clone()).unwrap());
    let mut devices = vec![Device::cpu()];
    match Device::cuda(0) {
        Ok(device) => devices.push(device),
        Err(error) => println!("SKIPPED on a GPU: {error}"),
    }
    let mut steps = Vec::new();
    for device in devices {
        let session = GpuSession::new(model.graph(), &device, Precision::F32).unwrap();
        // Twice: as the program is made, and from its graph.
        for _ in 0..2 {
            let found = elements(session.run(inputs.clone()).unwrap());
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found.0, expected.0, "{device}");
                for (at, (a, b)) in found.1.iter().zip(&expected.1).enumerate() {
                    let is_near = (a - b).abs() <= bound * b.abs().max(1.0);
                    assert!(is_near, "{device}: element {at} is {a}, expected {b}");
                }
            }
        }
        steps = session.prepare(&shapes).unwrap();
    }
    steps
}

fn kernels(steps: &[StepReport]) -> Vec<&str> {
    steps.iter().map(|step| step.kernel.as_str()).collect()
}

#[test]
fn a_chain_is_one_launch_that_names_its_nodes() {
    let mut b = Builder::default();
    let (x, residual) = (b.input(&[5, 24], DType::F32), b.input(&[5, 24], DType::F32));
    let (bias, half) = (b.weights(&[24]), b.number(0.5));
    let sum = b.node("Add", &[x, bias], &[]);
    let gated = b.node("Gelu", &[sum], &[]);
    let scaled = b.node("Mul", &[gated, half], &[]);
    let y = b.node("Sub", &[residual, scaled], &[]);
    let steps = steps_of(&b.finish(&[y]), 1e-6);
    assert_eq!(kernels(&steps), ["written: 4 operations"]);
    assert_eq!(steps[0].nodes, "Add0 + Gelu1 + Mul2 + Sub3");
}

#[test]
fn what_several_nodes_read_is_computed_once() {
    let mut b = Builder::default();
    let x = b.input(&[6, 16], DType::F32);
    let y = b.node("Exp", &[x], &[]);
    let z = b.node("Neg", &[y], &[]);
    // The same value is an output, an operand of this launch, and of a later one.
    let w = b.weights(&[16, 4]);
    let product = b.node("MatMul", &[z, w], &[]);
    let sum = b.node("Mul", &[y, y], &[]);
    let steps = steps_of(&b.finish(&[y, product, sum]), 1e-5);
    let expected = ["written: 2 operations", "1 launch of MatMul", "written: 1 operation"];
    assert_eq!(kernels(&steps), expected, "{steps:?}");
}

#[test]
fn views_are_read_by_what_follows_them() {
    let mut b = Builder::default();
    let x = b.input(&[4, 6, 8], DType::F32);
    let turned = b.node("Transpose", &[x], &[("perm", Attribute::Ints(vec![2, 0, 1]))]);
    let shape = b.constant(Tensor::vector(vec![8i64, 24]));
    let flat = b.node("Reshape", &[turned, shape], &[]);
    let (from, to, axis) = (
        b.constant(Tensor::vector(vec![3i64])),
        b.constant(Tensor::vector(vec![23i64])),
        b.constant(Tensor::vector(vec![1i64])),
    );
    let bias = b.weights(&[8, 1]);
    let sum = b.node("Add", &[flat, bias], &[]);
    let part = b.node("Slice", &[sum, from, to, axis], &[]);
    let y = b.node("Relu", &[part], &[]);
    let steps = steps_of(&b.finish(&[y]), 1e-6);
    // What is cut out of a sum is read where the sum lies.
    assert_eq!(kernels(&steps), ["written: 2 operations", "written: 2 operations"]);
}

#[test]
fn reductions_of_rows_take_along_what_is_around_them() {
    for (dtype, bound) in [(DType::F32, 1e-5), (DType::F16, 4e-3), (DType::F64, 1e-12)] {
        for width in [16, 100, 1024, 3000] {
            let mut b = Builder::default();
            let x = b.input(&[3, width], dtype);
            let number = |b: &mut Builder, number: f32| {
                b.constant(Tensor::computed(&[], dtype, vec![number]).unwrap())
            };
            let (half, third) = (number(&mut b, 0.5), number(&mut b, 0.3));
            let x = b.node("Mul", &[x, half], &[]);
            let y = b.node("Softmax", &[x], &[]);
            let y = b.node("Add", &[y, third], &[]);
            let steps = steps_of(&b.finish(&[y]), bound);
            assert_eq!(steps.len(), 1, "{dtype} {width}: {steps:?}");
            assert!(steps[0].kernel.ends_with("2 reductions of rows"), "{steps:?}");
        }
    }
}

#[test]
fn norms_are_one_launch_however_they_are_written() {
    let width = 48;
    let mut b = Builder::default();
    let (x, residual) = (b.input(&[2, 7, width], DType::F32), b.input(&[2, 7, width], DType::F32));
    let sum = b.node("Add", &[x, residual], &[]);
    let last = b.constant(Tensor::vector(vec![-1i64]));
    let mean = b.node("ReduceMean", &[sum, last], &[]);
    let low = b.node("Sub", &[sum, mean], &[]);
    let two = b.number(2.0);
    let squares = b.node("Pow", &[low, two], &[]);
    let variance = b.node("ReduceMean", &[squares, last], &[]);
    let epsilon = b.number(1e-5);
    let moved = b.node("Add", &[variance, epsilon], &[]);
    let root = b.node("Sqrt", &[moved], &[]);
    let y = b.node("Div", &[low, root], &[]);
    let weights = b.weights(&[width]);
    let normal = b.node("Mul", &[y, weights], &[]);
    // The sum goes on as well, and is kept by the same launch.
    let bias = b.weights(&[width]);
    let z = b.node("LayerNormalization", &[normal, weights, bias], &[]);
    let steps = steps_of(&b.finish(&[sum, normal, z]), 1e-5);
    assert_eq!(kernels(&steps), ["written: 15 operations, 4 reductions of rows"]);
}

#[test]
fn long_chains_and_many_operands_are_cut() {
    let mut b = Builder::default();
    let x = b.input(&[3, 20], DType::F32);
    let mut y = x;
    for _ in 0..60 {
        let w = b.weights(&[20]);
        y = b.node("Add", &[y, w], &[]);
        y = b.node("Sin", &[y], &[]);
    }
    let steps = steps_of(&b.finish(&[y]), 1e-4);
    assert!(steps.len() >= 60 / 8 && steps.len() <= 12, "{}: {steps:?}", steps.len());
}

#[test]
fn integers_truth_values_and_casts_are_part_of_chains() {
    let mut b = Builder::default();
    let x = b.input(&[9, 5], DType::F32);
    let limit = b.number(0.25);
    let is_more = b.node("Greater", &[x, limit], &[]);
    let below = b.node("Neg", &[x], &[]);
    let chosen = b.node("Where", &[is_more, x, below], &[]);
    let scale = b.number(9.0);
    let scaled = b.node("Mul", &[chosen, scale], &[]);
    let to = |dtype: i64| [("to", Attribute::Int(dtype))];
    let whole = b.node("Cast", &[scaled], &to(7));
    let three = b.constant(Tensor::new(&[], vec![3i64]).unwrap());
    let rest = b.node("Mod", &[whole, three], &[]);
    let y = b.node("Cast", &[rest], &to(1));
    let steps = steps_of(&b.finish(&[y]), 0.0);
    assert_eq!(kernels(&steps), ["written: 7 operations"]);
}

#[test]
fn rows_that_were_reduced_for_somebody_else_are_read() {
    let mut b = Builder::default();
    let x = b.input(&[4, 32], DType::F32);
    let last = b.constant(Tensor::vector(vec![-1i64]));
    let max = b.node("ReduceMax", &[x, last], &[]);
    let double = b.node("Add", &[max, max], &[]);
    // A product wants the rows' values first; then they are there.
    let w = b.weights(&[1, 3]);
    let product = b.node("MatMul", &[max, w], &[]);
    let y = b.node("Mul", &[x, double], &[]);
    let z = b.node("Tanh", &[double], &[]);
    let steps = steps_of(&b.finish(&[product, y, z]), 1e-5);
    assert_eq!(steps.len(), 4, "{steps:?}");
}

#[test]
fn images_stay_with_their_channels_last() {
    let mut b = Builder::default();
    let x = b.input(&[2, 16, 12, 12], DType::F32);
    let y = b.conv(x, [32, 16]);
    let gate = b.node("Sigmoid", &[y], &[]);
    let y = b.node("Mul", &[y, gate], &[]);
    // What squeeze and excitation does: a number for each channel of an image.
    let mean = b.node("GlobalAveragePool", &[y], &[]);
    let gate = b.node("HardSigmoid", &[mean], &[]);
    let y = b.node("Mul", &[y, gate], &[]);
    let scale = b.weights(&[32, 1, 1]);
    let y = b.node("Mul", &[y, scale], &[]);
    let y = b.conv(y, [16, 32]);
    let steps = steps_of(&b.finish(&[y]), 1e-4);
    let ends = |op: &str| steps.iter().filter(|step| step.kernel.ends_with(op)).count();
    assert_eq!(ends("Sigmoid") + ends("Mul"), 0, "{steps:?}");
}

#[test]
fn products_read_turned_matrices_where_they_lie() {
    let mut b = Builder::default();
    let (x, y) = (b.input(&[2, 6, 3, 8], DType::F32), b.input(&[2, 5, 3, 8], DType::F32));
    let turned = |b: &mut Builder, x: ValueId, order: [i64; 4]| {
        b.node("Transpose", &[x], &[("perm", Attribute::Ints(order.to_vec()))])
    };
    let (left, right) = (turned(&mut b, x, [0, 2, 1, 3]), turned(&mut b, y, [0, 2, 3, 1]));
    let scores = b.node("MatMul", &[left, right], &[]);
    let values = turned(&mut b, y, [0, 2, 1, 3]);
    let mixed = b.node("MatMul", &[scores, values], &[]);
    let steps = steps_of(&b.finish(&[mixed]), 1e-5);
    assert_eq!(kernels(&steps), ["1 launch of MatMul", "1 launch of MatMul"]);
}

#[test]
fn products_take_their_bias_and_bounds_along() {
    for dtype in [DType::F32, DType::F16] {
        let mut b = Builder::default();
        let x = b.input(&[2, 24, 64], dtype);
        let mut weights = |shape: &[usize]| {
            let len: usize = shape.iter().product();
            let elements = (0..len).map(|at| noise(at, 5) / 8.0).collect::<Vec<f32>>();
            b.constant(Tensor::computed(shape, dtype, elements).unwrap())
        };
        let (w, bias) = (weights(&[64, 96]), weights(&[96]));
        let y = b.node("MatMul", &[x, w], &[]);
        let y = b.node("Add", &[y, bias], &[]);
        let y = b.node("Relu", &[y], &[]);
        let bound = if dtype == DType::F32 { 1e-5 } else { 4e-3 };
        let steps = steps_of(&b.finish(&[y]), bound);
        let adds = steps.iter().filter(|step| step.nodes.contains("Add")).count();
        assert_eq!(adds, 0, "{dtype}: {steps:?}");
        assert!(steps.len() <= 2, "{dtype}: {steps:?}");
    }
}

#[test]
fn numbers_stay_numbers_when_somebody_needs_them_in_memory() {
    let mut b = Builder::default();
    let x = b.input(&[4, 6], DType::F32);
    let number = b.number(0.75);
    let y = b.node("Mul", &[x, number], &[]);
    // Written kernels have no remainder of floats: its operands are read from memory.
    let z = b.node("Mod", &[x, number], &[("fmod", Attribute::Int(1))]);
    let w = b.node("Add", &[y, number], &[]);
    let steps = steps_of(&b.finish(&[z, w]), 1e-6);
    assert_eq!(kernels(&steps), ["1 launch of Mod", "written: 2 operations"]);
}

#[test]
fn steps_of_recurrent_layers_are_a_few_launches() {
    for (op, gates) in [("LSTM", 4), ("GRU", 3), ("RNN", 1)] {
        let mut b = Builder::default();
        let x = b.input(&[10, 2, 12], DType::F32);
        let (w, r) = (b.weights(&[1, gates * 16, 12]), b.weights(&[1, gates * 16, 16]));
        let y = b.node(op, &[x, w, r], &[("hidden_size", Attribute::Int(16))]);
        let steps = steps_of(&b.finish(&[y]), 1e-4);
        let launches: usize = steps.iter().map(launches_of).sum();
        println!("{op}: {launches} {steps:?}");
        assert!(launches <= 10 * 5 + 8, "{op}: {launches} launches, {steps:?}");
    }
}

/// Launches of a step of the report.
fn launches_of(step: &StepReport) -> usize {
    let count = step.kernel.split(' ').next().and_then(|word| word.parse().ok());
    count.unwrap_or(1)
}

/// A random graph of operations that are written, that are generic kernels, and that end
/// chains; values have several readers, and some are outputs.
fn random_graph(seed: u64) -> Graph {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = move |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % limit
    };
    let mut b = Builder::default();
    let [rows, columns] = [[4, 32], [6, 16], [3, 100]][below(3)];
    // Values with their shapes.
    let mut values = Vec::new();
    for _ in 0..2 {
        values.push((b.input(&[rows, columns], DType::F32), vec![rows, columns]));
    }
    for number in [0.5, -1.25] {
        values.push((b.number(number), Vec::new()));
    }
    values.push((b.weights(&[columns]), vec![columns]));
    let last = b.constant(Tensor::vector(vec![-1i64]));
    let first = b.constant(Tensor::vector(vec![0i64]));
    let list = |b: &mut Builder, n: Vec<i64>| b.constant(Tensor::vector(n));
    let mut made = Vec::new();
    for _ in 0..8 + below(24) {
        let (x, shape) = values[below(values.len())].clone();
        let ints = |n: &[i64]| Attribute::Ints(n.to_vec());
        let result = match below(16) {
            0..3 => {
                let op = ["Neg", "Abs", "Sigmoid", "Exp", "Floor"][below(5)];
                (b.node(op, &[x], &[]), shape)
            }
            3..8 => {
                let (y, other) = values[below(values.len())].clone();
                let fits = raddle_tensor::shape::broadcast(&shape, &other);
                let Ok(all) = fits else { continue };
                let op = ["Add", "Sub", "Mul", "Max", "Min"][below(5)];
                (b.node(op, &[x, y], &[]), all)
            }
            8 | 9 if shape.len() == 2 => {
                let op = ["ReduceMean", "ReduceMax", "ReduceSum", "ReduceMin"][below(4)];
                let (axes, at) = if below(3) == 0 { (first, 0) } else { (last, 1) };
                let mut own = shape.clone();
                own[at] = 1;
                (b.node(op, &[x, axes], &[]), own)
            }
            10 if shape.len() == 2 => (b.node("Softmax", &[x], &[]), shape),
            11 if shape.len() == 2 => {
                let turned = b.node("Transpose", &[x], &[("perm", ints(&[1, 0]))]);
                (turned, vec![shape[1], shape[0]])
            }
            12 if shape.len() == 2 => {
                let w = b.weights(&[shape[1], columns]);
                (b.node("MatMul", &[x, w], &[]), vec![shape[0], columns])
            }
            13 if shape.len() == 2 && shape[1] > 2 => {
                let (from, to, axis) =
                    (list(&mut b, vec![1]), list(&mut b, vec![1 << 30]), list(&mut b, vec![1]));
                let part = b.node("Slice", &[x, from, to, axis], &[]);
                (part, vec![shape[0], shape[1] - 1])
            }
            14 => {
                // A generic kernel, with a number in memory.
                let number = values[2 + below(2)].0;
                (b.node("Mod", &[x, number], &[("fmod", Attribute::Int(1))]), shape)
            }
            15 if shape.len() == 2 => {
                let joined = b.node("Concat", &[x, x], &[("axis", Attribute::Int(0))]);
                (joined, vec![2 * shape[0], shape[1]])
            }
            _ => continue,
        };
        // Bounded, so that sums of sums stay comparable.
        let bounded = b.node("Tanh", &[result.0], &[]);
        values.push(result.clone());
        values.push((bounded, result.1));
        made.push(values[values.len() - 1 - below(2)].0);
    }
    let mut outputs = vec![values[values.len() - 1].0];
    outputs.extend(made.iter().filter(|_| below(4) == 0));
    outputs.sort_unstable_by_key(|id| id.index());
    outputs.dedup();
    outputs.retain(|id| !b.0.inputs.contains(id));
    b.finish(&outputs)
}

#[test]
fn random_graphs_give_what_the_plan_for_the_cpu_gives() {
    let mut launches = 0;
    for seed in 1..=150 {
        println!("graph {seed}");
        let graph = random_graph(seed);
        let is_computed = |id: &ValueId| graph.nodes.iter().any(|n| n.outputs.contains(&Some(*id)));
        if graph.outputs.iter().all(is_computed) {
            launches += steps_of(&graph, 2e-4).len();
        }
    }
    assert!(launches > 500, "{launches}");
}
