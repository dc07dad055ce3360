//! A small residual network in all forms: the GPU's steps, on the CPU device and on a
//! GPU where there is one, against the plan for the CPU.

#[path = "sessions/grouped.rs"]
mod grouped;

use raddle::Device;
use raddle_models::gpu::{Feed, GpuSession, Piece};
use raddle_models::{Error, Model, Options, Precision};
use raddle_tensor::graph::{Attribute, Dim, Graph, Node, ValueId, ValueType};
use raddle_tensor::{DType, Tensor, Value, ops};

#[path = "sessions/attention.rs"]
mod attention;

/// Builds a graph node by node; names are numbers.
struct Builder {
    graph: Graph,
    seed: u64,
}

impl Builder {
    fn new(dims: &[usize]) -> (Self, ValueId) {
        let mut graph = Graph::default();
        let dims =
            std::iter::once(Dim::Symbol("n".into())).chain(dims.iter().map(|&n| Dim::Fixed(n)));
        let input = graph.add_value("x", Some(ValueType::Tensor(DType::F32, Some(dims.collect()))));
        graph.inputs.push(input);
        (Self { graph, seed: 0x9e37_79b9 }, input)
    }

    fn weights(&mut self, shape: &[usize]) -> ValueId {
        let len: usize = shape.iter().product();
        let scale = (2.0 * shape[0] as f32 / len as f32).sqrt();
        let mut element = || {
            self.seed ^= self.seed << 13;
            self.seed ^= self.seed >> 7;
            self.seed ^= self.seed << 17;
            ((self.seed >> 40) as f32 / (1 << 23) as f32 - 1.0) * scale
        };
        let elements: Vec<f32> = (0..len).map(|_| element()).collect();
        let name = format!("w{}", self.graph.values.len());
        self.graph.add_constant(name, Tensor::new(shape, elements).unwrap())
    }

    fn node(&mut self, op: &str, inputs: &[ValueId], attributes: &[(&str, Attribute)]) -> ValueId {
        self.nodes(op, inputs, attributes, 1)[0]
    }

    /// A node with so many outputs.
    fn nodes(
        &mut self,
        op: &str,
        inputs: &[ValueId],
        attributes: &[(&str, Attribute)],
        outputs: usize,
    ) -> Vec<ValueId> {
        let mut output = || {
            let name = format!("v{}", self.graph.values.len());
            self.graph.add_value(name, None)
        };
        let outputs: Vec<_> = (0..outputs).map(|_| output()).collect();
        let node = Node {
            name: String::new(),
            op: ops::find("", op, 17).unwrap(),
            inputs: inputs.iter().copied().map(Some).collect(),
            outputs: outputs.iter().copied().map(Some).collect(),
            attributes: attributes
                .iter()
                .map(|(name, it)| ((*name).to_owned(), it.clone()))
                .collect(),
            opset: 17,
        };
        self.graph.add_node(node).unwrap();
        outputs
    }

    fn conv(&mut self, x: ValueId, [outputs, inputs, edge]: [usize; 3], stride: i64) -> ValueId {
        let weights = self.weights(&[outputs, inputs, edge, edge]);
        let bias = self.weights(&[outputs]);
        let pad = (edge / 2) as i64;
        let attributes = [
            ("strides", Attribute::Ints(vec![stride; 2])),
            ("pads", Attribute::Ints(vec![pad; 4])),
        ];
        self.node("Conv", &[x, weights, bias], &attributes)
    }

    fn block(&mut self, x: ValueId, [outputs, inputs]: [usize; 2], stride: i64) -> ValueId {
        let a = self.conv(x, [outputs, inputs, 3], stride);
        let a = self.node("Relu", &[a], &[]);
        let a = self.conv(a, [outputs, outputs, 3], 1);
        let shortcut = match stride {
            1 => x,
            _ => self.conv(x, [outputs, inputs, 1], stride),
        };
        let sum = self.node("Add", &[a, shortcut], &[]);
        self.node("Relu", &[sum], &[])
    }

    fn finish(mut self, output: ValueId) -> Graph {
        self.graph.outputs.push(output);
        self.graph
    }
}

