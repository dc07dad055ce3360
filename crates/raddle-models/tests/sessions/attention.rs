//! Attention in dense sessions: in one launch where there is a kernel, and what has none.

use raddle_models::gpu::GpuSession;
use raddle_models::{Model, Options, Precision};
use raddle_tensor::graph::{Attribute, Graph, Node, ValueType};
use raddle_tensor::{DType, Tensor, Value, ops};

use super::{Builder, devices};

/// A node with its operands and how many launches it takes, if that is to be a number.
struct Case {
    inputs: Vec<(&'static str, Tensor)>,
    attributes: Vec<(&'static str, Attribute)>,
    outputs: usize,
    opset: u32,
    precision: Precision,
    launches: Option<usize>,
}

fn floats(shape: &[usize], dtype: DType, seed: usize) -> Tensor {
    let len: usize = shape.iter().product();
    let element = |at: usize| ((at * 7919 + seed * 31) % 255) as f32 / 63.0 - 2.0;
    Tensor::computed(shape, dtype, (0..len).map(element).collect::<Vec<f32>>()).unwrap()
}

fn wide(value: &Value) -> Vec<f32> {
    let tensor = value.as_tensor().unwrap();
    match tensor.dtype() {
        DType::F16 => tensor.elements::<half::f16>().unwrap().iter().map(|x| x.to_f32()).collect(),
        DType::BF16 => {
            tensor.elements::<half::bf16>().unwrap().iter().map(|x| x.to_f32()).collect()
        }
        _ => tensor.elements::<f32>().unwrap().to_vec(),
    }
}

fn check(case: &Case) {
    let mut graph = Graph::default();
    let mut operands = vec![None; 7];
    for (name, tensor) in &case.inputs {
        let id = graph.add_value(*name, Some(ValueType::Tensor(tensor.dtype(), None)));
        graph.inputs.push(id);
        let names = ["q", "k", "v", "mask", "past_key", "past_value"];
        operands[names.iter().position(|own| own == name).unwrap()] = Some(id);
    }
    let outputs: Vec<_> =
        (0..case.outputs).map(|at| graph.add_value(format!("y{at}"), None)).collect();
    let attributes = case.attributes.iter();
    let node = Node {
        name: "attention".into(),
        op: ops::find("", "Attention", case.opset).unwrap(),
        inputs: operands,
        outputs: outputs.iter().copied().map(Some).collect(),
        attributes: attributes.map(|(name, it)| ((*name).to_owned(), it.clone())).collect(),
        opset: case.opset,
    };
    graph.add_node(node).unwrap();
    graph.outputs = outputs;
    let model = Model::from_graph(graph).unwrap();
    let inputs = || case.inputs.iter().map(|(name, tensor)| (*name, Value::Tensor(tensor.clone())));
    let reference = model.on(&raddle::Device::cpu(), Options::default()).unwrap();
    let expected = reference.run(inputs()).unwrap();
    for device in devices() {
        let session = GpuSession::new(model.graph(), &device, case.precision).unwrap();
        let found = session.run(inputs()).unwrap();
        let launches = session.launches();
        match case.launches {
            Some(_) => assert_eq!(launches, case.launches, "{device}"),
            None => assert!(launches.is_some_and(|count| count > 2), "{device}"),
        }
        for ((name, expected), (_, found)) in expected.iter().zip(&found) {
            let shape = |value: &Value| value.as_tensor().unwrap().shape().to_vec();
            assert_eq!(shape(found), shape(expected), "{device} {name}");
            let bound = match case.inputs[0].1.dtype() {
                DType::BF16 => 4e-2,
                _ => 1e-2,
            };
            for (found, expected) in wide(found).iter().zip(wide(expected)) {
                let is_right =
                    (found - expected).abs() <= bound || found.is_nan() && expected.is_nan();
                assert!(is_right, "{device} {name}: {found}, expected {expected}");
            }
        }
    }
}

fn plain(dtype: DType) -> Case {
    let inputs = vec![
        ("q", floats(&[2, 4, 10, 32], dtype, 1)),
        ("k", floats(&[2, 2, 20, 32], dtype, 2)),
        ("v", floats(&[2, 2, 20, 24], dtype, 3)),
    ];
    let (attributes, precision) = (Vec::new(), Precision::F32);
    Case { inputs, attributes, outputs: 1, opset: 23, precision, launches: Some(1) }
}

#[test]
fn attention_takes_one_launch() {
    check(&plain(DType::F16));
    check(&plain(DType::BF16));
    check(&Case { precision: Precision::TF32, ..plain(DType::F32) });
    let causal = vec![("is_causal", Attribute::Int(1)), ("scale", Attribute::Float(0.3))];
    check(&Case { attributes: causal, ..plain(DType::F16) });
    let mut masked = plain(DType::F16);
    let bools = (0..10 * 20).map(|at| at % 3 != 0).collect::<Vec<bool>>();
    masked.inputs.push(("mask", Tensor::new(&[10, 20], bools).unwrap()));
    check(&masked);
    let mut added = plain(DType::BF16);
    added.inputs.push(("mask", floats(&[2, 1, 1, 20], DType::BF16, 4)));
    check(&added);
    let mut single = plain(DType::F16);
    single.inputs.push(("mask", floats(&[10, 1], DType::F16, 5)));
    check(&single);
}

#[test]
fn heads_that_lie_side_by_side_stay_so() {
    let dtype = DType::F16;
    let inputs = vec![
        ("q", floats(&[2, 9, 64], dtype, 1)),
        ("k", floats(&[2, 12, 32], dtype, 2)),
        ("v", floats(&[2, 12, 32], dtype, 3)),
    ];
    let heads = vec![("q_num_heads", Attribute::Int(4)), ("kv_num_heads", Attribute::Int(2))];
    check(&Case { inputs, attributes: heads, ..plain(dtype) });
}

#[test]
fn queries_see_the_keys_of_the_past() {
    let mut case = plain(DType::F16);
    case.inputs.push(("past_key", floats(&[2, 2, 7, 32], DType::F16, 6)));
    case.inputs.push(("past_value", floats(&[2, 2, 7, 24], DType::F16, 7)));
    case.attributes.push(("is_causal", Attribute::Int(1)));
    // Keys and values are put behind those of the past first.
    check(&Case { outputs: 3, launches: Some(3), ..case });
}

#[test]
fn attention_without_a_kernel_is_several_launches() {
    check(&Case { launches: None, ..plain(DType::F32) });
    let attributes = vec![("softcap", Attribute::Float(2.0))];
    check(&Case { attributes, launches: None, ..plain(DType::F16) });
    let mut short = plain(DType::F16);
    short.inputs.push(("mask", floats(&[10, 15], DType::F16, 5)));
    check(&Case { opset: 24, launches: None, ..short });
    let mut wide = plain(DType::F16);
    wide.inputs.push(("mask", floats(&[10, 20], DType::F32, 5)));
    check(&Case { launches: None, ..wide });
}

/// As models before opset 23 have it, for heads of 16 elements.
#[test]
fn attention_that_is_spelled_out_takes_one_launch() {
    let (mut b, x) = Builder::new(&[2, 40, 16]);
    let perm = [("perm", Attribute::Ints(vec![0, 1, 3, 2]))];
    let key = b.node("Transpose", &[x], &perm);
    let scores = b.node("MatMul", &[x, key], &[]);
    let four = b.graph.add_constant("four", Tensor::scalar(4f32));
    let scaled = b.node("Div", &[scores, four], &[]);
    let mask = b.weights(&[40, 40]);
    let masked = b.node("Add", &[scaled, mask], &[]);
    let probabilities = b.node("Softmax", &[masked], &[("axis", Attribute::Int(-1))]);
    let y = b.node("MatMul", &[probabilities, x], &[]);
    let model = Model::from_graph(b.finish(y)).unwrap();
    let input = floats(&[3, 2, 40, 16], DType::F32, 1);
    let reference = model.on(&raddle::Device::cpu(), Options::default()).unwrap();
    let expected = reference.run([("x", Value::Tensor(input.clone()))]).unwrap();
    for device in devices() {
        let session = GpuSession::new(model.graph(), &device, Precision::TF32).unwrap();
        let found = session.run([("x", Value::Tensor(input.clone()))]).unwrap();
        assert_eq!(session.launches(), Some(1), "{device}");
        for (found, expected) in wide(&found[0].1).iter().zip(wide(&expected[0].1)) {
            assert!((found - expected).abs() < 1e-2, "{device}: {found}, expected {expected}");
        }
    }
}

/// Heads of queries, keys and values from one product, as vision transformers have them: no
/// launch moves any of them, before or behind the attention.
#[test]
fn heads_are_read_and_written_where_they_lie() {
    for is_split in [false, true] {
        let (mut b, x) = Builder::new(&[7, 3 * 2 * 16]);
        let list = |b: &mut Builder, name: &str, list: Vec<i64>| {
            b.graph.add_constant(name, Tensor::new(&[list.len()], list).unwrap())
        };
        let heads = match is_split {
            true => {
                let shape = list(&mut b, "split", vec![0, 7, 2, 16]);
                let lens = list(&mut b, "lens", vec![32; 3]);
                let parts = b.nodes("Split", &[x, lens], &[("axis", Attribute::Int(-1))], 3);
                [0, 1, 2].map(|i| {
                    let part = b.node("Reshape", &[parts[i], shape], &[]);
                    b.node("Transpose", &[part], &[("perm", Attribute::Ints(vec![0, 2, 1, 3]))])
                })
            }
            false => {
                let shape = list(&mut b, "split", vec![0, 7, 3, 2, 16]);
                let whole = b.node("Reshape", &[x, shape], &[]);
                let perm = [("perm", Attribute::Ints(vec![2, 0, 3, 1, 4]))];
                let turned = b.node("Transpose", &[whole], &perm);
                [0, 1, -1].map(|i| {
                    let index = b.graph.add_constant(format!("index {i}"), Tensor::scalar(i));
                    b.node("Gather", &[turned, index], &[("axis", Attribute::Int(0))])
                })
            }
        };
        let [q, k, v] = heads;
        let k = b.node("Transpose", &[k], &[("perm", Attribute::Ints(vec![0, 1, 3, 2]))]);
        let scores = b.node("MatMul", &[q, k], &[]);
        let four = b.graph.add_constant("four", Tensor::scalar(4f32));
        let scaled = b.node("Div", &[scores, four], &[]);
        let probabilities = b.node("Softmax", &[scaled], &[("axis", Attribute::Int(-1))]);
        let y = b.node("MatMul", &[probabilities, v], &[]);
        let y = b.node("Transpose", &[y], &[("perm", Attribute::Ints(vec![0, 2, 1, 3]))]);
        let width = list(&mut b, "width", vec![0, 7, 32]);
        let y = b.node("Reshape", &[y, width], &[]);
        let model = Model::from_graph(b.finish(y)).unwrap();
        let input = floats(&[3, 7, 96], DType::F32, 1);
        let reference = model.on(&raddle::Device::cpu(), Options::default()).unwrap();
        let expected = reference.run([("x", Value::Tensor(input.clone()))]).unwrap();
        for device in devices() {
            let session = GpuSession::new(model.graph(), &device, Precision::TF32).unwrap();
            let found = session.run([("x", Value::Tensor(input.clone()))]).unwrap();
            assert_eq!(session.launches(), Some(1), "{device} {is_split}");
            for (found, expected) in wide(&found[0].1).iter().zip(wide(&expected[0].1)) {
                assert!((found - expected).abs() < 1e-2, "{device}: {found}, expected {expected}");
            }
        }
    }
}
