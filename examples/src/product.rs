//! What examples of matrix products share: operands, the product on the host, and a
//! table of the ways to compute it.

use raddle::prelude::*;

use crate::compare::{Outcome, expect_close};
use crate::time::{gflop_per_s, median_ms};

/// Numbers in [-1, 1) that look like noise, other ones for each `seed`.
#[must_use]
pub fn noise(len: usize, seed: usize) -> Vec<f32> {
    let number = |i: usize| (i as u32).wrapping_mul(2_654_435_761) as f32 / (1u64 << 31) as f32;
    (seed..seed + len).map(|i| number(i) - 1.0).collect()
}

/// Some rows of a product, each with its number: all of them where it is small.
pub type Rows = Vec<(usize, Vec<f32>)>;

/// Rows spread over `a * b`, by a plain loop in `f64`.
///
/// *Shapes*: `a` is [m, k]; `b` gives the element at a row and a column of [k, n].
pub fn product_rows(a: &[f32], [m, k, n]: [usize; 3], b: impl Fn(usize, usize) -> f32) -> Rows {
    let count = m.min(32);
    let row = |i: usize| {
        let row = i * (m - 1) / (count - 1).max(1);
        let mut sums = vec![0.0f64; n];
        for (k, a) in a[row * k..][..k].iter().enumerate() {
            for (col, sum) in sums.iter_mut().enumerate() {
                *sum += f64::from(*a) * f64::from(b(k, col));
            }
        }
        (row, sums.into_iter().map(|sum| sum as f32).collect())
    };
    (0..count).map(row).collect()
}

/// Checks and times several ways to compute one product.
pub struct Levels<'a> {
    stream: &'a Stream,
    operations: f64,
    tolerance: f32,
}

impl<'a> Levels<'a> {
    /// Prints the head of the table. Results may differ by `tolerance`, as a share of
    /// the largest in a row.
    #[must_use]
    pub fn new(stream: &'a Stream, operations: f64, tolerance: f32) -> Self {
        println!("{:<34} {:>10} {:>12}", "level", "ms", "GFLOP/s");
        Self { stream, operations, tolerance }
    }

    /// Computes `c`, which holds `unset` before, compares with the rows and prints how
    /// long it took.
    ///
    /// ## Errors
    ///
    /// Those of `launch`, and of the comparison.
    pub fn run<T: DeviceType + Into<f32>, R>(
        &self,
        name: &str,
        (c, unset): (&mut Buffer<T>, T),
        expected: &Rows,
        mut launch: impl FnMut(&mut Buffer<T>) -> Result<R, raddle::Error>,
    ) -> Outcome {
        self.stream.fill(&mut *c, unset)?;
        launch(c)?;
        let found = c.to_vec()?;
        for (row, expected) in expected {
            let found = &found[row * expected.len()..][..expected.len()];
            let found: Vec<f32> = found.iter().map(|&c| c.into()).collect();
            expect_close(name, &found, expected, self.tolerance)?;
        }
        let ms = median_ms(self.stream, || Ok(launch(c).map(drop)?))?;
        println!("{name:<34} {ms:>10.3} {:>12.1}", gflop_per_s(self.operations, ms));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_those_of_the_product() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]);
        let rows = product_rows(&a, [2, 3, 2], |k, col| b[k][col]);
        assert_eq!(rows, [(0, vec![4.0, 5.0]), (1, vec![10.0, 11.0])]);
        assert_eq!(product_rows(&a, [1, 3, 2], |k, col| b[k][col]).len(), 1);
    }

    #[test]
    fn noise_is_around_zero() {
        let (noise, other) = (noise(4096, 0), noise(4096, 77));
        assert!(noise.iter().all(|x| (-1.0..1.0).contains(x)) && noise != other);
        assert!((noise.iter().sum::<f32>() / 4096.0).abs() < 0.05);
    }
}