/// A stem with pooling, three blocks, a mean and a product, for images of 20x24.
fn network() -> Graph {
    classifier(10)
}

/// The same with so many outputs.
fn classifier(outputs: usize) -> Graph {
    let (mut b, x) = Builder::new(&[3, 20, 24]);
    let x = b.conv(x, [16, 3, 7], 2);
    let x = b.node("Relu", &[x], &[]);
    let pool = [
        ("kernel_shape", Attribute::Ints(vec![3; 2])),
        ("strides", Attribute::Ints(vec![2; 2])),
        ("pads", Attribute::Ints(vec![1; 4])),
    ];
    let x = b.node("MaxPool", &[x], &pool);
    let x = b.block(x, [16, 16], 1);
    let x = b.block(x, [32, 16], 2);
    let x = b.block(x, [32, 32], 1);
    let x = b.node("GlobalAveragePool", &[x], &[]);
    let x = b.node("Flatten", &[x], &[]);
    let (weights, bias) = (b.weights(&[outputs, 32]), b.weights(&[outputs]));
    let x = b.node("Gemm", &[x, weights, bias], &[("transB", Attribute::Int(1))]);
    b.finish(x)
}

fn input(images: usize) -> Tensor {
    let len = images * 3 * 20 * 24;
    let elements = (0..len).map(|at| ((at * 7919) % 255) as f32 / 127.0 - 1.0).collect();
    Tensor::new(&[images, 3, 20, 24], elements).unwrap()
}

fn devices() -> Vec<Device> {
    let mut devices = vec![Device::cpu()];
    match Device::cuda(0) {
        Ok(device) => devices.push(device),
        Err(error) => println!("SKIPPED on a GPU: {error}"),
    }
    devices
}

fn only(outputs: Vec<(String, Value)>) -> Vec<f32> {
    assert_eq!(outputs.len(), 1);
    outputs[0].1.as_tensor().unwrap().elements::<f32>().unwrap().to_vec()
}

/// Runs a graph in 16 bits on all devices and holds it against the plan for the CPU.
fn check(graph: Graph, batches: &[usize]) {
    let model = Model::from_graph(graph).unwrap();
    let reference = model.on(&Device::cpu(), Options::default()).unwrap();
    for (device, precision) in devices()
        .into_iter()
        .flat_map(|device| [Precision::F16, Precision::BF16].map(|it| (device.clone(), it)))
    {
        let session = GpuSession::new(model.graph(), &device, precision).unwrap();
        for &images in batches {
            let expected = only(reference.run([("x", Value::Tensor(input(images)))]).unwrap());
            let found = only(session.run([("x", Value::Tensor(input(images)))]).unwrap());
            assert_eq!(found.len(), expected.len());
            let scale = expected.iter().fold(0f32, |max, x| max.max(x.abs()));
            let bound = if precision == Precision::F16 { 1e-2 } else { 8e-2 };
            for (found, expected) in found.iter().zip(&expected) {
                let error = (found - expected).abs() / scale;
                assert!(error <= bound, "{device} {precision:?}: {found}, expected {expected}");
            }
        }
    }
}

#[test]
fn steps_for_the_gpu_compute_what_the_plan_for_the_cpu_does() {
    check(network(), &[1, 3, 1]);
}

#[test]
fn pooled_convolutions_of_the_input_run_in_parts_where_no_kernel_does_both() {
    // Steps of one column, and a pooling of two by two without a function before it.
    for (stride, edge, pad) in [(1, 3, 1), (2, 2, 0)] {
        let (mut b, x) = Builder::new(&[3, 20, 24]);
        let mut x = b.conv(x, [8, 3, 3], stride);
        if stride == 1 {
            x = b.node("Relu", &[x], &[]);
        }
        let pool = [
            ("kernel_shape", Attribute::Ints(vec![edge; 2])),
            ("strides", Attribute::Ints(vec![2; 2])),
            ("pads", Attribute::Ints(vec![pad; 4])),
        ];
        let x = b.node("MaxPool", &[x], &pool);
        check(b.finish(x), &[2]);
    }
}

