//! Panics of simulated threads: message, place, which one is reported, and that
//! the other threads go on.

use raddle_sim::Fault;

use crate::harness::*;

/// Message, place and thread of a panic.
fn panic_of(result: Result<(), Fault>) -> (String, u32, [u32; 3], [u32; 3]) {
    match result {
        Err(Fault::Panic { message, file, line, column, block, thread }) => {
            assert!(file.ends_with("panics.rs"), "{file}");
            assert!(column > 0);
            (message, line, block, thread)
        }
        other => panic!("expected a panic, found {other:?}"),
    }
}

#[test]
fn a_bounds_check_names_index_length_place_and_thread() {
    for case in [plain(8, 96), fibres(8, 96)] {
        let seen = words(1);
        let data = [0u32; 500];
        let at = line(2);
        let result = case.run(|| {
            let value = data[(block() * 96 + thread()) as usize];
            add(&seen[0], 1 + value);
        });
        let expected = "index out of bounds: the len is 500 but the index is 500";
        assert_eq!(panic_of(result), (expected.into(), at, [5, 0, 0], [20, 0, 0]));
        assert_eq!(get(&seen[0]), 500, "all other threads ran to their end");
    }
}

#[test]
fn a_panicking_thread_does_not_hold_up_its_peers() {
    let seen = words(1);
    let result = fibres(2, 64).run(|| {
        assert!(thread() != 7, "seven of {}", block());
        sync();
        let (_, took_part) = collect(u32::MAX, thread());
        assert_eq!(took_part, if thread() < 32 { !(1 << 7) } else { u32::MAX });
        add(&seen[0], 1);
    });
    let (message, _, block, thread) = panic_of(result);
    assert_eq!((message.as_str(), block, thread), ("seven of 0", [0; 3], [7, 0, 0]));
    assert_eq!(get(&seen[0]), 126);
}

#[test]
fn the_lowest_thread_of_the_lowest_block_is_reported() {
    for round in 0..40 {
        for synchronizes in [false, true] {
            let mut case = Case { synchronizes, ..fibres(40, 50) };
            case.options.seed = Some(round);
            let result = case.run(|| {
                if synchronizes && block() % 2 == 1 {
                    sync();
                }
                assert!(block() < 7 || thread() < 3, "{} {}", block(), thread());
            });
            let (message, _, block, thread) = panic_of(result);
            assert_eq!((&*message, block, thread), ("7 3", [7, 0, 0], [3, 0, 0]));
        }
    }
}

#[test]
fn every_kind_of_panic_has_its_message() {
    fn message(kernel: impl Fn() + Sync) -> String {
        match fibres(1, 1).run(kernel) {
            Err(Fault::Panic { message, .. }) => message,
            other => panic!("expected a panic, found {other:?}"),
        }
    }
    let none = words(1);
    assert_eq!(message(|| panic!("plain")), "plain");
    assert_eq!(message(|| panic!("{} and {:?}", 1, "two")), "1 and \"two\"");
    let is_none = || (get(&none[0]) == 1).then_some(());
    assert_eq!(message(|| is_none().unwrap()), "called `Option::unwrap()` on a `None` value");
    assert_eq!(message(|| is_none().expect("a value")), "a value");
    let divide = || put(&none[0], 1 / get(&none[0]));
    assert_eq!(message(divide), "attempt to divide by zero");
    assert_eq!(message(|| std::panic::panic_any(5)), "a payload that is not text");
    let thrown = || std::panic::resume_unwind(Box::new("thrown past the hook"));
    assert_eq!(message(thrown), "thrown past the hook");
}

#[test]
fn launches_after_a_panic_work() {
    for _ in 0..3 {
        let result = fibres(2, 64).run(|| {
            sync();
            assert!(thread() != 3, "three");
        });
        assert_eq!(panic_of(result).0, "three");
        let sum = words(1);
        let result = fibres(2, 64).run(|| {
            add(&sum[0], collect(u32::MAX, 1).0.iter().sum());
        });
        assert_eq!(result, Ok(()));
        assert_eq!(get(&sum[0]), 2 * 64 * 32);
    }
}

/// Set in the process whose standard error is looked at.
const CHILD: &str = "RADDLE_SIM_TEST_PANICS";

#[test]
fn kernel_panics_are_silent_and_host_panics_are_not() {
    if std::env::var_os(CHILD).is_some() {
        for case in [plain(4, 32), fibres(4, 32)] {
            assert_eq!(panic_of(case.run(|| panic!("kernel's own"))).0, "kernel's own");
        }
        panic!("the host's own");
    }
    let test = "panics::kernel_panics_are_silent_and_host_panics_are_not";
    let binary = std::env::current_exe().expect("the test's own path");
    let arguments = ["--exact", test, "--nocapture"];
    let child = std::process::Command::new(binary).args(arguments).env(CHILD, "1").output();
    let output = child.expect("the child starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains("the host's own"), "{errors}");
    assert!(!errors.contains("kernel's own"), "{errors}");
}
