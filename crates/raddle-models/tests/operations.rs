//! Every operation that sessions on a GPU have, over random shapes, strides, types and edge
//! values, on the CPU device and on a GPU where there is one, against the operation's
//! reference. What a sum may be off by follows from its type and its number of terms.

#![allow(missing_docs)]

mod operations {
    pub mod arrays;
    pub mod elements;
    pub mod layers;
    pub mod shapes;
}

use std::collections::BTreeMap;

use raddle::Device;
use raddle_models::Precision;
use raddle_models::gpu::GpuSession;
use raddle_tensor::convert::Compute;
use raddle_tensor::graph::{Attribute, Dim, Graph, Node, ValueType};
use raddle_tensor::{DType, Tensor, Value, evaluate, movement, ops};

/// Seeded random numbers.
pub struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.bits() as usize % limit
    }

    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    /// Dimensions, none of them 0.
    pub fn shape(&mut self, rank: usize) -> Vec<usize> {
        (0..rank).map(|_| self.pick(&[1, 2, 3, 4, 5, 7, 8, 17])).collect()
    }

    fn unit(&mut self) -> f64 {
        self.bits() as f64 / (1u64 << 53) as f64
    }

    /// Elements between two numbers.
    pub fn uniform(&mut self, shape: &[usize], dtype: DType, [low, high]: [f64; 2]) -> Tensor {
        let len = shape.iter().product();
        let elements = (0..len).map(|_| low + (high - low) * self.unit());
        let elements: Vec<f64> = match dtype.is_float() {
            true => elements.collect(),
            false => elements.map(f64::floor).collect(),
        };
        Tensor::computed(shape, dtype, elements).expect("numbers are in range")
    }

    /// Elements of a type, with special numbers among floats.
    pub fn edges(&mut self, shape: &[usize], dtype: DType) -> Tensor {
        let low = if matches!(dtype, DType::U8 | DType::U32 | DType::Bool) { 0.0 } else { -4.0 };
        let high = if dtype == DType::Bool { 2.0 } else { 5.0 };
        let special =
            [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1.0, -1.0, 1e4, -6e-5, 80.0];
        let mut elements =
            f64::widen(&self.uniform(shape, dtype, [low, high])).unwrap().into_owned();
        if dtype.is_float() {
            for element in &mut elements {
                if self.below(8) == 0 {
                    *element = self.pick(&special);
                }
            }
        }
        Tensor::computed(shape, dtype, elements).expect("numbers are in range")
    }
}

/// An operand of a case.
pub enum Given {
    /// From outside in each run.
    Input(Tensor),
    /// Known when the model is loaded.
    Constant(Tensor),
    /// Left out.
    None,
}

/// How near results have to be.
#[derive(Clone, Copy, Debug)]
pub enum Near {
    /// So many units in the last place of each.
    Ulps(f64),
    /// As sums of so many terms: relative to the largest result.
    Terms(usize),
}

/// A node with its operands.
pub struct Case {
    pub op: &'static str,
    pub opset: u32,
    pub given: Vec<Given>,
    pub attributes: Vec<(&'static str, Attribute)>,
    pub outputs: usize,
    pub near: Near,
}

impl Case {
    pub fn new(op: &'static str, given: Vec<Given>, near: Near) -> Self {
        Self { op, opset: 20, given, attributes: Vec::new(), outputs: 1, near }
    }

    pub fn with(mut self, name: &'static str, attribute: Attribute) -> Self {
        self.attributes.push((name, attribute));
        self
    }

    pub fn int(self, name: &'static str, value: i64) -> Self {
        self.with(name, Attribute::Int(value))
    }

    pub fn ints(self, name: &'static str, values: &[usize]) -> Self {
        self.with(name, Attribute::Ints(values.iter().map(|&n| n as i64).collect()))
    }

    pub fn float(self, name: &'static str, value: f32) -> Self {
        self.with(name, Attribute::Float(value))
    }

    pub fn text(self, name: &'static str, value: &str) -> Self {
        self.with(name, Attribute::String(value.into()))
    }

    pub fn outputs(mut self, count: usize) -> Self {
        self.outputs = count;
        self
    }

    pub fn opset(mut self, opset: u32) -> Self {
        self.opset = opset;
        self
    }