#[test]
fn additions_functions_and_shortcuts_have_no_launches_of_their_own() {
    let session = GpuSession::new(&network(), &Device::cpu(), Precision::F16).unwrap();
    let report = session.prepare(&[vec![2, 3, 20, 24]]).unwrap();
    let kernels: Vec<_> =
        report.iter().map(|step| step.kernel.split(' ').next().unwrap()).collect();
    // The first convolution reads the input as it is and pools its sums itself.
    let mut expected = vec!["stem"];
    expected.extend(["conv"; 6]);
    expected.extend(["mean", "conv", "to_channels_first"]);
    assert_eq!(kernels, expected, "{report:#?}");
    let flops: f64 = report.iter().map(|step| step.flops).sum();
    assert!(flops > 0.0);
}

#[test]
fn few_images_are_classified_by_one_launch() {
    let graph = classifier(16);
    let session = GpuSession::new(&graph, &Device::cpu(), Precision::F16).unwrap();
    let last = |images: usize| {
        let report = session.prepare(&[vec![images, 3, 20, 24]]).unwrap();
        report.last().unwrap().kernel.split(' ').next().unwrap().to_owned()
    };
    assert_eq!((last(2).as_str(), last(3).as_str()), ("head", "to_channels_first"));
    check(graph, &[1, 2, 3]);
}

#[test]
fn what_has_no_kernel_is_named() {
    let (mut b, x) = Builder::new(&[3, 8, 8]);
    let x = b.node("NonZero", &[x], &[]);
    let graph = b.finish(x);
    let session = GpuSession::new(&graph, &Device::cpu(), Precision::F16).unwrap();
    let refused = session.prepare(&[vec![1, 3, 8, 8]]).unwrap_err();
    assert!(matches!(&refused, Error::NotOnGpu { op, .. } if op == "NonZero"), "{refused}");
    let message = refused.to_string();
    assert!(message.contains("cannot run on the GPU: there is no kernel for it"), "{message}");
}

#[test]
fn wrong_inputs_are_refused() {
    let session = GpuSession::new(&network(), &Device::cpu(), Precision::F16).unwrap();
    let none: [(&str, Value); 0] = [];
    assert!(session.run(none).unwrap_err().to_string().contains("input x is missing"));
    let other = Value::Tensor(Tensor::new(&[1, 3, 20, 23], vec![0f32; 1380]).unwrap());
    let message = session.run([("x", other)]).unwrap_err().to_string();
    assert!(message.contains("input x is float[1, 3, 20, 23]"), "{message}");
    let unknown = Value::Tensor(input(1));
    let message = session.run([("y", unknown)]).unwrap_err().to_string();
    assert!(message.contains("the model has no input y"), "{message}");
}

/// A graph of one node whose operands are all given to the run.
fn graph_of(op: &str, opset: u32, inputs: &[(&str, DType)]) -> Graph {
    let mut graph = Graph::default();
    for (name, dtype) in inputs {
        let id = graph.add_value(*name, Some(ValueType::Tensor(*dtype, None)));
        graph.inputs.push(id);
    }
    let output = graph.add_value("y", None);
    let node = Node {
        name: "only".into(),
        op: ops::find("", op, opset).unwrap(),
        inputs: graph.inputs.iter().copied().map(Some).collect(),
        outputs: vec![Some(output)],
        attributes: Vec::new(),
        opset,
    };
    graph.add_node(node).unwrap();
    graph.outputs.push(output);
    graph
}

#[test]
fn programs_belong_to_the_shapes_that_inputs_name() {
    let graph = graph_of("Expand", 13, &[("x", DType::F32), ("shape", DType::I64)]);
    let session = GpuSession::new(&graph, &Device::cpu(), Precision::F32).unwrap();
    for shape in [vec![2i64, 3], vec![4, 3], vec![2, 3]] {
        let x = Tensor::new(&[1, 3], vec![1.0f32, 2.0, 3.0]).unwrap();
        let rows = shape[0] as usize;
        let inputs = [("x", x.into()), ("shape", Tensor::vector(shape).into())];
        let outputs = session.run::<&str>(inputs).unwrap();
        let expected = Tensor::new(&[rows, 3], [1.0f32, 2.0, 3.0].repeat(rows)).unwrap();
        assert_eq!(outputs[0].1.as_tensor(), Some(&expected));
    }
    // Two shapes are two programs, and each expands in one launch.
    assert_eq!(session.launches(), Some(2));
}

