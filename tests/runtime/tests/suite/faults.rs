//! An error at every driver call of a scenario in turn.
//!
//! After each: the error was typed and named the cause, nothing hung, nothing that
//! was dropped is still allocated, and (unless the context was lost) the same device
//! does the scenario right from then on and keeps no more handles each time.

use std::panic::{catch_unwind, resume_unwind};
use std::time::Duration;

use raddle_fake_driver::{Fake, Ledger};
use raddle_runtime::{Device, Error};
use raddle_runtime_tests::scenarios::{self, Scenario};
use raddle_runtime_tests::{harness, isolated, watchdog};

/// A kind of failure to inject.
struct Fault {
    code: u32,
    name: &'static str,
    /// Whether the context is lost to it.
    is_sticky: bool,
}

const FAULTS: [Fault; 5] = [
    Fault { code: 2, name: "CUDA_ERROR_OUT_OF_MEMORY", is_sticky: false },
    Fault { code: 801, name: "CUDA_ERROR_NOT_SUPPORTED", is_sticky: false },
    Fault { code: 999, name: "CUDA_ERROR_UNKNOWN", is_sticky: false },
    Fault { code: 700, name: "CUDA_ERROR_ILLEGAL_ADDRESS", is_sticky: true },
    Fault { code: 719, name: "CUDA_ERROR_LAUNCH_FAILED", is_sticky: true },
];

/// What must not grow from one run of a scenario to the next.
const HANDLES: [&str; 8] =
    ["streams", "events", "modules", "pools", "execs", "graphs", "pinned", "managed"];

/// Opens a device that was never used and runs the scenario on it.
fn run_fresh(ordinal: u32, scenario: &Scenario) -> Result<(), Error> {
    let device = Device::cuda(ordinal)?;
    (scenario.run)(&device)
}

/// What is alive once all queued work is done.
fn settled(fake: &Fake, ordinal: u32) -> Ledger {
    fake.ask("run all");
    fake.ledger(Some(ordinal))
}

fn check_error(what: &str, fault: &Fault, error: &Error) {
    let text = error.to_string();
    let is_typed = match error {
        Error::OutOfMemory { .. } => fault.code == 2,
        Error::DeviceLost { .. } => fault.code != 2 && fault.code != 801,
        _ => true,
    };
    // A later error of a lost device may be the one that reaches the user.
    let is_lost = fault.code != 2 && fault.code != 801 && text.contains("lost to a fault");
    let names_it = text.contains(fault.name) || matches!(error, Error::OutOfMemory { .. });
    assert!(is_typed && (names_it || is_lost), "{what}: {text}");
}

/// Nothing that a scenario dropped may still be there, by our own count and, once
/// free memory is given back, by the driver's.
fn check_nothing_left(what: &str, fake: &Fake, ordinal: u32) {
    let device = Device::cuda(ordinal).unwrap_or_else(|error| panic!("{what}: {error}"));
    let usage = device.memory_use();
    assert_eq!((usage.live_bytes, usage.live_blocks), (0, 0), "{what}: {usage:?}");
    device.trim_memory().unwrap_or_else(|error| panic!("{what}: {error}"));
    let ledger = settled(fake, ordinal);
    for name in ["allocations", "mapped_bytes", "physical", "used_bytes", "queued", "links"] {
        assert_eq!(ledger[name], 0, "{what}: {name} are left: {ledger:?}");
    }
}

/// Most runs until caches have what they will ever have.
const RUNS_MAX: usize = 40;

/// The device works after an error that did not lose it, and what it keeps stops to
/// grow.
fn check_goes_on(what: &str, fake: &Fake, ordinal: u32, scenario: &Scenario) {
    let mut last = Ledger::new();
    let mut steady = 0;
    for run in 0.. {
        let result = run_fresh(ordinal, scenario);
        result.unwrap_or_else(|error| panic!("{what}, run {run} afterwards: {error}"));
        let ledger = settled(fake, ordinal);
        let grown = HANDLES.iter().find(|&&name| last.get(name) < ledger.get(name));
        steady = if grown.is_some() { 0 } else { steady + 1 };
        if steady == 2 {
            return check_nothing_left(what, fake, ordinal);
        }
        assert!(run < RUNS_MAX, "{what}: {grown:?} grow: {last:?} then {ledger:?}");
        last = ledger;
    }
}

