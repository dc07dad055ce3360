//! Grids: every thread once, launch limits, launches at once and nested, print.

use std::sync::Mutex;

use raddle_device::host;
use raddle_sim::{Fault, Launch};

use crate::harness::*;

#[test]
fn every_thread_runs_once_with_its_coordinates() {
    for synchronizes in [false, true] {
        let seen = words(3 * 4 * 5 * 8 * 6 * 2);
        let mut case = Case { synchronizes, ..fibres(1, 1) };
        case.grid = [3, 4, 5];
        case.block = [8, 6, 2];
        let result = case.run(|| {
            let context = host::current();
            assert_eq!((context.block_dim, context.grid_dim), ([8, 6, 2], [3, 4, 5]));
            let flat = |[x, y, z]: [u32; 3], [sx, sy, _]: [u32; 3]| x + sx * (y + sy * z);
            let block = flat(context.block, [3, 4, 5]);
            let index = block * 96 + flat(context.thread, [8, 6, 2]);
            add(&seen[index as usize], 1);
        });
        assert_eq!(result, Ok(()));
        assert!(values(&seen).iter().all(|&times| times == 1));
    }
}

#[test]
fn big_grids_and_big_blocks() {
    let count = words(1);
    assert_eq!(
        plain(50_000, 128).run(|| {
            add(&count[0], 1);
        }),
        Ok(())
    );
    assert_eq!(get(&count[0]), 6_400_000);
    put(&count[0], 0);
    let result = fibres(300, 1024).run(|| {
        sync();
        add(&count[0], 1);
        sync();
    });
    assert_eq!(result, Ok(()));
    assert_eq!(get(&count[0]), 300 * 1024);
}

#[test]
fn sizes_outside_cudas_limits_are_faults() {
    let size = |what, max, found| Err(Fault::LaunchSize { what, min: 1, max, found });
    assert_eq!(plain(1, 0).run(|| {}), size("block x", 1024, 0));
    assert_eq!(plain(0, 1).run(|| {}), size("grid x", (1 << 31) - 1, 0));
    assert_eq!(plain(1, 1025).run(|| {}), size("block x", 1024, 1025));
    let mut case = plain(1, 32);
    case.block = [32, 32, 2];
    assert_eq!(case.run(|| {}), size("threads of a block", 1024, 2048));
    case.block = [1, 1, 65];
    assert_eq!(case.run(|| {}), size("block z", 64, 65));
    case.block = [1; 3];
    case.grid = [1, 65_536, 1];
    assert_eq!(case.run(|| {}), size("grid y", 65_535, 65_536));
}

#[test]
fn launches_from_many_os_threads_do_not_disturb_each_other() {
    std::thread::scope(|scope| {
        for launcher in 0..8u32 {
            scope.spawn(move || {
                for round in 0..20 {
                    let total = words(1);
                    let threads = 32 * (1 + (launcher + round) % 4);
                    let result = fibres(6, threads).run(|| {
                        let word = &shared_words("word", 1)[0];
                        if thread() == 0 {
                            put(word, launcher);
                        }
                        sync();
                        assert!(launcher != 5 || thread() != 9 || block() < 4, "launcher 5");
                        add(&total[0], get(word));
                    });
                    if launcher == 5 {
                        let is_own = |fault: &Fault| {
                            matches!(fault, Fault::Panic { message, block: [4, 0, 0], .. }
                                if message == "launcher 5")
                        };
                        assert!(result.as_ref().is_err_and(is_own), "{result:?}");
                    } else {
                        assert_eq!(result, Ok(()));
                        assert_eq!(get(&total[0]), 6 * threads * launcher);
                    }
                }
            });
        }
    });
}

#[test]
fn a_launch_inside_a_kernel_is_a_fault() {
    for case in [plain(1, 1), fibres(1, 1)] {
        let inner = Mutex::new(None);
        let result = case.run(|| {
            let nested = plain(1, 1).run(|| {});
            *inner.lock().expect("one thread") = Some(nested);
        });
        assert_eq!(result, Ok(()));
        let inner = inner.into_inner().expect("one thread");
        assert_eq!(inner, Some(Err(Fault::Nested { kernel: "test" })));
    }
}

#[test]
fn a_plain_kernel_that_waits_is_a_fault() {
    let at = line(3);
    let result = plain(4, 8).run(|| {
        if thread() == 2 {
            sync()
        }
    });
    let Err(Fault::NotSynchronizing { operation, at: place, block, thread }) = result else {
        panic!("expected a fault, found {result:?}");
    };
    assert_eq!((operation, place.line()), ("a block barrier", at));
    assert_eq!((block, thread), ([0; 3], [2, 0, 0]));
}

#[test]
fn launches_work_while_the_host_panics() {
    struct Launcher<'a>(&'a Mutex<Option<Result<(), Fault>>>);
    impl Drop for Launcher<'_> {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            let result = fibres(1, 2).run(|| {
                sync();
                assert!(thread() == 0, "second thread");
            });
            *self.0.lock().expect("one thread") = Some(result);
        }
    }
    let result = Mutex::new(None);
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _launcher = Launcher(&result);
        std::panic::resume_unwind(Box::new("silent"));
    }));
    assert!(unwound.is_err());
    let result = result.into_inner().expect("one thread");
    assert!(
        matches!(&result, Some(Err(Fault::Panic { message, thread: [1, 0, 0], .. }))
            if message == "second thread"),
        "{result:?}"
    );
}

static PRINTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[test]
fn prints_come_in_whole_lines() {
    for mut case in [plain(3, 40), fibres(3, 40)] {
        PRINTED.lock().expect("no panic").clear();
        case.options.print = |line| PRINTED.lock().expect("no panic").push(line.to_owned());
        let result = case.run(|| {
            let engine = host::engine();
            engine.print(&format!("block {} ", block()));
            engine.yield_now();
            engine.print(&format!("thread {}\nand", thread()));
            engine.yield_now();
            if thread() == 0 {
                engine.print(" more");
            }
        });
        assert_eq!(result, Ok(()));
        let printed = std::mem::take(&mut *PRINTED.lock().expect("no panic"));
        assert_eq!(printed.len(), 240);
        for block in 0..3 {
            for thread in 0..40 {
                let line = format!("block {block} thread {thread}\n");
                assert_eq!(printed.iter().filter(|printed| **printed == line).count(), 1);
            }
        }
        assert_eq!(printed.iter().filter(|printed| *printed == "and more").count(), 3);
    }
}

#[test]
fn the_environment_sets_the_defaults() {
    fn body() {}
    unsafe fn run(_: *const u8) {
        body();
    }
    let launch = Launch {
        grid: [2, 1, 1],
        block: [2, 1, 1],
        cluster: [0; 3],
        dynamic_shared_bytes: 0,
        synchronizes: true,
        body: run,
        params: std::ptr::null(),
        kernel: "test",
    };
    // SAFETY: the body reads nothing.
    assert_eq!(unsafe { raddle_sim::run(&launch) }, Ok(()));
}
