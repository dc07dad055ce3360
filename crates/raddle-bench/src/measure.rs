//! Timing, checking and reporting, common to all benchmarks.

use std::cell::RefCell;
use std::process::Command;

use raddle::prelude::*;

use crate::Outcome;
use crate::baseline::Baseline;
use crate::kernels::memory::{fill_f16, fill_f32};
use crate::kernels::rows::Half8;

/// A stream of the device, and what was measured on it.
pub struct Bench {
    pub stream: Stream,
    /// Multiprocessors of the device.
    pub multiprocessors: u32,
    baseline: Baseline,
    /// The driver's version and the highest clock of the multiprocessors, as
    /// `nvidia-smi` prints them.
    driver: String,
    rows: RefCell<Vec<Row>>,
}

/// One result.
struct Row {
    bench: String,
    shape: String,
    value: f64,
    unit: Unit,
    share: Option<f64>,
    baseline: Option<f64>,
}

/// The time of one launch.
#[derive(Clone, Copy)]
pub struct Time {
    pub median_ms: f64,
    pub p95_ms: f64,
}

/// What a value counts.
#[derive(Clone, Copy)]
pub enum Unit {
    /// Bytes of inputs and outputs, each once.
    TbPerS,
    /// Additions and multiplications of f16 on tensor cores.
    Tflops,
    /// Additions and multiplications of f32.
    TflopsF32,
    /// Of f32 that tensor cores multiply as tf32.
    TflopsTf32,
    /// Images of 224x224 pixels.
    ImagesPerS,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::TbPerS => "TB/s",
            Self::Tflops | Self::TflopsF32 | Self::TflopsTf32 => "TFLOP/s",
            Self::ImagesPerS => "images/s",
        }
    }

    /// What the data sheet of the device promises.
    fn roofline(self, device: &str) -> Option<f64> {
        let is = |name: &str| device.contains(name);
        match self {
            Self::TbPerS if is("H200") => Some(4.8),
            Self::TbPerS if is("H100 80GB HBM3") => Some(3.35),
            Self::Tflops if is("H200") || is("H100 80GB HBM3") => Some(989.0),
            Self::TflopsF32 if is("H200") || is("H100 80GB HBM3") => Some(67.0),
            Self::TflopsTf32 if is("H200") || is("H100 80GB HBM3") => Some(494.0),
            _ => None,
        }
    }
}

impl Bench {
    /// For measuring on a GPU.
    pub fn on_gpu(device: &Device, baseline: Baseline) -> Outcome<Self> {
        Ok(Self { baseline, driver: driver_and_clock(), ..Self::on_cpu(device)? })
    }

    /// For checking results on the CPU device.
    pub fn on_cpu(device: &Device) -> Outcome<Self> {
        Ok(Self {
            stream: device.stream()?,
            multiprocessors: device.multiprocessor_count(),
            baseline: Baseline::default(),
            driver: String::new(),
            rows: RefCell::default(),
        })
    }

    /// Shapes to measure on a GPU, or the small one to check on the CPU.
    pub fn shapes<T: Clone>(&self, gpu: &[T], cpu: &[T]) -> Vec<T> {
        if self.stream.device().is_gpu() { gpu.to_vec() } else { cpu.to_vec() }
    }

    /// The time of one call of `work`, over `samples` after a quarter as many.
    pub fn time(&self, samples: usize, mut work: impl FnMut() -> Outcome) -> Outcome<Time> {
        let samples = if self.stream.device().is_gpu() { samples } else { 1 };
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
        let (median_ms, p95_ms) = (times[samples / 2], times[(samples * 95).div_ceil(100) - 1]);
        Ok(Time { median_ms, p95_ms })
    }

    /// The mean time of `work` in a CUDA graph that is replayed `replays` times in a row,
    /// after a quarter as many; `work` is given the stream to launch on.
    pub fn time_in_a_row(
        &self,
        replays: usize,
        mut work: impl FnMut(&Stream) -> Outcome,
    ) -> Outcome<Time> {
        let replays = if self.stream.device().is_gpu() { replays } else { 1 };
        // The first launch loads the kernel.
        work(&self.stream)?;
        let mut failure = None;
        let captured = self.stream.capture(|stream| {
            work(stream).map_err(|error| {
                failure = Some(error);
                raddle::Error::Capture { operation: "a benchmark" }
            })
        });
        if let Some(error) = failure {
            return Err(error);
        }
        let (captured, ()) = captured?;
        captured.upload(&self.stream)?;
        let replay =
            |count: usize| (0..count).try_for_each(|_| captured.launch(&self.stream).map(drop));
        replay(replays.div_ceil(4))?;
        let (replayed, ms) = self.stream.time(|| replay(replays))?;
        replayed?;
        let mean_ms = ms / replays as f64;
        Ok(Time { median_ms: mean_ms, p95_ms: mean_ms })
    }