#[test]
fn what_has_no_kernel_for_dense_values_is_named() {
    let graph = graph_of("NonZero", 13, &[("x", DType::F32)]);
    let session = GpuSession::new(&graph, &Device::cpu(), Precision::F32).unwrap();
    let x = Tensor::new(&[2], vec![0.0f32, 1.0]).unwrap();
    match session.run([("x", x.into())]) {
        Err(Error::NotOnGpu { node, op, opset, why }) => {
            assert_eq!((&node[..], &op[..], opset), ("only", "NonZero", 13));
            assert!(why.contains("no kernel"), "{why}");
        }
        other => panic!("expected a refusal, found {other:?}"),
    }
}

#[test]
fn shapes_from_long_inputs_are_refused() {
    let graph = graph_of("Expand", 13, &[("x", DType::F32), ("shape", DType::I64)]);
    let session = GpuSession::new(&graph, &Device::cpu(), Precision::F32).unwrap();
    let x = Tensor::new(&[1], vec![1.0f32]).unwrap();
    let shape = Tensor::vector(vec![1i64; 65]);
    match session.run([("x", x.into()), ("shape", Value::from(shape))]) {
        Err(Error::NotOnGpu { why, .. }) => {
            assert!(why.contains("elements of input shape"), "{why}");
        }
        other => panic!("expected a refusal, found {other:?}"),
    }
}

#[test]
fn convolutions_in_f32_and_tf32_take_what_follows_along() {
    const IMAGES: usize = 8;
    let model = Model::from_graph(network()).unwrap();
    let reference = model.on(&Device::cpu(), Options::default()).unwrap();
    let expected = only(reference.run([("x", Value::Tensor(input(IMAGES)))]).unwrap());
    let scale = expected.iter().fold(0f32, |max, x| max.max(x.abs()));
    for device in devices() {
        for (precision, bound) in [(Precision::F32, 1e-5), (Precision::TF32, 3e-3)] {
            let session = GpuSession::new(model.graph(), &device, precision).unwrap();
            let found = only(session.run([("x", Value::Tensor(input(IMAGES)))]).unwrap());
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                let error = (found - expected).abs() / scale;
                assert!(error <= bound, "{device} {precision:?}: {found}, expected {expected}");
            }
            // Every convolution here is large enough for tiles.
            let report = session.prepare(&[vec![IMAGES, 3, 20, 24]]).unwrap();
            let has = |op: &str| report.iter().any(|step| step.kernel.ends_with(op));
            assert!(has("Conv") && !has("Add") && !has("Relu"), "{report:?}");
        }
    }
}

#[test]
fn bounds_are_taken_along_and_values_that_others_read_are_not() {
    let (mut b, x) = Builder::new(&[3, 20, 24]);
    let bound = |b: &mut Builder, number: f32| {
        let name = format!("b{}", b.graph.values.len());
        b.graph.add_constant(name, Tensor::new(&[], vec![number]).unwrap())
    };
    let (low, high) = (bound(&mut b, -0.25), bound(&mut b, 0.5));
    let y = b.conv(x, [16, 3, 3], 1);
    let clipped = b.node("Clip", &[y, low, high], &[]);
    // Both the sum before the function and the function's values are read.
    let z = b.conv(clipped, [16, 16, 3], 1);
    let w = b.node("Relu", &[z], &[]);
    let sum = b.node("Add", &[z, w], &[]);
    let graph = b.finish(sum);
    let model = Model::from_graph(graph).unwrap();
    let reference = model.on(&Device::cpu(), Options::default()).unwrap();
    let expected = only(reference.run([("x", Value::Tensor(input(1)))]).unwrap());
    for device in devices() {
        let session = GpuSession::new(model.graph(), &device, Precision::F32).unwrap();
        let found = only(session.run([("x", Value::Tensor(input(1)))]).unwrap());
        for (found, expected) in found.iter().zip(&expected) {
            let error = (found - expected).abs();
            assert!(error <= 1e-5 * expected.abs().max(1.0), "{device}: {found}, not {expected}");
        }
        let report = session.prepare(&[vec![1, 3, 20, 24]]).unwrap();
        let has = |op: &str| report.iter().any(|step| step.kernel.ends_with(op));
        // What is no convolution's is one kernel, written for both.
        assert!(!has("Clip") && !has("Add") && has("written: 2 operations"), "{report:?}");
    }
}

