//! Builds every wrong program and compares what is reported with what its file says.
//!
//! `cargo test -p raddle-wrong [FILTER]`; the programs are built all the same, the
//! filter chooses which are compared. `SHOW=1` prints what was reported for each.

use std::path::Path;
use std::process::ExitCode;

use raddle_wrong::corpus::{self, Group, Program};
use raddle_wrong::diagnostic::{self, Diagnostic};
use raddle_wrong::scratch::Scratch;

fn main() -> ExitCode {
    let filter = std::env::args().nth(1).filter(|arg| !arg.starts_with('-')).unwrap_or_default();
    let shows = std::env::var_os("SHOW").is_some();
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = own.ancestors().nth(2).expect("tests/wrong lies in the workspace");
    let programs = corpus::read(&own.join("programs"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wrong");
    let messages = Scratch::write(&folder, workspace, &programs).check();
    let errors = diagnostic::errors(&messages);
    let of_none: Vec<_> =
        errors.iter().filter(|error| !programs.iter().any(|one| is_of(error, one))).collect();
    of_none.iter().for_each(|error| eprintln!("FAILED: of no program:\n{}", error.rendered));
    let mut failed = 0;
    for program in programs.iter().filter(|program| is_chosen(program, &filter)) {
        let found = errors.iter().filter(|error| is_of(error, program)).collect::<Vec<_>>();
        if shows {
            found.iter().for_each(|error| println!("{}", error.rendered));
        }
        let mut wrong = compare(program, &found);
        if let Some(reason) = program.gap() {
            println!("gap: {}/{}: {reason}", program.group.name(), program.name);
            let is_closed = wrong.is_empty();
            wrong.clear();
            if is_closed {
                wrong.push("the gap is closed: remove it from the file".to_owned());
            }
        }
        if !wrong.is_empty() {
            failed += 1;
            eprintln!("FAILED {}", program.file.display());
            wrong.iter().for_each(|line| eprintln!("    {}", line.replace('\n', "\n    ")));
        }
    }
    for group in Group::ALL {
        let count = programs.iter().filter(|program| program.group == group).count();
        println!("{:<8}{count:>5} programs", group.name());
    }
    println!("{failed} failed");
    if failed == 0 && of_none.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether the error belongs to the program: its binary, or its file in the library.
fn is_of(error: &Diagnostic, program: &Program) -> bool {
    match program.group {
        Group::Device => error.target == "device" && error.file == program.name,
        Group::Kernel | Group::Launch => error.target == program.name,
    }
}

/// What is wrong with the errors found: each mark has one error, each error one mark.
fn compare(program: &Program, found: &[&Diagnostic]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut left: Vec<&Diagnostic> = found.to_vec();
    for expected in program.expected() {
        // What a GPU cannot do is explained in the message itself.
        let fits = |error: &&Diagnostic| {
            error.file == program.name
                && error.line == expected.line
                && expected.parts.iter().all(|part| error.message.contains(part))
        };
        match left.iter().position(fits) {
            Some(at) => drop(left.remove(at)),
            None => wrong.push(format!("expected at line {}: {:?}", expected.line, expected.parts)),
        }
    }
    for error in left {
        wrong.push(format!("found, not expected at line {}:\n{}", error.line, error.rendered));
    }
    for error in found {
        for word in ["__raddle", "__RADDLE", "internal compiler error", "panicked at"] {
            if error.rendered.contains(word) {
                wrong.push(format!("the error shows `{word}`:\n{}", error.rendered));
            }
        }
    }
    wrong
}

fn is_chosen(program: &Program, filter: &str) -> bool {
    program.file.to_string_lossy().contains(filter)
}
