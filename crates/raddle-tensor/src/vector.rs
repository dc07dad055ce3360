//! Functions of many `f32`s at once: exponentials and what is made of them, in
//! plain loops that the compiler turns into the widest instructions which `pulp`
//! finds at run time.
//!
//! No formula branches or looks anything up, so that a loop over a line has no
//! scalar part. Errors are relative unless said otherwise, and held by tests.

use pulp::{Arch, Simd, WithSimd};

/// Partial sums of a reduction, enough for the widest vectors and their latency.
const SUMS: usize = 32;

/// Adding this to a number of modest size rounds it to an integer, which then
/// are the low bits of the sum.
const ROUNDER: f32 = 12_582_912.0;

/// A function for each element of a line.
struct Each<'a, F> {
    line: &'a mut [f32],
    function: F,
}

impl<F: Fn(f32) -> f32> WithSimd for Each<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.line.iter_mut().for_each(|x| *x = (self.function)(*x));
    }
}

fn each(line: &mut [f32], function: impl Fn(f32) -> f32) {
    Arch::new().dispatch(Each { line, function });
}

/// `e^x`, error at most 2 ulp.
#[inline(always)]
pub fn exp_of(x: f32) -> f32 {
    // Beyond these results are infinite or zero; NaN passes both.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUNDER;
    let n = rounded - ROUNDER;
    // ln 2 in two parts, the first with so few digits that its product is exact.
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for factor in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + factor;
    }
    let p = p * r * r + r + 1.0;
    // 2^n in two factors: one alone overflows before the result does.
    let power = rounded.to_bits().wrapping_sub(ROUNDER.to_bits()).cast_signed();
    let half = power >> 1;
    let two_to = |n: i32| f32::from_bits((n.wrapping_add(127) << 23).cast_unsigned());
    p * two_to(half) * two_to(power.wrapping_sub(half))
}

/// `1 / (1 + e^-x)`, error at most 4 ulp; zero where that is below 3e-39.
#[inline(always)]
pub fn sigmoid_of(x: f32) -> f32 {
    1.0 / (1.0 + exp_of(-x))
}

/// `x / (1 + e^-x)`, also called swish.
#[inline(always)]
fn silu_of(x: f32) -> f32 {
    x / (1.0 + exp_of(-x))
}

/// `x` times `x / 6 + 1 / 2`, brought between 0 and 1; NaN stays.
#[inline(always)]
fn hard_swish_of(x: f32) -> f32 {
    let factor = x * (1.0 / 6.0) + 0.5;
    let factor = if factor < 0.0 { 0.0 } else { factor };
    x * if factor > 1.0 { 1.0 } else { factor }
}

/// Hyperbolic tangent, error at most 4 ulp.
#[inline(always)]
fn tanh_of(x: f32) -> f32 {
    let square = x * x;
    let mut p = -5.704_988_7e-3;
    for factor in [2.063_909e-2, -5.373_972e-2, 1.333_144_2e-1, -3.333_328e-1] {
        p = p * square + factor;
    }
    let small = p * square * x + x;
    let large = 1.0 - 2.0 / (exp_of(2.0 * x.abs()) + 1.0);
    if x.abs() < 0.625 { small } else { large.copysign(x) }
}

/// `x` times the chance that a normal variable is at most `x`; error at most
/// 1e-6, and as much as that of `e^(-x^2 / 2)` far below zero.
///
/// `erfc(z) e^(z^2)` is a polynomial in `t = 1 / (1 + 0.4 z)`, fitted to 7e-8.
#[inline(always)]
fn gelu_of(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.4 * z);
    let mut p = 4.211_881e-2;
    for factor in [
        -1.445_528_6e-1,
        9.278_574_6e-2,
        7.784_176_6e-2,
        8.678_769e-2,
        1.903_827_3e-1,
        2.026_612_5e-1,
        2.263_342_9e-1,
        2.256_406_4e-1,
    ] {
        p = p * t + factor;
    }
    let tail = 0.5 * p * t * exp_of(-z * z);
    // Beyond, the tail is zero: no product of infinity and zero.
    if x < -14.0 { -0.0 } else { x * if x < 0.0 { tail } else { 1.0 - tail } }
}

