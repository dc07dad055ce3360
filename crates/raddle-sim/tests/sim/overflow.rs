//! A simulated thread that overflows its stack ends the process with a line that
//! names the kernel and the remedy.

use std::hint::black_box;
use std::process::Command;

use crate::harness::*;

/// Set in the process that is to overflow.
const CHILD: &str = "RADDLE_SIM_TEST_OVERFLOW";

fn recurse(depth: u64) -> u64 {
    let local = black_box([depth; 64]);
    if depth == 0 { 0 } else { recurse(depth - 1) + black_box(local)[depth as usize % 64] }
}

#[test]
fn a_stack_overflow_names_kernel_and_remedy() {
    if std::env::var_os(CHILD).is_some() {
        let mut case = fibres(1, 64);
        case.options.stack_kib = 64;
        let result = case.run(|| {
            sync();
            if thread() == 40 {
                black_box(recurse(1 << 30));
            }
        });
        unreachable!("the process should have ended, found {result:?}");
    }
    let test = "overflow::a_stack_overflow_names_kernel_and_remedy";
    let binary = std::env::current_exe().expect("the test's own path");
    let arguments = ["--exact", test, "--nocapture"];
    let child = Command::new(binary).args(arguments).env(CHILD, "1").output();
    let output = child.expect("the child starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    if cfg!(unix) {
        let message = "kernel test: a simulated thread has overflowed its stack of 64 KiB: \
                       set RADDLE_SIM_STACK_KIB to more";
        assert!(errors.contains(message), "{errors}");
    }
}
