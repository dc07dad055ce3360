//! Shared memory: collective filling, and which sites and instances share.

use raddle_device::index::{block_threads, thread_linear};
use raddle_device::{Atomic, DynamicShared, Relaxed, barrier, dynamic_shared, shared};

use crate::harness::{BLOCK_SHAPES, Shape, block_of};

#[test]
fn every_thread_sees_what_all_filled() {
    for &block in BLOCK_SHAPES {
        let found = Shape { block, ..block_of(1) }.run(|| {
            let mut values = shared!([u32; 300]);
            let first: u32 = values.fill(|i| i as u32 * 3).iter().sum();
            let second: u32 = values.fill_first(77, |i| i as u32 + 1).iter().sum();
            (first, second)
        });
        assert!(found.iter().all(|v| *v == (3 * 299 * 150, 77 * 39)), "{block:?}");
    }
}

#[test]
fn gather_holds_one_value_of_each_thread() {
    for &block in BLOCK_SHAPES {
        let found = Shape { block, ..block_of(1) }.run(|| {
            let mut all = shared!([u32; 1024]);
            let all = all.gather(thread_linear() + 1);
            (all.len() as u32, all.iter().sum::<u32>(), block_threads())
        });
        assert!(found.iter().all(|v| v.0 == v.2 && v.1 == v.2 * (v.2 + 1) / 2), "{block:?}");
    }
}

#[test]
fn matrices_and_pairs() {
    let found = block_of(50).run(|| {
        let mut tile = shared!([[f32; 8]; 9]);
        let tile = tile.fill_matrix(|row, col| (row * 10 + col) as f32);
        let (mut a, mut b) = (shared!([u8; 33]), shared!([u64; 5]));
        let (a, b) = a.fill_both(|i| i as u8, &mut b, |i| 1 << (10 * i));
        (tile[7][6], a[32], b[4])
    });
    assert!(found.iter().all(|v| *v == (76.0, 32, 1 << 40)));
}

#[test]
fn too_long_fills_are_refused() {
    let line = line!() + 1;
    let result = block_of(2).try_run(|| shared!([u8; 4]).fill_first(5, |_| 0).len());
    let (message, file, found) = crate::harness::panic_of(result);
    assert!(message.contains("more elements than the shared array has"), "{message}");
    assert!(file.ends_with("shared.rs") && found == line);
}

/// Address of a variable that each instance of this function has once.
fn instance<const N: usize, F: Fn()>(_: F) -> usize {
    shared!([u8; 64]).as_ptr() as usize
}

#[test]
fn sites_and_instances_have_their_own_variables() {
    let found = block_of(2).run(|| {
        let same = || shared!([u8; 64]).as_ptr() as usize;
        let two_closures = [instance::<1, _>(|| ()), instance::<1, _>(|| ())];
        barrier();
        [same(), two_closures[0], two_closures[1], instance::<2, _>(|| ()), same()]
    });
    assert_eq!(found[0], found[1], "all threads of a block see the same addresses");
    assert_eq!(found[0][0], found[0][4], "one site is one variable");
    let mut distinct = found[0][..4].to_vec();
    distinct.sort_unstable();
    assert!(distinct.windows(2).all(|pair| pair[1] - pair[0] >= 64), "{distinct:?}");
    assert!(found[0].iter().all(|address| address % 16 == 0));
}

#[test]
fn dynamic_memory_has_the_size_of_the_launch() {
    let shape = Shape { dynamic_shared_bytes: 1030, ..block_of(40) };
    let found = shape.run(|| {
        let (ptr, len) = dynamic_shared::<u64>();
        // SAFETY: the only handle.
        let mut all = unsafe { DynamicShared::<u64>::take() };
        assert_eq!((all.as_ptr(), all.len()), (ptr, len));
        let sum: u64 = all.fill_first(128, |i| i as u64).iter().sum();
        (len, sum, ptr as usize % 16)
    });
    assert!(found.iter().all(|v| *v == (128, 127 * 64, 0)));
}

#[test]
fn shared_histograms() {
    let found = block_of(96).run(|| {
        let mut bins = shared!([Atomic<u32>; 7]);
        let bins = bins.fill_atomic(|_| 0);
        bins[thread_linear() as usize % 7].fetch_add(1, Relaxed);
        barrier();
        bins.iter().map(|bin| bin.load(Relaxed)).collect::<Vec<_>>()
    });
    assert!(found.iter().all(|bins| *bins == [14, 14, 14, 14, 14, 13, 13]));
}
