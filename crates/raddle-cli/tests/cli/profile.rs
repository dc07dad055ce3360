//! `raddle profile` on a program that holds memory when it ends, and on one that has
//! given everything back. The program is this one, run again for one test.

use std::mem::ManuallyDrop;

use raddle::{Buffer, Device};

use super::{fresh, outcome, raddle};

/// Set in the process that is profiled: whether it holds memory at its end.
const HOLDS: &str = "RADDLE_TEST_HOLDS";

#[inline(never)]
fn allocate_for_ever() -> Buffer<u32> {
    let stream = Device::cpu().stream().expect("a stream of the CPU device");
    stream.zeros(100_000).expect("memory for it")
}

/// What is profiled; nothing in other processes.
#[test]
fn profiled_program() {
    match std::env::var(HOLDS).as_deref() {
        Ok("1") => {
            let _held = ManuallyDrop::new(allocate_for_ever());
        }
        Ok(_) => drop(allocate_for_ever()),
        Err(_) => {}
    }
}

#[test]
fn profile_names_what_a_program_holds_at_its_end() {
    let program = std::env::current_exe().expect("a running program has a file");
    let program = program.to_str().expect("a path of ASCII letters");
    let prefix = fresh("profile").join("memory");
    let prefix = prefix.to_str().expect("a path of ASCII letters");
    let profile = |holds: &str| {
        let arguments = ["profile", "--output", prefix, program, "--exact"];
        let mut command = raddle(&arguments);
        outcome(command.arg("profile::profiled_program").env(HOLDS, holds))
    };
    let (code, text, error) = profile("1");
    assert_eq!(code, 1, "{text}{error}");
    let leaked = text.lines().find_map(|line| line.strip_suffix(" bytes leaked"));
    // The pool's blocks are a little larger than what is asked for.
    let leaked: u64 = leaked.expect("a total").parse().expect("a number");
    assert!((400_000..600_000).contains(&leaked), "{text}");
    assert!(text.contains("allocate_for_ever at "), "{text}");
    let (code, text, error) = profile("0");
    assert_eq!(code, 0, "{text}{error}");
    assert!(text.contains("\n0 bytes leaked\n") && !text.contains("allocate_for_ever"), "{text}");
}
