//! Edge cases of operations that ONNX's node tests do not reach: empty tensors,
//! negative axes, indices out of range, attributes made to mislead. Bad input
//! is an error that says what is wrong, never a panic.

use raddle_tensor::graph::{Attribute, Graph, Node};
use raddle_tensor::{DType, Error, Plan, Result, Tensor, Value, ops};

/// One call of an operation: its name with inputs and attributes.
struct Call {
    op: &'static str,
    opset: u32,
    inputs: Vec<Option<Tensor>>,
    attributes: Vec<(String, Attribute)>,
}

fn call(op: &'static str, opset: u32) -> Call {
    Call { op, opset, inputs: Vec::new(), attributes: Vec::new() }
}

impl Call {
    fn input(mut self, tensor: Tensor) -> Self {
        self.inputs.push(Some(tensor));
        self
    }

    fn absent(mut self) -> Self {
        self.inputs.push(None);
        self
    }

    fn int(mut self, name: &str, value: i64) -> Self {
        self.attributes.push((name.into(), Attribute::Int(value)));
        self
    }

    fn text(mut self, name: &str, value: &str) -> Self {
        self.attributes.push((name.into(), Attribute::String(value.into())));
        self
    }

    fn run(self, outputs: usize) -> Result<Vec<Tensor>> {
        let mut graph = Graph::default();
        let mut given = Vec::new();
        let mut inputs = Vec::new();
        for (at, tensor) in self.inputs.into_iter().enumerate() {
            inputs.push(tensor.map(|tensor| {
                let id = graph.add_value(format!("x{at}"), None);
                given.push((format!("x{at}"), Value::from(tensor)));
                graph.inputs.push(id);
                id
            }));
        }
        let outputs: Vec<_> =
            (0..outputs).map(|at| graph.add_value(format!("y{at}"), None)).collect();
        graph.outputs.clone_from(&outputs);
        graph.add_node(Node {
            name: "node".into(),
            op: ops::find("", self.op, self.opset)?,
            inputs,
            outputs: outputs.into_iter().map(Some).collect(),
            attributes: self.attributes,
            opset: self.opset,
        })?;
        let outputs = Plan::new(graph)?.run(given)?;
        Ok(outputs.into_iter().map(|value| value.into_tensor().expect("a tensor")).collect())
    }

    /// The only output.
    fn one(self) -> Tensor {
        self.run(1).unwrap().remove(0)
    }

    /// The error without its place.
    fn error(self) -> Error {
        match self.run(1) {
            Err(Error::Node { source, .. }) => *source,
            other => panic!("expected an error of the node, found {other:?}"),
        }
    }
}

fn f32s(shape: &[usize], elements: &[f32]) -> Tensor {
    Tensor::new(shape, elements.to_vec()).unwrap()
}

fn i64s(shape: &[usize], elements: &[i64]) -> Tensor {
    Tensor::new(shape, elements.to_vec()).unwrap()
}

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F32).unwrap()
}

/// Elements 0, 1, 2 and so on.
fn counting(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    f32s(shape, &(0..count).map(|x| x as f32).collect::<Vec<_>>())
}

#[test]
fn top_k_refuses_what_is_not_there() {
    let top_k = |k: i64| call("TopK", 24).input(counting(&[2, 3])).input(i64s(&[1], &[k]));
    for k in [4, -1, i64::MAX, i64::MIN] {
        assert!(matches!(top_k(k).run(2), Err(Error::Node { .. })), "k = {k}");
    }
    let outputs = top_k(0).run(2).unwrap();
    assert_eq!((outputs[0].shape(), outputs[1].shape()), (&[2, 0][..], &[2, 0][..]));
    let empty = call("TopK", 24).input(zeros(&[0, 3])).input(i64s(&[1], &[2])).run(2).unwrap();
    assert_eq!(empty[0].shape(), [0, 2]);
}

#[test]
fn top_k_orders_nan_as_the_greatest_and_ties_by_index() {
    let x = f32s(&[5], &[1.0, f32::NAN, 3.0, 3.0, f32::NEG_INFINITY]);
    let top_k = |x: Tensor| call("TopK", 24).input(x).input(i64s(&[1], &[3]));
    let largest = top_k(x.clone()).run(2).unwrap();
    assert_eq!(largest[1], i64s(&[3], &[1, 2, 3]));
    let smallest = top_k(x).int("largest", 0).run(2).unwrap();
    assert_eq!(smallest[1], i64s(&[3], &[4, 0, 2]));
    let old = call("TopK", 1).input(counting(&[4])).int("k", 1).run(2).unwrap();
    assert_eq!(old[1], i64s(&[1], &[3]));
}

