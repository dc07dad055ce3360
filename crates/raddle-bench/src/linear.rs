//! Benchmarks of products as models run them: with constant weights in 16 bits, packed
//! ahead, with the fastest of the kernels that tuning chooses from; and in 32 bits.

use raddle::prelude::*;
use raddle_kernels::Activation;
use raddle_kernels::conv::{Choice, Convolution, Filters, Operands, Weights, Window};
use raddle_kernels::dense::{self, Arithmetic, Class, Dims, Product, Scalar, View};

use crate::Outcome;
use crate::kernels::memory::noise;
use crate::measure::{Bench, Time, Unit, expect_close};

/// `[m, k]` times the turned `[n, k]`.
pub fn linear(bench: &Bench) -> Outcome {
    let cubes = [512usize, 1_024, 2_048, 4_096, 8_192].map(|edge| [edge; 3]);
    let rows = [1usize, 16, 64].map(|m| [m, 4_096, 4_096]);
    let all: Vec<[usize; 3]> = cubes.into_iter().chain(rows).collect();
    for shape in bench.shapes(&all, &[[3, 72, 128]]) {
        measure(bench, shape)?;
    }
    Ok(())
}

/// Products of `f32` as models lower them, with and without tensor cores; `k` is the right
/// operand's rows.
pub fn products_f32(bench: &Bench) -> Outcome {
    for [m, n, k] in bench.shapes(&[[4_096usize; 3], [64, 4_096, 4_096]], &[[70, 130, 48]]) {
        let number = |seed: u64, at: usize| noise(seed, at as u64);
        let left: Vec<f32> = (0..m * k).map(|at| number(31, at)).collect();
        let right: Vec<f32> = (0..k * n).map(|at| number(32, at)).collect();
        let pack = |elements: &[f32]| -> Vec<u64> {
            let word = |pair: &[f32]| {
                let bits = pair.iter().map(|x| u64::from(x.to_bits()));
                bits.rev().fold(0, |word, bits| word << 32 | bits)
            };
            elements.chunks(2).map(word).collect()
        };
        let (a, b) = (bench.stream.upload(&pack(&left))?, bench.stream.upload(&pack(&right))?);
        let view = |strides: [i64; 2]| View::new(Scalar::F32, 0, &strides);
        let product = Product {
            left: view([k as i64, 0]),
            right: view([0, 1]),
            left_step: 1,
            right_step: n as i32,
            depth: k as u32,
            scalar: 0,
        };
        let of = (Scalar::F32, Dims::new(&[m, n])?);
        for (name, arithmetic, unit) in [
            ("f32", Arithmetic::F32, Unit::TflopsF32),
            ("tf32", Arithmetic::TF32, Unit::TflopsTf32),
        ] {
            let operands = || [a.as_slice(), b.as_slice()];
            let multiply =
                || dense::product(&bench.stream, Class::F32, of, product, arithmetic, operands());
            let time = bench.time(20, || {
                multiply()?;
                Ok(())
            })?;
            let (out, _) = multiply()?;
            for i in 0..20usize {
                let (row, column) = (i * 7_919 % m, i * 104_729 % n);
                let term =
                    |p: usize| f64::from(left[row * k + p]) * f64::from(right[p * n + column]);
                let (expected, sizes) = (0..k)
                    .map(term)
                    .fold((0.0, 0.0), |(sum, sizes), term| (sum + term, sizes + term.abs()));
                let at = row * n + column;
                let word = out.slice(at / 2..=at / 2)?.to_vec()?[0];
                let found = f32::from_bits((word >> (at % 2 * 32)) as u32);
                let bound = if arithmetic == Arithmetic::F32 { 1e-5 } else { 1e-3 };
                let what = format!("product in {name} at ({row}, {column})");
                expect_close(&what, found.into(), expected, bound * sizes)?;
            }
            let shape =
                if m == k { format!("{name} {m}^3") } else { format!("{name} {m}x{n}x{k}") };
            let amount = 2.0 * m as f64 * n as f64 * k as f64;
            bench.report("products_f32", &shape, time, amount, unit);
        }
    }
    Ok(())
}

fn measure(bench: &Bench, [m, n, k]: [usize; 3]) -> Outcome {
    let stream = &bench.stream;
    let number = |seed: u64, at: usize| f16::from_f32(noise(seed, at as u64)).to_f32();
    let elements: Vec<f32> = (0..n * k).map(|at| number(22, at)).collect();
    let window = Window::point(k);
    let filters = Filters { elements: &elements, channels: k, window };
    let weights = Weights::<f16>::pack(stream, n, filters, None, None)?;
    let input: Vec<f16> = (0..m * k).map(|at| f16::from_f32(number(21, at))).collect();
    let input = stream.upload(&input)?;
    let multiprocessors = bench.multiprocessors as usize;
    let (windows, identity) = ([Some(window), None], Activation::IDENTITY);
    let conv = Convolution::new(&weights, windows, m, [1, 1], identity, multiprocessors)?;
    let operands =
        || Operands { input: input.as_slice(), shortcut: None, weights: &weights, residual: None };
    let mut best: Option<(Time, Choice)> = None;
    for choice in conv.candidates(multiprocessors) {
        let candidate = conv.with_choice(choice);
        let time = bench.time(20, || {
            candidate.run(stream, operands())?;
            Ok(())
        })?;
        if best.is_none_or(|(best, _)| time.median_ms < best.median_ms) {
            best = Some((time, choice));
        }
    }
    let (time, choice) = best.ok_or("there is no kernel for this shape")?;
    let out = conv.with_choice(choice).run(stream, operands())?.to_vec()?;
    let pitch = out.len() / m;
    for i in 0..50usize {
        let (row, column) = (i * 7_919 % m, i * 104_729 % n);
        let product =
            |p: usize| f64::from(number(21, row * k + p)) * f64::from(elements[column * k + p]);
        let expected: f64 = (0..k).map(product).sum();
        let found = f64::from(out[row * pitch + column].to_f32());
        let tolerance = expected.abs() / 1024.0 + 0.02;
        expect_close(&format!("linear at ({row}, {column})"), found, expected, tolerance)?;
    }
    let name = if m == k { format!("f16 {m}^3") } else { format!("f16 {m}x{n}x{k}") };
    eprintln!("linear {name}: {choice}");
    bench.report("linear", &name, time, 2.0 * m as f64 * n as f64 * k as f64, Unit::Tflops);
    Ok(())
}
