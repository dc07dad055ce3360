//! Times Raddle's kernels on the first GPU; one JSON line for each result.
//!
//! `cargo run --release -p raddle-bench [NAME…]`, and `baseline.py` beside the crate
//! for what PyTorch reaches on the same GPU. Inputs are random, made on the device;
//! each result is checked against host arithmetic before it is timed. A time is the
//! median over samples, each taken with a pair of events around one launch.

#![allow(missing_docs)]

mod kernels;

use std::error::Error;

use kernels::gemm::{CLUSTER, SHARED_BYTES, THREADS, TILE_K, TILE_M, TILE_N, gemm_f16};
use kernels::memory::{self, TILE, TRANSPOSE_THREADS, noise};
use kernels::rows::{self, Half8};
use raddle::device::matrix::Swizzle;
use raddle::device::tma::{L2Promotion, TensorElement, TensorMapSpec};
use raddle::prelude::*;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    let device = match Device::cuda(0) {
        Ok(device) => device,
        Err(reason) => {
            println!("skipped: no usable GPU: {reason}");
            return Ok(());
        }
    };
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let bench = Bench { stream: device.stream()?, blocks: device.multiprocessor_count() };
    let all: [(&str, Benchmark); 6] = [
        ("add", add),
        ("sum", sum),
        ("transpose", transpose),
        ("softmax", softmax),
        ("layer_norm", layer_norm),
        ("gemm", gemm),
    ];
    let mut failures = 0;
    for (name, run) in all {
        if (wanted.is_empty() || wanted.iter().any(|w| w == name))
            && let Err(error) = run(&bench)
        {
            failures += 1;
            println!("{{\"bench\":\"{name}\",\"error\":{:?}}}", error.to_string());
        }
    }
    if failures > 0 { Err(format!("{failures} benchmarks failed").into()) } else { Ok(()) }
}

type Benchmark = fn(&Bench) -> Outcome;

struct Bench {
    stream: Stream,
    /// Multiprocessors of the device.
    blocks: u32,
}

impl Bench {
    /// Median milliseconds of one call of `work`.
    fn median_ms(&self, samples: usize, mut work: impl FnMut() -> Outcome) -> Outcome<f64> {
        for _ in 0..samples.div_ceil(4) {
            work()?;
        }
        let mut times = Vec::with_capacity(samples);
        for _ in 0..samples {
            let (result, ms) = self.stream.time(&mut work)?;
            result?;
            times.push(ms);
        }
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }

    fn report(&self, name: &str, shape: &str, ms: f64, value: f64, unit: &str) {
        let device = self.stream.device().name();
        println!(
            "{{\"bench\":\"{name}\",\"by\":\"raddle\",\"shape\":\"{shape}\",\"median_us\":{:.2},\"value\":{value:.3},\"unit\":\"{unit}\",\"device\":{device:?}}}",
            ms * 1e3
        );
    }

    /// A grid of `waves` blocks of `threads` for each multiprocessor.
    fn persistent(&self, waves: u32, threads: u32) -> Grid {
        Grid::new(self.blocks * waves, threads)
    }

    fn noise_f32(&self, seed: u64, vectors: usize) -> Outcome<Buffer<F32x4>> {
        // SAFETY: the launch below writes every element before anybody reads.
        let mut buffer = unsafe { self.stream.uninitialized(vectors)? };
        self.stream.launch(self.persistent(8, 256), memory::fill_f32(seed, &mut buffer))?;
        Ok(buffer)
    }

    fn noise_f16(&self, seed: u64, vectors: usize) -> Outcome<Buffer<Half8>> {
        // SAFETY: as in `noise_f32`.
        let mut buffer = unsafe { self.stream.uninitialized(vectors)? };
        self.stream.launch(self.persistent(8, 256), memory::fill_f16(seed, &mut buffer))?;
        Ok(buffer)
    }
}

fn expect_close(what: &str, found: f64, expected: f64, tolerance: f64) -> Outcome {
    if (found - expected).abs() <= tolerance {
        Ok(())
    } else {
        Err(format!("{what}: expected {expected}, found {found} (tolerance {tolerance})").into())
    }
}

fn tb_per_s(bytes: usize, ms: f64) -> f64 {
    bytes as f64 / ms / 1e9
}

fn add(bench: &Bench) -> Outcome {
    let len = 1usize << 28;
    let (x, y) = (bench.noise_f32(1, len / 4)?, bench.noise_f32(2, len / 4)?);
    let mut z = bench.noise_f32(3, len / 4)?;
    let ms = bench.median_ms(40, || {
        bench.stream.launch(bench.persistent(16, 512), memory::add(&x, &y, &mut z))?;
        Ok(())
    })?;
    for at in [0, 12_345, len / 4 - 1] {
        let found = z.slice(at..=at)?.to_vec()?[0][3];
        let i = (4 * at + 3) as u64;
        expect_close("add", found.into(), (noise(1, i) + noise(2, i)).into(), 0.0)?;
    }
    bench.report("add", "f32 2^28", ms, tb_per_s(12 * len, ms), "TB/s");
    Ok(())
}

