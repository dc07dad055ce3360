//! Layers in `f32`, with weights as they come and packed, agree with those in `f64`,
//! which computes one unit after the other.

use super::*;
use crate::graph::{Attribute, Graph, Node, ValueType};
use crate::{DType, Plan, ops, passes};

/// Numbers that look random, from -1 to 1.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 40) as f64 / f64::from(1 << 23) - 1.0
    }

    fn below(&mut self, count: usize) -> usize {
        ((self.next() + 1.0) / 2.0 * count as f64) as usize % count
    }

    fn tensor(&mut self, shape: &[usize], scale: f64) -> Vec<f64> {
        (0..shape.iter().product()).map(|_| self.next() * scale).collect()
    }
}

/// A layer with its operands, by index.
struct Case {
    op: &'static str,
    attributes: Vec<(String, Attribute)>,
    operands: Vec<Option<(Vec<usize>, Vec<f64>)>>,
    lens: Option<Vec<i32>>,
}

impl Case {
    fn random(
        numbers: &mut Numbers,
        op: &'static str,
        [steps, batch, input, hidden]: [usize; 4],
    ) -> Self {
        let (gates, usual) = match op {
            "RNN" => (1, 1),
            "GRU" => (3, 2),
            _ => (4, 3),
        };
        let mut attributes = vec![("hidden_size".into(), Attribute::Int(hidden as i64))];
        let direction = ["forward", "reverse", "bidirectional"][numbers.below(3)];
        let count = if direction == "bidirectional" { 2 } else { 1 };
        attributes.push(("direction".into(), Attribute::String(direction.into())));
        let mut flag = |name: &str, numbers: &mut Numbers| -> bool {
            let value = numbers.below(2);
            attributes.push((name.into(), Attribute::Int(value as i64)));
            value == 1
        };
        let is_batch_first = flag("layout", numbers);
        if op == "GRU" {
            flag("linear_before_reset", numbers);
        }
        if op == "LSTM" {
            flag("input_forget", numbers);
        }
        if numbers.below(3) == 0 {
            attributes.push(("clip".into(), Attribute::Float(0.7)));
        }
        if numbers.below(3) == 0 {
            let names = ["Tanh", "Sigmoid", "HardSigmoid", "ScaledTanh", "Softsign", "Relu", "Elu"];
            let own = (0..count * usual).map(|_| names[numbers.below(names.len())].into());
            attributes.push(("activations".into(), Attribute::Strings(own.collect())));
            let alphas = (0..count * usual).map(|_| 0.5 + 0.3 * numbers.next() as f32);
            attributes.push(("activation_alpha".into(), Attribute::Floats(alphas.collect())));
        }
        let x = if is_batch_first { [batch, steps, input] } else { [steps, batch, input] };
        let state = if is_batch_first { [batch, count, hidden] } else { [count, batch, hidden] };
        let columns = gates * hidden;
        let mut operand = |shape: &[usize], is_needed: bool| {
            let scale = 1.5 / (*shape.last().unwrap_or(&1) as f64).sqrt();
            let is_there = is_needed || numbers.below(2) == 0;
            is_there.then(|| (shape.to_vec(), numbers.tensor(shape, scale)))
        };
        let mut operands = vec![
            operand(&x, true),
            operand(&[count, columns, input], true),
            operand(&[count, columns, hidden], true),
            operand(&[count, 2 * columns], false),
            None,
            operand(&state, false),
        ];
        if op == "LSTM" {
            operands.extend([operand(&state, false), operand(&[count, 3 * hidden], false)]);
        }
        let lens = (numbers.below(2) == 0)
            .then(|| (0..batch).map(|_| numbers.below(steps + 1) as i32).collect());
        Self { op, attributes, operands, lens }
    }

    fn graph(&self, dtype: DType) -> Graph {
        let mut graph = Graph::default();
        let mut inputs = Vec::new();
        for (at, operand) in self.operands.iter().enumerate() {
            inputs.push(match operand {
                Some((shape, elements)) => {
                    let tensor = Tensor::computed(shape, dtype, elements.clone()).expect("it fits");
                    Some(graph.add_constant(format!("c{at}"), tensor))
                }
                None => None,
            });
        }
        let x = inputs[0].expect("it is needed");
        graph.values[x.index()].declared = Some(ValueType::Tensor(dtype, None));
        graph.inputs = vec![x];
        inputs[4] = self.lens.clone().map(|lens| graph.add_constant("lens", Tensor::vector(lens)));
        let outputs = if self.op == "LSTM" { 3 } else { 2 };
        graph.outputs = (0..outputs).map(|at| graph.add_value(format!("y{at}"), None)).collect();
        let node = Node {
            name: "layer".into(),
            op: ops::find("", self.op, 22).expect("in the table"),
            inputs,
            outputs: graph.outputs.iter().copied().map(Some).collect(),
            attributes: self.attributes.clone(),
            opset: 22,
        };
        graph.add_node(node).expect("fits its row");
        graph
    }
}

