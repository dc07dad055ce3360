//! Products of words of 16 bits against sums in double precision.

use raddle::device::{bf16, f16};
use raddle_kernels::dense::{self, Scalar};

use crate::{Random, devices};

/// Elements of 16 bits in words.
fn pack(bits: &[u16]) -> Vec<u64> {
    let word = |four: &[u16]| four.iter().rev().fold(0, |word, &bits| word << 16 | u64::from(bits));
    bits.chunks(4).map(word).collect()
}

fn check(scalar: Scalar, [rows, columns, depth]: [usize; 3], has_bias: bool) {
    let mut random = Random(5);
    let [left, right] = [rows, columns].map(|n| random.elements(n * depth));
    let bias = random.elements(columns);
    // Numbers that both types hold exactly; what is left is the rounding of the sum.
    let is_bf16 = scalar == Scalar::BF16;
    let digits = if is_bf16 { 7 } else { 10 };
    let to_bits = |x: f32| match is_bf16 {
        true => bf16::from_f32(x).to_bits(),
        false => f16::from_f32(x).to_bits(),
    };
    let from_bits = |bits: u16| match is_bf16 {
        true => bf16::from_bits(bits).to_f32(),
        false => f16::from_bits(bits).to_f32(),
    };
    let words = |list: &[f32]| pack(&list.iter().map(|&x| to_bits(x)).collect::<Vec<_>>());
    for device in devices() {
        let stream = device.stream().unwrap();
        let [a, b] = [&left, &right].map(|list| stream.upload(&words(list)).unwrap());
        let pairs = bias.as_chunks::<2>().0.iter();
        let pairs =
            pairs.map(|pair| u64::from(pair[1].to_bits()) << 32 | u64::from(pair[0].to_bits()));
        let c = stream.upload(&pairs.collect::<Vec<_>>()).unwrap();
        let shape = [rows, columns, depth];
        assert!(dense::has_half_product(&stream, shape));
        let operands = [a.as_slice(), b.as_slice()];
        let c = has_bias.then(|| c.as_slice());
        let out = dense::half_product(&stream, scalar, shape, operands, c).unwrap();
        let out = stream.to_vec(&out).unwrap();
        for at in 0..rows * columns {
            let found = from_bits((out[at / 4] >> (at % 4 * 16)) as u16);
            let (i, j) = (at / columns, at % columns);
            let term = |k| f64::from(left[i * depth + k]) * f64::from(right[j * depth + k]);
            let sum: f64 = (0..depth).map(term).sum();
            let expected = sum + if has_bias { f64::from(bias[j]) } else { 0.0 };
            let bound = expected.abs() * 2f64.powi(-digits) + 1e-4;
            let error = (f64::from(found) - expected).abs();
            assert!(error <= bound, "{device} {scalar:?} {at}: {found}, expected {expected}");
        }
    }
}

#[test]
fn products_of_halves_are_right() {
    for scalar in [Scalar::F16, Scalar::BF16] {
        check(scalar, [1, 8, 8], false);
        check(scalar, [70, 136, 72], true);
        check(scalar, [130, 264, 16], false);
    }
}

#[test]
fn products_that_are_no_eights_are_refused() {
    let stream = devices()[0].stream().unwrap();
    let words = stream.upload(&[0u64; 64]).unwrap();
    let operands = || [words.as_slice(), words.as_slice()];
    for (scalar, shape, why) in [
        (Scalar::F16, [4, 9, 8], "expected columns and depth in eights"),
        (Scalar::BF16, [4, 8, 0], "expected columns and depth in eights"),
        (Scalar::F32, [4, 8, 8], "expected f16 or bf16, found F32"),
    ] {
        let refused = dense::half_product(&stream, scalar, shape, operands(), None);
        let message = refused.unwrap_err().to_string();
        assert!(message.contains(why), "{message}");
    }
}
