//! Atomics: every operation on every type against its definition, and as
//! synchronisation between threads.

use std::fmt::Debug;

use raddle_device::index::{block_x, thread_linear};
use raddle_device::{
    AcqRel, Acquire, Atomic, AtomicInteger, AtomicValue, BlockScope, Relaxed, Release, SystemScope,
    nanosleep,
};

use crate::harness::{Shape, block_of};

fn check_value<T: AtomicValue + PartialEq + Debug + Sync>(a: T, b: T, sum: T, difference: T) {
    block_of(1).run(|| {
        let cell = Atomic::<T>::new(a);
        assert_eq!(cell.load(Acquire), a);
        assert_eq!(cell.fetch_add(b, Relaxed), a);
        assert_eq!(cell.load(Relaxed), sum);
        assert_eq!(cell.swap(a, AcqRel), sum);
        assert_eq!(cell.scoped::<BlockScope>().fetch_sub(b, Release), a);
        assert_eq!(cell.load(Relaxed), difference);
        cell.store(a, Release);
        assert_eq!(cell.compare_exchange(b, sum, AcqRel), Err(a));
        assert_eq!(cell.compare_exchange(a, b, Acquire), Ok(a));
        assert_eq!(cell.scoped::<SystemScope>().load(Relaxed), b);
    });
}

#[test]
fn values() {
    check_value(u32::MAX, 2, 1, u32::MAX - 2);
    check_value(i32::MIN, -1, i32::MAX, i32::MIN + 1);
    check_value(u64::MAX - 1, 3, 1, u64::MAX - 4);
    check_value(-5i64, 1 << 40, (1 << 40) - 5, -5 - (1 << 40));
    check_value(1.5f32, 0.25, 1.75, 1.25);
    check_value(1.5f64, 1e-3, 1.501, 1.499);
}

fn check_integer<T: AtomicInteger + PartialEq + Debug + Sync>(
    a: T,
    b: T,
    expected: [T; 5], // min, max, and, or, xor
) {
    block_of(1).run(|| {
        let operations: [fn(&Atomic<T>, T) -> T; 5] = [
            |cell, b| cell.fetch_min(b, Relaxed),
            |cell, b| cell.fetch_max(b, Acquire),
            |cell, b| cell.fetch_and(b, Release),
            |cell, b| cell.fetch_or(b, AcqRel),
            |cell, b| cell.fetch_xor(b, Relaxed),
        ];
        for (operation, expected) in operations.iter().zip(expected) {
            let cell = Atomic::new(a);
            assert_eq!(operation(&cell, b), a);
            assert_eq!(cell.load(Relaxed), expected);
        }
    });
}

#[test]
fn integers() {
    check_integer(0xf0f0_f0f0u32, 0x0ff0, [0x0ff0, 0xf0f0_f0f0, 0x00f0, 0xf0f0_fff0, 0xf0f0_ff00]);
    check_integer(-16i32, 7, [-16, 7, 0, -9, -9]);
    check_integer(1u64 << 63, 5, [5, 1 << 63, 0, 1 << 63 | 5, 1 << 63 | 5]);
    check_integer(i64::MIN, -1, [i64::MIN, -1, i64::MIN, -1, i64::MAX]);
}

#[test]
fn wrapping_counters() {
    block_of(1).run(|| {
        let cell = Atomic::<u32>::new(1);
        let up: Vec<u32> = (0..4).map(|_| cell.fetch_inc(2, Relaxed)).collect();
        assert_eq!((up, cell.load(Relaxed)), (vec![1, 2, 0, 1], 2));
        let down: Vec<u32> = (0..4).map(|_| cell.fetch_dec(9, Relaxed)).collect();
        assert_eq!((down, cell.load(Relaxed)), (vec![2, 1, 0, 9], 8));
        let beyond = Atomic::<u32>::new(50);
        assert_eq!((beyond.fetch_inc(9, Relaxed), beyond.load(Relaxed)), (50, 0));
        beyond.store(50, Relaxed);
        assert_eq!((beyond.fetch_dec(9, Relaxed), beyond.load(Relaxed)), (50, 9));
    });
}

#[test]
fn contended_counters_lose_nothing() {
    let (count, sum) = (Atomic::<u32>::new(0), Atomic::<f64>::new(0.0));
    Shape { grid: [16, 1, 1], ..block_of(64) }.run(|| {
        for _ in 0..10 {
            count.fetch_add(1, Relaxed);
            sum.fetch_add(0.5, Relaxed);
        }
    });
    block_of(1).run(|| {
        assert_eq!(count.load(Relaxed), 10240);
        assert_eq!(sum.load(Relaxed), 5120.0);
    });
}

#[test]
fn spinning_threads_let_others_run() {
    let (lock, turn, total) = (Atomic::<u32>::new(0), Atomic::<u32>::new(0), Atomic::<u32>::new(0));
    Shape { grid: [2, 1, 1], ..block_of(8) }.run(|| {
        while lock.compare_exchange(0, 1, Acquire).is_err() {}
        let before = total.load(Relaxed);
        total.store(before + 1, Relaxed);
        lock.store(0, Release);
        // Threads of block 0 take turns, the last first.
        if block_x() == 0 {
            while turn.load(Acquire) != 7 - thread_linear() {
                nanosleep(20);
            }
            turn.fetch_add(1, Release);
        }
    });
    block_of(1).run(|| assert_eq!((total.load(Relaxed), turn.load(Relaxed)), (16, 8)));
}

#[test]
fn vector_additions() {
    #[repr(align(16))]
    struct Aligned([Atomic<f32>; 4]);
    let cells = Aligned([1.0, 2.0, 3.0, 4.0].map(Atomic::new));
    block_of(4).run(|| Atomic::add_quad(&cells.0, [0.5, 1.0, 0.0, -1.0]));
    let pair: &[Atomic<f32>; 2] = cells.0[2..].try_into().unwrap();
    block_of(2).run(|| Atomic::add_pair(pair, [1.0, 0.0]));
    let found = block_of(1).run(|| cells.0.each_ref().map(|cell| cell.load(Relaxed)));
    assert_eq!(found, [[3.0, 6.0, 5.0, 0.0]]);
    let odd: &[Atomic<f32>; 2] = cells.0[1..3].try_into().unwrap();
    let (message, ..) =
        crate::harness::panic_of(block_of(1).try_run(|| Atomic::add_pair(odd, [0.0; 2])));
    assert!(message.contains("aligned to the vector's size"), "{message}");
}
