//! Times Raddle's kernels beside PyTorch's on the first GPU: one JSON line for each
//! result, then a table.
//!
//! `cargo run --release -p raddle-bench [NAME…]`. Inputs are random and made on the
//! device; each result is checked against host arithmetic in double precision. A time
//! is that of one launch between two events; of the samples, the median and the 95th
//! percentile are printed. `baseline.py` times PyTorch in the same way just before;
//! without Python or PyTorch the run says so and goes on.
//!
//! `cargo test -p raddle-bench` runs the same benchmarks, checks included, at small
//! shapes on the CPU device.

#![allow(missing_docs)]

mod attention;
mod baseline;
mod fused;
mod gemm;
mod kernels;
mod linear;
mod measure;
mod memory;
mod mobilenet;
mod models;
mod rows;

use std::error::Error;
use std::process::ExitCode;

use measure::Bench;
use raddle::prelude::*;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;
type Benchmark = fn(&Bench) -> Outcome;

/// All benchmarks, by the names that the command line takes.
const ALL: [(&str, Benchmark); 11] = [
    ("add", memory::add),
    ("sum", memory::sum),
    ("transpose", memory::transpose),
    ("softmax", rows::softmax),
    ("layer_norm", rows::layer_norm),
    ("gemm", gemm::gemm),
    ("linear", linear::linear),
    ("products_f32", linear::products_f32),
    ("depthwise", mobilenet::depthwise),
    ("attention", attention::attention),
    ("checks", gemm::checks),
];

/// Benchmarks that the CPU device would take too long for; `raddle-models` tests what
/// they run.
const ON_GPU: [(&str, Benchmark); 6] = [
    ("fused", fused::fused),
    ("transformer", fused::transformer),
    ("resnet18", models::resnet18),
    ("resnet18_f32", models::resnet18_f32),
    ("resnet18_memory", models::resnet18_memory),
    ("mobilenet", mobilenet::mobilenet),
];

fn main() -> ExitCode {
    let all: Vec<_> = ALL.into_iter().chain(ON_GPU).collect();
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    if let Some(unknown) = wanted.iter().find(|w| all.iter().all(|(name, _)| name != w)) {
        let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        eprintln!("no benchmark `{unknown}`: expected some of {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    let device = match Device::cuda(0) {
        Ok(device) => device,
        Err(reason) => {
            eprintln!("nothing was measured: there is no usable GPU: {reason}");
            return ExitCode::FAILURE;
        }
    };
    let names: Vec<_> = all.iter().map(|(name, _)| *name).filter(|n| is_wanted(n)).collect();
    let bench = match Bench::on_gpu(&device, baseline::run(&names)) {
        Ok(bench) => bench,
        Err(reason) => {
            eprintln!("nothing was measured: {reason}");
            return ExitCode::FAILURE;
        }
    };
    let mut is_complete = true;
    for (name, run) in all.into_iter().filter(|(name, _)| is_wanted(name)) {
        if let Err(error) = run(&bench) {
            is_complete = false;
            eprintln!("{name} failed: {error}");
        }
    }
    bench.print_table();
    if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::{ALL, Bench, Device};

    #[test]
    fn all_benchmarks_are_right_on_the_cpu() {
        let bench = Bench::on_cpu(&Device::cpu()).expect("the CPU device is always there");
        for (name, run) in ALL {
            run(&bench).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        assert!(bench.rows() >= ALL.len(), "each benchmark reports something");
    }
}
