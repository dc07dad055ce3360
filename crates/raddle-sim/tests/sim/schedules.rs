//! Seeds: the same seed gives the same schedule, and some seed finds a race
//! that turns in order hide.

use std::sync::Mutex;

use raddle_device::host;

use crate::harness::*;

/// The order in which threads come out of a barrier, by block.
fn orders(seed: Option<u64>, os_threads: usize) -> Vec<Vec<u32>> {
    let orders: Vec<Mutex<Vec<u32>>> = (0..6).map(|_| Mutex::default()).collect();
    let mut case = fibres(6, 100);
    case.options.seed = seed;
    case.options.threads = os_threads;
    let result = case.run(|| {
        sync();
        orders[block() as usize].lock().expect("no panic").push(thread());
        sync();
    });
    assert_eq!(result, Ok(()));
    orders.into_iter().map(|order| order.into_inner().expect("no panic")).collect()
}

#[test]
fn a_seed_fixes_the_schedule() {
    let shuffled = orders(Some(1), 1);
    assert_eq!(orders(Some(1), 3), shuffled, "however many OS threads there are");
    assert_ne!(orders(Some(2), 1), shuffled);
    assert_ne!(shuffled[0], shuffled[1], "blocks differ");
    for mut order in shuffled {
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }
    let in_turn = orders(None, 1);
    assert!(in_turn.iter().all(|order| *order == in_turn[0]));
}

/// Counts wrong results of a kernel that forgot the barrier between writing and
/// reading its neighbour's word.
fn racy(seed: Option<u64>) -> u32 {
    let wrong = words(1);
    let mut case = fibres(1, 64);
    case.options.seed = seed;
    let result = case.run(|| {
        let values = shared_words("values", 64);
        let t = thread() as usize;
        put(&values[t], thread());
        host::engine().yield_now();
        // Missing: sync().
        if get(&values[63 - t]) != 63 - thread() {
            add(&wrong[0], 1);
        }
    });
    assert_eq!(result, Ok(()));
    get(&wrong[0])
}

#[test]
fn some_seed_shows_a_missing_barrier() {
    assert!((0..20).any(|seed| racy(Some(seed)) > 0));
}

#[test]
fn results_do_not_depend_on_the_seed() {
    for seed in 0..30 {
        let sum = words(1);
        let mut case = fibres(2, 96);
        case.options.seed = Some(seed);
        let result = case.run(|| {
            let values = shared_words("values", 96);
            let t = thread() as usize;
            put(&values[t], thread());
            sync();
            let (all, _) = collect(u32::MAX, get(&values[95 - t]));
            let total = all.iter().sum::<u32>();
            if thread().is_multiple_of(32) {
                add(&sum[0], total);
            }
        });
        assert_eq!(result, Ok(()));
        assert_eq!(get(&sum[0]), 2 * 95 * 96 / 2, "seed {seed}");
    }
}
