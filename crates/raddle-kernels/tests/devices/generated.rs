//! Kernels that are written at run time: random expressions step by step against the
//! kernels for single operations, and on a GPU the written kernel against the steps.

use std::process::Command;

use raddle::prelude::*;
use raddle_kernels::dense::generated::{
    Expression, Kind, Output, Places, Shelf, Step, Way, evaluate, write,
};
use raddle_kernels::dense::{
    self, Class, Dims, Function, Operation, Reduce, Reduction, Scalar, View, Words, words_for,
};

use crate::{Random, devices};

const SCALARS: [Scalar; 9] = [
    Scalar::F32,
    Scalar::F32,
    Scalar::F16,
    Scalar::BF16,
    Scalar::F64,
    Scalar::I64,
    Scalar::I32,
    Scalar::U8,
    Scalar::Bool,
];

const FUNCTIONS: [Function; 66] = [
    Function::Copy,
    Function::Abs,
    Function::Neg,
    Function::Sign,
    Function::Relu,
    Function::Sqrt,
    Function::Exp,
    Function::Log,
    Function::Sin,
    Function::Cos,
    Function::Tan,
    Function::Asin,
    Function::Acos,
    Function::Atan,
    Function::Sinh,
    Function::Cosh,
    Function::Tanh,
    Function::Asinh,
    Function::Acosh,
    Function::Atanh,
    Function::Reciprocal,
    Function::Floor,
    Function::Ceil,
    Function::Round,
    Function::Sigmoid,
    Function::Softplus,
    Function::Softsign,
    Function::HardSwish,
    Function::Mish,
    Function::Elu,
    Function::Celu,
    Function::Selu,
    Function::LeakyRelu,
    Function::ThresholdedRelu,
    Function::HardSigmoid,
    Function::Shrink,
    Function::Swish,
    Function::IsNaN,
    Function::IsInf,
    Function::Not,
    Function::BitNot,
    Function::Erf,
    Function::Affine,
    Function::GeluTanh,
    Function::Gelu,
    Function::Add,
    Function::Sub,
    Function::Mul,
    Function::Div,
    Function::Mod,
    Function::Pow,
    Function::PRelu,
    Function::ShiftLeft,
    Function::ShiftRight,
    Function::And,
    Function::Or,
    Function::Xor,
    Function::Equal,
    Function::Less,
    Function::Greater,
    Function::LessOrEqual,
    Function::GreaterOrEqual,
    Function::Max,
    Function::Min,
    Function::Where,
    Function::Fmod,
];

const REDUCTIONS: [Reduction; 7] = [
    Reduction::Sum,
    Reduction::Mean,
    Reduction::Max,
    Reduction::Min,
    Reduction::L1,
    Reduction::L2,
    Reduction::SumSquare,
];

fn class_of(scalar: Scalar) -> Class {
    match scalar {
        Scalar::F32 | Scalar::F16 | Scalar::BF16 => Class::F32,
        Scalar::F64 => Class::F64,
        _ => Class::I64,
    }
}

fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[(random.next() >> 33) as usize % from.len()]
}

fn below(random: &mut Random, limit: usize) -> usize {
    (random.next() >> 33) as usize % limit
}

/// The bits of a small number, now and then of a special one.
fn bits(random: &mut Random, scalar: Scalar) -> u64 {
    let special = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e30, -1e-30, 700.0];
    let number = match below(random, 12) {
        0 => pick(random, &special),
        _ => f64::from(random.element()) * 3.0,
    };
    match scalar {
        Scalar::F32 => u64::from((number as f32).to_bits()),
        Scalar::F64 => number.to_bits(),
        Scalar::F16 => u64::from(f16::from_f32(number as f32).to_bits()),
        Scalar::BF16 => u64::from(bf16::from_f32(number as f32).to_bits()),
        Scalar::Bool => u64::from(number > 0.0),
        _ => {
            let number =
                if below(random, 20) == 0 { i64::MIN >> below(random, 60) } else { number as i64 };
            number as u64 & (u64::MAX >> (64 - (8 << scalar.shift())))
        }
    }
}

