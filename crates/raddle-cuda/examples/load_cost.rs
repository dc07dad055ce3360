//! What loading an image costs, by its form: PTX from the driver's own cache, the same
//! without line tables, and cubins.
//!
//! `cargo run --release -p raddle-cuda --example load_cost -- IMAGE…`, where an image
//! is a `.ptx` or `.cubin` file. Run twice: the first run fills the driver's cache.
//! Prints a JSON line for each form with the first load's time and the median of the
//! others, each load with the kernel's function and followed by unloading.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use raddle_cuda::{Context, Device, Driver, Module};

const LOADS: usize = 21;

fn main() -> Result<(), Box<dyn Error>> {
    let context = Context::retain_primary(Device::get(Driver::load()?, 0)?)?;
    context.make_current()?;
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path)?;
        if bytes.starts_with(b"\x7fELF") {
            let entry = entry_of(&std::fs::read_to_string(path.replace(".cubin", ".ptx"))?)?;
            // SAFETY: a file that an assembler wrote, as the caller says.
            let load = || unsafe { Module::from_cubin(&context, &bytes) };
            measure(&path, "cubin", bytes.len(), &entry, load)?;
            continue;
        }
        let ptx = String::from_utf8(bytes)?;
        let (entry, bare) = (entry_of(&ptx)?, without_lines(&ptx));
        measure(&path, "ptx", ptx.len(), &entry, || Module::from_ptx(&context, &ptx))?;
        let load = || Module::from_ptx(&context, &bare);
        measure(&path, "ptx without lines", bare.len(), &entry, load)?;
    }
    Ok(())
}

fn measure(
    path: &str,
    form: &str,
    bytes: usize,
    entry: &str,
    load: impl Fn() -> raddle_cuda::Result<Arc<Module>>,
) -> Result<(), Box<dyn Error>> {
    let mut times_us = Vec::new();
    for _ in 0..LOADS {
        let start = Instant::now();
        let module = load()?;
        let function = module.function(entry)?;
        times_us.push(start.elapsed().as_secs_f64() * 1e6);
        drop((function, module));
    }
    let first_us = times_us.remove(0);
    times_us.sort_by(f64::total_cmp);
    let median_us = times_us[times_us.len() / 2];
    println!(
        "{{\"figure\":\"load\",\"form\":\"{form}\",\"bytes\":{bytes},\"first_us\":{first_us:.0},\"median_us\":{median_us:.0},\"image\":\"{path}\"}}"
    );
    Ok(())
}

/// The name behind `.entry`.
fn entry_of(ptx: &str) -> Result<String, String> {
    let (_, rest) = ptx.split_once(".entry ").ok_or("the PTX has no entry")?;
    let end = rest.find(|c: char| c == '(' || c.is_whitespace()).unwrap_or(rest.len());
    Ok(rest[..end].to_owned())
}

/// The PTX without `.loc` and `.file`.
fn without_lines(ptx: &str) -> String {
    let is_code = |line: &&str| {
        let line = line.trim_start();
        !(line.starts_with(".loc") || line.starts_with(".file") || line.starts_with("//"))
    };
    ptx.lines().filter(is_code).flat_map(|line| [line, "\n"]).collect()
}
