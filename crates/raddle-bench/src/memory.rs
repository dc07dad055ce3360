//! Benchmarks of kernels that only move memory.

use raddle::prelude::*;

use crate::Outcome;
use crate::kernels::checks::sum_unchecked;
use crate::kernels::memory::{self, TILE, TRANSPOSE_THREADS, noise};
use crate::measure::{Bench, Time, Unit, expect_close};

/// Elements of the vectors, and how they are called.
fn lengths(bench: &Bench) -> Vec<(usize, &'static str)> {
    bench.shapes(&[(1 << 28, "f32 2^28")], &[(1 << 14, "f32 2^14")])
}

pub fn add(bench: &Bench) -> Outcome {
    for (len, shape) in lengths(bench) {
        let (x, y) = (bench.noise_f32(1, len / 4)?, bench.noise_f32(2, len / 4)?);
        let mut z = bench.noise_f32(3, len / 4)?;
        // A thread to each vector: the blocks that run at a time work on neighbouring
        // memory, which a loop over a smaller grid does not give.
        let time = bench.time(40, || {
            bench.stream.launch(Grid::cover(len / 4, 128), memory::add(&x, &y, &mut z))?;
            Ok(())
        })?;
        for at in [0, len / 8 + 345, len / 4 - 1] {
            let found = z.slice(at..=at)?.to_vec()?[0][3];
            let i = (4 * at + 3) as u64;
            expect_close("add", found.into(), (noise(1, i) + noise(2, i)).into(), 0.0)?;
        }
        bench.report("add", shape, time, 12.0 * len as f64, Unit::TbPerS);
    }
    Ok(())
}

pub fn sum(bench: &Bench) -> Outcome {
    for (len, shape) in lengths(bench) {
        let time = time_sum(bench, len, |grid, x, partial| {
            bench.stream.launch(grid, memory::sum(x, partial.chunks_mut(1)))?;
            Ok(())
        })?;
        bench.report("sum", shape, time, 4.0 * len as f64, Unit::TbPerS);
    }
    Ok(())
}

/// [`sum`] without bounds checks.
pub fn sum_without_checks(bench: &Bench) -> Outcome {
    for (len, shape) in lengths(bench) {
        let time = time_sum(bench, len, |grid, x, partial| {
            // SAFETY: nothing is asked of the launch.
            let call = unsafe { sum_unchecked(x, partial.chunks_mut(1)) };
            bench.stream.launch(grid, call)?;
            Ok(())
        })?;
        bench.report("sum, no checks", shape, time, 4.0 * len as f64, Unit::TbPerS);
    }
    Ok(())
}

fn time_sum(
    bench: &Bench,
    len: usize,
    launch: impl Fn(Grid, &Buffer<F32x4>, &mut Buffer<f32>) -> Outcome,
) -> Outcome<Time> {
    let x = bench.noise_f32(4, len / 4)?;
    let blocks = bench.multiprocessors * 4;
    let mut partial = bench.stream.zeros::<f32>(blocks as usize)?;
    let time = bench.time(40, || launch(Grid::new(blocks, 512), &x, &mut partial))?;
    let found: f64 = partial.to_vec()?.into_iter().map(f64::from).sum();
    let expected: f64 = (0..len as u64).map(|i| f64::from(noise(4, i))).sum();
    // Each of the partial sums is off by at most its length in steps of its size.
    expect_close("sum", found, expected, 1.0)?;
    Ok(time)
}

pub fn transpose(bench: &Bench) -> Outcome {
    for (edge, shape) in bench.shapes(&[(16_384usize, "f32 16384^2")], &[(128, "f32 128^2")]) {
        let x = bench.noise_f32(13, edge * edge / 4)?;
        let mut y = bench.stream.zeros::<f32>(edge * edge)?;
        let tiles = (edge / TILE) as u32;
        let time = bench.time(40, || {
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
        bench.report("transpose", shape, time, 8.0 * (edge * edge) as f64, Unit::TbPerS);
    }
    Ok(())
}
