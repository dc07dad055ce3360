//! Chains that exporters write to compute shapes, with symbols in place of
//! lengths. Single rows are held against runs by `tests/onnx`.

use super::*;
use crate::graph::Attribute;
use crate::ops;

struct Chain(Graph);

impl Chain {
    fn new(dims: &[&str]) -> (Self, ValueId) {
        let mut graph = Graph::default();
        let dim =
            |text: &&str| text.parse().map_or_else(|_| Dim::Symbol((*text).into()), Dim::Fixed);
        let declared = ValueType::Tensor(DType::F32, Some(dims.iter().map(dim).collect()));
        let x = graph.add_value("x", Some(declared));
        graph.inputs = vec![x];
        (Self(graph), x)
    }

    fn list(&mut self, numbers: &[i64]) -> ValueId {
        self.0.add_constant(format!("c{}", self.0.values.len()), Tensor::vector(numbers.to_vec()))
    }

    fn add(&mut self, name: &str, inputs: &[ValueId], attributes: &[(&str, i64)]) -> ValueId {
        let output = self.0.add_value(format!("{name}{}", self.0.values.len()), None);
        let attribute = |(name, x): &(&str, i64)| ((*name).to_owned(), Attribute::Int(*x));
        let node = Node {
            name: String::new(),
            op: ops::find("", name, 17).expect("in the table"),
            inputs: inputs.iter().copied().map(Some).collect(),
            outputs: vec![Some(output)],
            attributes: attributes.iter().map(attribute).collect(),
            opset: 17,
        };
        self.0.add_node(node).expect("fits its row");
        output
    }

    /// A length of `x`, as exporters ask for it.
    fn len(&mut self, x: ValueId, axis: i64) -> ValueId {
        let (shape, index) = (self.add("Shape", &[x], &[]), self.list(&[axis]));
        self.add("Gather", &[shape, index], &[("axis", 0)])
    }

    #[track_caller]
    fn check(&self, value: ValueId, expected: &str) {
        let infos = types(&self.0, &[]).expect("a sound graph");
        let dims = infos[value.index()].as_ref().and_then(|info| info.dims.clone());
        assert_eq!(format!("{:?}", dims.expect("dimensions")), expected);
    }
}

#[test]
fn heads_are_split_and_joined() {
    let (mut chain, x) = Chain::new(&["n", "s", "64"]);
    let (n, s) = (chain.len(x, 0), chain.len(x, 1));
    let (heads, rest) = (chain.list(&[8]), chain.list(&[-1]));
    let shape = chain.add("Concat", &[n, s, heads, rest], &[("axis", 0)]);
    let split = chain.add("Reshape", &[x, shape], &[]);
    chain.check(split, "[n, s, 8, 8]");
    let (n, s, rest) = (chain.len(split, 0), chain.len(split, 1), chain.list(&[-1]));
    let shape = chain.add("Concat", &[n, s, rest], &[("axis", 0)]);
    let joined = chain.add("Reshape", &[split, shape], &[]);
    let sum = chain.add("Add", &[x, joined], &[]);
    chain.check(sum, "[n, s, 64]");
}

#[test]
fn a_mask_is_expanded_where_the_target_is_one() {
    // Where(target == -1, ones, target), the way torch writes `expand`.
    let (mut chain, x) = Chain::new(&["n", "1", "s"]);
    let (n, s, ones) = (chain.len(x, 0), chain.len(x, 2), chain.list(&[1, 1, 1]));
    let free = chain.list(&[-1]);
    let target = chain.add("Concat", &[n, free, s], &[("axis", 0)]);
    let is_free = chain.add("Equal", &[target, free], &[]);
    let target = chain.add("Where", &[is_free, ones, target], &[]);
    let expanded = chain.add("Expand", &[x, target], &[]);
    chain.check(expanded, "[n, 1, s]");
}

#[test]
fn pasts_are_joined_and_cut() {
    let (mut chain, x) = Chain::new(&["past", "4"]);
    let twice = chain.add("Concat", &[x, x], &[("axis", 0)]);
    chain.check(twice, "[2*past, 4]");
    let (start, end) = (chain.len(x, 0), chain.list(&[i64::MAX]));
    let axes = chain.list(&[0]);
    let last = chain.add("Slice", &[twice, start, end, axes], &[]);
    chain.check(last, "[past, 4]");
    let minus = chain.list(&[-1]);
    let but_one = chain.add("Slice", &[last, axes, minus, axes], &[]);
    chain.check(but_one, "[max(0, past - 1), 4]");
}

#[test]
fn what_cannot_run_is_an_error_with_its_place() {
    let (mut chain, x) = Chain::new(&["n", "4"]);
    let axes = chain.list(&[0, 0]);
    chain.add("Unsqueeze", &[x, axes], &[]);
    let error = types(&chain.0, &[]).expect_err("the axes are one").to_string();
    assert!(error.contains("(Unsqueeze, opset 17): axis 0 occurs twice"), "{error}");
}

#[test]
fn lengths_given_for_one_input_hold_for_all() {
    let (mut chain, x) = Chain::new(&["n", "3"]);
    let declared = chain.0.values[x.index()].declared.clone();
    let y = chain.0.add_value("y", declared);
    chain.0.inputs.push(y);
    let given = [(x, TensorInfo::fixed(DType::F32, &[5, 3]))];
    let infos = types(&chain.0, &given).expect("a sound graph");
    assert_eq!(infos[y.index()].as_ref().and_then(TensorInfo::shape), Some(vec![5, 3]));
}