#[test]
fn images_with_channels_last_are_what_other_nodes_and_outputs_read() {
    const IMAGES: usize = 4;
    let (mut b, x) = Builder::new(&[20, 12, 14]);
    let pool = |op: &str, b: &mut Builder, x: ValueId| {
        let attributes = [
            ("kernel_shape", Attribute::Ints(vec![3, 2])),
            ("strides", Attribute::Ints(vec![2, 1])),
            ("pads", Attribute::Ints(vec![1, 0, 1, 1])),
        ];
        b.node(op, &[x], &attributes)
    };
    let y = b.conv(x, [24, 20, 3], 1);
    // Read by a convolution, as a residual behind another, by both kinds of pooling, and by
    // nodes that know nothing of the layout.
    let z = b.conv(y, [24, 24, 3], 1);
    let sum = b.node("Add", &[z, y], &[]);
    let (largest, mean) = (pool("MaxPool", &mut b, y), pool("AveragePool", &mut b, y));
    let pools = b.node("Sub", &[largest, mean], &[]);
    let sizes = b.node("Abs", &[y], &[]);
    let all = b.node("GlobalMaxPool", &[sum], &[]);
    b.graph.outputs.extend([y, sum, pools, sizes]);
    let model = Model::from_graph(b.finish(all)).unwrap();
    let elements = (0..IMAGES * 20 * 12 * 14).map(|at| ((at * 7919) % 511) as f32 / 255.0 - 1.0);
    let input = Tensor::new(&[IMAGES, 20, 12, 14], elements.collect()).unwrap();
    let given = || [("x", Value::Tensor(input.clone()))];
    let reference = model.on(&Device::cpu(), Options::default()).unwrap();
    let expected = reference.run(given()).unwrap();
    for device in devices() {
        for (precision, bound) in [(Precision::F32, 1e-5), (Precision::TF32, 3e-3)] {
            let session = GpuSession::new(model.graph(), &device, precision).unwrap();
            let found = session.run(given()).unwrap();
            assert_eq!(found.len(), expected.len());
            for ((name, found), (_, expected)) in found.into_iter().zip(&expected) {
                let (found, expected) =
                    (found.into_tensor().unwrap(), expected.as_tensor().unwrap());
                assert_eq!(found.shape(), expected.shape(), "{device} {precision:?} {name}");
                let expected = expected.elements::<f32>().unwrap();
                let scale = expected.iter().fold(0f32, |max, x| max.max(x.abs()));
                for (found, expected) in found.elements::<f32>().unwrap().iter().zip(expected) {
                    let error = (found - expected).abs() / scale;
                    assert!(error <= bound, "{device} {precision:?} {name}: {found}, {expected}");
                }
            }
        }
    }
}