#[test]
fn unique_groups_nan_and_works_on_text_and_nothing() {
    let x = f32s(&[4], &[f32::NAN, 2.0, f32::NAN, 2.0]);
    let outputs = call("Unique", 11).input(x).run(4).unwrap();
    assert_eq!(outputs[1], i64s(&[2], &[1, 0]));
    assert_eq!(outputs[2], i64s(&[4], &[1, 0, 1, 0]));
    assert_eq!(outputs[3], i64s(&[2], &[2, 2]));
    let words = Tensor::vector(["b", "a", "b"].map(String::from).to_vec());
    let outputs = call("Unique", 11).input(words).int("sorted", 0).run(4).unwrap();
    assert_eq!(outputs[0], Tensor::vector(["b", "a"].map(String::from).to_vec()));
    let outputs = call("Unique", 11).input(zeros(&[0])).run(4).unwrap();
    assert!(outputs.iter().all(Tensor::is_empty));
}

#[test]
fn pads_may_cut_and_must_fit() {
    let pad = |pads: &[i64], mode: &str| {
        call("Pad", 25).input(counting(&[4])).input(i64s(&[pads.len()], pads)).text("mode", mode)
    };
    assert_eq!(pad(&[-1, 1], "constant").one(), f32s(&[4], &[1.0, 2.0, 3.0, 0.0]));
    assert_eq!(pad(&[-2, 2], "edge").one(), f32s(&[4], &[2.0, 3.0, 3.0, 3.0]));
    assert_eq!(
        pad(&[5, 0], "reflect").one(),
        f32s(&[9], &[1.0, 2.0, 3.0, 2.0, 1.0, 0.0, 1.0, 2.0, 3.0])
    );
    assert_eq!(pad(&[1, 5], "wrap").one().elements::<f32>().unwrap()[4..8], [3.0, 0.0, 1.0, 2.0]);
    assert_eq!(pad(&[-4, 0], "constant").one().shape(), [0]);
    assert!(matches!(pad(&[-5, 0], "constant").error(), Error::Invalid(_)));
    assert!(matches!(pad(&[-4, 4], "edge").error(), Error::Invalid(_)));
    assert!(matches!(pad(&[i64::MAX, i64::MAX], "constant").error(), Error::Invalid(_)));
    assert!(matches!(pad(&[i64::MAX - 9, 0], "constant").error(), Error::TooLarge { .. }));
    assert_eq!(pad(&[i64::MIN, i64::MAX], "constant").one(), f32s(&[3], &[0.0; 3]));
    assert!(matches!(pad(&[0], "constant").error(), Error::Invalid(_)));
    assert!(matches!(pad(&[0, 0], "mirror").error(), Error::Attribute { .. }));
}

#[test]
fn gathered_indices_count_from_both_ends_and_no_further() {
    let gather = |index: i64| {
        call("GatherElements", 13)
            .input(counting(&[2, 3]))
            .input(i64s(&[1, 2], &[index, 0]))
            .int("axis", -2)
    };
    assert_eq!(gather(-1).one(), f32s(&[1, 2], &[3.0, 1.0]));
    for index in [2, -3, i64::MIN, i64::MAX] {
        assert_eq!(gather(index).error(), Error::Index { index, len: 2 });
    }
    let nd = |indices: Tensor| call("GatherND", 13).input(counting(&[2, 3])).input(indices);
    assert_eq!(nd(i64s(&[2, 1], &[-1, 0])).one(), f32s(&[2, 3], &[3., 4., 5., 0., 1., 2.]));
    assert_eq!(nd(i64s(&[0, 2], &[])).one().shape(), [0]);
    assert_eq!(nd(i64s(&[1, 2], &[0, 3])).error(), Error::Index { index: 3, len: 3 });
    assert!(matches!(nd(i64s(&[1, 3], &[0, 0, 0])).error(), Error::ShapeMismatch { .. }));
    let hostile = nd(i64s(&[1, 1], &[0])).int("batch_dims", i64::MAX);
    assert!(matches!(hostile.error(), Error::ShapeMismatch { .. }));
}

