//! Clusters: indices, barriers and the shared memory of other blocks.

use raddle_device::index::{
    block_x, block_y, cluster_block_x, cluster_block_y, cluster_blocks, cluster_dim_x,
    cluster_rank, cluster_x, cluster_y, grid_clusters_x, thread_linear,
};
use raddle_device::{Mbarrier, barrier, cluster_arrive, cluster_barrier, cluster_wait, shared};

use crate::harness::{Shape, block_of};

const CLUSTERED: Shape =
    Shape { grid: [4, 6, 1], block: [40, 1, 1], cluster: [2, 3, 1], dynamic_shared_bytes: 0 };

#[test]
fn indices() {
    let found = CLUSTERED.run(|| {
        assert_eq!((cluster_blocks(), cluster_dim_x(), grid_clusters_x()), (6, 2, 2));
        assert_eq!(cluster_rank(), cluster_block_y() * 2 + cluster_block_x());
        (
            (block_x(), block_y()),
            (cluster_x() * 2 + cluster_block_x(), cluster_y() * 3 + cluster_block_y()),
        )
    });
    assert_eq!(found.len(), 24 * 40);
    assert!(found.iter().all(|(block, rebuilt)| block == rebuilt));
    let alone = block_of(1).run(|| (cluster_blocks(), cluster_rank(), cluster_x()));
    assert_eq!(alone, [(1, 0, 0)]);
}

#[test]
fn arrays_of_other_blocks() {
    let found = CLUSTERED.run(|| {
        let mut values = shared!([u32; 64]);
        let mut sums = Vec::new();
        for round in 1..3 {
            sums.push(values.fill_cluster(
                |i| (cluster_rank() + 1) * 1000 * round + i as u32,
                |arrays| {
                    (0..arrays.blocks()).map(|rank| arrays.of_rank(rank)[5]).collect::<Vec<_>>()
                },
            ));
        }
        sums
    });
    let expected =
        [vec![1005, 2005, 3005, 4005, 5005, 6005], vec![2005, 4005, 6005, 8005, 10005, 12005]];
    assert!(found.iter().all(|sums| *sums == expected));
}

#[test]
fn ranks_are_checked() {
    let result =
        CLUSTERED.try_run(|| shared!([u32; 4]).fill_cluster(|_| 0, |arrays| arrays.of_rank(6)[0]));
    let (message, ..) = crate::harness::panic_of(result);
    assert!(message.contains("no block of this rank"), "{message}");
}

#[test]
fn remote_arrivals() {
    CLUSTERED.run(|| {
        let mut barriers = shared!([Mbarrier; 1]);
        let [full] = barriers.init_cluster_mbarriers(|_| 6);
        if thread_linear() == 0 {
            for rank in 0..cluster_blocks() {
                // SAFETY: the rank exists, and blocks meet below before they end.
                unsafe { full.arrive_remote(rank) };
            }
        }
        full.suspend_parity_cluster(0);
        assert!(full.test_wait_parity(0) && !full.test_wait_parity(1));
        barrier();
        cluster_barrier();
    });
}

#[test]
fn split_barriers() {
    let found = CLUSTERED.run(|| {
        cluster_arrive();
        let own = cluster_rank();
        cluster_wait();
        own
    });
    assert_eq!(found.len(), 960);
}
