//! Barriers with votes, and producers and consumers at named barriers.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use raddle_device::index::{thread_linear, warp};
use raddle_device::{NamedBarrier, barrier, barrier_all, barrier_any, barrier_count, warp_barrier};
use raddle_sim::Fault;

use crate::harness::block_of;

#[test]
fn votes_over_the_block() {
    let found = block_of(100).run(|| {
        let i = thread_linear();
        (
            barrier_count(i.is_multiple_of(3)),
            [barrier_all(true), barrier_all(i != 50)],
            [barrier_any(i == 99), barrier_any(false)],
        )
    });
    assert!(found.iter().all(|v| *v == (34, [true, false], [true, false])));
}

#[test]
fn all_threads_wait() {
    let arrived = AtomicU32::new(0);
    let found = block_of(77).run(|| {
        arrived.fetch_add(1, SeqCst);
        barrier();
        arrived.load(SeqCst)
    });
    assert_eq!(found, [77; 77]);
}

#[test]
fn lanes_wait() {
    let arrived = AtomicU32::new(0);
    let found = block_of(32).run(|| {
        if thread_linear() >= 4 {
            return 4;
        }
        arrived.fetch_add(1, SeqCst);
        warp_barrier(0xf);
        arrived.load(SeqCst)
    });
    assert_eq!(found, [4; 32]);
}

#[test]
fn producers_and_consumers() {
    let (slot, sum) = (AtomicU32::new(0), AtomicU32::new(0));
    let (full, empty) = (NamedBarrier::<1>::new(), NamedBarrier::<2>::new());
    block_of(64).run(|| {
        for round in 0..5 {
            if warp() == 0 {
                slot.fetch_add(round, SeqCst);
                full.arrive(64);
                empty.sync(64);
            } else {
                full.sync(64);
                if thread_linear() == 32 {
                    sum.fetch_add(slot.swap(0, SeqCst), SeqCst);
                }
                empty.arrive(64);
            }
        }
    });
    assert_eq!(sum.into_inner(), 32 * (1 + 2 + 3 + 4));
}

#[test]
fn misuse_is_an_error() {
    let fault = block_of(64).try_run(|| {
        if thread_linear() < 32 {
            barrier();
        } else {
            NamedBarrier::<3>::new().sync(64);
        }
    });
    assert!(matches!(fault, Err(Fault::DivergentBarrier { .. })), "{fault:?}");
    let result = block_of(32).try_run(|| NamedBarrier::<3>::new().sync(31));
    let (message, file, _) = crate::harness::panic_of(result);
    assert!(message.contains("expected a multiple of 32 threads, found 31"), "{message}");
    assert!(file.ends_with("barriers.rs"), "{file}");
}