/// What is lost stays lost, and is said to be; another device works.
fn check_is_lost(what: &str, fault: &Fault, ordinal: u32, scenario: &Scenario) {
    if let Err(again) = run_fresh(ordinal, scenario) {
        let text = again.to_string();
        let is_told = text.contains(fault.name) || text.contains("lost to a fault");
        assert!(is_told, "{what}: afterwards {text}");
    }
    if let Ok(device) = Device::cuda(ordinal) {
        assert_eq!(device.memory_use().live_bytes, 0, "{what}");
    }
}

/// Lets call number `call` of a scenario on a fresh device fail; whether there was
/// such a call.
fn strike(fake: &Fake, scenario: &Scenario, fault: &Fault, ordinal: u32, call: u64) -> bool {
    // Work of a device that the runtime has given up may still be queued.
    fake.ask("run all");
    let options = if fault.is_sticky { "sticky" } else { "" };
    fake.fail("*", call, fault.code, options);
    let result = catch_unwind(|| run_fresh(ordinal, scenario));
    let (count, hit) = fake.fired();
    let result = result.unwrap_or_else(|panic| {
        harness::note(&format!("{}: {} at call {call}, {hit:?}", scenario.name, fault.name));
        resume_unwind(panic)
    });
    if count == 0 {
        result.unwrap_or_else(|error| panic!("{}: {error} without a cause", scenario.name));
        return false;
    }
    let what = format!("{}: {} at call {call}, {}", scenario.name, fault.name, hit[0]);
    if let Err(error) = &result {
        check_error(&what, fault, error);
    }
    // What the scenario has left must not have the panics of the next run.
    fake.ask("run all");
    let violations = fake.violations();
    assert!(violations.is_empty(), "{what}: {violations:#?}");
    if !fault.is_sticky && fault.code != 999 {
        check_goes_on(&what, fake, ordinal, scenario);
    } else {
        check_is_lost(&what, fault, ordinal, scenario);
    }
    let violations = fake.violations();
    assert!(violations.is_empty(), "{what}, afterwards: {violations:#?}");
    true
}

fn strike_everywhere(name: &str, scenario: &str) {
    let Some(fake) = isolated(name, &[]) else { return };
    fake.set("devices", 1 << 20);
    fake.set("memory", 1 << 30);
    fake.set("background", 1);
    let dog = watchdog(Duration::from_secs(20));
    let scenario = scenarios::ALL.iter().find(|s| s.name == scenario).expect("it is listed");
    let mut ordinal = 0;
    // The driver itself starts outside the count: its answer is kept for ever.
    run_fresh(ordinal, scenario).unwrap();
    let mut calls = 0;
    for fault in &FAULTS {
        let mut call = 0;
        loop {
            ordinal += 1;
            dog.begin(format!("{} with {} at call {call}", scenario.name, fault.name));
            if !strike(&fake, scenario, fault, ordinal, call) {
                break;
            }
            call += 1;
        }
        calls += call;
    }
    harness::note(&format!("{}: {calls} driver calls failed in turn", scenario.name));
}

/// One test for each scenario, in a process of its own.
macro_rules! scenarios {
    ($($test:ident: $scenario:literal;)*) => {
        $(
            #[test]
            fn $test() {
                strike_everywhere(concat!("faults::", stringify!($test)), $scenario);
            }
        )*

        #[test]
        fn every_scenario_is_struck() {
            let struck = [$($scenario),*];
            let all: Vec<&str> = scenarios::ALL.iter().map(|scenario| scenario.name).collect();
            assert_eq!(all, struck);
        }
    };
}

scenarios! {
    copies_survive_every_failing_call: "copies";
    launches_survive_every_failing_call: "launches";
    streams_survive_every_failing_call: "streams";
    staging_survives_every_failing_call: "staging";
    events_survive_every_failing_call: "events";
    futures_survive_every_failing_call: "futures";
    cancelled_futures_survive_every_failing_call: "cancelled";
    leases_survive_every_failing_call: "leases";
    pinned_copies_survive_every_failing_call: "pinned";
    graphs_survive_every_failing_call: "graphs";
    panics_survive_every_failing_call: "panics";
    managed_memory_survives_every_failing_call: "managed";
    peer_copies_survive_every_failing_call: "peers";
}
