//! Benchmark of attention: batch 4, 16 heads, as many keys as queries, with and without a
//! causal mask.

use raddle::prelude::*;
use raddle_kernels::attention::{Attention, Element, Layout, Method, attend, attend_by};

use crate::Outcome;
use crate::kernels::memory::noise;
use crate::measure::{Bench, Unit, expect_close};

/// Replays that are measured.
const REPLAYS: usize = 200;

/// In f16 for heads of 64 and 128 elements, and in f32 that is multiplied as tf32.
pub fn attention(bench: &Bench) -> Outcome {
    let gpu = [512usize, 2_048, 4_096].map(|len| [4, 16, len]);
    for [batch, heads, len] in bench.shapes(&gpu, &[[1, 2, 150]]) {
        for size in [64, 128] {
            for is_causal in [false, true] {
                let shape = shape([batch, heads, len, size], is_causal);
                measure::<f16>(bench, &shape, "f16", Unit::Tflops)?;
            }
        }
    }
    for [batch, heads, len] in bench.shapes(&[[4, 16, 2_048]], &[[1, 1, 70]]) {
        for size in [64, 128] {
            let shape = shape([batch, heads, len, size], false);
            measure::<f32>(bench, &shape, "tf32", Unit::TflopsTf32)?;
        }
    }
    Ok(())
}

fn shape([images, heads, len, size]: [usize; 4], is_causal: bool) -> Attention {
    Attention {
        images,
        heads: [heads; 2],
        lens: [len; 2],
        sizes: [size; 2],
        layouts: [Layout::Heads; 4],
        scale: 1.0 / (size as f32).sqrt(),
        is_causal,
        past: 0,
    }
}

/// An element type as the host sees it.
trait Real: Element {
    /// Whether there are several kernels.
    const HAS_METHODS: bool;
    fn of(x: f32) -> Self;
    fn wide(self) -> f64;
}

impl Real for f16 {
    const HAS_METHODS: bool = true;
    fn of(x: f32) -> Self {
        Self::from_f32(x)
    }
    fn wide(self) -> f64 {
        self.to_f32().into()
    }
}

impl Real for f32 {
    const HAS_METHODS: bool = false;
    fn of(x: f32) -> Self {
        x
    }
    fn wide(self) -> f64 {
        self.into()
    }
}

fn measure<T: Real>(bench: &Bench, of: &Attention, name: &str, unit: Unit) -> Outcome {
    let stream = &bench.stream;
    let [len, size] = [of.lens[0], of.sizes[0]];
    let count = of.images * of.heads[0] * len * size;
    let number = |seed: u64, at: usize| T::of(4.0 * noise(seed, at as u64));
    let upload =
        |seed: u64| stream.upload(&(0..count).map(|at| number(seed, at)).collect::<Vec<T>>());
    let (q, k, v) = (upload(41)?, upload(42)?, upload(43)?);
    let mut out = upload(44)?;
    let operands = || [q.as_slice(), k.as_slice(), v.as_slice()];
    let terms = 4.0 * count as f64 * len as f64 * if of.is_causal { 0.5 } else { 1.0 };
    let mask = if of.is_causal { " causal" } else { "" };
    let [images, heads] = [of.images, of.heads[0]];
    let shape = format!("{name} {images}x{heads}x{len}x{size}{mask}");
    let time = bench.time_in_a_row(REPLAYS, |stream| {
        Ok(attend(stream, of, operands(), None, out.as_slice_mut())?)
    })?;
    check(of, number, &stream.to_vec(&out)?)?;
    bench.report("attention", &shape, time, terms, unit);
    if T::HAS_METHODS && stream.device().is_gpu() {
        let time = bench.time_in_a_row(REPLAYS, |stream| {
            Ok(attend_by(Method::Warps, stream, of, operands(), None, out.as_slice_mut())?)
        })?;
        check(of, number, &stream.to_vec(&out)?)?;
        let tflops = terms / time.median_ms / 1e9;
        eprintln!("attention {shape} by warps, as on other GPUs: {tflops:.1} TFLOP/s");
    }
    Ok(())
}

/// Holds elements all over the output against sums in double precision.
fn check<T: Real>(of: &Attention, number: impl Fn(u64, usize) -> T, out: &[T]) -> Outcome {
    let [len, size] = [of.lens[0], of.sizes[0]];
    let rows = of.images * of.heads[0] * len;
    for i in 0..8usize {
        let row = i * 7_919 % rows;
        let (head, query) = (row / len, row % len);
        let line = |seed: u64, row: usize| {
            let first = (head * len + row) * size;
            (first..first + size).map(|at| number(seed, at).wide()).collect::<Vec<f64>>()
        };
        let own = line(41, query);
        let seen = if of.is_causal { query + 1 } else { len };
        let score = |key: usize| {
            let sum: f64 = own.iter().zip(line(42, key)).map(|(x, y)| x * y).sum();
            sum * f64::from(of.scale)
        };
        let scores: Vec<f64> = (0..seen).map(score).collect();
        let max = scores.iter().fold(f64::NEG_INFINITY, |max, &x| max.max(x));
        let powers: Vec<f64> = scores.iter().map(|x| (x - max).exp()).collect();
        let sum: f64 = powers.iter().sum();
        let mut expected = vec![0.0; size];
        for (key, power) in powers.iter().enumerate() {
            let values = line(43, key);
            expected.iter_mut().zip(values).for_each(|(to, value)| *to += power / sum * value);
        }
        for (column, expected) in expected.into_iter().enumerate() {
            let found = out[row * size + column].wide();
            expect_close(&format!("attention at ({row}, {column})"), found, expected, 2e-2)?;
        }
    }
    Ok(())
}
