//! Runs every program as a plain function, on the CPU device and on the GPU where one
//! is usable, and compares the answers with the values in its file.
//!
//! `cargo test -p raddle-conformance [FILTER]`; `BLESS=1` rewrites the expected values
//! from the reference, to be reviewed like code. `RADDLE_FUZZ_PROGRAMS=N` and
//! `RADDLE_FUZZ_SEED=S` choose how many random programs the build adds, and which.

use std::collections::BTreeMap;
use std::process::ExitCode;

use raddle::{Device, Stream};
use raddle_conformance::suite::{Way, check, keep_panics};
use raddle_conformance::table::PROGRAMS;

/// Programs and failures of one area, for each way to run them.
#[derive(Default)]
struct Tally {
    programs: u32,
    failed: [u32; 3],
    ran: [u32; 3],
}

fn main() -> ExitCode {
    let filter = std::env::args().nth(1).filter(|arg| !arg.starts_with('-')).unwrap_or_default();
    let bless = std::env::var_os("BLESS").is_some();
    keep_panics();
    let gpu = Device::cuda(0);
    let mut ways = vec![Way::Plain, on("cpu", &Device::cpu())];
    if let Ok(gpu) = &gpu {
        ways.push(on("gpu", gpu));
    }
    let mut areas: BTreeMap<&str, Tally> = BTreeMap::new();
    for program in PROGRAMS {
        let name = format!("{}/{}", program.area, program.name);
        if !name.contains(&filter) {
            continue;
        }
        let tally = areas.entry(program.area).or_default();
        tally.programs += 1;
        if let Some(reason) = program.header().gap {
            println!("gap: {name}: {reason}");
        }
        for (i, way) in ways.iter().enumerate() {
            let Some(checked) = check(program, way, bless) else { continue };
            tally.ran[i] += 1;
            if let Err(lines) = checked {
                tally.failed[i] += 1;
                eprintln!("FAILED on {}: {}", way_name(way), program.file);
                lines.iter().for_each(|line| eprintln!("    {line}"));
            }
        }
    }
    report(&areas);
    if let Err(reason) = &gpu {
        println!(
            "skipped: {} programs on the GPU: {reason}",
            count(&areas, |tally| tally.programs)
        );
    }
    let failed = count(&areas, |tally| tally.failed.iter().sum());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn on(name: &'static str, device: &Device) -> Way {
    Way::Device { name, stream: stream(device) }
}

fn stream(device: &Device) -> Stream {
    device.stream().unwrap_or_else(|error| panic!("{device}: {error}"))
}

fn way_name(way: &Way) -> &str {
    match way {
        Way::Plain => "plain call",
        Way::Device { name, .. } => name,
    }
}

/// A line for each area: programs, and for each way how many agreed of those run.
fn report(areas: &BTreeMap<&str, Tally>) {
    println!("{:<14}{:>9}{:>12}{:>12}{:>12}", "area", "programs", "plain", "cpu", "gpu");
    let cell = |ran: u32, failed: u32| format!("{}/{ran}", ran - failed);
    for (area, tally) in areas {
        let cells: Vec<String> = (0..3).map(|i| cell(tally.ran[i], tally.failed[i])).collect();
        println!("{area:<14}{:>9}{:>12}{:>12}{:>12}", tally.programs, cells[0], cells[1], cells[2]);
    }
    let cells: Vec<String> = (0..3)
        .map(|i| cell(count(areas, |tally| tally.ran[i]), count(areas, |tally| tally.failed[i])))
        .collect();
    let programs = count(areas, |tally| tally.programs);
    println!("{:<14}{programs:>9}{:>12}{:>12}{:>12}", "all", cells[0], cells[1], cells[2]);
}

fn count(areas: &BTreeMap<&str, Tally>, of: impl Fn(&Tally) -> u32) -> u32 {
    areas.values().map(of).sum()
}
