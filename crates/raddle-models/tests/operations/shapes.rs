//! Operations that move elements.

use raddle_tensor::graph::Attribute;
use raddle_tensor::{DType, Tensor};

use crate::{Case, Given, Near, Random};

const TYPES: [DType; 6] = [DType::F32, DType::F64, DType::F16, DType::I64, DType::U8, DType::Bool];

fn list(numbers: &[i64]) -> Given {
    Given::Constant(Tensor::vector(numbers.to_vec()))
}

/// Elements are moved as they are.
fn exact(op: &'static str, given: Vec<Given>) -> Case {
    Case::new(op, given, Near::Ulps(0.0))
}

pub fn cases(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    let rank = random.between(1, 4);
    let (shape, dtype) = (random.shape(rank), random.pick(&TYPES));
    let x = |random: &mut Random| Given::Input(random.edges(&shape, dtype));
    let signed: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
    let mut order: Vec<usize> = (0..rank).collect();
    for at in (1..rank).rev() {
        order.swap(at, random.below(at + 1));
    }
    cases.push(exact("Transpose", vec![x(random)]).ints("perm", &order));
    cases.push(exact("Reshape", vec![x(random), list(&[-1])]));
    cases.push(exact("Flatten", vec![x(random)]).int("axis", random.below(rank + 1) as i64));
    let axis = random.below(rank + 1) as i64;
    cases.push(exact("Unsqueeze", vec![x(random), list(&[axis])]));
    let mut with_one = shape.clone();
    with_one.insert(axis as usize, 1);
    let one = Given::Input(random.edges(&with_one, dtype));
    cases.push(exact("Squeeze", vec![one, list(&[axis])]));
    let mut expanded = vec![2i64];
    expanded.extend(&signed);
    cases.push(exact("Expand", vec![x(random), list(&expanded)]));
    let repeats: Vec<i64> = shape.iter().map(|_| random.between(1, 3) as i64).collect();
    cases.push(exact("Tile", vec![x(random), list(&repeats)]));
    slices(random, &shape, dtype, &mut cases);
    let axis = random.below(rank);
    let mut parts = Vec::new();
    for _ in 0..random.between(1, 3) {
        let mut own = shape.clone();
        own[axis] = random.between(1, 4);
        parts.push(Given::Input(random.edges(&own, dtype)));
    }
    cases.push(exact("Concat", parts).int("axis", axis as i64));
    let mut long = shape.clone();
    long[axis] = 6;
    let given = vec![Given::Input(random.edges(&long, dtype)), list(&[1, 3, 2])];
    cases.push(exact("Split", given).int("axis", axis as i64).outputs(3));
    pads(random, &shape, &mut cases);
    let shape = [random.shape(2), vec![random.between(1, 6), random.between(1, 6)]].concat();
    let diagonal = random.below(5) as i64 - 2;
    let diagonal = Given::Constant(Tensor::scalar(diagonal));
    let x = Given::Input(random.edges(&shape, dtype));
    cases.push(exact("Trilu", vec![x, diagonal]).int("upper", random.below(2) as i64));
    cases.push(exact("EyeLike", vec![Given::Input(random.edges(&[5, 7], DType::F32))]).int("k", 1));
    for op in ["Shape", "Size"] {
        cases.push(exact(op, vec![Given::Input(random.edges(&[5, 7], dtype))]));
    }
    let bound = |number: i64| Given::Constant(Tensor::scalar(number));
    cases.push(exact("Range", vec![bound(2), bound(17), bound(3)]));
    let fill = Attribute::Tensor(Tensor::vector(vec![2.5f32]));
    cases.push(exact("ConstantOfShape", vec![list(&[2, 3])]).with("value", fill));
    let scales = Given::Constant(Tensor::vector(vec![1f32, 1.0, 2.0, 3.0]));
    let x = Given::Input(random.edges(&[1, 2, 3, 4], DType::F32));
    cases.push(exact("Upsample", vec![x, scales]).opset(9));
    for (op, is_deep) in [("DepthToSpace", true), ("SpaceToDepth", false)] {
        let shape = if is_deep { [2, 8, 3, 2] } else { [2, 3, 4, 6] };
        let x = Given::Input(random.edges(&shape, dtype));
        cases.push(exact(op, vec![x]).int("blocksize", 2));
    }
    cases
}

fn slices(random: &mut Random, shape: &[usize], dtype: DType, cases: &mut Vec<Case>) {
    let axis = random.below(shape.len());
    let len = shape[axis] as i64;
    let (begin, step) = (random.below(shape[axis]) as i64, random.pick(&[1, 1, 2, -1, -2]));
    let end = if step > 0 { begin + 1 + random.below(5) as i64 } else { -len - 1 };
    let x = Given::Input(random.edges(shape, dtype));
    let given = vec![x, list(&[begin]), list(&[end]), list(&[axis as i64]), list(&[step])];
    cases.push(exact("Slice", given));
}

fn pads(random: &mut Random, shape: &[usize], cases: &mut Vec<Case>) {
    for mode in ["constant", "reflect", "edge", "wrap"] {
        let most = |dim: usize| if mode == "reflect" { dim - 1 } else { dim }.min(3);
        let mut pads: Vec<i64> = Vec::new();
        for _ in 0..2 {
            pads.extend(shape.iter().map(|&dim| random.below(most(dim) + 1) as i64));
        }
        let x = Given::Input(random.edges(shape, DType::F32));
        let mut given = vec![x, list(&pads)];
        if mode == "constant" {
            given.push(Given::Constant(Tensor::scalar(1.5f32)));
        }
        cases.push(exact("Pad", given).text("mode", mode));
    }
}