fn sum(bench: &Bench) -> Outcome {
    let len = 1usize << 28;
    let x = bench.noise_f32(4, len / 4)?;
    let blocks = bench.blocks * 4;
    let mut partial = bench.stream.zeros::<f32>(blocks as usize)?;
    let ms = bench.median_ms(40, || {
        bench.stream.launch(Grid::new(blocks, 512), memory::sum(&x, partial.chunks_mut(1)))?;
        Ok(())
    })?;
    let found: f64 = partial.to_vec()?.into_iter().map(f64::from).sum();
    let expected: f64 = (0..len as u64).map(|i| f64::from(noise(4, i))).sum();
    // Each of the partial sums is off by at most its length in steps of its size.
    expect_close("sum", found, expected, 1.0)?;
    bench.report("sum", "f32 2^28", ms, tb_per_s(4 * len, ms), "TB/s");
    Ok(())
}

fn transpose(bench: &Bench) -> Outcome {
    let edge = 16_384usize;
    let x = bench.noise_f32(13, edge * edge / 4)?;
    let mut y = bench.stream.zeros::<f32>(edge * edge)?;
    let tiles = (edge / TILE) as u32;
    let ms = bench.median_ms(40, || {
        let call = memory::transpose(&x, edge as u32, y.matrix_mut(edge, edge));
        bench.stream.launch(Grid::new((tiles, tiles), TRANSPOSE_THREADS), call)?;
        Ok(())
    })?;
    let found = y.to_vec()?;
    for i in (0..edge * edge).step_by(4_097) {
        let (row, column) = (i / edge, i % edge);
        let expected = noise(13, (column * edge + row) as u64);
        expect_close("transpose", found[i].into(), expected.into(), 0.0)?;
    }
    bench.report("transpose", "f32 16384^2", ms, tb_per_s(8 * edge * edge, ms), "TB/s");
    Ok(())
}

/// Threads on a multiprocessor at 64 registers each.
const RESIDENT_THREADS: u32 = 1024;
/// Rows, columns and threads of a block.
const ROW_SHAPES: [(usize, usize, u32); 3] =
    [(16_384, 4_096, 256), (65_536, 1_024, 64), (4_096, 32_768, 1_024)];

fn softmax(bench: &Bench) -> Outcome {
    for (rows, columns, threads) in ROW_SHAPES {
        let x = bench.noise_f16(5, rows * columns / 8)?;
        let mut y = bench.noise_f16(6, rows * columns / 8)?;
        let grid = bench.persistent(RESIDENT_THREADS / threads, threads);
        let ms = bench.median_ms(60, || {
            let y = y.chunks_mut(columns / 8);
            match threads {
                256 => bench.stream.launch(grid, rows::softmax::<2, 256>(&x, y))?,
                64 => bench.stream.launch(grid, rows::softmax::<2, 64>(&x, y))?,
                _ => bench.stream.launch(grid, rows::softmax::<4, 1024>(&x, y))?,
            };
            Ok(())
        })?;
        for row in [0, rows / 2 + 1, rows - 1] {
            let (x, y) = (host_row(&x, row, columns)?, host_row(&y, row, columns)?);
            let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = x.iter().map(|v| (v - max).exp()).sum();
            for (x, y) in x.iter().zip(&y) {
                let expected = (x - max).exp() / total;
                expect_close("softmax", *y, expected, expected / 1024.0 + 6e-8)?;
            }
        }
        let bytes = 4 * rows * columns;
        bench.report("softmax", &format!("f16 {rows}x{columns}"), ms, tb_per_s(bytes, ms), "TB/s");
    }
    Ok(())
}

