//! Runs ONNX's own node tests with the kernels for GPUs, on the first GPU or, where
//! there is none, on the CPU device, and holds them against `gaps-gpu.txt`: an
//! unexpected failure fails, and so does an unexpected pass.

use std::path::Path;
use std::process::ExitCode;

use raddle::Device;
use raddle_onnx_tests::{corpus, report};
use rayon::prelude::*;

fn main() -> ExitCode {
    let folder = match corpus::folder() {
        Ok(folder) => folder,
        Err(why) => {
            println!("node tests: 1765 cases SKIPPED: {why}");
            return ExitCode::SUCCESS;
        }
    };
    let device = Device::cuda(0).unwrap_or_else(|why| {
        println!("node tests: on the CPU device, a GPU SKIPPED: {why}");
        Device::cpu()
    });
    let names = corpus::names(&folder).expect("the folder of the node tests can be listed");
    std::panic::set_hook(Box::new(|_| {}));
    let run = |name: &String| corpus::run_on(&folder, name, &device);
    let cases: Vec<_> = names.par_iter().map(run).collect();
    let _ = std::panic::take_hook();
    print!("{}", report::table(&cases));
    let plain = cases.iter().filter(|case| case.is_plain && case.outcome.is_ok());
    let (launched, known): (Vec<_>, Vec<_>) = plain.partition(|case| case.has_launches);
    println!("{:<32} {:>6}", "plain, with kernels launched", launched.len());
    println!("{:<32} {:>6}", "plain, known without a launch", known.len());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("gaps-gpu.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, report::GPU_GAPS.text(&cases)).expect("the list can be written");
    }
    let list = std::fs::read_to_string(&path).unwrap_or_default();
    let surprises = report::GPU_GAPS.surprises(&cases, &list);
    surprises.iter().for_each(|surprise| println!("gaps-gpu.txt: {surprise}"));
    println!("{device}: {} cases, {} surprises", cases.len(), surprises.len());
    if surprises.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
