//! Benchmarks of matrix products: on tensor cores, and of what checks cost.

use raddle::prelude::*;
use raddle_kernels::gemm::product;

use crate::Outcome;
use crate::kernels::checks::{self, gemm_f32, gemm_f32_unchecked};
use crate::kernels::memory::noise;
use crate::measure::{Bench, Unit, expect_close};

/// `C = A * Bᵀ`.
pub fn gemm(bench: &Bench) -> Outcome {
    let cubes = [4_096usize, 8_192, 16_384].map(|edge| (edge, edge, edge));
    for (m, n, k) in bench.shapes(&cubes, &[(200, 264, 328)]) {
        let a = noise_elements(bench, 11, m * k)?;
        let b = noise_elements(bench, 12, n * k)?;
        let multiply = || product(&bench.stream, [m, n, k], a.as_slice(), b.as_slice());
        let time = bench.time(20, || {
            multiply()?;
            Ok(())
        })?;
        check(&a, &b, &multiply()?, (m, n, k))?;
        let shape = if m == k { format!("f16 {m}^3") } else { format!("f16 {m}x{n}x{k}") };
        bench.report("gemm", &shape, time, 2.0 * m as f64 * n as f64 * k as f64, Unit::Tflops);
    }
    Ok(())
}

fn noise_elements(bench: &Bench, seed: u64, len: usize) -> Outcome<Buffer<f16>> {
    let elements: Vec<f16> = (0..len as u64).map(|i| f16::from_f32(noise(seed, i))).collect();
    Ok(bench.stream.upload(&elements)?)
}

/// Compares elements all over C with dot products in double precision.
fn check(
    a: &Buffer<f16>,
    b: &Buffer<f16>,
    c: &Buffer<f16>,
    (m, n, k): (usize, usize, usize),
) -> Outcome {
    for i in 0..200usize {
        let (row, column) = (i * 7_919 % m, i * 104_729 % n);
        let line = |buffer: &Buffer<f16>, at: usize| buffer.slice(at * k..(at + 1) * k)?.to_vec();
        let (left, right) = (line(a, row)?, line(b, column)?);
        let products = left.iter().zip(&right).map(|(x, y)| (x.to_f32(), y.to_f32()));
        let expected: f64 = products.map(|(x, y)| f64::from(x) * f64::from(y)).sum();
        let found = c.slice(row * n + column..=row * n + column)?.to_vec()?[0].to_f32();
        // Products are exact; the sum in f32 is off by little against the rounding
        // of the result to f16.
        let tolerance = expected.abs() / 1024.0 + 0.02;
        expect_close(&format!("gemm at ({row}, {column})"), found.into(), expected, tolerance)?;
    }
    Ok(())
}

/// What bounds checks and their panics cost: a reduction and a product with them and
/// without.
pub fn checks(bench: &Bench) -> Outcome {
    crate::memory::sum(bench)?;
    crate::memory::sum_without_checks(bench)?;
    for edge in bench.shapes(&[4_096usize], &[64]) {
        let (vectors, tiles) = (edge / 4, (edge / checks::TILE) as u32);
        let (a, b) = (bench.noise_f32(14, edge * vectors)?, bench.noise_f32(15, edge * vectors)?);
        let mut c = bench.stream.zeros::<f32>(edge * edge)?;
        let grid = Grid::new((tiles, tiles), checks::THREADS);
        for (name, is_checked) in [("gemm_f32", true), ("gemm_f32, no checks", false)] {
            let time = bench.time(20, || {
                let c = c.matrix_mut(edge, edge);
                if is_checked {
                    bench.stream.launch(grid, gemm_f32(&a, &b, vectors as u32, c))?;
                } else {
                    // SAFETY: square matrices of whole tiles.
                    let call = unsafe { gemm_f32_unchecked(&a, &b, vectors as u32, c) };
                    bench.stream.launch(grid, call)?;
                }
                Ok(())
            })?;
            for i in 0..20usize {
                let (row, column) = (i * 7_919 % edge, i * 104_729 % edge);
                let product = |k: usize| {
                    let left = noise(14, (row * edge + k) as u64);
                    f64::from(left) * f64::from(noise(15, (k * edge + column) as u64))
                };
                let expected: f64 = (0..edge).map(product).sum();
                let at = row * edge + column;
                let found = c.slice(at..=at)?.to_vec()?[0];
                expect_close(name, found.into(), expected, 1e-6 * edge as f64)?;
            }
            let shape = format!("f32 {edge}^3");
            bench.report(name, &shape, time, 2.0 * (edge as f64).powi(3), Unit::TflopsF32);
        }
    }
    Ok(())
}
