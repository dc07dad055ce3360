//! The narrow floats: devices agree with the host bodies, which the unit tests of
//! `raddle-device` check against the `half` crate.

use raddle::device::float::*;
use raddle::{Grid, Stream};
use raddle_tensor_tests::kernels::numbers::*;

use crate::support::*;

/// Patterns that meet every exponent and rounding case: `count` triples.
fn triples(count: usize) -> Vec<[u16; 3]> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut triples: Vec<[u16; 3]> = (0..count)
        .map(|_| {
            let bits = random.next();
            [bits as u16, (bits >> 16) as u16, (bits >> 32) as u16]
        })
        .collect();
    // Neighbours in magnitude cancel and round in the last place.
    for (i, triple) in triples.iter_mut().enumerate().step_by(3) {
        triple[1] = triple[0] ^ 0x8000 ^ (i as u16 & 0x3ff) >> (i % 10);
        triple[2] = triple[2] & 0x83ff | triple[0] & 0x7c00;
    }
    triples
}

fn values(count: usize) -> Vec<f32> {
    let mut random = Random(77);
    let mut values: Vec<f32> = (0..count).map(|_| f32::from_bits(random.next() as u32)).collect();
    // Halves between neighbours, and one step to either side.
    for bits in 0..=u16::MAX {
        let value = f16::from_bits(bits).to_f32().to_bits();
        values.extend(
            [0x0fff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001]
                .map(|step| f32::from_bits(value.wrapping_add(step))),
        );
    }
    values
}

fn grid(len: usize) -> Grid {
    Grid::cover(len, 256)
}

#[test]
fn f16_operations_agree() {
    let operands = triples(300_000);
    let expected: Vec<Results> = operands.iter().map(|&[a, b, c]| f16_results(a, b, c)).collect();
    on_each_device(PORTABLE, |stream: &Stream| {
        let input = stream.upload(&operands).unwrap();
        let mut out = stream.zeros::<Results>(operands.len()).unwrap();
        stream.launch(grid(operands.len()), f16_operations(&input, &mut out)).unwrap();
        let found = out.to_vec().unwrap();
        let bad = (0..found.len()).find(|&i| found[i] != expected[i]);
        assert_same(
            &found,
            &expected,
            &format!("f16 operations on {:x?}", bad.map(|i| operands[i])),
        );
    });
}

#[test]
fn bf16_operations_agree() {
    let operands = triples(300_000);
    let expected: Vec<Results> = operands.iter().map(|&[a, b, c]| bf16_results(a, b, c)).collect();
    on_each_device(PORTABLE, |stream: &Stream| {
        let input = stream.upload(&operands).unwrap();
        let mut out = stream.zeros::<Results>(operands.len()).unwrap();
        stream.launch(grid(operands.len()), bf16_operations(&input, &mut out)).unwrap();
        let found = out.to_vec().unwrap();
        let bad = (0..found.len()).find(|&i| found[i] != expected[i]);
        assert_same(
            &found,
            &expected,
            &format!("bf16 operations on {:x?}", bad.map(|i| operands[i])),
        );
    });
}

#[test]
fn narrowing_agrees() {
    let values = values(500_000);
    let expected: Vec<[u32; 5]> = values.iter().map(|&v| narrow(v, wide(v))).collect();
    on_each_device(PORTABLE, |stream: &Stream| {
        let input = stream.upload(&values).unwrap();
        let mut out = stream.zeros::<[u32; 5]>(values.len()).unwrap();
        stream.launch(grid(values.len()), narrowing(&input, &mut out)).unwrap();
        let found = out.to_vec().unwrap();
        let bad = (0..found.len()).find(|&i| found[i] != expected[i]);
        let bad = bad.map(|i| values[i].to_bits());
        assert_same(&found, &expected, &format!("narrowing of {bad:x?}"));
    });
}

#[test]
fn widening_agrees() {
    let expected: Vec<[u64; 5]> = (0..=u16::MAX).map(widen).collect();
    on_each_device(PORTABLE, |stream: &Stream| {
        let mut out = stream.zeros::<[u64; 5]>(expected.len()).unwrap();
        stream.launch(grid(expected.len()), widening(&mut out)).unwrap();
        assert_same(&out.to_vec().unwrap(), &expected, "widening");
    });
}

#[test]
fn pair_operations_agree() {
    let triples = triples(200_000);
    let operands: Vec<[u32; 3]> = triples
        .chunks_exact(2)
        .map(|two| [0, 1, 2].map(|i| u32::from(two[0][i]) | u32::from(two[1][i]) << 16))
        .collect();
    let expected: Vec<[u32; 11]> =
        operands.iter().map(|&[a, b, c]| pair_results(a, b, c)).collect();
    on_each_device(PORTABLE, |stream: &Stream| {
        let input = stream.upload(&operands).unwrap();
        let mut out = stream.zeros::<[u32; 11]>(operands.len()).unwrap();
        stream.launch(grid(operands.len()), pair_operations(&input, &mut out)).unwrap();
        let found = out.to_vec().unwrap();
        let bad = (0..found.len()).find(|&i| found[i] != expected[i]);
        assert_same(&found, &expected, &format!("pairs {:x?}", bad.map(|i| operands[i])));
    });
}

#[test]
fn native_fp8_conversions_agree() {
    let values = values(200_000);
    let pairs: Vec<[f32; 2]> = values.chunks_exact(2).map(|two| [two[0], two[1]]).collect();
    let expected: Vec<[u32; 4]> = pairs
        .iter()
        .map(|&[low, high]| {
            let from = |low: f32, high: f32| {
                let a = f8e4m3x2::new(f8e4m3::from_f32(low), f8e4m3::from_f32(high));
                let b = f8e5m2x2::new(f8e5m2::from_f32(low), f8e5m2::from_f32(high));
                (a, b)
            };
            let (a, b) = from(low, high);
            let [half_low, half_high] = f16x2::from_f32s(low, high).to_f32s();
            let (c, d) = from(half_low, half_high);
            [
                u32::from(a.to_bits()) | u32::from(b.to_bits()) << 16,
                u32::from(c.to_bits()) | u32::from(d.to_bits()) << 16,
                f16x2::from_f32s(a.lo.to_f32(), a.hi.to_f32()).to_bits(),
                f16x2::from_f32s(b.lo.to_f32(), b.hi.to_f32()).to_bits(),
            ]
        })
        .collect();
    on_each_device(HOPPER, |stream: &Stream| {
        let input = stream.upload(&pairs).unwrap();
        let mut out = stream.zeros::<[u32; 4]>(pairs.len()).unwrap();
        stream.launch(grid(pairs.len()), fp8_native(&input, &mut out)).unwrap();
        let found = out.to_vec().unwrap();
        let bad = (0..found.len()).find(|&i| found[i] != expected[i]);
        assert_same(&found, &expected, &format!("fp8 of {:?}", bad.map(|i| pairs[i])));
    });
}