#[test]
fn scattered_elements_reduce_in_every_type() {
    let scatter = |x: Tensor, updates: Tensor, reduction: &str| {
        call("ScatterElements", 18)
            .input(x)
            .input(i64s(&[2], &[1, -1]))
            .input(updates)
            .text("reduction", reduction)
    };
    let bytes = |elements: [u8; 2]| Tensor::vector(elements.to_vec());
    assert_eq!(scatter(bytes([7, 250]), bytes([5, 6]), "add").one(), bytes([7, 5]));
    assert_eq!(scatter(bytes([7, 250]), bytes([5, 6]), "max").one(), bytes([7, 250]));
    let flags = |elements: [bool; 2]| Tensor::vector(elements.to_vec());
    assert_eq!(
        scatter(flags([false, true]), flags([true, false]), "mul").one(),
        flags([false, false])
    );
    let words = |elements: [&str; 2]| Tensor::vector(elements.map(String::from).to_vec());
    assert_eq!(scatter(words(["a", "b"]), words(["c", "d"]), "none").one(), words(["a", "d"]));
    let error = scatter(words(["a", "b"]), words(["c", "d"]), "add").error();
    assert!(matches!(error, Error::UnsupportedType { .. }));
    let error = scatter(bytes([7, 250]), bytes([5, 6]), "sum").error();
    assert!(matches!(error, Error::Attribute { .. }));
    let nd = call("ScatterND", 18).input(counting(&[2, 2])).input(i64s(&[1, 1], &[1]));
    assert_eq!(nd.input(f32s(&[1, 2], &[8., 9.])).one(), f32s(&[2, 2], &[0., 1., 8., 9.]));
    let nd = call("ScatterND", 18).input(counting(&[2, 2])).input(i64s(&[1, 1], &[2]));
    assert_eq!(nd.input(f32s(&[1, 2], &[8., 9.])).error(), Error::Index { index: 2, len: 2 });
}

#[test]
fn one_hot_leaves_indices_out_of_range_dark() {
    let one_hot = |opset: u32, depth: f32| {
        call("OneHot", opset)
            .input(f32s(&[3], &[-1.0, 1.7, 3.0]))
            .input(Tensor::scalar(depth))
            .input(i64s(&[2], &[0, 1]))
    };
    assert_eq!(one_hot(11, 3.0).one(), i64s(&[3, 3], &[0, 0, 1, 0, 1, 0, 0, 0, 0]));
    assert_eq!(one_hot(9, 3.0).one(), i64s(&[3, 3], &[0, 0, 0, 0, 1, 0, 0, 0, 0]));
    assert_eq!(one_hot(11, 0.0).one().shape(), [3, 0]);
    assert!(matches!(one_hot(11, -1.0).error(), Error::Invalid(_)));
    assert!(matches!(one_hot(11, 1e18).error(), Error::TooLarge { .. }));
}

#[test]
fn compress_and_non_zero_know_scalars_and_short_conditions() {
    let compress = |flags: Vec<bool>| {
        call("Compress", 11).input(counting(&[2, 2])).input(Tensor::vector(flags)).int("axis", -1)
    };
    assert_eq!(compress(vec![true]).one(), f32s(&[2, 1], &[0.0, 2.0]));
    assert_eq!(compress(vec![]).one().shape(), [2, 0]);
    assert_eq!(compress(vec![false; 9]).one().shape(), [2, 0]);
    assert_eq!(compress(vec![true, true, true]).error(), Error::Index { index: 2, len: 2 });
    assert_eq!(call("NonZero", 13).input(Tensor::scalar(3f32)).one().shape(), [0, 1]);
    assert_eq!(call("NonZero", 13).input(f32s(&[2], &[-0.0, 1.0])).one(), i64s(&[1, 1], &[1]));
}