    /// The node alone, and the graph with it: some inputs are turned first, so that the node
    /// reads them with other strides.
    fn graph(&self, random: &mut Random) -> (Node, Graph, Vec<(String, Value)>) {
        let mut graph = Graph::default();
        let (mut inputs, mut values) = (Vec::new(), Vec::new());
        for (at, given) in self.given.iter().enumerate() {
            values.push(match given {
                Given::None => None,
                Given::Constant(tensor) => {
                    Some(graph.add_constant(format!("c{at}"), tensor.clone()))
                }
                Given::Input(tensor) => {
                    let rank = tensor.rank();
                    let is_turned = rank > 1 && random.below(3) == 0;
                    let mut order: Vec<usize> = (0..rank).collect();
                    if is_turned {
                        order.rotate_left(random.between(1, rank - 1));
                    }
                    let lying = movement::transpose(tensor, &order).expect("an order of its own");
                    let dims = lying.shape().iter().map(|&n| Dim::Fixed(n)).collect();
                    let name = format!("x{at}");
                    let declared = ValueType::Tensor(tensor.dtype(), Some(dims));
                    let mut value = graph.add_value(name.clone(), Some(declared));
                    graph.inputs.push(value);
                    inputs.push((name, Value::Tensor(lying)));
                    if is_turned {
                        let back = (0..rank).map(|axis| {
                            order.iter().position(|&own| own == axis).expect("a permutation") as i64
                        });
                        let turned = graph.add_value(format!("t{at}"), None);
                        let perm = ("perm".to_owned(), Attribute::Ints(back.collect()));
                        let node = Node {
                            name: String::new(),
                            op: ops::find("", "Transpose", self.opset).unwrap(),
                            inputs: vec![Some(value)],
                            outputs: vec![Some(turned)],
                            attributes: vec![perm],
                            opset: self.opset,
                        };
                        graph.add_node(node).expect("names are new");
                        value = turned;
                    }
                    Some(value)
                }
            });
        }
        let outputs: Vec<_> =
            (0..self.outputs).map(|at| Some(graph.add_value(format!("y{at}"), None))).collect();
        let named = |(name, it): &(&str, Attribute)| ((*name).to_owned(), it.clone());
        let node = Node {
            name: self.op.to_owned(),
            op: ops::find("", self.op, self.opset).unwrap(),
            inputs: values,
            outputs: outputs.clone(),
            attributes: self.attributes.iter().map(named).collect(),
            opset: self.opset,
        };
        graph.add_node(node.clone()).expect("names are new");
        graph.outputs.extend(outputs.into_iter().flatten());
        (node, graph, inputs)
    }

    fn describe(&self) -> String {
        let shapes = self.given.iter().map(|given| match given {
            Given::Input(tensor) => format!("{}{:?}", tensor.dtype(), tensor.shape()),
            Given::Constant(tensor) => format!("{tensor:?}"),
            Given::None => "none".to_owned(),
        });
        let shapes: Vec<_> = shapes.collect();
        format!("{} of {} with {:?}", self.op, shapes.join(", "), self.attributes)
    }
}

/// What the last place of a number of this size counts.
fn ulp(dtype: DType, number: f64) -> f64 {
    let (digits, smallest) = match dtype {
        DType::F64 => (52, -1022),
        DType::F32 => (23, -126),
        DType::F16 => (10, -14),
        _ => (7, -126),
    };
    let exponent = if number == 0.0 { smallest } else { number.abs().log2().floor() as i32 };
    2f64.powi(exponent.max(smallest) - digits)
}

/// Holds a result against what it should be.
fn compare(case: &Case, device: &Device, found: &Tensor, expected: &Tensor) {
    let what = || format!("{device}: {}", case.describe());
    assert_eq!(found.dtype(), expected.dtype(), "{}", what());
    assert_eq!(found.shape(), expected.shape(), "{}", what());
    let dtype = expected.dtype();
    let (a, b) = (f64::widen(found).unwrap(), f64::widen(expected).unwrap());
    let finite = b.iter().filter(|b| b.is_finite());
    let largest = finite.fold(1f64, |max, b| max.max(b.abs()));
    for (at, (&a, &b)) in a.iter().zip(b.iter()).enumerate() {
        let is_same = a == b || a.is_nan() && b.is_nan();
        let bound = match case.near {
            _ if !dtype.is_float() => 0.0,
            Near::Ulps(ulps) => ulps * ulp(dtype, b),
            // Terms are rounded once each, and errors of both signs add up as a walk.
            Near::Terms(terms) => (2.0 + (terms as f64).sqrt()) * ulp(dtype, largest),
        };
        let is_near = is_same || (a - b).abs() <= bound;
        assert!(is_near, "{}: element {at} is {a}, expected {b} within {bound:e}", what());
    }
}

/// Runs cases of a family, and counts them by operation, of which there are so many.
fn run(rounds: usize, family: fn(&mut Random) -> Vec<Case>, operations: usize) {
    let mut devices = vec![Device::cpu()];
    match Device::cuda(0) {
        Ok(device) => devices.push(device),
        Err(error) => println!("SKIPPED on a GPU: {error}"),
    }
    let (mut random, mut counts) = (Random(0x9e37_79b9_7f4a_7c15), BTreeMap::new());
    for _ in 0..rounds {
        for case in family(&mut random) {
            let (node, graph, inputs) = case.graph(&mut random);
            let operands = case.given.iter().map(|given| match given {
                Given::Input(tensor) | Given::Constant(tensor) => Some(tensor.clone().into()),
                Given::None => None,
            });
            let expected = evaluate(&node, operands.collect());
            let expected = expected.unwrap_or_else(|error| panic!("{}: {error}", case.describe()));
            for device in &devices {
                let session = GpuSession::new(&graph, device, Precision::F32).unwrap();
                let found = session.run(inputs.clone());
                let found =
                    found.unwrap_or_else(|error| panic!("{device}: {}: {error}", case.describe()));
                // References give results that the node does not name as well.
                assert_eq!(found.len(), case.outputs, "{}", case.describe());
                for ((_, found), expected) in found.iter().zip(&expected) {
                    let (found, expected) = (found.as_tensor(), expected.as_tensor());
                    compare(&case, device, found.unwrap(), expected.unwrap());
                }
            }
            *counts.entry(case.op).or_insert(0) += 1;
        }
    }
    println!("{} operations: {counts:?}", counts.len());
    assert_eq!(counts.len(), operations);
}

#[test]
fn operations_on_elements() {
    run(12, operations::elements::cases, 72);
}

#[test]
fn operations_on_shapes() {
    run(12, operations::shapes::cases, 20);
}

#[test]
fn reductions_orders_and_indices() {
    run(12, operations::arrays::cases, 27);
}

#[test]
fn layers() {
    run(12, operations::layers::cases, 29);
}