#[test]
fn constant_right_operands_are_turned_once_and_give_the_same() {
    // Rows of several matrices are one, enough that tensor cores want the weights turned.
    const BATCHES: usize = 5;
    let (mut b, x) = Builder::new(&[80, 36]);
    let weights = b.weights(&[36, 64]);
    let y = b.node("MatMul", &[x, weights], &[]);
    let model = Model::from_graph(b.finish(y)).unwrap();
    let elements = (0..BATCHES * 80 * 36).map(|at| ((at * 7919) % 511) as f32 / 255.0 - 1.0);
    let input = Tensor::new(&[BATCHES, 80, 36], elements.collect()).unwrap();
    let given = || [("x", Value::Tensor(input.clone()))];
    let reference = model.on(&Device::cpu(), Options::default()).unwrap().run(given()).unwrap();
    let expected = reference[0].1.as_tensor().unwrap();
    let expected = expected.elements::<f32>().unwrap();
    let scale = expected.iter().fold(0f32, |max, x| max.max(x.abs()));
    for device in devices() {
        for (precision, bound) in [(Precision::F32, 1e-5), (Precision::TF32, 3e-3)] {
            let session = GpuSession::new(model.graph(), &device, precision).unwrap();
            // The second run has the weights of the first.
            for _ in 0..2 {
                let (_, found) = session.run(given()).unwrap().remove(0);
                let found = found.into_tensor().unwrap();
                assert_eq!(found.shape(), [BATCHES, 80, 64], "{device} {precision:?}");
                for (found, expected) in found.elements::<f32>().unwrap().iter().zip(expected) {
                    let error = (found - expected).abs() / scale;
                    assert!(error <= bound, "{device} {precision:?}: {found}, {expected}");
                }
            }
        }
    }
}

#[test]
fn siblings_share_weights_and_run_at_once() {
    let model = Model::from_graph(network()).unwrap();
    for (device, precision) in devices()
        .into_iter()
        .flat_map(|device| [Precision::F16, Precision::F32].map(|it| (device.clone(), it)))
    {
        let first = GpuSession::new(model.graph(), &device, precision).unwrap();
        let second = first.sibling().unwrap();
        let expected = only(first.run([("x", Value::Tensor(input(2)))]).unwrap());
        std::thread::scope(|scope| {
            for session in [&first, &second] {
                let expected = &expected;
                scope.spawn(move || {
                    for _ in 0..3 {
                        let found = only(session.run([("x", Value::Tensor(input(2)))]).unwrap());
                        assert_eq!(found, *expected, "{precision:?}");
                    }
                });
            }
        });
    }
}

#[test]
fn pinned_runs_give_what_runs_give() {
    let model = Model::from_graph(network()).unwrap();
    for device in devices() {
        let session = GpuSession::new(model.graph(), &device, Precision::F16).unwrap();
        assert!(session.is_pinned());
        for images in [2, 1, 2] {
            let tensor = input(images);
            let expected = only(session.run([("x", Value::Tensor(tensor.clone()))]).unwrap());
            let elements = tensor.elements::<f32>().unwrap();
            let half = elements.len() / 2;
            let pieces = [&elements[..half], &elements[half..]];
            let pieces = pieces.map(|it| Piece::Floats(device.pinned(it).unwrap())).into();
            let feed = Feed { name: "x", shape: tensor.shape(), pieces };
            let ran = session.run_pinned(vec![feed]).unwrap();
            assert_eq!(ran.outputs.len(), 1);
            assert_eq!(ran.outputs[0].shape, [images, 10]);
            assert_eq!(ran.outputs[0].elements[..], expected[..]);
            let lens: Vec<usize> = ran.pieces[0].iter().map(Piece::len).collect();
            assert_eq!(lens, [half, elements.len() - half]);
        }
        let run = |shape: &[usize], pieces| {
            session.run_pinned(vec![Feed { name: "x", shape, pieces }]).unwrap_err().to_string()
        };
        let error = run(&[1, 3, 20, 25], Vec::new());
        assert!(error.starts_with("input x has shape [1, 3, 20, 25], expected"), "{error}");
        let error = run(&[1, 3, 20, 24], vec![Piece::floats(&device, 1441).unwrap()]);
        assert_eq!(error, "input x has 1440 elements, found 1441");
        let error = run(&[1, 3, 20, 24], vec![Piece::pixels(&device, 1440).unwrap()]);
        assert_eq!(error, "input x takes no pixels, or not among floats");
        let exact = GpuSession::new(model.graph(), &device, Precision::F32).unwrap();
        assert!(!exact.is_pinned() && exact.run_pinned(Vec::new()).is_err());
        let times = session.prepare_times(&[vec![1, 3, 20, 24]]).unwrap().unwrap();
        assert!(!times.collect.is_zero() && !times.capture.is_zero());
        assert_eq!(exact.prepare_times(&[vec![1, 3, 20, 24]]).unwrap(), None);
    }
}