#[test]
fn cumulation_and_triangles_survive_extremes() {
    let sum = |axis: i64| call("CumSum", 14).input(counting(&[2, 0])).input(i64s(&[], &[axis]));
    assert_eq!(sum(-2).one().shape(), [2, 0]);
    assert_eq!(sum(2).error(), Error::Axis { axis: 2, rank: 2 });
    let bytes = Tensor::vector(vec![200u8, 100]);
    let wrapped = call("CumSum", 14).input(bytes).input(i64s(&[1], &[0])).one();
    assert_eq!(wrapped, Tensor::vector(vec![200u8, 44]));
    for (k, upper, expected) in
        [(i64::MAX, 1, [0.; 4]), (i64::MIN, 1, [0., 1., 2., 3.]), (i64::MAX, 0, [0., 1., 2., 3.])]
    {
        let triangle = call("Trilu", 14).input(counting(&[2, 2])).input(i64s(&[], &[k]));
        assert_eq!(triangle.int("upper", upper).one(), f32s(&[2, 2], &expected));
    }
    assert!(matches!(call("Trilu", 14).input(zeros(&[2])).error(), Error::Invalid(_)));
    let reverse = call("ReverseSequence", 10).input(counting(&[2, 2])).input(i64s(&[2], &[3, 1]));
    assert_eq!(reverse.error(), Error::Index { index: 3, len: 2 });
}

fn einsum(equation: &str, inputs: &[Tensor]) -> Call {
    inputs.iter().fold(call("Einsum", 12).text("equation", equation), |c, x| c.input(x.clone()))
}

#[test]
fn einsum_reads_every_form() {
    let (a, b) = (counting(&[2, 3]), counting(&[3, 2]));
    let product = f32s(&[2, 2], &[10.0, 13.0, 28.0, 40.0]);
    assert_eq!(einsum("ij,jk->ik", &[a.clone(), b.clone()]).one(), product);
    assert_eq!(einsum(" ij , jk ", &[a.clone(), b.clone()]).one(), product);
    assert_eq!(einsum("ij->", std::slice::from_ref(&a)).one(), Tensor::scalar(15f32));
    assert_eq!(einsum("ii->i", &[counting(&[2, 2])]).one(), f32s(&[2], &[0.0, 3.0]));
    assert_eq!(einsum("ba", std::slice::from_ref(&a)).one().shape(), [3, 2]);
    assert_eq!(
        einsum("...j,j...->...", &[a.clone(), b.clone()]).one().elements::<f32>().unwrap(),
        [10.0, 40.0]
    );
    assert_eq!(einsum("...,...", &[a.clone(), Tensor::scalar(2f32)]).one().shape(), [2, 3]);
    let three = [a.clone(), b.clone(), counting(&[2])];
    assert_eq!(einsum("ij,jk,k->i", &three).one(), f32s(&[2], &[13.0, 40.0]));
    assert_eq!(einsum("ij,jk->ik", &[zeros(&[2, 0]), zeros(&[0, 2])]).one(), zeros(&[2, 2]));
    let ints = [i64s(&[2], &[1 << 40, 3]), i64s(&[2], &[2, 5])];
    assert_eq!(einsum("i,i", &ints).one(), Tensor::scalar((1i64 << 41) + 15));
}

#[test]
fn einsum_refuses_what_has_no_meaning() {
    let a = counting(&[2, 3]);
    for equation in
        ["ij,jk->ik", "ijk->i", "ij->ijj", "ij->k", "i1->i", "i...j...->i", "", "..", "ii->i"]
    {
        let result = einsum(equation, std::slice::from_ref(&a)).run(1);
        assert!(matches!(result, Err(Error::Node { .. })), "{equation}: {result:?}");
    }
    let error = einsum("ij,jk->ik", &[a.clone(), a]).error();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
}