/// [`gelu_of`] with ONNX's formula for the chance: `(1 + tanh u) / 2 = 1 / (1 +
/// e^-2u)`, which cancels no digits.
#[inline(always)]
fn gelu_tanh_of(x: f32) -> f32 {
    const FACTOR: f32 = -2.0 * std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2;
    x / (1.0 + exp_of(FACTOR * (x + 0.044_715 * x * x * x)))
}

/// Replaces each element by its exponential.
pub fn exp(line: &mut [f32]) {
    each(line, exp_of);
}

/// Replaces each element by its [`sigmoid_of`].
pub fn sigmoid(line: &mut [f32]) {
    each(line, sigmoid_of);
}

/// Replaces each element by its [`silu_of`].
pub fn silu(line: &mut [f32]) {
    each(line, silu_of);
}

/// Replaces each element by its [`hard_swish_of`].
pub fn hard_swish(line: &mut [f32]) {
    each(line, hard_swish_of);
}

/// Replaces each element by its hyperbolic tangent.
pub fn tanh(line: &mut [f32]) {
    each(line, tanh_of);
}

/// Replaces each element by its [`gelu_of`].
pub fn gelu(line: &mut [f32]) {
    each(line, gelu_of);
}

/// Replaces each element by its [`gelu_tanh_of`].
pub fn gelu_tanh(line: &mut [f32]) {
    each(line, gelu_tanh_of);
}

/// The sum of a function of all elements, in many partial sums.
#[inline(always)]
fn sum(line: &[f32], function: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0f32; SUMS];
    let (chunks, rest) = line.as_chunks::<SUMS>();
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += function(x);
        }
    }
    let rest = rest.iter().fold(0.0, |sum, &x| sum + function(x));
    sums.iter().fold(0.0, |sum, x| sum + x) + rest
}

/// The largest element; NaN counts as none.
#[inline(always)]
fn largest(line: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut found = [f32::NEG_INFINITY; SUMS];
    let (chunks, rest) = line.as_chunks::<SUMS>();
    for chunk in chunks {
        for (found, &x) in found.iter_mut().zip(chunk) {
            *found = larger(*found, x);
        }
    }
    found.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| larger(a, b))
}

/// Makes probabilities of a row of scores. A row of nothing but `-inf` becomes NaN.
pub fn softmax(row: &mut [f32]) {
    Arch::new().dispatch(Softmax { row });
}

struct Softmax<'a> {
    row: &'a mut [f32],
}

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let largest = largest(self.row);
        self.row.iter_mut().for_each(|x| *x = exp_of(*x - largest));
        let factor = 1.0 / sum(self.row, |x| x);
        self.row.iter_mut().for_each(|x| *x *= factor);
    }
}

/// Makes probabilities of each column of scores, in rows of `columns`. A column of
/// nothing but `-inf` becomes NaN.
pub fn softmax_columns(scores: &mut [f32], columns: usize) {
    Arch::new().dispatch(|| {
        let mut largest = vec![f32::NEG_INFINITY; columns];
        for row in scores.chunks(columns) {
            largest.iter_mut().zip(row).for_each(|(a, &b)| *a = if b > *a { b } else { *a });
        }
        let mut factors = vec![0f32; columns];
        for row in scores.chunks_mut(columns) {
            for ((x, &largest), sum) in row.iter_mut().zip(&largest).zip(&mut factors) {
                *x = exp_of(*x - largest);
                *sum += *x;
            }
        }
        factors.iter_mut().for_each(|sum| *sum = 1.0 / *sum);
        for row in scores.chunks_mut(columns) {
            row.iter_mut().zip(&factors).for_each(|(x, factor)| *x *= factor);
        }
    });
}

/// `scale (x - mean) / sqrt(variance + epsilon) + bias` of a row; scale and bias
/// are as long.
pub fn layer_norm(row: &mut [f32], scale: &[f32], bias: Option<&[f32]>, epsilon: f32) {
    Arch::new().dispatch(LayerNorm { row, scale, bias, epsilon });
}

struct LayerNorm<'a> {
    row: &'a mut [f32],
    scale: &'a [f32],
    bias: Option<&'a [f32]>,
    epsilon: f32,
}

