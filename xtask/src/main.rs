//! Developer tasks, run as `cargo xtask TASK`: what CI runs, and what one runs
//! before asking for a review.
//!
//! Each task is a module with a `run` function that prints what it does and
//! returns an [`Error`] when the tree is not in order.
#![forbid(unsafe_code)]

mod ci;
mod deploy;
mod gpu_pack;
mod layers;
mod ptx_check;
mod source;
mod spills;
mod tidy;
mod variables;
mod workspace;

#[path = "../../crates/raddle-cli/src/inspect/assembler.rs"]
#[allow(dead_code, reason = "the `raddle` binary uses the rest")]
mod assembler;
#[path = "../../crates/raddle-cli/src/inspect/index.rs"]
#[allow(dead_code, reason = "the `raddle` binary uses the rest")]
mod index;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask TASK

tasks:
  ci [--from STEP]      all checks, in CI's order, or those from a step on
  tidy                  source rules: headers, SAFETY notes, budgets, layers
  ptx-check [-p CRATE]  assembles every PTX image of the build with ptxas
  ptx-check --bless     the same, and rewrites xtask/spills.txt
  deploy-check          files in deploy/, by the tools that are installed
  gpu-pack [CRATE…]     test and bench binaries in gpu-pack/, for a machine with a GPU
";

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The command line is not understood.
    #[error("{0}\n\n{USAGE}")]
    Usage(String),
    /// A program could not be started.
    #[error("cannot start `{program}`: {source}")]
    Start { program: String, source: std::io::Error },
    /// A program failed; it has said why itself.
    #[error("`{command}` failed ({status})")]
    Failed { command: String, status: std::process::ExitStatus },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// Cargo printed something other than what its documentation promises.
    #[error("cargo's output is not understood: {0}")]
    Cargo(#[from] serde_json::Error),
    /// An index of compiled kernels is damaged.
    #[error(transparent)]
    Index(#[from] index::IndexError),
    /// A file that only developers write is malformed.
    #[error("{}:{line}: expected {expected}", path.display())]
    Malformed { path: PathBuf, line: usize, expected: &'static str },
    /// The tree breaks rules; each has been printed.
    #[error("{count} {what}")]
    Found { count: usize, what: &'static str },
    /// Something that the task needs is not there.
    #[error("{0}")]
    Missing(String),
}

/// What tasks return.
type Result<T = ()> = std::result::Result<T, Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["ci"] => ci::run(None),
        ["ci", "--from", step] => ci::run(Some(step)),
        ["tidy"] => tidy::run(),
        ["deploy-check"] => deploy::run(),
        ["ptx-check"] => ptx_check::run(ptx_check::Mode::Check, None),
        ["ptx-check", "-p", package] => ptx_check::run(ptx_check::Mode::Check, Some(package)),
        ["ptx-check", "--bless"] => ptx_check::run(ptx_check::Mode::Bless, None),
        ["gpu-pack", ref packages @ ..] if !packages.iter().any(|name| name.starts_with('-')) => {
            gpu_pack::run(packages)
        }
        [] | ["help" | "--help" | "-h", ..] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => Err(Error::Usage(format!("unknown task: {}", arguments.join(" ")))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