#[test]
fn attention_refuses_shapes_that_do_not_fit() {
    let attention = |q: &[usize], k: &[usize], v: &[usize]| {
        call("Attention", 24).input(zeros(q)).input(zeros(k)).input(zeros(v))
    };
    assert_eq!(attention(&[1, 4, 3, 8], &[1, 2, 5, 8], &[1, 2, 5, 6]).one().shape(), [1, 4, 3, 6]);
    assert_eq!(attention(&[1, 2, 0, 8], &[1, 2, 5, 8], &[1, 2, 5, 6]).one().shape(), [1, 2, 0, 6]);
    assert_eq!(attention(&[1, 2, 3, 8], &[1, 2, 0, 8], &[1, 2, 0, 6]).one(), zeros(&[1, 2, 3, 6]));
    for (q, k, v) in [
        ([1, 3, 3, 8], [1, 2, 5, 8], [1, 2, 5, 6]),
        ([1, 2, 3, 7], [1, 2, 5, 8], [1, 2, 5, 6]),
        ([1, 2, 3, 8], [1, 2, 5, 8], [1, 2, 4, 6]),
        ([1, 2, 3, 8], [1, 0, 5, 8], [1, 0, 5, 6]),
    ] {
        assert!(matches!(attention(&q, &k, &v).error(), Error::ShapeMismatch { .. }));
    }
    let packed = || attention(&[1, 3, 8], &[1, 3, 8], &[1, 3, 8]);
    for heads in [0, -1, 3, i64::MIN] {
        let call = packed().int("q_num_heads", heads).int("kv_num_heads", 2);
        assert!(matches!(call.error(), Error::Attribute { .. }), "{heads} heads");
    }
    assert!(matches!(packed().error(), Error::Attribute { .. }));
    let lens = attention(&[1, 2, 3, 8], &[1, 2, 5, 8], &[1, 2, 5, 6]).absent().absent().absent();
    assert!(matches!(lens.input(i64s(&[1], &[6])).error(), Error::Invalid(_)));
    let mask = attention(&[1, 2, 3, 8], &[1, 2, 5, 8], &[1, 2, 5, 6]).input(zeros(&[2, 5]));
    assert!(matches!(mask.error(), Error::ShapeMismatch { .. }));
}

/// More queries than a tile holds give what each gives alone.
#[test]
fn attention_in_tiles_agrees_with_single_queries() {
    let (queries, keys, size) = (150, 70, 4);
    let wave = |count: usize, step: f32| -> Vec<f32> {
        (0..count).map(|at| (at as f32 * step).sin()).collect()
    };
    let q = wave(queries * size, 0.7);
    let k = f32s(&[1, 1, keys, size], &wave(keys * size, 1.3));
    let v = f32s(&[1, 1, keys, size], &wave(keys * size, 0.3));
    let attend = |q: &[f32]| {
        let q = f32s(&[1, 1, q.len() / size, size], q);
        let y = call("Attention", 23).input(q).input(k.clone()).input(v.clone()).one();
        y.elements::<f32>().unwrap().to_vec()
    };
    let all = attend(&q);
    for query in [0, 63, 64, 149] {
        let single = attend(&q[query * size..(query + 1) * size]);
        for (a, b) in all[query * size..].iter().zip(single) {
            assert!((a - b).abs() < 1e-6, "query {query}: {a} and {b}");
        }
    }
}

#[test]
fn caches_and_positions_stay_within_bounds() {
    let scatter = |at: i64, mode: &str| {
        call("TensorScatter", 24)
            .input(zeros(&[1, 3, 1]))
            .input(f32s(&[1, 2, 1], &[1.0, 2.0]))
            .input(i64s(&[1], &[at]))
            .text("mode", mode)
    };
    assert_eq!(scatter(1, "linear").one(), f32s(&[1, 3, 1], &[0.0, 1.0, 2.0]));
    assert_eq!(scatter(5, "circular").one(), f32s(&[1, 3, 1], &[2.0, 0.0, 1.0]));
    for at in [2, -1, i64::MAX] {
        assert_eq!(scatter(at, "linear").error(), Error::Index { index: at, len: 3 });
    }
    let rotary = |id: i64| {
        call("RotaryEmbedding", 23)
            .input(counting(&[1, 1, 1, 2]))
            .input(zeros(&[4, 1]))
            .input(zeros(&[4, 1]))
            .input(i64s(&[1, 1], &[id]))
    };
    assert_eq!(rotary(3).one().shape(), [1, 1, 1, 2]);
    assert_eq!(rotary(4).error(), Error::Index { index: 4, len: 4 });
    assert_eq!(rotary(-1).error(), Error::Index { index: -1, len: 4 });
    let error = rotary(0).int("rotary_embedding_dim", i64::MIN).error();
    assert!(matches!(error, Error::Attribute { .. }));
}

#[test]
fn losses_refuse_classes_that_do_not_exist() {
    let loss = |target: i64| {
        call("NegativeLogLikelihoodLoss", 13)
            .input(counting(&[2, 3]))
            .input(i64s(&[2], &[target, 0]))
            .int("ignore_index", -100)
    };
    assert_eq!(loss(2).one(), Tensor::scalar(-2.5f32));
    assert_eq!(loss(-100).one(), Tensor::scalar(-3f32));
    assert_eq!(loss(3).error(), Error::Index { index: 3, len: 3 });
    assert_eq!(loss(-1).error(), Error::Index { index: -1, len: 3 });
    let cross =
        call("SoftmaxCrossEntropyLoss", 13).input(zeros(&[2, 0])).input(i64s(&[2], &[0, 0]));
    assert_eq!(cross.error(), Error::Index { index: 0, len: 0 });
}