#[test]
fn pixels_are_normalised_on_the_device() {
    let model = Model::from_graph(network()).unwrap();
    let pictures: Vec<u8> = (0..2 * 20 * 24 * 3).map(|at| (at * 101 % 256) as u8).collect();
    let table: Vec<f32> = (0..768).map(|at| (at % 256) as f32 / 128.0 - 1.0).collect();
    let floats = (0..pictures.len()).map(|at| {
        let (plane, pixel) = (at / 480, at % 480);
        let byte = pictures[(plane / 3 * 480 + pixel) * 3 + plane % 3];
        table[plane % 3 * 256 + usize::from(byte)]
    });
    let floats = Tensor::new(&[2, 3, 20, 24], floats.collect::<Vec<f32>>()).unwrap();
    for device in devices() {
        let mut first = GpuSession::new(model.graph(), &device, Precision::F16).unwrap();
        first.take_pixels(&table, true).unwrap();
        assert!(first.take_pixels(&table[1..], true).is_err());
        let session = first.sibling().unwrap();
        let expected = only(session.run([("x", Value::Tensor(floats.clone()))]).unwrap());
        // A program for more pictures than there are, once with those of another run.
        for rows in [2, 3, 3] {
            let pieces = pictures.chunks(20 * 24 * 3);
            let pieces = pieces.map(|it| Piece::Pixels(device.pinned(it).unwrap())).collect();
            let feed = Feed { name: "x", shape: &[rows, 3, 20, 24], pieces };
            let ran = session.run_pinned(vec![feed]).unwrap();
            let found = &ran.outputs[0].elements[..20];
            // Programs for other numbers of pictures may have other kernels, by measurement.
            let bound = if device.is_gpu() { 4e-3 } else { 0.0 };
            for (a, b) in found.iter().zip(&expected) {
                assert!((a - b).abs() <= bound * b.abs().max(1.0), "{device}: {a}, expected {b}");
            }
        }
    }
}

#[test]
fn long_reductions_are_right() {
    // 1,024 terms are cut into parts, 1,009 are not.
    for terms in [1024usize, 1009] {
        let (mut b, x) = Builder::new(&[terms, 2]);
        let axes = [("axes", Attribute::Ints(vec![1])), ("keepdims", Attribute::Int(0))];
        for op in ["ReduceMax", "ReduceMin", "ReduceMean", "ReduceL1", "ReduceL2"] {
            let output = b.node(op, &[x], &axes);
            b.graph.outputs.push(output);
        }
        let model = Model::from_graph(b.graph).unwrap();
        let reference = model.on(&Device::cpu(), Options::default()).unwrap();
        let elements = (0..3 * terms * 2).map(|at| ((at * 7919) % 255) as f32 / 127.0 - 1.0);
        let input = Tensor::new(&[3, terms, 2], elements.collect()).unwrap();
        let expected = reference.run([("x", Value::Tensor(input.clone()))]).unwrap();
        for device in devices() {
            let session = GpuSession::new(model.graph(), &device, Precision::F32).unwrap();
            let found = session.run([("x", Value::Tensor(input.clone()))]).unwrap();
            for ((name, expected), (_, found)) in expected.iter().zip(&found) {
                let elements = |value: &Value| {
                    let tensor = value.as_tensor().unwrap();
                    assert_eq!(tensor.shape(), [3, 2], "{name}");
                    tensor.elements::<f32>().unwrap().to_vec()
                };
                for (found, expected) in elements(found).iter().zip(elements(expected)) {
                    let error = (found - expected).abs() / expected.abs().max(0.1);
                    assert!(error < 1e-4, "{device} {name}: {found}, expected {expected}");
                }
            }
            assert_eq!(session.launches(), Some(if terms == 1024 { 9 } else { 5 }));
        }
    }
}
