//! Products, convolutions, pools, norms and recurrent layers.

use raddle_tensor::{DType, Tensor};

use crate::{Case, Given, Near, Random};

const WIDE: [DType; 2] = [DType::F32, DType::F64];

fn unit(random: &mut Random, shape: &[usize], dtype: DType) -> Given {
    Given::Input(random.uniform(shape, dtype, [-1.0, 1.0]))
}

pub fn cases(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    products(random, &mut cases);
    windows(random, &mut cases);
    norms(random, &mut cases);
    recurrent(random, &mut cases);
    attention(random, &mut cases);
    quantised(random, &mut cases);
    cases
}

fn products(random: &mut Random, cases: &mut Vec<Case>) {
    for is_large in [false, true] {
        let size = |random: &mut Random| match is_large {
            true => random.pick(&[48, 64, 100]),
            false => random.between(1, 17),
        };
        let (m, k, n) = (size(random), size(random), size(random));
        let batch = random.below(3);
        let batch = random.shape(batch);
        let batch = if is_large { Vec::new() } else { batch };
        let (left, right) = ([&batch[..], &[m, k]].concat(), [&batch[..], &[k, n]].concat());
        let right = if random.flag() { vec![k, n] } else { right };
        let dtype = random.pick(&WIDE);
        let given = vec![unit(random, &left, dtype), unit(random, &right, dtype)];
        cases.push(Case::new("MatMul", given, Near::Terms(k)));
        let (turn_a, turn_b) = (random.flag(), random.flag());
        let a = if turn_a { [k, m] } else { [m, k] };
        let b = if turn_b { [n, k] } else { [k, n] };
        let c = random.pick(&[[1, 1], [1, n], [m, 1], [m, n]]);
        let given = vec![unit(random, &a, dtype), unit(random, &b, dtype), unit(random, &c, dtype)];
        let case = Case::new("Gemm", given, Near::Terms(k)).int("transA", turn_a.into());
        let case = case.int("transB", turn_b.into()).float("alpha", 0.5);
        cases.push(case.float("beta", random.pick(&[1.0, 2.0])));
    }
    let given = vec![
        Given::Input(random.uniform(&[5, 9], DType::U8, [0.0, 255.0])),
        Given::Input(random.uniform(&[9, 4], DType::I8, [-128.0, 127.0])),
        Given::Constant(Tensor::scalar(7u8)),
    ];
    cases.push(Case::new("MatMulInteger", given, Near::Ulps(0.0)));
}

fn windows(random: &mut Random, cases: &mut Vec<Case>) {
    let groups = random.pick(&[1, 1, 2, 4]);
    let inputs = groups * random.pick(&[1, 2, 3, 8]);
    let outputs = groups * random.pick(&[1, 2, 4]);
    let [height, width] = [random.between(5, 12), random.between(5, 12)];
    let window = [random.between(1, 3), random.between(1, 3)];
    let images = random.between(1, 3);
    let x = unit(random, &[images, inputs, height, width], DType::F32);
    let terms = inputs / groups * window[0] * window[1];
    let weights = [outputs, inputs / groups, window[0], window[1]];
    let weights = random.uniform(&weights, DType::F32, [-1.0, 1.0]);
    let given = vec![x, Given::Constant(weights), unit(random, &[outputs], DType::F32)];
    let pads: Vec<usize> = (0..4).map(|_| random.below(2)).collect();
    let case = Case::new("Conv", given, Near::Terms(terms)).int("group", groups as i64);
    let (steps, gaps) = ([random.between(1, 2); 2], [random.between(1, 2); 2]);
    let case = case.ints("strides", &steps).ints("dilations", &gaps);
    cases.push(case.ints("pads", &pads));
    let x = unit(random, &[images, inputs, 4, 5], DType::F32);
    let weights = unit(random, &[inputs, 3, window[0], window[1]], DType::F32);
    let case = Case::new("ConvTranspose", vec![x, weights], Near::Terms(inputs * 9));
    cases.push(case.ints("strides", &steps));
    for op in ["MaxPool", "AveragePool", "LpPool"] {
        let x = unit(random, &[images, inputs, height, width], DType::F32);
        let case = Case::new(op, vec![x], Near::Terms(9)).ints("kernel_shape", &[3, 2]);
        let case = case.ints("strides", &steps).ints("pads", &[1, 0, 1, 1]);
        cases.push(case);
    }
    for op in ["GlobalAveragePool", "GlobalMaxPool"] {
        let x = unit(random, &[images, inputs, height, width], DType::F32);
        cases.push(Case::new(op, vec![x], Near::Terms(height * width)));
    }
    let x = unit(random, &[images, inputs, height, width], DType::F32);
    cases.push(Case::new("GlobalLpPool", vec![x], Near::Terms(height * width)));
    let given = vec![
        Given::Input(random.uniform(&[1, 3, height, width], DType::U8, [0.0, 255.0])),
        Given::Input(random.uniform(&[2, 3, window[0], window[1]], DType::U8, [0.0, 255.0])),
        Given::Constant(Tensor::scalar(4u8)),
    ];
    cases.push(Case::new("ConvInteger", given, Near::Ulps(0.0)));
    for mode in ["nearest", "linear"] {
        let x = unit(random, &[1, 2, height, width], DType::F32);
        let scales = Tensor::vector(vec![1f32, 1.0, 2.0, 1.5]);
        let given = vec![x, Given::None, Given::Constant(scales)];
        cases.push(Case::new("Resize", given, Near::Terms(4)).text("mode", mode));
    }
}

