//! Every operation of the narrow floats, on many operands.

use raddle::prelude::*;

/// The results of all operations on one triple of operands.
pub type Results = [u16; 12];

macro_rules! results {
    ($name:ident, $ty:ident) => {
        /// All operations on (a, b, c).
        pub fn $name(a: u16, b: u16, c: u16) -> Results {
            let (a, b, c) = ($ty::from_bits(a), $ty::from_bits(b), $ty::from_bits(c));
            let flags = u16::from(a < b) | u16::from(a == b) << 1 | u16::from(a.is_nan()) << 2;
            [
                (a + b).to_bits(),
                (a - b).to_bits(),
                (a * b).to_bits(),
                (a / b).to_bits(),
                (a % b).to_bits(),
                a.mul_add(b, c).to_bits(),
                a.min(b).to_bits(),
                a.max(b).to_bits(),
                a.sqrt().to_bits(),
                (-a).copysign(b).to_bits(),
                a.to_i32() as u16,
                flags,
            ]
        }
    };
}
results!(f16_results, f16);
results!(bf16_results, bf16);

/// [`f16_results`] of each triple.
#[kernel]
pub fn f16_operations(operands: &[[u16; 3]], mut out: PerThread<Results>) {
    for (i, results) in out.iter_mut() {
        let [a, b, c] = operands[i];
        *results = f16_results(a, b, c);
    }
}

/// [`bf16_results`] of each triple.
#[kernel]
pub fn bf16_operations(operands: &[[u16; 3]], mut out: PerThread<Results>) {
    for (i, results) in out.iter_mut() {
        let [a, b, c] = operands[i];
        *results = bf16_results(a, b, c);
    }
}

/// Conversions from wider numbers.
pub fn narrow(value: f32, wide: f64) -> [u32; 5] {
    [
        f16::from_f32(value).to_bits().into(),
        u32::from(bf16::from_f32(value).to_bits())
            | u32::from(bf16::from_f64(wide).to_bits()) << 16,
        tf32::from_f32(value).to_bits(),
        u32::from(f8e4m3::from_f32(value).to_bits())
            | u32::from(f8e5m2::from_f32(value).to_bits()) << 8,
        f16::from_f64(wide).to_bits().into(),
    ]
}

/// [`narrow`] of each value; the wide one is the value times 1 + 2^-30.
#[kernel]
pub fn narrowing(values: &[f32], mut out: PerThread<[u32; 5]>) {
    for (i, results) in out.iter_mut() {
        *results = narrow(values[i], wide(values[i]));
    }
}

/// A number near `value` that no `f32` is.
pub fn wide(value: f32) -> f64 {
    f64::from(value) * (1.0 + 1.0 / f64::from(1 << 30))
}

/// Conversions to wider numbers of every 16-bit pattern.
pub fn widen(bits: u16) -> [u64; 5] {
    [
        f16::from_bits(bits).to_f32().to_bits().into(),
        f16::from_bits(bits).to_f64().to_bits(),
        bf16::from_bits(bits).to_f32().to_bits().into(),
        f8e4m3::from_bits(bits as u8).to_f32().to_bits().into(),
        f8e5m2::from_bits(bits as u8).to_f32().to_bits().into(),
    ]
}

/// [`widen`] of every pattern.
#[kernel]
pub fn widening(mut out: PerThread<[u64; 5]>) {
    for (i, results) in out.iter_mut() {
        *results = widen(i as u16);
    }
}

/// All operations on pairs.
pub fn pair_results(a: u32, b: u32, c: u32) -> [u32; 11] {
    let (x, y, z) = (f16x2::from_bits(a), f16x2::from_bits(b), f16x2::from_bits(c));
    let (u, v, w) = (bf16x2::from_bits(a), bf16x2::from_bits(b), bf16x2::from_bits(c));
    let [low, high] = x.to_f32s();
    [
        (x + y).to_bits(),
        (x - y).to_bits(),
        (x * y).to_bits(),
        x.mul_add(y, z).to_bits(),
        x.min(y).swap().to_bits(),
        f16x2::from_f32s(high, low).to_bits(),
        (u + v).to_bits(),
        u.mul_add(v, w).to_bits(),
        (u * v).max(w).to_bits(),
        x.maximum(y).to_bits(),
        u.maximum(v).to_bits(),
    ]
}

/// [`pair_results`] of each triple.
#[kernel]
pub fn pair_operations(operands: &[[u32; 3]], mut out: PerThread<[u32; 11]>) {
    for (i, results) in out.iter_mut() {
        let [a, b, c] = operands[i];
        *results = pair_results(a, b, c);
    }
}

/// The one-instruction conversions of fp8 pairs.
#[kernel(arch = 90)]
pub fn fp8_native(values: &[[f32; 2]], mut out: PerThread<[u32; 4]>) {
    for (i, results) in out.iter_mut() {
        let [low, high] = values[i];
        // SAFETY: the kernel requires compute capability 9.0.
        unsafe {
            let (a, b) =
                (f8e4m3x2::from_f32_native(low, high), f8e5m2x2::from_f32_native(low, high));
            let halves = f16x2::from_f32s(low, high);
            let (c, d) = (f8e4m3x2::from_f16x2_native(halves), f8e5m2x2::from_f16x2_native(halves));
            *results = [
                u32::from(a.to_bits()) | u32::from(b.to_bits()) << 16,
                u32::from(c.to_bits()) | u32::from(d.to_bits()) << 16,
                a.to_f16x2_native().to_bits(),
                b.to_f16x2_native().to_bits(),
            ];
        }
    }
}
