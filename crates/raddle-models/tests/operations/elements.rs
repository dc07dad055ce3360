//! Functions of elements, with operands that broadcast.

use raddle_tensor::{DType, Tensor};

use crate::{Case, Given, Near, Random};

const FLOATS: [DType; 4] = [DType::F32, DType::F32, DType::F64, DType::F16];
const INTEGERS: [DType; 3] = [DType::I32, DType::I64, DType::U8];

/// Functions of a float.
const UNARY: [&str; 36] = [
    "Abs",
    "Neg",
    "Sign",
    "Relu",
    "Sqrt",
    "Exp",
    "Log",
    "Sin",
    "Cos",
    "Tan",
    "Asin",
    "Acos",
    "Atan",
    "Sinh",
    "Cosh",
    "Tanh",
    "Asinh",
    "Acosh",
    "Atanh",
    "Reciprocal",
    "Floor",
    "Ceil",
    "Round",
    "Sigmoid",
    "Softplus",
    "Softsign",
    "HardSwish",
    "Mish",
    "Erf",
    "IsNaN",
    "IsInf",
    "Identity",
    "Elu",
    "Gelu",
    "Selu",
    "LeakyRelu",
];

/// The units in the last place that functions of both devices may be apart.
fn near(op: &str, dtype: DType) -> Near {
    // Small differences of large numbers are apart by the numbers' last places.
    let is_composed = matches!(op, "Mish" | "Gelu" | "Softplus" | "Elu" | "Selu" | "Celu");
    let is_narrow = matches!(dtype, DType::F16 | DType::BF16);
    match (is_narrow, is_composed) {
        (true, _) => Near::Ulps(1.0),
        (false, true) => Near::Terms(16),
        (false, false) => Near::Ulps(6.0),
    }
}

/// Dimensions that broadcast to others.
fn broadcast(random: &mut Random, shape: &[usize]) -> Vec<usize> {
    let kept = shape.len() - random.below(shape.len().max(1)).min(shape.len());
    let own = &shape[shape.len() - kept..];
    own.iter().map(|&dim| if random.below(4) == 0 { 1 } else { dim }).collect()
}

fn any_shape(random: &mut Random) -> Vec<usize> {
    let rank = random.below(5);
    random.shape(rank)
}

pub fn cases(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    for op in UNARY {
        let dtype = random.pick(&FLOATS);
        let shape = any_shape(random);
        let x = random.edges(&shape, dtype);
        cases.push(Case::new(op, vec![Given::Input(x)], near(op, dtype)));
    }
    for (op, a, b) in [
        ("Celu", "alpha", ""),
        ("ThresholdedRelu", "alpha", ""),
        ("HardSigmoid", "alpha", "beta"),
        ("Shrink", "bias", "lambd"),
    ] {
        let (shape, dtype) = (any_shape(random), random.pick(&[DType::F32, DType::F16]));
        let x = random.edges(&shape, dtype);
        let mut case = Case::new(op, vec![Given::Input(x)], near(op, dtype)).float(a, 0.75);
        if !b.is_empty() {
            case = case.float(b, 0.5);
        }
        cases.push(case);
    }
    for op in ["Abs", "Neg", "Sign", "BitwiseNot"] {
        let shape = any_shape(random);
        let dtype = random.pick(&[DType::I32, DType::I64]);
        cases.push(Case::new(op, vec![Given::Input(random.edges(&shape, dtype))], Near::Ulps(0.0)));
    }
    for (op, opset) in [("Not", 1), ("Dropout", 13), ("Swish", 24)] {
        let shape = any_shape(random);
        let dtype = if op == "Not" { DType::Bool } else { DType::F32 };
        let x = Given::Input(random.edges(&shape, dtype));
        cases.push(Case::new(op, vec![x], Near::Ulps(6.0)).opset(opset));
    }
    two(random, &mut cases);
    several(random, &mut cases);
    cases
}

