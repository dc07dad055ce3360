//! Block reductions and scans for every kind of block shape.

use raddle_device::index::thread_linear;
use raddle_device::{
    Prefix, block_all_reduce, block_exclusive_scan, block_inclusive_scan, block_reduce,
};

use crate::harness::{BLOCK_SHAPES, Shape, affine, block_of, compose};

#[test]
fn reductions_and_scans_in_linear_thread_order() {
    for &block in BLOCK_SHAPES {
        let threads: u32 = block.iter().product();
        let found = Shape { block, ..block_of(1) }.run(|| {
            let mine = affine(thread_linear());
            (
                block_reduce(mine, compose),
                block_all_reduce(mine, compose),
                block_inclusive_scan(mine, compose),
                block_exclusive_scan(mine, [1, 0], compose),
            )
        });
        let total = (0..threads).map(affine).fold([1, 0], compose);
        let mut sum = [1, 0];
        for (thread, found) in (0..threads).zip(found) {
            let before = sum;
            sum = compose(sum, affine(thread));
            let expected = (
                (thread == 0).then_some(total),
                total,
                Prefix { value: sum, total },
                Prefix { value: before, total },
            );
            assert_eq!(found, expected, "thread {thread} of {block:?}");
        }
    }
}

#[test]
fn repeated_calls_do_not_disturb_each_other() {
    let found = block_of(100).run(|| {
        let mut seen = Vec::new();
        for round in 0..20u64 {
            let mine = u64::from(thread_linear()) * (round + 1);
            seen.push(block_all_reduce(mine, |a, b| a + b));
            seen.push(block_all_reduce(mine, u64::max));
            seen.push(block_exclusive_scan(mine, 0, |a, b| a + b).total);
        }
        seen
    });
    let expected: Vec<u64> =
        (1..=20).flat_map(|round| [4950 * round, 99 * round, 4950 * round]).collect();
    assert!(found.iter().all(|seen| *seen == expected));
}

#[test]
fn float_sums_are_equal_in_every_thread_and_run() {
    for &block in BLOCK_SHAPES {
        let sum = || {
            Shape { block, ..block_of(1) }.run(|| {
                let i = thread_linear();
                let mine = (i as f32 + 0.3) * if i.is_multiple_of(7) { 1e6 } else { 1e-4 };
                (block_all_reduce(mine, |a, b| a + b).to_bits(), block_reduce(mine, |a, b| a + b))
            })
        };
        let (first, second) = (sum(), sum());
        assert!(first.iter().all(|v| v.0 == first[0].0), "{block:?}");
        assert_eq!(first[0].1.map(f32::to_bits), Some(first[0].0), "{block:?}");
        assert_eq!(first, second);
    }
}

#[test]
fn sixteen_byte_values_and_small_ones() {
    let found = block_of(70).run(|| {
        let i = thread_linear();
        let wide = block_all_reduce(1u128 << (i % 128), |a, b| a | b);
        let best = block_all_reduce([f64::from((i * 37) % 70), f64::from(i)], |a, b| {
            if b[0] > a[0] { b } else { a }
        });
        (wide, best, block_all_reduce(i == 69, |a, b| a || b))
    });
    let best = (0..70).find(|i| (i * 37) % 70 == 69).map(f64::from).unwrap();
    assert!(found.iter().all(|v| *v == ((1 << 70) - 1, [69.0, best], true)));
}
