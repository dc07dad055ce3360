//! Running programs in every way and comparing: as plain functions with the values
//! in their files, and on devices with the plain call.
//!
//! A program's reference is the plain call, or the CPU device for programs that only
//! make sense inside a kernel. Programs that panic state the message and, by the
//! mark `//~ PANIC`, the line; every way of running them must report both.

use std::cell::RefCell;
use std::panic::{PanicHookInfo, catch_unwind};

use raddle::{Error, Stream};

use crate::answer::Words;
use crate::expect;
use crate::program::Program;

/// A way to run programs.
pub enum Way {
    /// As plain functions.
    Plain,
    /// As kernels on a device.
    Device {
        /// `cpu` or `gpu`.
        name: &'static str,
        /// A stream of the device.
        stream: Stream,
    },
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Answers(Vec<Words>),
    Panic { thread: Option<u32>, message: String, file: String, line: u32 },
    Failure(String),
}

/// What is wrong with a program run in a way; `None` if the way does not apply.
///
/// With `bless`, the reference's answers are written to the file instead of being
/// compared with it.
#[must_use]
pub fn check(program: &Program, way: &Way, bless: bool) -> Option<Result<(), Vec<String>>> {
    let header = program.header();
    let is_reference = match way {
        Way::Plain if header.is_device_only => return None,
        Way::Device { .. } if header.gap.is_some() => return None,
        Way::Plain => true,
        Way::Device { name, .. } => header.is_device_only && *name == "cpu",
    };
    let outcome = run(program, way);
    Some(if header.panics {
        check_panic(program, &outcome)
    } else {
        check_answers(program, way, outcome, is_reference, bless)
    })
}

fn check_answers(
    program: &Program,
    way: &Way,
    outcome: Outcome,
    is_reference: bool,
    bless: bool,
) -> Result<(), Vec<String>> {
    let (ulp, kinds) = (program.header().ulp, (program.kinds)());
    let answers = match outcome {
        Outcome::Answers(answers) => answers,
        Outcome::Failure(text) => return Err(vec![text]),
        Outcome::Panic { message, file, line, .. } => {
            return Err(vec![format!("panic at {file}:{line}: {message}")]);
        }
    };
    // Random programs state nothing: the devices are compared with the plain call.
    if program.area == "generated" {
        if is_reference {
            return Ok(());
        }
    } else {
        let checked = expect::check(program.source, &answers, &kinds, ulp);
        let Err(lines) = checked else { return Ok(()) };
        if bless && is_reference {
            let expectation = expect::render(&answers, &kinds, ulp);
            return std::fs::write(program.file, expect::replace(program.source, &expectation))
                .map_err(|error| vec![error.to_string()]);
        }
        if is_reference || program.call.is_none() {
            return Err(lines);
        }
    }
    // More telling than the file's first answers: every thread beside the plain call.
    debug_assert!(matches!(way, Way::Device { .. }), "the plain call is the reference");
    match run(program, &Way::Plain) {
        Outcome::Answers(expected) => {
            let lines = expect::differences(&answers, &expected, &kinds, ulp);
            if lines.is_empty() { Ok(()) } else { Err(lines) }
        }
        other => Err(vec![format!("the plain call gives no answers: {other:?}")]),
    }
}

/// Compares a panic with the trailing `// panic: thread N: MESSAGE` and the line
/// marked `//~ PANIC`.
fn check_panic(program: &Program, outcome: &Outcome) -> Result<(), Vec<String>> {
    let stated = program.source.lines().find_map(|line| line.strip_prefix("// panic: thread "));
    let (thread, message) = stated
        .and_then(|stated| stated.split_once(": "))
        .ok_or_else(|| vec!["the file states no `// panic: thread N: MESSAGE`".to_owned()])?;
    let marked = program.source.lines().position(|line| line.contains("//~ PANIC"));
    let line = marked.ok_or_else(|| vec!["no line is marked `//~ PANIC`".to_owned()])? as u32 + 1;
    let Outcome::Panic { thread: found_thread, message: found, file, line: found_line } = outcome
    else {
        return Err(vec![format!("expected a panic, found {outcome:?}")]);
    };
    let mut wrong = Vec::new();
    if found_thread.is_some_and(|found| found.to_string() != thread) {
        wrong.push(format!("expected a panic of thread {thread}, found {found_thread:?}"));
    }
    // Line breaks of a message stand as `\n` in the file.
    if found.replace('\n', "\\n") != message {
        wrong.push(format!("expected the message `{message}`, found `{found}`"));
    }
    let is_this_file = file.ends_with(&format!("{}/{}.rs", program.area, program.name));
    if !is_this_file || *found_line != line {
        wrong.push(format!("expected the panic at line {line}, found it at {file}:{found_line}"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

fn run(program: &Program, way: &Way) -> Outcome {
    match way {
        Way::Plain => run_plain(program),
        Way::Device { stream, .. } => match program.launch.map(|run| program.run(stream, run)) {
            None => Outcome::Failure("the program has no kernel".to_owned()),
            Some(Ok(answers)) => Outcome::Answers(answers),
            Some(Err(Error::KernelPanic { message, file, line, block, thread, .. })) => {
                let thread = Some(block[0] * program.header().block + thread[0]);
                Outcome::Panic { thread, message, file, line }
            }
            Some(Err(error)) => Outcome::Failure(error.to_string()),
        },
    }
}

thread_local! {
    static LAST_PANIC: RefCell<Option<(String, String, u32)>> = const { RefCell::new(None) };
}

/// Keeps panics of plain calls for the report instead of printing them.
pub fn keep_panics() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let message = info.payload_as_str().unwrap_or("a payload that is no text").to_owned();
        let place = info.location().map_or((String::new(), 0), |at| (at.file().into(), at.line()));
        LAST_PANIC.set(Some((message, place.0, place.1)));
    }));
}

fn run_plain(program: &Program) -> Outcome {
    let Some(call) = program.call else {
        return Outcome::Failure("the program is for devices only".to_owned());
    };
    let threads = program.header().threads;
    match catch_unwind(|| call(threads)) {
        Ok(answers) => Outcome::Answers(answers),
        Err(_) => match LAST_PANIC.take() {
            Some((message, file, line)) => Outcome::Panic { thread: None, message, file, line },
            None => Outcome::Failure("a panic that no hook saw".to_owned()),
        },
    }
}