fn norms(random: &mut Random, cases: &mut Vec<Case>) {
    let (channels, dtype) = (random.pick(&[2, 4, 6]), random.pick(&WIDE));
    let shape = [2, channels, random.between(2, 5), random.between(2, 7)];
    let terms = shape[2] * shape[3] * channels;
    let parameters = |random: &mut Random, count: usize, len: usize| -> Vec<Given> {
        (0..count).map(|_| Given::Input(random.uniform(&[len], dtype, [0.5, 1.5]))).collect()
    };
    let with = |random: &mut Random, op, shape: &[usize], count: usize, len: usize| {
        let mut given = vec![unit(random, shape, dtype)];
        given.extend(parameters(random, count, len));
        Case::new(op, given, Near::Terms(terms))
    };
    cases.push(with(random, "BatchNormalization", &shape, 4, channels));
    cases.push(with(random, "InstanceNormalization", &shape, 2, channels));
    let case = with(random, "GroupNormalization", &shape, 2, channels).opset(21);
    cases.push(case.int("num_groups", 2));
    let width = random.pick(&[5, 32, 100, 1024]);
    cases.push(with(random, "LayerNormalization", &[3, width], 2, width));
    let case = with(random, "RMSNormalization", &[3, width], 1, width);
    cases.push(case.opset(23));
    cases.push(with(random, "LpNormalization", &shape, 0, 0).int("p", random.pick(&[1, 2])));
    cases.push(with(random, "MeanVarianceNormalization", &shape, 0, 0));
    let x = unit(random, &shape, DType::F32);
    cases.push(Case::new("LRN", vec![x], Near::Terms(8)).int("size", 3));
}

fn recurrent(random: &mut Random, cases: &mut Vec<Case>) {
    let (time, batch, inputs, hidden) = (random.between(1, 4), random.between(1, 3), 5, 4);
    for (op, gates) in [("LSTM", 4), ("GRU", 3), ("RNN", 1)] {
        let (name, directions) =
            random.pick(&[("forward", 1), ("reverse", 1), ("bidirectional", 2)]);
        let given = vec![
            unit(random, &[time, batch, inputs], DType::F32),
            unit(random, &[directions, gates * hidden, inputs], DType::F32),
            unit(random, &[directions, gates * hidden, hidden], DType::F32),
            unit(random, &[directions, 2 * gates * hidden], DType::F32),
        ];
        let outputs = if op == "LSTM" { 3 } else { 2 };
        let case = Case::new(op, given, Near::Terms(200)).int("hidden_size", hidden as i64);
        let case = if op == "GRU" {
            case.int("linear_before_reset", random.below(2) as i64)
        } else {
            case
        };
        cases.push(case.text("direction", name).outputs(outputs));
    }
}

fn attention(random: &mut Random, cases: &mut Vec<Case>) {
    let (heads, size) = (random.pick(&[1, 2]), random.pick(&[8, 16]));
    let groups = random.pick(&[1, 2]);
    let (queries, keys) = (random.between(1, 20), random.between(1, 20));
    let given = vec![
        unit(random, &[2, heads * groups, queries, size], DType::F32),
        unit(random, &[2, heads, keys, size], DType::F32),
        unit(random, &[2, heads, keys, size], DType::F32),
        unit(random, &[queries, keys], DType::F32),
    ];
    cases.push(Case::new("Attention", given, Near::Terms(keys * size)).opset(23));
}

fn quantised(random: &mut Random, cases: &mut Vec<Case>) {
    let rank = random.between(1, 3);
    let shape = random.shape(rank);
    let scale = || Given::Constant(Tensor::scalar(0.0625f32));
    let zero = || Given::Constant(Tensor::scalar(3i8));
    let given = vec![unit(random, &shape, DType::F32), scale(), zero()];
    cases.push(Case::new("QuantizeLinear", given, Near::Ulps(0.0)));
    let x = Given::Input(random.uniform(&shape, DType::I8, [-128.0, 127.0]));
    cases.push(Case::new("DequantizeLinear", vec![x, scale(), zero()], Near::Ulps(0.0)));
    let x = unit(random, &shape, DType::F32);
    cases.push(Case::new("DynamicQuantizeLinear", vec![x], Near::Ulps(1.0)).outputs(3));
    let bytes = |random: &mut Random, shape: &[usize]| {
        Given::Input(random.uniform(shape, DType::U8, [0.0, 255.0]))
    };
    let (x, y) = (bytes(random, &[3, 9]), bytes(random, &[9, 5]));
    let (scale, zero) = (scale, || Given::Constant(Tensor::scalar(120u8)));
    let wide = Given::Constant(Tensor::scalar(7.5f32));
    let given = vec![x, scale(), zero(), y, scale(), zero(), wide, zero()];
    cases.push(Case::new("QLinearMatMul", given, Near::Ulps(0.0)));
}
