//! The two floats that operations compute in behind one trait, so that a
//! formula with exponentials and sums is written once.

use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub};

use super::linear::Scalar;

/// `f32` or `f64`.
pub trait Real:
    Scalar
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + MulAssign
{
    /// Less than every number.
    const NEG_INFINITY: Self;

    /// The nearest value.
    fn of(value: f64) -> Self;

    /// The same value.
    fn wide(self) -> f64;

    /// `e` to this power.
    fn exp(self) -> Self;

    /// Hyperbolic tangent.
    fn tanh(self) -> Self;

    /// The nearest integer, ties to even.
    fn round_even(self) -> Self;
}

macro_rules! real {
    ($type:ty) => {
        impl Real for $type {
            const NEG_INFINITY: Self = <$type>::NEG_INFINITY;

            fn of(value: f64) -> Self {
                value as $type
            }

            fn wide(self) -> f64 {
                f64::from(self)
            }

            fn exp(self) -> Self {
                self.exp()
            }

            fn tanh(self) -> Self {
                self.tanh()
            }

            fn round_even(self) -> Self {
                self.round_ties_even()
            }
        }
    };
}

real!(f32);
real!(f64);

/// `x / (1 + e^-x)`, also called swish.
pub fn silu<T: Real>(x: T) -> T {
    x / (T::of(1.0) + (-x).exp())
}

/// The largest of a row; NaN if there is one.
pub fn largest<T: Real>(row: &[T]) -> T {
    row.iter().fold(T::NEG_INFINITY, |max, &x| if x > max || x.wide().is_nan() { x } else { max })
}

/// Makes probabilities of a row of scores. A row of nothing but `-inf` becomes NaN.
pub fn softmax<T: Real>(row: &mut [T]) {
    let max = largest(row);
    let mut sum = T::default();
    for x in row.iter_mut() {
        *x = (*x - max).exp();
        sum += *x;
    }
    let factor = T::of(1.0) / sum;
    row.iter_mut().for_each(|x| *x *= factor);
}