fn two(random: &mut Random, cases: &mut Vec<Case>) {
    let pair = |random: &mut Random, op: &'static str, dtype: DType, edges: bool| {
        let shape = any_shape(random);
        let other = broadcast(random, &shape);
        let make = |random: &mut Random, shape: &[usize]| match edges {
            true => random.edges(shape, dtype),
            false => random.uniform(shape, dtype, [1.0, 6.0]),
        };
        let (x, y) = (make(random, &shape), make(random, &other));
        let (x, y) = if random.flag() { (x, y) } else { (y, x) };
        let ulps = if dtype.is_float() && op == "Pow" { 8.0 } else { 1.0 };
        Case::new(op, vec![Given::Input(x), Given::Input(y)], Near::Ulps(ulps))
    };
    for op in
        ["Add", "Sub", "Mul", "Div", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"]
    {
        let dtype = random.pick(&FLOATS);
        cases.push(pair(random, op, dtype, true));
        let dtype = random.pick(&[DType::I32, DType::I64]);
        // Divisors of integers are not 0.
        cases.push(pair(random, op, dtype, op != "Div"));
    }
    for op in ["And", "Or", "Xor"] {
        cases.push(pair(random, op, DType::Bool, true));
    }
    for op in ["BitwiseAnd", "BitwiseOr", "BitwiseXor"] {
        let dtype = random.pick(&INTEGERS);
        cases.push(pair(random, op, dtype, true));
    }
    for direction in ["LEFT", "RIGHT"] {
        let dtype = random.pick(&[DType::U8, DType::U32]);
        cases.push(pair(random, "BitShift", dtype, false).text("direction", direction));
    }
    let dtype = random.pick(&[DType::F32, DType::F64]);
    cases.push(pair(random, "Pow", dtype, false));
    let dtype = random.pick(&INTEGERS);
    cases.push(pair(random, "Mod", dtype, false));
    cases.push(pair(random, "Mod", DType::F32, false).int("fmod", 1));
    let shape = random.shape(3);
    let slope = random.edges(&[shape[1], 1], DType::F32);
    let x = random.edges(&shape, DType::F32);
    cases.push(Case::new("PRelu", vec![Given::Input(x), Given::Input(slope)], Near::Ulps(1.0)));
}

fn several(random: &mut Random, cases: &mut Vec<Case>) {
    for op in ["Max", "Min", "Sum", "Mean"] {
        let dtype = random.pick(&[DType::F32, DType::F64]);
        let shape = any_shape(random);
        let mut given = vec![Given::Input(random.edges(&shape, dtype))];
        for _ in 0..random.below(3) {
            let own = broadcast(random, &shape);
            given.push(Given::Input(random.edges(&own, dtype)));
        }
        cases.push(Case::new(op, given, Near::Terms(4)));
    }
    let (shape, dtype) = (any_shape(random), random.pick(&[DType::F32, DType::I32, DType::F16]));
    let x = random.edges(&shape, dtype);
    let number = |number: f64| Given::Constant(Tensor::computed(&[], dtype, vec![number]).unwrap());
    let (low, high) = (number(-1.0), number(2.0));
    let given = match random.below(3) {
        0 => vec![Given::Input(x), low],
        1 => vec![Given::Input(x), Given::None, high],
        _ => vec![Given::Input(x), low, high],
    };
    cases.push(Case::new("Clip", given, Near::Ulps(0.0)));
    let (shape, dtype) = (any_shape(random), random.pick(&[DType::F32, DType::I64, DType::F16]));
    let condition = broadcast(random, &shape);
    let other = broadcast(random, &shape);
    let given = vec![
        Given::Input(random.edges(&condition, DType::Bool)),
        Given::Input(random.edges(&shape, dtype)),
        Given::Input(random.edges(&other, dtype)),
    ];
    cases.push(Case::new("Where", given, Near::Ulps(0.0)));
    let all =
        [DType::F32, DType::F64, DType::F16, DType::BF16, DType::I32, DType::I64, DType::Bool];
    let (from, to) = (random.pick(&all), random.pick(&all));
    let shape = any_shape(random);
    // Numbers that all types have.
    let x = random.uniform(&shape, from, [0.0, if from == DType::Bool { 2.0 } else { 9.0 }]);
    let case = Case::new("Cast", vec![Given::Input(x)], Near::Ulps(0.0));
    cases.push(case.int("to", to.onnx_number().into()));
    let (from, to) = (random.pick(&all), random.pick(&all));
    let x = random.uniform(&shape, from, [0.0, if from == DType::Bool { 2.0 } else { 9.0 }]);
    let like = Given::Input(Tensor::zeros(&[2], to).unwrap());
    cases.push(Case::new("CastLike", vec![Given::Input(x), like], Near::Ulps(0.0)));
    let (from, to) = random.pick(&[(DType::F32, DType::I32), (DType::I64, DType::F64)]);
    let x = Given::Input(random.uniform(&shape, from, [1.0, 9.0]));
    let case = Case::new("BitCast", vec![x], Near::Ulps(0.0)).opset(26);
    cases.push(case.int("to", to.onnx_number().into()));
}