    /// Prints the result of `amount` bytes or operations in `time` as one JSON line.
    pub fn report(&self, bench: &str, shape: &str, time: Time, amount: f64, unit: Unit) {
        let device = self.stream.device().name();
        let value = amount / time.median_ms / 1e9;
        let share = unit.roofline(device).map(|roofline| value / roofline);
        let baseline = self.baseline.value(bench, shape);
        let number = |value: Option<f64>| value.map_or("null".into(), |v| format!("{v:.4}"));
        println!(
            "{{\"bench\":\"{bench}\",\"shape\":\"{shape}\",\"median_us\":{:.2},\"p95_us\":{:.2},\
             \"value\":{value:.3},\"unit\":\"{}\",\"roofline_share\":{},\"baseline\":{:?},\
             \"baseline_value\":{},\"ratio\":{},\"device\":{device:?},\"driver\":{:?}}}",
            time.median_ms * 1e3,
            time.p95_ms * 1e3,
            unit.name(),
            number(share),
            self.baseline.by,
            number(baseline),
            number(baseline.map(|baseline| value / baseline)),
            self.driver,
        );
        let (bench, shape) = (bench.to_owned(), shape.to_owned());
        self.rows.borrow_mut().push(Row { bench, shape, value, unit, share, baseline });
    }

    /// Number of results so far.
    #[cfg(test)]
    pub fn rows(&self) -> usize {
        self.rows.borrow().len()
    }

    /// Prints all results as a table in Markdown.
    pub fn print_table(&self) {
        let by = if self.baseline.by.is_empty() { "no baseline" } else { &self.baseline.by };
        eprintln!("\n{}, driver and clock {}\n", self.stream.device().name(), self.driver);
        eprintln!("| kernel | shape | Raddle | of the data sheet | {by} | ratio |");
        eprintln!("|---|---|--:|--:|--:|--:|");
        for row in self.rows.borrow().iter() {
            let Row { bench, shape, value, unit, share, baseline } = row;
            let unit = unit.name();
            let share = share.map_or(String::new(), |share| format!("{:.0} %", 100.0 * share));
            let theirs = baseline.map_or(String::new(), |theirs| format!("{theirs:.2} {unit}"));
            let ratio = baseline.map_or(String::new(), |theirs| format!("{:.2}", value / theirs));
            eprintln!("| {bench} | {shape} | {value:.2} {unit} | {share} | {theirs} | {ratio} |");
        }
    }

    /// Vectors of noise, as the host's `noise` gives it for their elements.
    pub fn noise_f32(&self, seed: u64, vectors: usize) -> Outcome<Buffer<F32x4>> {
        // SAFETY: the launch below writes every element before anybody reads.
        let mut buffer = unsafe { self.stream.uninitialized(vectors)? };
        let grid = Grid::new(self.multiprocessors * 8, 256);
        self.stream.launch(grid, fill_f32(seed, &mut buffer))?;
        Ok(buffer)
    }

    /// As [`noise_f32`](Self::noise_f32).
    pub fn noise_f16(&self, seed: u64, vectors: usize) -> Outcome<Buffer<Half8>> {
        // SAFETY: as in `noise_f32`.
        let mut buffer = unsafe { self.stream.uninitialized(vectors)? };
        let grid = Grid::new(self.multiprocessors * 8, 256);
        self.stream.launch(grid, fill_f16(seed, &mut buffer))?;
        Ok(buffer)
    }
}

/// Whether `found` is close enough to `expected`.
pub fn expect_close(what: &str, found: f64, expected: f64, tolerance: f64) -> Outcome {
    if (found - expected).abs() <= tolerance {
        Ok(())
    } else {
        Err(format!("{what}: expected {expected}, found {found} (tolerance {tolerance})").into())
    }
}

fn driver_and_clock() -> String {
    let query = ["--query-gpu=driver_version,clocks.max.sm", "--format=csv,noheader", "--id=0"];
    match Command::new("nvidia-smi").args(query).output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(_) => "unknown: there is no nvidia-smi".to_owned(),
    }
}
