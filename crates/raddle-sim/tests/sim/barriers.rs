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
        if thread() % 3 == 0 {
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