#[test]
fn quantisation_saturates_and_checks_its_scales() {
    let quantize = |zero: Tensor| {
        let x = f32s(&[4], &[-1e30, 0.5, 1.5, f32::INFINITY]);
        call("QuantizeLinear", 25).input(x).input(Tensor::scalar(1f32)).input(zero)
    };
    assert_eq!(quantize(Tensor::scalar(3u8)).one(), Tensor::vector(vec![0u8, 3, 5, 255]));
    assert_eq!(quantize(Tensor::scalar(-1i8)).one(), Tensor::vector(vec![-128i8, -1, 1, 127]));
    assert!(matches!(quantize(Tensor::scalar(1i64)).error(), Error::UnsupportedType { .. }));
    let blocked = |block: i64, scales: &[usize]| {
        call("QuantizeLinear", 25)
            .input(counting(&[2, 3]))
            .input(f32s(scales, &vec![0.5; scales.iter().product()]))
            .int("axis", -1)
            .int("block_size", block)
    };
    assert_eq!(blocked(2, &[2, 2]).one(), Tensor::new(&[2, 3], vec![0u8, 2, 4, 6, 8, 10]).unwrap());
    assert!(matches!(blocked(-1, &[2, 2]).error(), Error::Attribute { .. }));
    assert!(matches!(blocked(1, &[2, 2]).error(), Error::ShapeMismatch { .. }));
    assert!(matches!(blocked(0, &[2]).error(), Error::ShapeMismatch { .. }));
    let empty = call("DynamicQuantizeLinear", 11).input(zeros(&[0])).run(3).unwrap();
    assert_eq!(empty[2], Tensor::scalar(0u8));
}

/// Sums longer than `f32` could hold exactly.
#[test]
fn products_of_bytes_are_exact() {
    let (terms, a, b) = (3001, vec![255u8; 3001], vec![255u8; 3001]);
    let product = call("MatMulInteger", 10)
        .input(Tensor::new(&[1, terms], a).unwrap())
        .input(Tensor::new(&[terms, 1], b).unwrap())
        .one();
    assert_eq!(product, Tensor::new(&[1, 1], vec![255 * 255 * 3001i32]).unwrap());
    let conv = call("ConvInteger", 10)
        .input(Tensor::new(&[1, 1, 2, 2], vec![255u8, 255, 255, 0]).unwrap())
        .input(Tensor::new(&[1, 1, 1, 1], vec![255u8]).unwrap())
        .input(Tensor::scalar(255u8))
        .one();
    assert_eq!(conv, Tensor::new(&[1, 1, 2, 2], vec![0i32, 0, 0, -255 * 255]).unwrap());
    let mixed = call("MatMulInteger", 10).input(zeros(&[1, 1])).input(zeros(&[1, 1]));
    assert!(matches!(mixed.error(), Error::UnsupportedType { .. }));
}

#[test]
fn bits_keep_their_meaning() {
    let cast =
        |x: Tensor, to: DType| call("BitCast", 26).input(x).int("to", to.onnx_number().into());
    let nibble = Tensor::from_data(&[1], DType::U4, raddle_tensor::Data::new(vec![15u8])).unwrap();
    let signed = Tensor::from_data(&[1], DType::I4, raddle_tensor::Data::new(vec![-1i8])).unwrap();
    assert_eq!(cast(nibble.clone(), DType::I4).one(), signed);
    assert_eq!(cast(signed, DType::U4).one(), nibble);
    let error = cast(nibble, DType::U8).error();
    assert!(matches!(error, Error::UnsupportedType { .. }));
    let pair = Tensor::vector(vec![[1f32, -2.0]]);
    let bits = cast(pair.clone(), DType::U64).one();
    assert_eq!(cast(bits, DType::Complex64).one(), pair);
    assert!(matches!(
        call("BitCast", 26).input(zeros(&[1])).int("to", 99).error(),
        Error::Attribute { .. }
    ));
}

