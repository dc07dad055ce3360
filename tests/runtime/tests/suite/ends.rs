//! The end of devices and programs: everything goes back to the driver, by itself,
//! unless somebody still holds it.

use std::collections::BTreeMap;
use std::time::Duration;

use raddle_fake_driver::Fake;
use raddle_runtime::{Device, Error, Grid, shutdown};
use raddle_runtime_tests::kernels::churn;
use raddle_runtime_tests::scenarios::{self, PEER_OFFSET, Scenario};
use raddle_runtime_tests::{isolated, watchdog};

/// Runs every scenario on two devices (and a peer of each), and some tasks that await.
fn use_everything(fake: &Fake) {
    fake.set("devices", 2 * u64::from(PEER_OFFSET));
    fake.set("peers", 1);
    fake.set("background", 1);
    for ordinal in 0..2 {
        let device = Device::cuda(ordinal).unwrap();
        for Scenario { name, run } in scenarios::ALL {
            run(&device).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).build().unwrap();
        let stream = device.stream().unwrap();
        let buffer = stream.upload(&[5u32; 1000]).unwrap();
        let dropped = stream.to_vec_async(&buffer).unwrap();
        let awaited = stream.to_vec_async(&buffer).unwrap();
        drop(dropped);
        assert_eq!(runtime.block_on(runtime.spawn(awaited)).unwrap().unwrap(), [5; 1000]);
    }
}

fn assert_nothing_is_left(ledger: &BTreeMap<String, u64>) {
    let left: Vec<_> = ledger.iter().filter(|(_, count)| **count != 0).collect();
    assert!(ledger.len() > 10 && left.is_empty(), "{left:?}");
}

#[test]
fn devices_that_nobody_holds_give_everything_back() {
    let name = "ends::devices_that_nobody_holds_give_everything_back";
    let Some(fake) = isolated(name, &[]) else { return };
    let _dog = watchdog(Duration::from_secs(120));
    for _ in 0..3 {
        use_everything(&fake);
        assert_eq!(fake.ledger(None)["contexts"], 4, "two devices and the peer of each");
        shutdown().unwrap();
        assert_nothing_is_left(&fake.ledger(None));
        assert_eq!(fake.violations(), Vec::<String>::new());
    }
}

#[test]
fn without_address_ranges_and_pools_everything_goes_back_too() {
    let name = "ends::without_address_ranges_and_pools_everything_goes_back_too";
    let Some(fake) = isolated(name, &[]) else { return };
    let _dog = watchdog(Duration::from_secs(120));
    // Virtual memory, pools, words written by streams.
    for attribute in [102, 115, 122] {
        fake.set(&format!("attribute{attribute}"), 0);
    }
    use_everything(&fake);
    shutdown().unwrap();
    assert_nothing_is_left(&fake.ledger(None));
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[test]
fn what_is_held_stays_open_until_it_goes() {
    let name = "ends::what_is_held_stays_open_until_it_goes";
    let Some(fake) = isolated(name, &[]) else { return };
    let _dog = watchdog(Duration::from_secs(60));
    let device = Device::cuda(0).unwrap();
    let buffer = device.stream().unwrap().upload(&[3u32; 100]).unwrap();
    drop(device);
    let error = shutdown().unwrap_err();
    assert!(matches!(error, Error::DeviceInUse { handles: 1, .. }), "{error}");
    assert_eq!(buffer.to_vec().unwrap(), [3; 100]);
    assert_eq!(Device::cuda(0).unwrap(), *buffer.device());
    drop(buffer);
    shutdown().unwrap();
    shutdown().unwrap();
    assert_nothing_is_left(&fake.ledger(None));
    // Opened anew, it works as before.
    let again = Device::cuda(0).unwrap();
    assert_eq!(again.stream().unwrap().upload(&[4u32; 9]).unwrap().to_vec().unwrap(), [4; 9]);
    assert_eq!(fake.violations(), Vec::<String>::new());
}

/// Runs `name` in a process of its own and gives what is alive at its very end, with
/// the number of violations.
fn at_the_end_of(name: &str, run: impl FnOnce(&Fake)) -> Option<BTreeMap<String, u64>> {
    let file = std::env::temp_dir().join(format!("raddle-{}-{}", std::process::id(), name.len()));
    let path = file.to_str().expect("a path of ASCII letters");
    if let Some(fake) = isolated(name, &[("RADDLE_FAKE_LEDGER", path)]) {
        run(&fake);
        return None;
    }
    let text = std::fs::read_to_string(&file).expect("the driver has written it");
    std::fs::remove_file(&file).expect("it is there");
    let row = |line: &str| {
        let (name, count) = line.split_once(' ')?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    Some(text.lines().map(|line| row(line).expect("a name and a number")).collect())
}

#[test]
fn a_program_that_returns_from_main_leaves_nothing() {
    let name = "ends::a_program_that_returns_from_main_leaves_nothing";
    let run = |fake: &Fake| {
        use_everything(fake);
        assert_eq!(fake.violations(), Vec::<String>::new());
    };
    let Some(ledger) = at_the_end_of(name, run) else { return };
    assert_nothing_is_left(&ledger);
}

#[test]
fn work_without_an_end_does_not_keep_a_program() {
    let name = "ends::work_without_an_end_does_not_keep_a_program";
    let run = |fake: &Fake| {
        fake.set("held", 1);
        let device = Device::cuda(0).unwrap();
        let stream = device.stream().unwrap();
        let mut target = stream.zeros::<u32>(64).unwrap();
        let source = stream.zeros::<u32>(0).unwrap();
        let call = churn(0, &mut target, [&source; 3], 1);
        stream.launch(Grid::cover(64, 32), call).unwrap();
    };
    let Some(ledger) = at_the_end_of(name, run) else { return };
    assert_eq!((ledger["contexts"], ledger["violations"]), (1, 0), "{ledger:?}");
    assert!(ledger["queued"] > 0, "{ledger:?}");
}
