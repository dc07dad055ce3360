//! Launches that cannot end do, with a fault that says who waits where.

use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use raddle_device::host;
use raddle_sim::{Fault, ThreadGroup, WaitGroup};

use crate::harness::*;

/// Waiting groups as `(line, first and last threads of the ranges)`.
fn places(waiting: &[WaitGroup]) -> Vec<(u32, Vec<(u32, u32)>)> {
    let place = |wait: &WaitGroup| wait.at.map_or(0, Location::line);
    waiting.iter().map(|wait| (place(wait), ranges(&wait.group))).collect()
}

fn ranges(group: &ThreadGroup) -> Vec<(u32, u32)> {
    group.threads.iter().map(|range| (*range.start(), *range.end())).collect()
}

#[test]
fn a_barrier_in_one_branch_names_both_lines() {
    let at = line(0);
    let result = fibres(1, 64).run(|| {
        if thread().is_multiple_of(2) {
            sync(); // line 3
        } else {
            sync(); // line 5
        }
    });
    let Err(Fault::DivergentBarrier { waiting, exited }) = result else {
        panic!("expected a divergent barrier, found {result:?}");
    };
    assert_eq!(places(&waiting), [(at + 3, vec![(0, 0)]), (at + 5, vec![(1, 1)])]);
    assert_eq!(waiting[0].what, "barrier 0");
    assert_eq!(exited, []);
}

#[test]
fn a_barrier_that_half_a_warp_waits_elsewhere_for_is_divergent() {
    let at = line(0);
    let result = fibres(3, 64).run(|| {
        if thread() < 8 {
            return;
        }
        if thread() < 16 {
            sync(); // line 6
        } else {
            collect(u32::MAX, 1); // line 8
        }
    });
    let Err(fault) = result else { panic!("expected a fault") };
    let text = fault.to_string();
    assert!(text.contains("exited: threads 0-7, 32-63 of block (0, 0, 0)"), "{text}");
    let Fault::DivergentBarrier { waiting, exited } = fault else {
        panic!("expected a divergent barrier, found {fault:?}");
    };
    assert_eq!(places(&waiting), [(at + 6, vec![(8, 15)]), (at + 8, vec![(16, 31)])]);
    assert_eq!(ranges(&exited[0]), [(0, 7), (32, 63)]);
}

#[test]
fn a_counted_barrier_that_too_few_reach_is_divergent() {
    let result = fibres(1, 96).run(|| {
        if thread() < 32 {
            host::engine().barrier(4, Some(64), Location::caller());
        }
    });
    let Err(Fault::DivergentBarrier { waiting, exited }) = result else {
        panic!("expected a divergent barrier, found {result:?}");
    };
    assert_eq!(ranges(&waiting[0].group), [(0, 31)]);
    assert_eq!(waiting[0].what, "barrier 4");
    assert_eq!(ranges(&exited[0]), [(32, 95)]);
}

/// Waits for a word to change.
#[track_caller]
fn wait_for(word: &AtomicU32, value: u32) {
    let mut ready = || word.load(Ordering::Acquire) == value;
    host::engine().wait_until("the word", &mut ready, Location::caller());
}

#[test]
fn waits_for_memory_see_what_others_write() {
    let flags = words(64);
    let result = fibres(1, 64).run(|| {
        // A chain from the last thread to the first.
        let t = thread() as usize;
        if t < 63 {
            wait_for(&flags[t + 1], 1);
        }
        flags[t].store(1, Ordering::Release);
    });
    assert_eq!(result, Ok(()));
    assert_eq!(values(&flags), [1; 64]);
}

#[test]
fn a_wait_that_nobody_ends_is_a_deadlock() {
    let at = line(0);
    let flag = words(1);
    let result = fibres(1, 64).run(|| {
        if thread() < 40 {
            wait_for(&flag[0], 1); // line 4
        }
    });
    let Err(fault) = result else { panic!("expected a fault") };
    let text = fault.to_string();
    assert!(text.starts_with("deadlock, no thread can run: waiting for the word at "), "{text}");
    let Fault::Deadlock { waiting, exited, blocks_unstarted } = fault else {
        panic!("expected a deadlock, found {fault:?}");
    };
    assert_eq!(places(&waiting), [(at + 4, vec![(0, 39)])]);
    assert_eq!(ranges(&exited[0]), [(40, 63)]);
    assert_eq!(blocks_unstarted, 0);
}

#[test]
fn a_panic_that_strands_its_peers_is_the_fault_reported() {
    let flag = words(1);
    let result = fibres(2, 64).run(|| {
        if thread() == 3 && block() == 1 {
            panic!("stranded");
        }
        wait_for(&flag[0], 1);
    });
    let Err(Fault::Panic { message, block, thread, .. }) = result else {
        panic!("expected a panic, found {result:?}");
    };
    assert_eq!((message.as_str(), block, thread), ("stranded", [1, 0, 0], [3, 0, 0]));
}

#[test]
fn blocks_may_wait_for_each_other_in_both_directions() {
    // A barrier of the whole grid: more blocks than OS threads, each needed.
    let arrived = words(1);
    for threads in [1, 3] {
        put(&arrived[0], 0);
        let mut case = fibres(24, 32);
        case.options.threads = threads;
        let result = case.run(|| {
            sync();
            if thread() == 0 {
                add(&arrived[0], 1);
                wait_for(&arrived[0], 24);
            }
            sync();
        });
        assert_eq!(result, Ok(()), "{threads} OS threads");
    }
}

