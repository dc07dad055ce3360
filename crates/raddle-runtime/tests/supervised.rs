//! The example of a supervised worker does what it says: a fault costs one worker, and
//! the next one serves the request.

use std::path::PathBuf;
use std::process::Command;

use raddle_runtime::Device;

/// The example's program, which cargo builds with the tests of this package.
fn example() -> Option<PathBuf> {
    let program = std::env::current_exe().expect("a running program has a file");
    let folder = program.ancestors().nth(2).expect("tests lie in `deps`");
    let name = format!("supervised{}", std::env::consts::EXE_SUFFIX);
    let found = [folder.join("examples").join(&name), program.with_file_name(name)];
    found.into_iter().find(|path| path.is_file())
}

#[test]
fn a_supervised_worker_is_replaced_after_a_fault() {
    let Some(example) = example() else {
        eprintln!("a_supervised_worker_is_replaced_after_a_fault: skipped: no example was built");
        return;
    };
    let output = Command::new(example).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = text.lines().collect();
    let why = if Device::cuda(0).is_ok() { "the worker lost its device" } else { "SIGABRT" };
    assert!(lines[2].starts_with("request 3: ") && lines[2].contains(why), "{text}");
    assert!(lines[3].contains("a new worker served it after"), "{text}");
    let answers = [lines[0], lines[1], lines[4], lines[5]];
    assert_eq!(answers, [1, 2, 3, 4].map(|n| format!("request {n}: {}", n * 200)), "{text}");
}