/// Elements in words.
fn elements(random: &mut Random, scalar: Scalar, len: usize) -> Vec<u64> {
    let mut words = vec![0; words_for(scalar, len).max(1)];
    for at in 0..len {
        let bit = (at << scalar.shift()) * 8;
        words[bit / 64] |= bits(random, scalar) << (bit % 64);
    }
    words
}

/// Places of `len` elements in a buffer, and how long it has to be.
fn places(random: &mut Random, rows: usize, columns: usize, is_row: bool) -> (Places, usize) {
    let offset = [0, 0, 0, 4, 3][below(random, 5)];
    if is_row {
        let stride = 1 + below(random, 2);
        let dims = vec![(rows, stride as i64)];
        return (Places { offset, dims }, offset as usize + rows * stride);
    }
    let (dims, len) = match below(random, 5) {
        0 => (vec![(rows, 0), (columns, 1)], columns),
        1 => (vec![(rows, 1), (columns, 0)], rows),
        // Turned over.
        2 => (vec![(rows, 1), (columns, rows as i64)], rows * columns),
        3 => (vec![(rows * columns, -1)], rows * columns),
        _ => (vec![(rows * columns, 1)], rows * columns),
    };
    let backwards = if dims[0].1 < 0 { len as i64 - 1 } else { 0 };
    (Places { offset: offset + backwards, dims }, offset as usize + len)
}

/// An expression with its inputs' words.
fn sample(random: &mut Random, has_rows: bool) -> (Expression, Vec<Vec<u64>>) {
    let sizes = [(1, 1), (3, 7), (2, 64), (5, 96), (4, 130), (2, 1028), (3, 5000), (1, 20_000)];
    let (rows, columns) = pick(random, &sizes[..if has_rows { 8 } else { 6 }]);
    let main = pick(random, &SCALARS);
    let (mut steps, mut inputs): (Vec<Step>, Vec<Vec<u64>>) = (Vec::new(), Vec::new());
    for _ in 0..1 + below(random, 3) {
        let scalar = if below(random, 3) == 0 { pick(random, &SCALARS) } else { main };
        let is_row = has_rows && below(random, 4) == 0 && !inputs.is_empty();
        let (places, len) = places(random, rows, columns, is_row);
        let kind = Kind::Read { input: inputs.len(), places, is_row };
        steps.push(Step { kind, scalar });
        inputs.push(elements(random, scalar, len));
    }
    steps.push(Step { kind: Kind::Number(bits(random, main)), scalar: main });
    let mut wide: Vec<_> = (0..steps.len())
        .filter(|&at| matches!(steps[at].kind, Kind::Read { is_row: false, .. }))
        .collect();
    let wanted = steps.len() + 2 + below(random, 8);
    while steps.len() < wanted {
        if has_rows && below(random, 4) == 0 {
            let operand = pick(random, &wide);
            let from = steps[operand].scalar;
            let reduction = match from.is_float() {
                true => pick(random, &REDUCTIONS),
                false => pick(random, &[Reduction::Sum, Reduction::Max, Reduction::Min]),
            };
            let is_unsigned = matches!(from, Scalar::U8 | Scalar::Bool);
            let scalar = if from.is_float() { from } else { Scalar::I64 };
            steps.push(Step { kind: Kind::Reduce { reduction, operand, is_unsigned }, scalar });
            continue;
        }
        let function = pick(random, &FUNCTIONS);
        let operands: Vec<_> = (0..function.arity()).map(|_| below(random, steps.len())).collect();
        let from: Vec<_> = operands.iter().map(|&at| steps[at].scalar).collect();
        let last = from[from.len() - 1];
        let scalar = if below(random, 3) == 0 { pick(random, &SCALARS) } else { last };
        let class = class_of(last);
        if !Expression::has_function(class, function, &from, scalar) {
            continue;
        }
        if operands.iter().any(|operand| wide.contains(operand)) {
            wide.push(steps.len());
        }
        let (alpha, beta) = (f64::from(random.element()), f64::from(random.element()));
        let is_unsigned = matches!(last, Scalar::U8 | Scalar::Bool);
        let kind = Kind::Apply { class, function, alpha, beta, is_unsigned, operands };
        steps.push(Step { kind, scalar });
    }
    if has_rows && !steps.iter().any(|step| matches!(step.kind, Kind::Reduce { .. })) {
        let operand = wide[0];
        let is_unsigned = matches!(steps[operand].scalar, Scalar::U8 | Scalar::Bool);
        let kind = Kind::Reduce { reduction: Reduction::Max, operand, is_unsigned };
        let scalar = steps[operand].scalar;
        steps.push(Step { kind, scalar });
    }
    let mut outputs = vec![steps.len() - 1, steps.len() - 2];
    outputs.truncate(1 + below(random, 2));
    if !has_rows {
        // Numbers alone are not rows' where nothing is reduced.
        outputs.retain(|at| wide.contains(at));
        if outputs.is_empty() {
            outputs.push(wide[wide.len() - 1]);
        }
    }
    let kept = |step: usize| {
        // A row's value may be kept for each element.
        let is_row = has_rows && !wide.contains(&step) && !step.is_multiple_of(3);
        Output { step, is_row }
    };
    let outputs = outputs.into_iter().map(kept).collect();
    (Expression { rows, columns, steps, outputs }, inputs)
}