#[test]
fn determinants_of_nothing_and_of_singular_matrices() {
    assert_eq!(call("Det", 22).input(zeros(&[2, 0, 0])).one(), f32s(&[2], &[1.0, 1.0]));
    assert_eq!(call("Det", 22).input(counting(&[3, 3])).one(), Tensor::scalar(0f32));
    assert_eq!(
        call("Det", 22).input(f32s(&[2, 2], &[0., 2., 3., 4.])).one(),
        Tensor::scalar(-6f32)
    );
    assert!(matches!(call("Det", 22).input(zeros(&[2, 3])).error(), Error::Invalid(_)));
}

#[test]
fn dropout_takes_ratios_below_one_only() {
    let dropout = |ratio: f32| {
        call("Dropout", 13)
            .input(f32s(&[1000], &[1.0; 1000]))
            .input(Tensor::scalar(ratio))
            .input(Tensor::scalar(true))
            .int("seed", 7)
    };
    let y = dropout(0.25).one();
    let kept = y.elements::<f32>().unwrap().iter().filter(|&&y| y > 0.0).count();
    assert!((700..800).contains(&kept), "{kept} of 1000 are kept");
    assert_eq!(dropout(0.25).one(), y, "one seed gives one result");
    for ratio in [1.0, -0.5, f32::NAN] {
        assert!(matches!(dropout(ratio).error(), Error::Attribute { .. }));
    }
}

#[test]
fn old_operands_broadcast_on_request_only() {
    let add = |right: &[usize]| call("Add", 6).input(counting(&[2, 3, 2])).input(counting(right));
    let channels = add(&[3]).int("broadcast", 1).int("axis", 1).one();
    assert_eq!(channels.elements::<f32>().unwrap()[..6], [0., 1., 3., 4., 6., 7.]);
    let suffix = add(&[3, 2]).int("broadcast", 1).one();
    assert_eq!(suffix.elements::<f32>().unwrap()[6..], [6., 8., 10., 12., 14., 16.]);
    assert_eq!(add(&[]).int("broadcast", 1).one(), counting(&[2, 3, 2]));
    assert!(matches!(add(&[3, 2]).error(), Error::ShapeMismatch { .. }));
    assert!(matches!(
        add(&[2]).int("broadcast", 1).int("axis", 1).error(),
        Error::ShapeMismatch { .. }
    ));
    assert!(matches!(
        add(&[3, 2]).int("broadcast", 1).int("axis", 2).error(),
        Error::ShapeMismatch { .. }
    ));
    assert!(matches!(
        add(&[3]).int("broadcast", 1).int("axis", i64::MIN).error(),
        Error::Axis { .. }
    ));
    let larger = call("Less", 1).input(counting(&[1])).input(counting(&[2])).int("broadcast", 1);
    assert!(matches!(larger.error(), Error::ShapeMismatch { .. }));
}

#[test]
fn old_forms_of_arguments_are_understood() {
    let mut reshape = call("Reshape", 1).input(counting(&[2, 3]));
    reshape.attributes.push(("shape".into(), Attribute::Ints(vec![0, -1, 1])));
    assert_eq!(reshape.one(), counting(&[2, 3, 1]));
    let cast = |to: &str| call("Cast", 5).input(f32s(&[1], &[2.7])).text("to", to);
    assert_eq!(cast("INT32").one(), Tensor::vector(vec![2i32]));
    assert!(matches!(cast("REAL").error(), Error::Attribute { .. }));
    let tile = call("Tile", 1).input(counting(&[1, 2])).input(Tensor::scalar(2f32));
    assert_eq!(tile.input(Tensor::scalar(1f32)).one(), f32s(&[1, 4], &[0., 1., 0., 1.]));
    let concat = call("Concat", 1).input(counting(&[1, 2])).input(counting(&[1, 1])).one();
    assert_eq!(concat, f32s(&[1, 3], &[0., 1., 0.]));
    let prelu = call("PRelu", 6).input(f32s(&[1, 2, 1, 1], &[-1., -1.])).input(counting(&[2]));
    assert_eq!(prelu.one().elements::<f32>().unwrap()[1], -1.0);
    let selu = call("Selu", 1).input(f32s(&[1], &[1.0])).one();
    assert_eq!(selu, f32s(&[1], &[1.0507]));
    let relu = call("Relu", 1).input(f32s(&[1], &[-1.0]));
    assert_eq!(relu.one(), zeros(&[1]));
}