fn run(graph: Graph) -> Vec<Tensor> {
    let x = graph.inputs[0];
    let own = graph.constants.iter().find(|(id, _)| *id == x).expect("it has a value").1.clone();
    let plan = Plan::new(graph).expect("a sound graph");
    let values = plan.run(vec![("c0", own.into())]).expect("it runs");
    values.into_iter().map(|value| value.into_tensor().expect("a tensor")).collect()
}

/// Holds results against others, relative to the larger of one and the number.
fn assert_close(found: &[Tensor], expected: &[Tensor], case: &Case) {
    // A few dozen steps, each of which rounds sums of up to 70 terms.
    assert_within(2e-5, found, expected, case);
}

fn assert_within(bound: f64, found: &[Tensor], expected: &[Tensor], case: &Case) {
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.shape(), expected.shape());
        let (found, expected) = (f64::widen(found).unwrap(), f64::widen(expected).unwrap());
        for (found, expected) in found.iter().zip(&*expected) {
            let bound = bound * expected.abs().max(1.0);
            let (op, attributes) = (case.op, &case.attributes);
            assert!((found - expected).abs() < bound, "{found} {expected} {op} {attributes:?}");
        }
    }
}

#[test]
fn all_forms_of_layers_agree() {
    let numbers = &mut Numbers(1);
    for round in 0..60 {
        for op in ["RNN", "GRU", "LSTM"] {
            let hidden = [1, 5, 16, 33, 70][numbers.below(5)];
            let batch = [1, 2, 3, 7, 17][numbers.below(5)];
            let dims = [1 + numbers.below(12), batch, 1 + numbers.below(20), hidden];
            let case = Case::random(numbers, op, dims);
            let expected = run(case.graph(DType::F64));
            assert_close(&run(case.graph(DType::F32)), &expected, &case);
            let mut graph = case.graph(DType::F32);
            let pass = passes::PASSES.iter().find(|pass| pass.name == "pack-recurrent");
            let changes = (pass.expect("it is listed").run)(&mut graph).expect("a sound graph");
            assert_eq!((changes, graph.nodes[0].op.domain), (1, DOMAIN), "in round {round}");
            assert_close(&run(graph), &expected, &case);
        }
    }
}

#[test]
fn packed_weights_may_be_stored_in_16_bits() {
    let numbers = &mut Numbers(4);
    for op in ["RNN", "GRU", "LSTM"] {
        let case = Case::random(numbers, op, [4, 3, 9, 20]);
        let expected = run(case.graph(DType::F64));
        let mut graph = case.graph(DType::F32);
        let pass = passes::PASSES.iter().find(|pass| pass.name == "pack-recurrent");
        (pass.expect("it is listed").run)(&mut graph).expect("a sound graph");
        for (_, tensor) in graph.constants.iter_mut().filter(|it| it.1.dtype() == DType::F32) {
            let elements = tensor.elements::<f32>().expect("floats").to_vec();
            *tensor = Tensor::computed(tensor.shape(), DType::F16, elements).expect("it fits");
        }
        let x = graph.inputs[0];
        graph.values[x.index()].declared = Some(ValueType::Tensor(DType::F16, None));
        // Digits of f16, a few steps.
        assert_within(1e-2, &run(graph), &expected, &case);
    }
}

#[test]
fn large_layers_are_shared_by_threads() {
    let numbers = &mut Numbers(2);
    // Sequences and directions are shared out, then the columns of a single state.
    for (op, dims) in [("LSTM", [9, 11, 40, 64]), ("GRU", [3, 1, 8, 600]), ("RNN", [3, 1, 8, 800])]
    {
        let case = Case::random(numbers, op, dims);
        let expected = run(case.graph(DType::F64));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("it starts");
        let found = pool.install(|| run(case.graph(DType::F32)));
        assert_close(&found, &expected, &case);
    }
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let numbers = &mut Numbers(3);
    let mut case = Case::random(numbers, "LSTM", [2, 1, 3, 4]);
    let Some((shape, elements)) = &mut case.operands[1] else { panic!("it has weights") };
    shape[2] += 1;
    elements.resize(shape.iter().product(), 0.0);
    for dtype in [DType::F32, DType::F64] {
        let graph = case.graph(dtype);
        let x = graph.constants[0].1.clone();
        let refused = Plan::new(graph).expect("a sound graph").run(vec![("c0", x.into())]);
        let message = refused.expect_err("they do not fit").to_string();
        assert!(message.contains("input 1 must have shape"), "{message}");
    }
}
