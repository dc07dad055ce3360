//! Runs ONNX's own node tests on the CPU and holds them against `gaps.txt`: an
//! unexpected failure fails, and so does an unexpected pass.

use std::path::Path;
use std::process::ExitCode;

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
    let names = corpus::names(&folder).expect("the folder of the node tests can be listed");
    std::panic::set_hook(Box::new(|_| {}));
    let cases: Vec<_> = names.par_iter().map(|name| corpus::run(&folder, name)).collect();
    let _ = std::panic::take_hook();
    print!("{}", report::table(&cases));
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("gaps.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&list, report::gaps(&cases)).expect("gaps.txt can be written");
        return ExitCode::SUCCESS;
    }
    let gaps = std::fs::read_to_string(&list).unwrap_or_default();
    let surprises = report::surprises(&cases, &gaps);
    for surprise in &surprises {
        println!("{surprise}");
    }
    println!("{} cases, {} surprises", cases.len(), surprises.len());
    if surprises.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