fn layer_norm(bench: &Bench) -> Outcome {
    let epsilon = 1e-5f32;
    for (rows, columns, threads) in ROW_SHAPES {
        let x = bench.noise_f16(7, rows * columns / 8)?;
        let (weight, bias) = (bench.noise_f16(8, columns / 8)?, bench.noise_f16(9, columns / 8)?);
        let mut y = bench.noise_f16(10, rows * columns / 8)?;
        let grid = bench.persistent(RESIDENT_THREADS / threads, threads);
        let ms = bench.median_ms(60, || {
            let y = y.chunks_mut(columns / 8);
            match threads {
                256 => bench
                    .stream
                    .launch(grid, rows::layer_norm::<2, 256>(&x, &weight, &bias, epsilon, y))?,
                64 => bench
                    .stream
                    .launch(grid, rows::layer_norm::<2, 64>(&x, &weight, &bias, epsilon, y))?,
                _ => bench
                    .stream
                    .launch(grid, rows::layer_norm::<4, 1024>(&x, &weight, &bias, epsilon, y))?,
            };
            Ok(())
        })?;
        let (weight, bias) = (host_row(&weight, 0, columns)?, host_row(&bias, 0, columns)?);
        for row in [0, rows / 2 + 1, rows - 1] {
            let (x, y) = (host_row(&x, row, columns)?, host_row(&y, row, columns)?);
            let mean = x.iter().sum::<f64>() / columns as f64;
            let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / columns as f64;
            let scale = 1.0 / (variance + f64::from(epsilon)).sqrt();
            for i in 0..columns {
                let expected = (x[i] - mean) * scale * weight[i] + bias[i];
                expect_close("layer_norm", y[i], expected, expected.abs() / 1024.0 + 1e-3)?;
            }
        }
        let bytes = 4 * rows * columns;
        bench.report(
            "layer_norm",
            &format!("f16 {rows}x{columns}"),
            ms,
            tb_per_s(bytes, ms),
            "TB/s",
        );
    }
    Ok(())
}

fn host_row(buffer: &Buffer<Half8>, row: usize, columns: usize) -> Outcome<Vec<f64>> {
    let range = row * columns / 8..(row + 1) * columns / 8;
    let vectors = buffer.slice(range)?.to_vec()?;
    Ok(vectors.iter().flat_map(|v| v.to_array()).flat_map(f16x2::to_f32s).map(f64::from).collect())
}

fn gemm(bench: &Bench) -> Outcome {
    for edge in [4_096usize, 8_192, 16_384] {
        let (m, n, k) = (edge, edge, edge);
        let a = noise_elements(bench, 11, m * k)?;
        let b = noise_elements(bench, 12, n * k)?;
        let mut c = bench.stream.zeros::<f16>(m * n)?;
        let spec = |rows: usize, tile: usize| {
            TensorMapSpec::dense(
                TensorElement::F16,
                &[k as u64, rows as u64],
                &[TILE_K as u32, tile as u32],
            )
            .and_then(|spec| spec.with_swizzle(Swizzle::Span128))
            .map(|spec| spec.with_l2_promotion(L2Promotion::Bytes256))
        };
        // Each block of a cluster loads its share of B for all of them.
        let (map_a, map_b) = (a.tensor(&spec(m, TILE_M)?)?, b.tensor(&spec(n, TILE_N / CLUSTER)?)?);
        let blocks = bench.blocks / CLUSTER as u32 * CLUSTER as u32;
        let grid = Grid::new(blocks, THREADS).cluster(CLUSTER as u32).shared_bytes(SHARED_BYTES);
        let ms = bench.median_ms(20, || {
            // SAFETY: the maps have the tile's boxes, `c` has `m * n` elements, and
            // the shape is a multiple of the tile.
            let call = unsafe { gemm_f16(&map_a, &map_b, &mut c, m as u32, n as u32, k as u32) };
            bench.stream.launch(grid, call)?;
            Ok(())
        })?;
        check_gemm(&a, &b, &c, (m, n, k))?;
        let tflops = 2.0 * (m * n * k) as f64 / ms / 1e9;
        bench.report("gemm", &format!("f16 {edge}^3"), ms, tflops, "TFLOP/s");
    }
    Ok(())
}

fn noise_elements(bench: &Bench, seed: u64, len: usize) -> Outcome<Buffer<f16>> {
    let elements: Vec<f16> = (0..len as u64).map(|i| f16::from_f32(noise(seed, i))).collect();
    Ok(bench.stream.upload(&elements)?)
}

/// Compares elements all over C with dot products in double precision.
fn check_gemm(
    a: &Buffer<f16>,
    b: &Buffer<f16>,
    c: &Buffer<f16>,
    (m, n, k): (usize, usize, usize),
) -> Outcome {
    for i in 0..200usize {
        let (row, column) = (i * 7_919 % m, i * 104_729 % n);
        let line = |buffer: &Buffer<f16>, at: usize| buffer.slice(at * k..(at + 1) * k)?.to_vec();
        let (left, right) = (line(a, row)?, line(b, column)?);
        let expected: f64 = left
            .iter()
            .zip(&right)
            .map(|(x, y)| f64::from(x.to_f32()) * f64::from(y.to_f32()))
            .sum();
        let found = c.slice(row * n + column..=row * n + column)?.to_vec()?[0].to_f32();
        // Products are exact; the sum in f32 is off by little against the rounding
        // of the result to f16.
        expect_close(
            &format!("gemm at ({row}, {column})"),
            found.into(),
            expected,
            expected.abs() / 1024.0 + 0.02,
        )?;
    }
    Ok(())
}
