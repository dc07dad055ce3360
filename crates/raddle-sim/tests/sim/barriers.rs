//! Block barriers: reductions, exits, counts, votes, misuse.

use std::panic::Location;

use raddle_device::host;
use raddle_sim::{BarrierMisuse, Fault};

use crate::harness::*;

/// The tree reduction of every CUDA course, with a barrier in each step.
fn reduce(blocks: u32, threads: u32) -> Vec<u32> {
    let sums = words(blocks as usize);
    let result = fibres(blocks, threads).run(|| {
        let partial = shared_words("partial", threads as usize);
        let t = thread() as usize;
        put(&partial[t], thread() + block());
        sync();
        let mut live = threads as usize;
        while live > 1 {
            let half = live.div_ceil(2);
            if t + half < live {
                add(&partial[t], get(&partial[t + half]));
            }
            live = half;
            sync();
        }
        if t == 0 {
            put(&sums[block() as usize], get(&partial[0]));
        }
    });
    assert_eq!(result, Ok(()));
    values(&sums)
}

#[test]
fn reductions_over_many_block_sizes() {
    let sizes = (1..=70).chain([96, 127, 128, 129, 255, 256, 511, 512, 992, 1000, 1023, 1024]);
    for threads in sizes {
        let expected: Vec<u32> =
            (0..3).map(|block| threads * (threads - 1) / 2 + threads * block).collect();
        assert_eq!(reduce(3, threads), expected, "{threads} threads");
    }
}

#[test]
fn exited_threads_count_as_arrived() {
    let seen = words(1);
    let result = fibres(1, 100).run(|| {
        if thread().is_multiple_of(3) {
            return;
        }
        for _ in 0..5 {
            sync();
        }
        add(&seen[0], 1);
    });
    assert_eq!(result, Ok(()));
    assert_eq!(get(&seen[0]), 66);
}

#[test]
fn threads_may_exit_while_others_wait() {
    let seen = words(1);
    let result = fibres(1, 64).run(|| {
        // Thread t takes part in t barriers.
        for _ in 0..thread() {
            sync();
        }
        add(&seen[0], 1);
    });
    assert_eq!(result, Ok(()));
    assert_eq!(get(&seen[0]), 64);
}

/// A barrier with a number and a count.
#[track_caller]
fn sync_some(id: u32, threads: u32) {
    host::engine().barrier(id, Some(threads), Location::caller());
}

#[test]
fn counted_barriers_join_some_warps_only() {
    let order = words(2);
    let result = fibres(4, 128).run(|| {
        // Two halves of the block meet separately and a different number of times.
        let half = thread() / 64;
        for _ in 0..=half {
            sync_some(1 + half, 64);
        }
        add(&order[half as usize], 1);
    });
    assert_eq!(result, Ok(()));
    assert_eq!(values(&order), [256, 256]);
}

#[test]
fn producers_arrive_and_consumers_wait() {
    let rounds = 20;
    let sums = words(1);
    let result = fibres(1, 64).run(|| {
        let ring = shared_words("ring", 32);
        let lane = (thread() % 32) as usize;
        let (is_full, is_empty) = (1, 2);
        let arrive = |id| host::engine().barrier_arrive(id, 64, Location::caller());
        if thread() < 32 {
            for round in 0..rounds {
                sync_some(is_empty, 64);
                put(&ring[lane], round);
                arrive(is_full);
            }
        } else {
            arrive(is_empty);
            for round in 0..rounds {
                sync_some(is_full, 64);
                assert_eq!(get(&ring[31 - lane]), round);
                add(&sums[0], 1);
                if round + 1 < rounds {
                    arrive(is_empty);
                }
            }
        }
    });
    assert_eq!(result, Ok(()));
    assert_eq!(get(&sums[0]), 32 * rounds);
}

#[test]
fn a_partial_last_warp_counts_as_a_whole_one() {
    let seen = words(1);
    let result = fibres(1, 48).run(|| {
        if thread() >= 32 {
            sync_some(3, 32);
        }
        sync_some(4, 64);
        add(&seen[0], 1);
    });
    assert_eq!(result, Ok(()));
    assert_eq!(get(&seen[0]), 48);
}

#[test]
fn votes_count_offers_and_threads() {
    let result = fibres(2, 100).run(|| {
        for round in 1..10 {
            let vote = thread().is_multiple_of(round);
            let counted = host::engine().barrier_count(0, vote, Location::caller());
            assert_eq!(counted, (100u32.div_ceil(round), 100));
        }
        if thread() >= 90 {
            return;
        }
        let counted = host::engine().barrier_count(5, true, Location::caller());
        assert_eq!(counted, (90, 90));
    });
    assert_eq!(result, Ok(()));
}

/// The misuse in a fault of a barrier, with the number of the barrier.
fn misuse(result: Result<(), Fault>) -> (BarrierMisuse, u32) {
    match result {
        Err(Fault::Barrier { reason, id, at, .. }) => {
            assert!(at.file().ends_with("barriers.rs"), "{at}");
            (reason, id)
        }
        other => panic!("expected a misused barrier, found {other:?}"),
    }
}

#[test]
fn misused_barriers_are_faults() {
    let case = fibres(1, 96);
    assert_eq!(misuse(case.run(|| sync_some(16, 32))), (BarrierMisuse::Id, 16));
    for found in [0, 31, 33, 128] {
        let expected = BarrierMisuse::ThreadCount { found, max: 96 };
        assert_eq!(misuse(case.run(|| sync_some(1, found))), (expected, 1));
    }
    let result = case.run(|| sync_some(2, if thread() == 5 { 64 } else { 32 }));
    let BarrierMisuse::CountChanged { found, first, first_at } = misuse(result).0 else {
        panic!("expected a changed count");
    };
    assert_eq!((found, first, first_at.line()), (Some(64), Some(32), line(0) - 4));
    let result = case.run(|| {
        if thread() == 0 {
            sync();
        } else {
            host::engine().barrier_count(0, true, Location::caller());
        }
    });
    assert!(matches!(misuse(result), (BarrierMisuse::KindChanged { .. }, 0)));
    let arrive = || host::engine().barrier_arrive(7, 64, Location::caller());
    let result = case.run(|| {
        arrive();
        arrive();
    });
    assert_eq!(misuse(result), (BarrierMisuse::ArrivedTwice, 7));
}

#[test]
fn messages_of_misuse_name_place_and_thread() {
    let at = line(1);
    let fault = fibres(1, 96).run(|| sync_some(1, 33)).unwrap_err().to_string();
    let place = format!("{}:{at}:", file!());
    assert!(fault.starts_with("barrier 1 at "), "{fault}");
    assert!(fault.contains(&place), "{fault}");
    let tail = "in block (0, 0, 0), thread (0, 0, 0): \
                expected a thread count that is a multiple of 32 up to 96, found 33";
    assert!(fault.ends_with(tail), "{fault}");
}
