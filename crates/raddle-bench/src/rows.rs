//! Benchmarks of softmax and layer norm.

use raddle::prelude::*;

use crate::Outcome;
use crate::kernels::rows::{self, Half8, WARP_ROWS_THREADS};
use crate::measure::{Bench, Unit, expect_close};

/// Rows and columns.
fn shapes(bench: &Bench) -> Vec<(usize, usize)> {
    let gpu = [(16_384, 4_096), (65_536, 1_024), (4_096, 32_768)];
    bench.shapes(&gpu, &[(3, 4_096), (5, 1_024), (2, 32_768)])
}

const EPSILON: f32 = 1e-5;

pub fn softmax(bench: &Bench) -> Outcome {
    for (rows, columns) in shapes(bench) {
        let x = bench.noise_f16(5, rows * columns / 8)?;
        let mut y = bench.noise_f16(6, rows * columns / 8)?;
        let time = bench.time(60, || {
            let (stream, y) = (&bench.stream, y.chunks_mut(columns / 8));
            match columns {
                1_024 => stream.launch(warps(rows), rows::softmax_by_warps::<4>(&x, y))?,
                4_096 => {
                    stream.launch(blocks(rows, 128), rows::softmax_by_blocks::<4, 128>(&x, y))?
                }
                _ => stream.launch(blocks(rows, 256), rows::softmax_by_blocks::<16, 256>(&x, y))?,
            };
            Ok(())
        })?;
        for row in [0, rows / 2, rows - 1] {
            let (x, y) = (host_row(&x, row, columns)?, host_row(&y, row, columns)?);
            let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = x.iter().map(|v| (v - max).exp()).sum();
            for (x, y) in x.iter().zip(&y) {
                let expected = (x - max).exp() / total;
                expect_close("softmax", *y, expected, expected / 1024.0 + 6e-8)?;
            }
        }
        let shape = format!("f16 {rows}x{columns}");
        bench.report("softmax", &shape, time, 4.0 * (rows * columns) as f64, Unit::TbPerS);
    }
    Ok(())
}

pub fn layer_norm(bench: &Bench) -> Outcome {
    for (rows, columns) in shapes(bench) {
        let x = bench.noise_f16(7, rows * columns / 8)?;
        let (w, b) = (bench.noise_f16(8, columns / 8)?, bench.noise_f16(9, columns / 8)?);
        let mut y = bench.noise_f16(10, rows * columns / 8)?;
        let time = bench.time(60, || {
            let (stream, y) = (&bench.stream, y.chunks_mut(columns / 8));
            match columns {
                1_024 => {
                    let call = rows::layer_norm_by_warps::<4>(&x, &w, &b, EPSILON, y);
                    stream.launch(warps(rows), call)?
                }
                4_096 => {
                    let call = rows::layer_norm_by_blocks::<4, 128>(&x, &w, &b, EPSILON, y);
                    stream.launch(blocks(rows, 128), call)?
                }
                _ => {
                    let call = rows::layer_norm_by_blocks::<16, 256>(&x, &w, &b, EPSILON, y);
                    stream.launch(blocks(rows, 256), call)?
                }
            };
            Ok(())
        })?;
        let (weight, bias) = (host_row(&w, 0, columns)?, host_row(&b, 0, columns)?);
        for row in [0, rows / 2, rows - 1] {
            let (x, y) = (host_row(&x, row, columns)?, host_row(&y, row, columns)?);
            let mean = x.iter().sum::<f64>() / columns as f64;
            let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / columns as f64;
            let scale = 1.0 / (variance + f64::from(EPSILON)).sqrt();
            for i in 0..columns {
                let expected = (x[i] - mean) * scale * weight[i] + bias[i];
                expect_close("layer_norm", y[i], expected, expected.abs() / 1024.0 + 1e-3)?;
            }
        }
        let shape = format!("f16 {rows}x{columns}");
        bench.report("layer_norm", &shape, time, 4.0 * (rows * columns) as f64, Unit::TbPerS);
    }
    Ok(())
}

/// A warp to each row.
fn warps(rows: usize) -> Grid {
    Grid::cover(rows * WARP as usize, WARP_ROWS_THREADS)
}

/// A block to each row.
fn blocks(rows: usize, threads: u32) -> Grid {
    Grid::new(rows as u32, threads)
}

fn host_row(buffer: &Buffer<Half8>, row: usize, columns: usize) -> Outcome<Vec<f64>> {
    let range = row * columns / 8..(row + 1) * columns / 8;
    let vectors = buffer.slice(range)?.to_vec()?;
    Ok(vectors.iter().flat_map(|v| v.to_array()).flat_map(f16x2::to_f32s).map(f64::from).collect())
}
