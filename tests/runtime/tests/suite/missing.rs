//! Drivers that lack functions, refuse to start, or show no device: each in a process
//! of its own, since the driver is loaded once.

use std::time::Duration;

use raddle_fake_driver::Fake;
use raddle_runtime::{Device, Error};
use raddle_runtime_tests::harness::{note, run_alone};
use raddle_runtime_tests::scenarios;
use raddle_runtime_tests::{isolated, watchdog};

/// What the process of [`one_driver`] does: `hide NAME` or `fail NAME CODE`.
const TASK: &str = "RADDLE_TEST_TASK";

/// Runs all scenarios on a driver that lacks a function.
fn run_without(fake: &Fake, function: &str) {
    fake.ask(&format!("hide {function}"));
    fake.set("background", 1);
    fake.set("devices", 1 << 20);
    for (ordinal, scenario) in (0..).zip(scenarios::ALL) {
        let result = Device::cuda(ordinal).and_then(|device| (scenario.run)(&device));
        if let Err(error) = result {
            let text = error.to_string();
            let is_named = text.contains(function) || matches!(error, Error::Unsupported { .. });
            assert!(is_named, "{function} is hidden, {}: {text}", scenario.name);
            println!("{} without {function}: {text}", scenario.name);
        }
    }
    assert_eq!(fake.violations(), Vec::<String>::new(), "{function} is hidden");
}

fn run_refused(fake: &Fake, function: &str, code: u32) {
    fake.fail(function, 0, code, "repeat=1000000");
    let error = Device::cuda(0).unwrap_err();
    let is_typed = match error {
        Error::NoGpu { .. } => code == 100,
        Error::Cuda(_) => code != 100,
        _ => false,
    };
    assert!(is_typed && error.to_string().contains("CUDA_ERROR"), "{function}: {error}");
    // The CPU is always there.
    assert_eq!(Device::list().last(), Some(&Device::cpu()));
}

/// Not a test by itself: what the others run, once for each function.
#[test]
fn one_driver() {
    let Ok(task) = std::env::var(TASK) else { return };
    let Some(fake) = isolated("missing::one_driver", &[]) else { return };
    let _dog = watchdog(Duration::from_secs(20));
    let words: Vec<&str> = task.split(' ').collect();
    match *words.as_slice() {
        ["hide", function] => run_without(&fake, function),
        ["fail", function, code] => run_refused(&fake, function, code.parse().unwrap()),
        ["none"] => {
            fake.set("devices", 0);
            let error = Device::cuda(0).unwrap_err();
            assert!(matches!(error, Error::NoGpu { .. }), "{error}");
        }
        _ => panic!("no such task: {task}"),
    }
}

fn run_tasks(tasks: impl IntoIterator<Item = String>) {
    let failures: Vec<String> = tasks
        .into_iter()
        .filter_map(|task| {
            let (is_success, text) = run_alone("missing::one_driver", &[(TASK, &task)]);
            (!is_success).then(|| format!("{task}:\n{text}"))
        })
        .collect();
    assert!(failures.is_empty(), "{} tasks failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn a_function_that_the_driver_lacks_is_named_or_not_needed() {
    let functions = Fake::load().ask("functions");
    let mut names: Vec<&str> = functions.lines().collect();
    names.sort_unstable();
    names.dedup();
    note(&format!("{} functions of the driver hidden in turn", names.len()));
    run_tasks(names.iter().map(|name| format!("hide {name}")));
}

#[test]
fn a_driver_that_does_not_start_is_an_error() {
    let refused = ["cuInit", "cuDriverGetVersion", "cuDeviceGetCount", "cuDevicePrimaryCtxRetain"];
    let tasks = refused.iter().flat_map(|name| [100, 999, 2].map(|code| (name, code)));
    let tasks = tasks.filter(|(name, code)| *code != 100 || **name == "cuInit");
    run_tasks(tasks.map(|(name, code)| format!("fail {name} {code}")));
    run_tasks(["none".to_owned()]);
}
