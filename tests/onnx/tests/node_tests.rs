//! Runs ONNX's own node tests on the CPU and holds them against `gaps.txt`, and
//! what inference says of their types against `untyped.txt`: an unexpected failure
//! fails, and so does an unexpected pass.

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
    let mut surprises = Vec::new();
    for (file, list) in [("gaps.txt", report::GAPS), ("untyped.txt", report::UNTYPED)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, list.text(&cases)).expect("the list can be written");
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let found = list.surprises(&cases, &text);
        surprises.extend(found.into_iter().map(|surprise| format!("{file}: {surprise}")));
    }
    for surprise in &surprises {
        println!("{surprise}");
    }
    println!("{} cases, {} surprises", cases.len(), surprises.len());
    if surprises.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
