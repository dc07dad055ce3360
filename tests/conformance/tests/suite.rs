//! Runs every program on every device and compares the answers with the values in
//! its file.
//!
//! `cargo test -p raddle-conformance [FILTER]`; `BLESS=1` rewrites the expected values
//! from the plain call, to be reviewed like code.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::process::ExitCode;

use raddle_conformance::expect;
use raddle_conformance::program::Program;
use raddle_conformance::table::PROGRAMS;

fn main() -> ExitCode {
    let filter = std::env::args().nth(1).filter(|arg| !arg.starts_with('-')).unwrap_or_default();
    let bless = std::env::var_os("BLESS").is_some();
    std::panic::set_hook(Box::new(|_| {}));
    let mut areas: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for program in PROGRAMS {
        if !format!("{}/{}", program.area, program.name).contains(&filter) {
            continue;
        }
        let count = areas.entry(program.area).or_default();
        count.0 += 1;
        if let Err(lines) = run_plain(program, bless) {
            count.1 += 1;
            eprintln!("FAILED plain call: {}", program.file);
            for line in lines {
                eprintln!("    {line}");
            }
        }
    }
    println!("{:<16}{:>10}{:>8}", "area", "programs", "failed");
    for (area, (programs, failed)) in &areas {
        println!("{area:<16}{programs:>10}{failed:>8}");
    }
    let failed: u32 = areas.values().map(|(_, failed)| failed).sum();
    println!("{:<16}{:>10}{:>8}", "all", areas.values().map(|(n, _)| n).sum::<u32>(), failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_plain(program: &Program, bless: bool) -> Result<(), Vec<String>> {
    let Some(call) = program.call else { return Ok(()) };
    let header = program.header();
    let answers = catch_unwind(|| call(header.threads)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        vec![format!("panic: {}", text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?"))]
    })?;
    let kinds = (program.kinds)();
    let checked = expect::check(program.source, &answers, &kinds, header.ulp);
    if bless && checked.is_err() {
        let expectation = expect::render(&answers, &kinds, header.ulp);
        std::fs::write(program.file, expect::replace(program.source, &expectation))
            .map_err(|e| vec![e.to_string()])?;
        return Ok(());
    }
    checked
}
