//! Reductions, running sums, orders, gathers and scatters.

use raddle_tensor::convert::Compute;
use raddle_tensor::{DType, Tensor};

use crate::{Case, Given, Near, Random};

const REDUCTIONS: [&str; 10] = [
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceSumSquare",
];

fn list(numbers: &[i64]) -> Given {
    Given::Constant(Tensor::vector(numbers.to_vec()))
}

fn indices(random: &mut Random, shape: &[usize], limit: usize) -> Tensor {
    let limit = limit as f64;
    random.uniform(shape, DType::I64, [-limit, limit])
}

/// A shape with a long last dimension now and then, which a warp or a block reduces.
fn shape_of(random: &mut Random) -> Vec<usize> {
    let rank = random.between(1, 4);
    let mut shape = random.shape(rank);
    if random.below(3) == 0 {
        shape.truncate(2);
        let last = shape.len() - 1;
        shape[last] = random.pick(&[16, 100, 512, 1030, 3000]);
    }
    shape
}

pub fn cases(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    for op in REDUCTIONS {
        let shape = shape_of(random);
        let is_positive = op == "ReduceLogSum";
        let dtype = match op {
            "ReduceProd" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceL2" => {
                random.pick(&[DType::F32, DType::F64])
            }
            _ => random.pick(&[DType::F32, DType::F64, DType::F16, DType::I32, DType::I64]),
        };
        let x = match op {
            "ReduceMax" | "ReduceMin" => random.edges(&shape, dtype),
            // A product of a thousand numbers is near 1.
            "ReduceProd" => random.uniform(&shape, dtype, [0.9, 1.1]),
            _ => random.uniform(&shape, dtype, [if is_positive { 0.5 } else { -3.0 }, 3.0]),
        };
        let axes: Vec<i64> =
            (0..shape.len()).filter(|_| random.flag()).map(|axis| axis as i64).collect();
        let terms = shape.iter().product();
        let mut given = vec![Given::Input(x)];
        if !axes.is_empty() {
            given.push(list(&axes));
        }
        let case = Case::new(op, given, Near::Terms(terms));
        cases.push(case.int("keepdims", random.below(2) as i64));
    }
    for op in ["ArgMax", "ArgMin"] {
        let shape = shape_of(random);
        let axis = random.below(shape.len()) as i64;
        // Whole numbers, so that some are equal.
        let x = random.uniform(&shape, DType::I32, [-4.0, 4.0]);
        let case = Case::new(op, vec![Given::Input(x)], Near::Ulps(0.0)).int("axis", axis);
        let case = case.int("select_last_index", random.below(2) as i64);
        cases.push(case.int("keepdims", random.below(2) as i64));
    }
    for op in ["Softmax", "LogSoftmax", "Hardmax"] {
        let shape = shape_of(random);
        let dtype = random.pick(&[DType::F32, DType::F64, DType::F16]);
        let x = random.uniform(&shape, dtype, [-6.0, 6.0]);
        let axis = random.below(shape.len()) as i64;
        cases.push(Case::new(op, vec![Given::Input(x)], Near::Terms(16)).int("axis", axis));
    }
    let shape = shape_of(random);
    let (axis, dtype) = (random.below(shape.len()), random.pick(&[DType::F32, DType::I64]));
    let x = random.uniform(&shape, dtype, [-3.0, 3.0]);
    let of = Given::Constant(Tensor::scalar(axis as i64));
    let case = Case::new("CumSum", vec![Given::Input(x), of], Near::Terms(shape[axis]));
    let case = case.int("exclusive", random.below(2) as i64);
    cases.push(case.int("reverse", random.below(2) as i64));
    let x = random.uniform(&shape, DType::F32, [0.9, 1.1]);
    let of = Given::Constant(Tensor::scalar(axis as i64));
    let case = Case::new("CumProd", vec![Given::Input(x), of], Near::Terms(shape[axis]));
    cases.push(case.opset(26));
    let classes = random.between(2, 6);
    for op in ["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"] {
        let x = random.uniform(&[3, classes, 4], DType::F32, [-3.0, 0.0]);
        let target = random.uniform(&[3, 4], DType::I64, [0.0, classes as f64]);
        let case = Case::new(op, vec![Given::Input(x), Given::Input(target)], Near::Terms(16));
        cases.push(case.text("reduction", random.pick(&["none", "sum", "mean"])));
    }
    let count = list(&[random.between(1, shape[axis]) as i64]);
    let x = random.uniform(&shape, DType::I32, [-9.0, 9.0]);
    let x = Tensor::computed(x.shape(), DType::F32, f64::widen(&x).unwrap().into_owned()).unwrap();
    let case = Case::new("TopK", vec![Given::Input(x), count], Near::Ulps(0.0)).outputs(2);
    cases.push(case.int("axis", axis as i64).int("largest", random.below(2) as i64));
    indexed(random, &mut cases);
    cases
}

fn indexed(random: &mut Random, cases: &mut Vec<Case>) {
    let rank = random.between(1, 3);
    let (shape, axis) = (random.shape(rank), random.below(rank));
    let dtype = random.pick(&[DType::F32, DType::F16, DType::I64, DType::U8]);
    let x = |random: &mut Random| Given::Input(random.edges(&shape, dtype));
    let own = random.between(0, 2);
    let own = random.shape(own);
    let at = indices(random, &own, shape[axis]);
    let given = vec![x(random), Given::Input(at)];
    cases.push(Case::new("Gather", given, Near::Ulps(0.0)).int("axis", axis as i64));
    let mut along = shape.clone();
    along[axis] = random.between(1, 4);
    let at = indices(random, &along, shape[axis]);
    let given = vec![x(random), Given::Input(at)];
    cases.push(Case::new("GatherElements", given, Near::Ulps(0.0)).int("axis", axis as i64));
    let tuples = indices(random, &[3, 1], shape[0]);
    let given = vec![x(random), Given::Input(tuples)];
    cases.push(Case::new("GatherND", given, Near::Ulps(0.0)));
    // Updates at places of their own: which of two comes last is not said.
    let mut places: Vec<i64> = (0..shape[axis] as i64).collect();
    places.reverse();
    let one_dimensional = random.edges(&[shape[axis]], dtype);
    let updates = random.edges(&[shape[axis]], dtype);
    for reduction in ["none", "add", "mul", "max", "min"] {
        let given = vec![
            Given::Input(one_dimensional.clone()),
            Given::Input(Tensor::vector(places.clone())),
            Given::Input(updates.clone()),
        ];
        let case = Case::new("ScatterElements", given, Near::Ulps(1.0));
        cases.push(case.text("reduction", reduction));
        let tuples = Tensor::vector(places.clone()).reshape(&[places.len(), 1]).unwrap();
        let given = vec![
            Given::Input(one_dimensional.clone()),
            Given::Input(tuples),
            Given::Input(updates.clone()),
        ];
        cases.push(Case::new("ScatterND", given, Near::Ulps(1.0)).text("reduction", reduction));
    }
    let given = vec![
        Given::Input(one_dimensional),
        Given::Input(Tensor::vector(places)),
        Given::Input(updates),
    ];
    cases.push(Case::new("Scatter", given, Near::Ulps(0.0)).opset(9));
    let depth = random.between(1, 6);
    let at = indices(random, &shape, depth);
    let given = vec![
        Given::Input(at),
        Given::Constant(Tensor::scalar(depth as i64)),
        Given::Constant(Tensor::vector(vec![-1f32, 2.5])),
    ];
    cases.push(Case::new("OneHot", given, Near::Ulps(0.0)).int("axis", -1));
}
