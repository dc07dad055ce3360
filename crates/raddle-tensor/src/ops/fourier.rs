//! The discrete Fourier transform of any length in `f64`: radix 2, and
//! Bluestein's algorithm for lengths that are no power of two.
//!
//! *Source*: L. Bluestein, "A linear filtering approach to the computation of
//! discrete Fourier transform", 1970.

use std::f64::consts::PI;

/// Real and imaginary part.
pub type C = [f64; 2];

fn mul(a: C, b: C) -> C {
    [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]]
}

/// `exp(i angle)`.
fn turn(angle: f64) -> C {
    [angle.cos(), angle.sin()]
}

/// Transforms in place; the inverse is not scaled.
pub fn transform(x: &mut [C], is_inverse: bool) {
    let sign = if is_inverse { 1.0 } else { -1.0 };
    match x.len() {
        0 | 1 => {}
        len if len.is_power_of_two() => radix_2(x, sign),
        _ => bluestein(x, sign),
    }
}

fn radix_2(x: &mut [C], sign: f64) {
    let len = x.len();
    let shift = usize::BITS - len.trailing_zeros();
    for at in 0..len {
        let other = at.reverse_bits() >> shift;
        if at < other {
            x.swap(at, other);
        }
    }
    let mut half = 1;
    while half < len {
        let step = sign * PI / half as f64;
        let turns: Vec<C> = (0..half).map(|at| turn(step * at as f64)).collect();
        for block in x.chunks_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for ((a, b), &t) in low.iter_mut().zip(high).zip(&turns) {
                let c = mul(*b, t);
                *b = [a[0] - c[0], a[1] - c[1]];
                *a = [a[0] + c[0], a[1] + c[1]];
            }
        }
        half *= 2;
    }
}

/// The transform as a convolution with a chirp, which a longer transform of a
/// power of two computes.
fn bluestein(x: &mut [C], sign: f64) {
    let len = x.len();
    let padded = (2 * len - 1).next_power_of_two();
    // k^2 modulo 2 len keeps the angle small and exact.
    let chirp: Vec<C> = (0..len as u128)
        .map(|k| turn(sign * PI * ((k * k) % (2 * len as u128)) as f64 / len as f64))
        .collect();
    let mut a = vec![[0.0; 2]; padded];
    let mut b = vec![[0.0; 2]; padded];
    for (at, &c) in chirp.iter().enumerate() {
        a[at] = mul(x[at], c);
        let conjugate = [c[0], -c[1]];
        b[at] = conjugate;
        if at > 0 {
            b[padded - at] = conjugate;
        }
    }
    radix_2(&mut a, -1.0);
    radix_2(&mut b, -1.0);
    for (a, &b) in a.iter_mut().zip(&b) {
        *a = mul(*a, b);
    }
    radix_2(&mut a, 1.0);
    for ((x, a), &c) in x.iter_mut().zip(a).zip(&chirp) {
        let product = mul(a, c);
        *x = [product[0] / padded as f64, product[1] / padded as f64];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lengths_agree_with_the_definition() {
        for len in [1, 2, 3, 4, 5, 7, 8, 12, 16, 30, 97] {
            let x: Vec<C> = (0..len).map(|k| [(k as f64).sin(), (k * k % 7) as f64]).collect();
            let mut y = x.clone();
            transform(&mut y, false);
            for (k, y) in y.iter().enumerate() {
                let mut sum = [0.0; 2];
                for (n, &x) in x.iter().enumerate() {
                    let term = mul(x, turn(-2.0 * PI * (k * n) as f64 / len as f64));
                    sum = [sum[0] + term[0], sum[1] + term[1]];
                }
                assert!((y[0] - sum[0]).abs() + (y[1] - sum[1]).abs() < 1e-9 * len as f64);
            }
            transform(&mut y, true);
            for (x, y) in x.iter().zip(&y) {
                assert!((x[0] - y[0] / len as f64).abs() < 1e-9);
            }
        }
    }
}