#[test]
fn a_host_thread_may_end_a_wait() {
    let flag = words(1);
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            put(&flag[0], 1);
        });
        fibres(2, 32).run(|| wait_for(&flag[0], 1))
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn polling_threads_get_a_turn_while_others_are_busy() {
    let flags = words(2);
    let result = fibres(1, 64).run(|| {
        if thread() >= 32 {
            wait_for(&flags[0], 1);
            put(&flags[1], 1);
            return;
        }
        put(&flags[0], 1);
        // Never all waiting: this warp meets again and again until the other ran.
        while collect(u32::MAX, get(&flags[1])).0.contains(&0) {}
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_block_that_never_rests_does_not_keep_others_from_beginning() {
    let flag = words(1);
    let mut case = fibres(3, 32);
    case.options.threads = 1;
    let result = case.run(|| {
        if block() == 2 {
            put(&flag[0], 1);
        }
        while collect(u32::MAX, get(&flag[0])).0.contains(&0) {}
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn loops_for_what_a_panicked_thread_would_have_done_end() {
    let flag = words(1);
    for (blocks, threads) in [(2, 32), (1, 64)] {
        let mut case = fibres(blocks, threads);
        case.options.spin_max = Duration::from_millis(50);
        let result = case.run(|| {
            assert!(block() + thread() / 32 != 1 || thread() % 32 != 1, "lost");
            while collect(u32::MAX, get(&flag[0])).0.contains(&0) {}
        });
        assert!(
            matches!(&result, Err(Fault::Panic { message, .. }) if message == "lost"),
            "{result:?}"
        );
    }
}

#[test]
fn locals_of_threads_that_never_return_are_dropped() {
    struct Guard<'a>(&'a AtomicU32);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            add(self.0, 1);
            // A wait in a destructor must not wait either.
            sync();
            assert_eq!(collect(u32::MAX, 5).1.count_ones(), 1);
        }
    }
    let dropped = words(1);
    let result = fibres(1, 64).run(|| {
        let _guard = Guard(&dropped[0]);
        if thread() != 63 {
            sync();
        } else {
            host::engine().barrier(1, Some(32), Location::caller());
        }
    });
    assert!(matches!(result, Err(Fault::DivergentBarrier { .. })), "{result:?}");
    assert_eq!(get(&dropped[0]), 64);
}

#[test]
fn faults_end_launches_of_many_blocks_soon() {
    let start = Instant::now();
    let result = fibres(1_000_000, 1024).run(|| {
        if thread() == 0 {
            sync();
            return;
        }
        sync();
    });
    assert!(matches!(result, Err(Fault::DivergentBarrier { .. })), "{result:?}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

/// Spins until a word has changed, as code does that knows nothing of us.
fn spin_for(word: &AtomicU32, value: u32) {
    while get(word) != value {
        host::engine().yield_now();
    }
}

#[test]
fn spins_see_what_threads_and_blocks_write() {
    for seed in [None, Some(3)] {
        let flags = words(200);
        let mut case = fibres(4, 50);
        case.options.threads = 1;
        case.options.seed = seed;
        let result = case.run(|| {
            // Each thread waits for the next one, across blocks.
            let own = (block() * 50 + thread()) as usize;
            if own < 199 {
                spin_for(&flags[own + 1], 1);
            }
            put(&flags[own], 1);
        });
        assert_eq!(result, Ok(()));
        assert_eq!(values(&flags), [1; 200]);
    }
}

#[test]
fn spins_that_nobody_ends_are_faults() {
    let flag = words(1);
    let mut case = fibres(2, 32);
    case.options.spin_max = Duration::from_millis(50);
    let result = case.run(|| {
        if thread() == 4 {
            spin_for(&flag[0], 1);
        }
        sync();
    });
    let Err(Fault::Deadlock { waiting, .. }) = result else {
        panic!("expected a deadlock, found {result:?}");
    };
    let what: Vec<_> = waiting.iter().map(|wait| (&*wait.what, wait.at.is_some())).collect();
    assert_eq!(what, [("barrier 0", true), ("a spin that yields", false)]);
    assert_eq!(ranges(&waiting[1].group), [(4, 4)]);

    case.synchronizes = false;
    let result = case.run(|| {
        if thread() == 4 && block() == 0 {
            spin_for(&flag[0], 1);
        }
    });
    assert_eq!(result, Err(Fault::EndlessSpin { block: [0; 3], thread: [4, 0, 0] }));
}

#[test]
fn blocks_that_do_not_fit_at_once_are_counted() {
    let arrived = words(1);
    let result = fibres(1000, 1024).run(|| {
        // A grid barrier over more threads than there may be stacks.
        sync();
        if thread() == 0 {
            add(&arrived[0], 1);
        }
        wait_for(&arrived[0], 1000);
    });
    let Err(fault) = result else { panic!("expected a fault") };
    let text = fault.to_string();
    assert!(text.ends_with("blocks had not begun"), "{text}");
    assert!(
        matches!(fault, Fault::Deadlock { blocks_unstarted, .. } if blocks_unstarted > 900),
        "{text}"
    );
}
