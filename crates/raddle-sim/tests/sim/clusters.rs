//! Clusters: blocks that run together, distributed shared memory.

use std::panic::Location;
use std::sync::atomic::AtomicU32;

use raddle_device::host;
use raddle_sim::{Fault, SharedMisuse};

use crate::harness::*;

#[track_caller]
fn cluster_sync() {
    host::engine().cluster_barrier(true, Location::caller());
}

/// `word` as it stands in block `rank` of the cluster.
fn remote(word: &AtomicU32, rank: u32) -> &AtomicU32 {
    let mapped = host::engine().cluster_map(word.as_ptr().cast(), rank);
    // SAFETY: the same variable of another block of the cluster, which lives
    // until the whole cluster has exited.
    unsafe { AtomicU32::from_ptr(mapped.cast()) }
}

#[test]
fn blocks_of_a_cluster_read_each_others_shared_memory() {
    let sums = words(12);
    let mut case = fibres(12, 64);
    case.cluster = [4, 1, 1];
    let result = case.run(|| {
        let own = &shared_words("own", 64)[thread() as usize];
        put(own, 100 * block() + thread());
        cluster_sync();
        let sum: u32 = (0..4).map(|rank| get(remote(own, rank))).sum();
        let first = block() / 4 * 4;
        assert_eq!(sum, 4 * thread() + 100 * (4 * first + 6));
        add(&sums[block() as usize], 1);
        cluster_sync();
    });
    assert_eq!(result, Ok(()));
    assert_eq!(values(&sums), [64; 12]);
}

#[test]
fn variables_lie_alike_in_all_blocks_whatever_their_order() {
    let mut case = fibres(2, 1);
    case.cluster = [2, 1, 1];
    let result = case.run(|| {
        // Block 1 names the two variables in the opposite order.
        let name = |first| shared_words(if first { "a" } else { "b" }, 8);
        let (one, two) = (name(block() == 0), name(block() == 1));
        let a = if block() == 0 { one } else { two };
        put(&a[3], 70 + block());
        cluster_sync();
        assert_eq!(get(remote(&a[3], 1 - block())), 71 - block());
        cluster_sync();
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn clusters_follow_the_axes_of_the_grid() {
    let seen = words(4 * 6 * 2);
    let mut case = fibres(1, 3);
    case.grid = [4, 6, 2];
    case.cluster = [2, 3, 1];
    let result = case.run(|| {
        let context = host::current();
        assert_eq!((context.grid_dim, context.cluster_dim), ([4, 6, 2], [2, 3, 1]));
        let [x, y, z] = context.block;
        let corner = &shared_words("corner", 1)[0];
        put(corner, x | y << 8 | z << 16);
        cluster_sync();
        // Rank 5 is the last block of the cluster along both axes.
        let last = get(remote(corner, 5));
        assert_eq!(last, (x | 1) | (y / 3 * 3 + 2) << 8 | z << 16);
        add(&seen[(x + 4 * (y + 6 * z)) as usize], 1);
        cluster_sync();
    });
    assert_eq!(result, Ok(()));
    assert_eq!(values(&seen), [3; 48]);
}

#[test]
fn block_barriers_of_a_cluster_are_separate_and_exits_count() {
    let mut case = fibres(8, 40);
    case.cluster = [8, 1, 1];
    let result = case.run(|| {
        for _ in 0..block() {
            sync();
        }
        if thread().is_multiple_of(2) {
            return;
        }
        cluster_sync();
        assert_eq!(collect(u32::MAX, 0).1, if thread() < 32 { 0xaaaa_aaaa } else { 0xaa });
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn wrong_maps_and_shapes_are_faults() {
    let mut case = fibres(4, 1);
    case.cluster = [2, 1, 1];
    let fault = |reason| Err(Fault::SharedMemory { reason, block: [0; 3] });
    let result = case.run(|| {
        host::engine().cluster_map(shared_words("own", 1)[0].as_ptr().cast(), 2);
    });
    assert_eq!(result, fault(SharedMisuse::Rank { found: 2, blocks: 2 }));
    let outside = words(1);
    let result = case.run(|| {
        host::engine().cluster_map(outside[0].as_ptr().cast(), 1);
    });
    assert_eq!(result, fault(SharedMisuse::NotShared));
    case.cluster = [3, 1, 1];
    let (grid, cluster) = ([4, 1, 1], [3, 1, 1]);
    assert_eq!(case.run(|| {}), Err(Fault::ClusterShape { grid, cluster }));
    case.grid = [17, 1, 1];
    case.cluster = [17, 1, 1];
    let what = "cluster x";
    assert_eq!(case.run(|| {}), Err(Fault::LaunchSize { what, min: 1, max: 16, found: 17 }));
}

#[test]
fn a_divergent_cluster_barrier_names_the_blocks() {
    let mut case = fibres(2, 2);
    case.cluster = [2, 1, 1];
    let result = case.run(|| {
        if block() == 0 {
            cluster_sync();
        } else {
            host::engine().barrier(3, Some(32), Location::caller());
            cluster_sync();
        }
    });
    let Err(Fault::DivergentBarrier { waiting, .. }) = result else {
        panic!("expected a divergent barrier, found {result:?}");
    };
    let blocks: Vec<u32> = waiting.iter().map(|wait| wait.group.block[0]).collect();
    assert_eq!(blocks, [0, 1]);
}

#[test]
fn the_largest_cluster_runs() {
    let sum = words(1);
    let mut case = fibres(16, 1024);
    case.cluster = [16, 1, 1];
    let result = case.run(|| {
        put(&shared_words("own", 1024)[thread() as usize], block());
        cluster_sync();
        let own = &shared_words("own", 1024)[thread() as usize];
        add(&sum[0], get(remote(own, 15 - block())));
        cluster_sync();
    });
    assert_eq!(result, Ok(()));
    assert_eq!(get(&sum[0]), 1024 * 120);
}
