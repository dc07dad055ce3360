//! `nalgebra` in a kernel: a small problem of linear algebra in each thread.
//!
//! First each thread fits a cubic through noisy samples of its own: it sums up the
//! normal equations and solves them by LU decomposition with pivots. Then each
//! finds how far a matrix stretches space, by singular value decomposition. The
//! crate is the one from the registry, unchanged; its sizes are const generics, so
//! that nothing is allocated.
//!
//! ```text
//! cargo run --release -p raddle-examples --bin crate_nalgebra
//! ```

use std::process::ExitCode;

use raddle::prelude::*;
use raddle_examples::{
    Outcome, Sizes, expect_close, expect_equal, median_ms, on_best_device, print_rate,
};

mod kernels {
    use nalgebra::{Matrix3, Matrix4, Vector4};
    use raddle::prelude::*;

    /// Samples of a curve.
    pub const SAMPLES: usize = 24;

    /// Where sample `i` is.
    pub fn place(i: usize) -> f32 {
        2.0 * i as f32 / (SAMPLES - 1) as f32 - 1.0
    }

    /// Coefficients of the cubic that is nearest to the samples, or `None` if
    /// there is not one.
    pub fn fit(samples: &[f32; SAMPLES]) -> Option<Vector4<f32>> {
        let mut matrix = Matrix4::zeros();
        let mut right = Vector4::zeros();
        for (i, &sample) in samples.iter().enumerate() {
            let x = place(i);
            let powers = Vector4::new(1.0, x, x * x, x * x * x);
            matrix += powers * powers.transpose();
            right += powers * sample;
        }
        matrix.lu().solve(&right)
    }

    /// The matrix's singular values, the largest first.
    pub fn stretch(matrix: &[f32; 9]) -> [f32; 3] {
        Matrix3::from_column_slice(matrix).singular_values().into()
    }

    #[kernel]
    pub fn stretch_all(matrices: &[[f32; 9]], mut values: PerThread<[f32; 3]>) {
        for (i, values) in values.iter_mut() {
            *values = stretch(&matrices[i]);
        }
    }

    #[kernel]
    pub fn fit_all(curves: &[[f32; SAMPLES]], mut cubics: PerThread<[f32; 4]>) {
        for (i, cubic) in cubics.iter_mut() {
            *cubic = fit(&curves[i]).expect("the places differ").into();
        }
    }
}

fn main() -> ExitCode {
    on_best_device(Sizes { gpu: 1 << 20, cpu: 1 << 14 }, run)
}

fn run(device: &Device, n: usize) -> Outcome {
    let stream = device.stream()?;
    fit(&stream, n)?;
    stretch(&stream, n)
}

fn noise(i: usize) -> f32 {
    (i as u32).wrapping_mul(2_654_435_761) as f32 / (1u64 << 31) as f32 - 1.0
}

/// Fits cubics through samples of `n` curves.
fn fit(stream: &Stream, n: usize) -> Outcome {
    let cubic = |i: usize| [0, 1, 2, 3].map(|k| noise(4 * i + k));
    let sample = |i: usize, k: usize| {
        let x = kernels::place(k);
        let exact = cubic(i).iter().rev().fold(0.0, |sum, c| sum * x + c);
        exact + 1e-3 * noise(7 * i + 13 * k)
    };
    let curves: Vec<_> = (0..n).map(|i| std::array::from_fn(|k| sample(i, k))).collect();
    let curves_device = stream.upload(&curves)?;
    let mut cubics = stream.zeros::<[f32; 4]>(n)?;
    let ms = median_ms(stream, || {
        let call = kernels::fit_all(&curves_device, &mut cubics);
        stream.launch(Grid::cover(n, 128), call)?;
        Ok(())
    })?;
    let cubics = cubics.to_vec()?;
    let on_host = curves.iter().map(|curve| kernels::fit(curve).map(Into::into));
    let expected: Vec<[f32; 4]> = on_host.collect::<Option<_>>().unwrap_or_default();
    expect_equal("cubics", &cubics, &expected)?;
    // And they are the curves that the noise was added to.
    let exact: Vec<[f32; 4]> = (0..n).map(cubic).collect();
    expect_close("found curves", cubics.as_flattened(), exact.as_flattened(), 0.01)?;
    print_rate("fits of a cubic", ms, n as f64 / (ms * 1e3), "million/s");
    Ok(())
}

/// Finds the singular values of `n` matrices.
fn stretch(stream: &Stream, n: usize) -> Outcome {
    let matrices: Vec<[f32; 9]> =
        (0..n).map(|i| std::array::from_fn(|k| noise(9 * i + k))).collect();
    let matrices_device = stream.upload(&matrices)?;
    let mut values = stream.zeros::<[f32; 3]>(n)?;
    let ms = median_ms(stream, || {
        let call = kernels::stretch_all(&matrices_device, &mut values);
        stream.launch(Grid::cover(n, 128), call)?;
        Ok(())
    })?;
    let values = values.to_vec()?;
    let expected: Vec<[f32; 3]> = matrices.iter().map(kernels::stretch).collect();
    expect_close("singular values", values.as_flattened(), expected.as_flattened(), 1e-6)?;
    // Their squares sum up to those of the elements.
    let squares = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>();
    let of_values: Vec<f32> = values.iter().map(|values| squares(values)).collect();
    let of_matrices: Vec<f32> = matrices.iter().map(|matrix| squares(matrix)).collect();
    expect_close("squares", &of_values, &of_matrices, 1e-5)?;
    print_rate("singular values of 3 by 3", ms, n as f64 / (ms * 1e3), "million/s");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn decompositions_are_the_hosts() {
        raddle_examples::on_every_device(&[1, 700], super::run);
    }
}