/// `ptxas`, where `RADDLE_PTXAS` or the workspace's target folder has it.
fn assembler() -> Option<std::path::PathBuf> {
    let named = std::env::var_os("RADDLE_PTXAS").map(std::path::PathBuf::from);
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/ptxas/nvidia/cu13/bin/ptxas");
    named.into_iter().chain([own.into()]).find(|path| path.is_file())
}

#[test]
fn what_is_written_is_assembled() {
    let Some(ptxas) = assembler() else {
        println!("SKIPPED: ptxas was not found (`cargo xtask ptx-check` installs it)");
        return;
    };
    let folder = std::env::temp_dir().join(format!("raddle-generated-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let mut random = Random(41);
    for number in 0..40 {
        let (expression, _) = sample(&mut random, number % 2 == 1);
        let written = write(&expression).expect("a kernel is written");
        let path = folder.join("kernel.ptx");
        std::fs::write(&path, &written.ptx).expect("a file can be written");
        let output = Command::new(&ptxas)
            .args(["-arch", "sm_90", "-o", "/dev/null"])
            .arg(&path)
            .output()
            .expect("ptxas runs");
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{expression:#?}\n{log}\n{}", written.ptx);
    }
    let _ = std::fs::remove_dir_all(folder);
}

/// An operand of the kernels for single operations: elements with strides along rows and
/// columns.
struct Operand {
    words: Words,
    offset: i64,
    strides: [i64; 2],
    scalar: Scalar,
}

/// The values of all steps, by a launch for each.
fn one_by_one(stream: &Stream, expression: &Expression, inputs: &[Vec<u64>]) -> Vec<Operand> {
    let mut values: Vec<Operand> = Vec::new();
    let columns = expression.columns as i64;
    for Step { kind, scalar } in &expression.steps {
        let scalar = *scalar;
        let view = |value: &Operand| View::new(value.scalar, value.offset, &value.strides);
        let (words, offset, strides) = match kind {
            Kind::Number(bits) => (stream.upload(&[*bits]).unwrap(), 0, [0, 0]),
            Kind::Read { input, places, is_row } => {
                let strides = match (&places.dims[..], is_row) {
                    (&[(_, stride)], true) => [stride, 0],
                    (&[(_, stride)], false) => [columns * stride, stride],
                    (dims, _) => [dims[0].1, dims[1].1],
                };
                (stream.upload(&inputs[*input]).unwrap(), places.offset, strides)
            }
            Kind::Apply { class, function, alpha, beta, is_unsigned, operands } => {
                let is_row = operands.iter().all(|&at| values[at].strides[1] == 0);
                // Elements that lie so by chance are elements all the same.
                let dims = Dims::new(&[expression.rows, expression.columns]).unwrap();
                let of = |at: usize| &values[operands[at.min(operands.len() - 1)]];
                let operation = Operation {
                    alpha: *alpha,
                    beta: *beta,
                    function: function.code(),
                    is_unsigned: u32::from(*is_unsigned),
                    scalar: scalar.code(),
                    padding: 0,
                };
                let views = [view(of(0)), view(of(1)), view(of(2))];
                let words = [0, 1, 2].map(|at| of(at).words.as_slice());
                let made =
                    dense::pointwise(stream, *class, (operation, scalar), dims, views, words);
                (made.unwrap(), 0, if is_row { [columns, 0] } else { [columns, 1] })
            }
            Kind::Reduce { reduction, operand, is_unsigned } => {
                let operand = &values[*operand];
                let all = View::new(operand.scalar, operand.offset, &operand.strides[..1]);
                let reduce = Reduce {
                    reduced: Dims::new(&[expression.columns]).unwrap(),
                    kept: all,
                    inner: View::new(operand.scalar, 0, &operand.strides[1..]),
                    reduction: reduction.code(),
                    is_unsigned: u32::from(*is_unsigned),
                    scalar: scalar.code(),
                };
                let dims = Dims::new(&[expression.rows]).unwrap();
                let class = if operand.scalar.is_float() { Class::F64 } else { Class::I64 };
                let words = operand.words.as_slice();
                let made = dense::reduce(stream, class, (scalar, dims), reduce, words);
                (made.unwrap(), 0, [1, 0])
            }
        };
        values.push(Operand { words, offset, strides, scalar });
    }
    values
}

/// Elements of words as bits.
fn unpacked(words: &[u64], scalar: Scalar, len: usize) -> Vec<u64> {
    let element = |at: usize| {
        let bit = (at << scalar.shift()) * 8;
        words[bit / 64] >> (bit % 64) & (u64::MAX >> (64 - (8 << scalar.shift())))
    };
    (0..len).map(element).collect()
}

/// Whether two elements are the same: all NaN are, and the two zeros; where rows were summed
/// in another order wide floats may differ in their last bits.
fn is_same(scalar: Scalar, a: u64, b: u64, is_summed: bool) -> bool {
    let float = |bits: u64| match scalar {
        Scalar::F32 => f64::from(f32::from_bits(bits as u32)),
        Scalar::F64 => f64::from_bits(bits),
        Scalar::F16 => f64::from(f16::from_bits(bits as u16).to_f32()),
        _ => f64::from(bf16::from_bits(bits as u16).to_f32()),
    };
    if a == b || !scalar.is_float() {
        return a == b;
    }
    let (a, b) = (float(a), float(b));
    let is_near = || scalar == Scalar::F64 && is_summed && (a - b).abs() <= 1e-11 * a.abs();
    a == b || a.is_nan() && b.is_nan() || is_near()
}

fn check_same(expression: &Expression, (way, expected, found): (&str, &[Vec<u64>], &[Vec<u64>])) {
    let is_summed = expression.steps.iter().any(|step| matches!(step.kind, Kind::Reduce { .. }));
    for (at, output) in expression.outputs.iter().enumerate() {
        let scalar = expression.steps[output.step].scalar;
        assert_eq!(expected[at].len(), found[at].len(), "{way}");
        for (index, (&a, &b)) in expected[at].iter().zip(&found[at]).enumerate() {
            let is_same = is_same(scalar, a, b, is_summed);
            assert!(is_same, "{way}: output {at}, element {index}: {a:x} {b:x}\n{expression:#?}");
        }
    }
}

/// Runs an expression in a way; elements of each output.
fn run(
    stream: &Stream,
    shelf: &Shelf,
    way: Way,
    expression: &Expression,
    inputs: &[Vec<u64>],
) -> Vec<Vec<u64>> {
    let inputs: Vec<_> = inputs.iter().map(|words| stream.upload(words).unwrap()).collect();
    let inputs: Vec<_> = inputs.iter().collect();
    let outputs = evaluate((stream, stream), shelf, way, expression, &inputs).unwrap().outputs;
    let outputs = outputs.iter().zip(&expression.outputs);
    outputs
        .map(|(words, &output)| {
            let (scalar, len) =
                (expression.steps[output.step].scalar, expression.output_len(output));
            unpacked(&stream.to_vec(words).unwrap(), scalar, len)
        })
        .collect()
}

#[test]
fn steps_give_what_single_operations_give() {
    let stream = Device::cpu().stream().unwrap();
    let mut random = Random(5);
    for number in 0..80 {
        let (expression, inputs) = sample(&mut random, number % 2 == 1);
        if expression.rows * expression.columns > 2100 {
            continue;
        }
        let values = one_by_one(&stream, &expression, &inputs);
        let found = run(&stream, &Shelf::default(), Way::Reference, &expression, &inputs);
        let expected: Vec<_> = expression
            .outputs
            .iter()
            .map(|&output| {
                let (value, len) = (&values[output.step], expression.output_len(output));
                let words = stream.to_vec(&value.words).unwrap();
                let held = (words.len() * 8) >> value.scalar.shift();
                let all = unpacked(&words, value.scalar, held);
                let place = |at: usize| {
                    let at = at as i64;
                    let columns = expression.columns as i64;
                    let (row, column) =
                        if output.is_row { (at, 0) } else { (at / columns, at % columns) };
                    (value.offset + row * value.strides[0] + column * value.strides[1]) as usize
                };
                (0..len).map(|at| all[place(at)]).collect()
            })
            .collect();
        check_same(&expression, ("steps", &expected, &found));
    }
}

#[test]
fn written_kernels_give_what_steps_give() {
    for device in devices() {
        if device.compute_capability().is_none() {
            continue;
        }
        let stream = device.stream().unwrap();
        let (mut random, shelf) = (Random(11), Shelf::default());
        for number in 0..400 {
            let (expression, inputs) = sample(&mut random, number % 2 == 1);
            let expected = run(&stream, &shelf, Way::Reference, &expression, &inputs);
            let found = run(&stream, &shelf, Way::Fast, &expression, &inputs);
            check_same(&expression, ("written", &expected, &found));
        }
    }
}

#[test]
fn what_reaches_out_of_an_input_is_refused() {
    let stream = Device::cpu().stream().unwrap();
    let words = stream.upload(&[0; 4]).unwrap();
    let read = |offset: i64, dims: Vec<(usize, i64)>| Step {
        kind: Kind::Read { input: 0, places: Places { offset, dims }, is_row: false },
        scalar: Scalar::F32,
    };
    let refused = |step: Step, operand: usize| {
        let negative = Kind::Apply {
            class: Class::F32,
            function: Function::Neg,
            alpha: 0.0,
            beta: 0.0,
            is_unsigned: false,
            operands: vec![operand],
        };
        let steps = vec![step, Step { kind: negative, scalar: Scalar::F32 }];
        let expression = Expression {
            rows: 1,
            columns: 8,
            steps,
            outputs: vec![Output { step: 1, is_row: false }],
        };
        let way = Way::Fast;
        evaluate((&stream, &stream), &Shelf::default(), way, &expression, &[&words])
            .err()
            .map(|error| error.to_string())
    };
    assert_eq!(refused(read(0, vec![(8, 1)]), 0), None);
    let over = refused(read(1, vec![(8, 1)]), 0).expect("it reads a ninth element");
    assert!(over.contains("from 1 to 8 of 8 elements"), "{over}");
    let under = refused(read(0, vec![(8, -1)]), 0).expect("it reads before the first");
    assert!(under.contains("from -7 to 0"), "{under}");
    let few = refused(read(0, vec![(7, 1)]), 0).expect("elements are missing");
    assert!(few.contains("8 elements at"), "{few}");
    let later = refused(read(0, vec![(8, 1)]), 1).expect("a step of itself");
    assert!(later.contains("step 1 has the operands [1]"), "{later}");
}

#[test]
fn mathematics_have_the_stated_error() {
    for device in devices() {
        let stream = device.stream().unwrap();
        let numbers = (-60_000..60_000).map(|at| at as f32 * 14.5e-4);
        let numbers = numbers.filter(|x| (-87.33..88.72).contains(x));
        let numbers: Vec<f32> = numbers.chain((0..60).map(|at| 1e-30 * 3f32.powi(at))).collect();
        let words: Vec<u64> = numbers
            .chunks(2)
            .map(|pair| u64::from(pair[0].to_bits()) | u64::from(pair[1].to_bits()) << 32)
            .collect();
        let x = stream.upload(&words).unwrap();
        type Case = (Function, fn(f64) -> f64, f64);
        let functions: [Case; 3] = [
            (Function::Exp, f64::exp, 3.0),
            (Function::Tanh, f64::tanh, 2.0),
            (Function::Erf, libm::erf, 2.0),
        ];
        for (function, exact, bound) in functions {
            let dims = Dims::new(&[numbers.len()]).unwrap();
            let operation = Operation {
                alpha: 0.0,
                beta: 0.0,
                function: function.code(),
                is_unsigned: 0,
                scalar: 0,
                padding: 0,
            };
            let view = View::new(Scalar::F32, 0, &[1]);
            let of = (operation, Scalar::F32);
            let inputs = [x.as_slice(); 3];
            let out = dense::pointwise(&stream, Class::F32, of, dims, [view; 3], inputs).unwrap();
            let found = unpacked(&stream.to_vec(&out).unwrap(), Scalar::F32, numbers.len());
            for (&x, found) in numbers.iter().zip(found) {
                let (found, exact) = (f32::from_bits(found as u32), exact(f64::from(x)));
                let ulp = f64::from((exact as f32).abs().next_up() - (exact as f32).abs());
                let error = (f64::from(found) - exact).abs() / ulp;
                assert!(
                    error <= bound,
                    "{device}: {function:?} of {x} is {found}, {error} ulp off"
                );
            }
        }
    }
}

/// One kernel serves all steps of a loop over a value's parts.
#[test]
fn parts_of_a_value_are_read_by_the_same_text() {
    let written = |offset: i64| {
        let read = |offset: i64| Step {
            kind: Kind::Read {
                input: 0,
                places: Places { offset, dims: vec![(64, 1)] },
                is_row: false,
            },
            scalar: Scalar::F32,
        };
        let sum = Kind::Apply {
            class: Class::F32,
            function: Function::Add,
            alpha: 0.0,
            beta: 0.0,
            is_unsigned: false,
            operands: vec![0, 1],
        };
        let steps = vec![read(offset + 64), read(offset), Step { kind: sum, scalar: Scalar::F32 }];
        let outputs = vec![Output { step: 2, is_row: false }];
        write(&Expression { rows: 1, columns: 64, steps, outputs }).unwrap()
    };
    let (first, second, odd) = (written(0), written(1024), written(1025));
    assert_eq!(first.ptx, second.ptx);
    assert_eq!((&first.begins[..], &second.begins[..]), (&[0][..], &[4096][..]));
    // What is not aligned is read in other accesses.
    assert_ne!(first.ptx, odd.ptx);
}
