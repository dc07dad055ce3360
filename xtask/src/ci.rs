//! `cargo xtask ci`: the checks that a change must pass, quickest to explain
//! first. `.ci/run` calls this, so that CI and a developer run the same thing.

use std::time::Instant;

use crate::{Error, Result, deploy, ptx_check, tidy, workspace};

/// One step of CI.
struct Step {
    name: &'static str,
    work: Work,
}

enum Work {
    /// A cargo command, with one variable of the environment.
    Cargo(&'static [&'static str], Option<(&'static str, &'static str)>),
    /// A task of this program.
    Task(fn() -> Result),
}

const STEPS: [Step; 10] = [
    // First, so that the tests which assemble what sessions write find it.
    Step { name: "ptxas", work: Work::Task(ptx_check::prepare) },
    Step { name: "test", work: Work::Cargo(&["test", "--workspace", "--no-fail-fast"], None) },
    Step {
        name: "loom",
        // In a folder of its own, or the flag would have everything built anew.
        work: Work::Cargo(
            &["test", "-p", "raddle-runtime", "--lib", "--target-dir", "target/loom", "loom_"],
            Some(("RUSTFLAGS", "--cfg loom")),
        ),
    },
    Step { name: "fmt", work: Work::Cargo(&["fmt", "--all", "--check"], None) },
    Step {
        name: "clippy",
        work: Work::Cargo(
            &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
            None,
        ),
    },
    Step {
        name: "doc",
        work: Work::Cargo(
            &["doc", "--workspace", "--no-deps"],
            Some(("RUSTDOCFLAGS", "-D warnings")),
        ),
    },
    Step { name: "tidy", work: Work::Task(tidy::run) },
    Step { name: "ptx-check", work: Work::Task(|| ptx_check::run(ptx_check::Mode::Check, None)) },
    Step { name: "deploy-check", work: Work::Task(deploy::run) },
    Step { name: "deny", work: Work::Task(deny) },
];

/// Runs all steps, or those from step `from` on, and fails if one of them did.
pub fn run(from: Option<&str>) -> Result {
    let first = match from {
        None => 0,
        Some(name) => STEPS.iter().position(|step| step.name == name).ok_or_else(|| {
            let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
            Error::Usage(format!("unknown step `{name}`, expected one of {}", names.join(", ")))
        })?,
    };
    let mut summary = Vec::new();
    let mut failed = 0;
    for step in &STEPS[first..] {
        println!("== {}", step.name);
        let start = Instant::now();
        // A failure does not hide what the later steps have to say.
        let result = match step.work {
            Work::Cargo(arguments, variable) => {
                workspace::run(workspace::cargo().args(arguments).envs(variable))
            }
            Work::Task(task) => task(),
        };
        let verdict = match result {
            Ok(()) => "ok".to_owned(),
            Err(error) => {
                failed += 1;
                println!("{}: {error}", step.name);
                format!("FAILED: {error}")
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        summary.push(format!("{:>12} {seconds:6.1} s  {verdict}", step.name));
    }
    println!("== summary\n{}", summary.join("\n"));
    match failed {
        0 => Ok(()),
        count => Err(Error::Found { count, what: "steps failed" }),
    }
}

/// Licences and sources of dependencies, where `cargo-deny` is installed.
fn deny() -> Result {
    let mut version = workspace::cargo();
    let is_installed =
        version.args(["deny", "--version"]).output().is_ok_and(|output| output.status.success());
    if !is_installed {
        println!("deny: SKIPPED, cargo-deny is not installed (cargo install cargo-deny)");
        return Ok(());
    }
    workspace::run(workspace::cargo().args(["deny", "check", "bans", "licenses", "sources"]))
}