impl WithSimd for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { row, scale, bias, epsilon } = self;
        let mean = sum(row, |x| x) / row.len() as f32;
        let variance = sum(row, |x| (x - mean) * (x - mean)) / row.len() as f32;
        let inverse = 1.0 / (variance + epsilon).sqrt();
        for (x, scale) in row.iter_mut().zip(scale) {
            *x = (*x - mean) * inverse * scale;
        }
        if let Some(bias) = bias {
            row.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of all sizes that matter, and their neighbours.
    fn numbers() -> Vec<f32> {
        let mut found: Vec<f32> = (-30_000..30_000).map(|n| n as f32 / 271.0).collect();
        found.extend((-40..3).flat_map(|n| [1.3f32, -1.7].map(|x| x * 2f32.powi(n))));
        found.extend([0.0, -0.0, 88.7, 88.73, -87.4, -103.0, -104.5]);
        found
    }

    /// Holds a function against its definition in `f64`: the error relative to the
    /// value, above a floor of the value.
    fn check(run: fn(&mut [f32]), definition: fn(f64) -> f64, bound: f64, floor: f64) {
        let xs = numbers();
        let mut ys = xs.clone();
        run(&mut ys);
        for (x, y) in xs.into_iter().zip(ys) {
            let expected = definition(f64::from(x));
            if expected > f64::from(f32::MAX) {
                assert_eq!(y, f32::INFINITY, "of {x}");
                continue;
            }
            let error = (f64::from(y) - expected).abs() / expected.abs().max(floor);
            assert!(error <= bound, "of {x}: {y} for {expected}, error {error:e}");
        }
    }

    #[test]
    fn functions_keep_their_bounds() {
        let tiny = f64::from(f32::MIN_POSITIVE);
        check(exp, f64::exp, 2.4e-7, tiny);
        check(sigmoid, |x| 1.0 / (1.0 + (-x).exp()), 4e-7, 1e-30);
        check(|line| each(line, silu_of), |x| x / (1.0 + (-x).exp()), 4e-7, 1e-30);
        check(tanh, f64::tanh, 4.8e-7, tiny);
        let erfc = |x: f64| 0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
        check(gelu, erfc, 1e-6, 1e-3);
        let tanh_form = |x: f64| {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            0.5 * x * (1.0 + u.tanh())
        };
        check(gelu_tanh, tanh_form, 1e-6, 1e-3);
    }

    #[test]
    fn special_numbers_go_where_they_should() {
        let mut line = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        exp(&mut line);
        assert!(line[0].is_nan());
        assert_eq!(line[1..], [f32::INFINITY, 0.0]);
        let mut line = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        tanh(&mut line);
        assert!(line[0].is_nan());
        assert_eq!(line[1..], [1.0, -1.0]);
        let mut line = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        gelu(&mut line);
        assert!(line[0].is_nan());
        assert_eq!(line[1..], [f32::INFINITY, 0.0]);
        let mut row = [f32::NEG_INFINITY; 3];
        softmax(&mut row);
        assert!(row.iter().all(|x| x.is_nan()));
        let mut columns = [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY, f32::NAN];
        softmax_columns(&mut columns, 2);
        assert!(columns.iter().all(|x| x.is_nan()));
    }

    #[test]
    fn rows_of_all_lengths_are_normalised() {
        for len in [1, 7, 32, 33, 197, 1000] {
            let row: Vec<f32> = (0..len).map(|at| (at * 37 % 101) as f32 / 9.0 - 5.0).collect();
            let mut found = row.clone();
            softmax(&mut found);
            let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
            for (&x, &y) in row.iter().zip(&found) {
                let expected = f64::from(x).exp() / sum;
                assert!((f64::from(y) - expected).abs() <= 1e-6 * expected, "{len}");
            }
            // The same numbers as columns.
            let mut columns: Vec<f32> = row.iter().flat_map(|&x| [x, -x, x]).collect();
            softmax_columns(&mut columns, 3);
            for (columns, &found) in columns.as_chunks::<3>().0.iter().zip(&found) {
                for x in [columns[0], columns[2]] {
                    assert!((x - found).abs() <= 1e-6 * found, "{len}");
                }
            }
            let (scale, bias) = (vec![1.5; len], vec![0.25; len]);
            let mut found = row.clone();
            layer_norm(&mut found, &scale, Some(&bias), 1e-5);
            let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / len as f64;
            let variance =
                row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / len as f64;
            for (&x, &y) in row.iter().zip(&found) {
                let expected = (f64::from(x) - mean) / (variance + 1e-5).sqrt() * 1.5 + 0.25;
                assert!((f64::from(y) - expected).abs() <= 1e-5, "{len}: {y} for {expected}");
            }
        }
    }
}
