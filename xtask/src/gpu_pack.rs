//! `cargo xtask gpu-pack`: the workspace's tests and benchmarks as stripped
//! programs in `gpu-pack/`, with a script that runs them on a machine that has
//! a GPU but no Rust.
//!
//! Kernels come with machine code for the GPUs of [`ARCHITECTURES`] where there is an
//! assembler, so that the time of a first launch is not the driver's assembling;
//! `RADDLE_CUBINS` names others, and empty none.
//!
//! The folder is ignored by git; all of the workspace takes some 450 MiB, a crate that
//! is named a few. Programs find their data below the repository, in whose root the
//! script must lie.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::ptx_check;
use crate::workspace::{self, Program};
use crate::{Error, Result};

/// GPUs that get machine code.
const ARCHITECTURES: &str = "sm_90";

/// Packages whose tests call rustc or cargo or load a library of the build, which the
/// machine with the GPU has not, or that have nothing to do with a GPU.
const NEEDS_RUST: [&str; 5] =
    ["raddle-build", "raddle-macros", "raddle-runtime-tests", "raddle-wrong", "xtask"];

/// The script that runs the programs.
const RUNNER: &str = include_str!("gpu_pack_run.sh");

/// Runs the task for some crates, or for all if none is named.
pub fn run(packages: &[&str]) -> Result {
    let root = workspace::root();
    let pack = root.join("gpu-pack");
    if pack.exists() {
        io(&pack, std::fs::remove_dir_all(&pack))?;
    }
    io(&pack, std::fs::create_dir_all(pack.join("bin")))?;
    let mut scope = vec!["--release", "--config", "profile.release.strip=true"];
    if packages.is_empty() {
        scope.push("--workspace");
    }
    scope.extend(packages.iter().flat_map(|package| ["--package", package]));
    let variables = machine_code();
    let build =
        |arguments: &[&str]| workspace::build_with(&[arguments, &scope].concat(), &variables);
    let tests = build(&["test", "--no-run"])?.programs;
    let programs = build(&["build", "--bins", "--examples"])?;

    let mut manifest =
        String::from("# kind\tname\tprogram\tfolder below the repository\targuments\n");
    let mut bytes = 0;
    let runs = tests.iter().filter(is_for_gpu).map(|program| ("test", program, "")).chain(
        programs.programs.iter().filter_map(|program| {
            let (kind, arguments) = role(program)?;
            Some((kind, program, arguments))
        }),
    );
    for (kind, program, arguments) in runs {
        let name = file_name(kind, program);
        let file = pack.join("bin").join(&name);
        bytes += io(&program.file, std::fs::copy(&program.file, &file))?;
        let dir = program.dir.strip_prefix(&root).unwrap_or(Path::new("."));
        manifest += &format!("{kind}\t{name}\tbin/{name}\t{}\t{arguments}\n", dir.display());
    }
    write(&pack.join("manifest.tsv"), &manifest)?;
    write(&pack.join("run.sh"), RUNNER)?;
    let count = manifest.lines().count() - 1;
    println!("gpu-pack: {count} programs, {:.1} MiB, in {}", mib(bytes), pack.display());
    if packages.is_empty() {
        println!("  smaller with the names of crates: cargo xtask gpu-pack raddle-kernels …");
    }
    println!("  on the machine with the GPU: bash gpu-pack/run.sh all OUT_DIR");
    Ok(())
}

/// What makes the build add machine code, unless the caller has said what to add.
fn machine_code() -> Vec<(&'static str, OsString)> {
    if std::env::var_os("RADDLE_CUBINS").is_some() {
        return Vec::new();
    }
    match ptx_check::ptxas() {
        Some(path) => {
            vec![("RADDLE_CUBINS", ARCHITECTURES.into()), ("RADDLE_PTXAS", path.into())]
        }
        None => {
            println!("gpu-pack: no ptxas, so the driver assembles all kernels");
            Vec::new()
        }
    }
}

/// Whether a program is a test that needs neither compiler nor cargo.
fn is_for_gpu(program: &&Program) -> bool {
    let is_cli_from_outside = program.package == "raddle-cli" && program.target == "cli";
    program.is_test && !is_cli_from_outside && !NEEDS_RUST.contains(&program.package.as_str())
}

/// What a program that is no test is run for, and with which arguments.
fn role(program: &Program) -> Option<(&'static str, &'static str)> {
    match (program.package.as_str(), program.kind.as_str()) {
        ("raddle-bench", "bin") => Some(("bench", "")),
        ("raddle-cli", "bin") => Some(("program", "demo --out demo")),
        ("raddle-examples", "bin") | (_, "example") => Some(("program", "")),
        _ => None,
    }
}

/// `test-raddle-sim-lib`, `bench-raddle-bench`, …
fn file_name(kind: &str, program: &Program) -> String {
    let Program { package, target, .. } = program;
    match kind {
        "test" if program.kind == "lib" => format!("test-{package}-lib"),
        "test" => format!("test-{package}-{target}"),
        _ if package == target => format!("{kind}-{package}"),
        _ => format!("{kind}-{package}-{target}"),
    }
}

fn write(path: &PathBuf, text: &str) -> Result {
    io(path, std::fs::write(path, text))
}

fn io<T>(path: &Path, result: std::io::Result<T>) -> Result<T> {
    result.map_err(|source| Error::Io { path: path.to_owned(), source })
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
