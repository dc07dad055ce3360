//! How threads, blocks and clusters meet: mbarriers, distributed shared memory,
//! atomics of each scope, clocks, and printing.

use raddle::device::print::println;
use raddle::prelude::*;

/// Phases of an mbarrier that all threads arrive at, by each way to wait; each thread
/// reads its neighbour's word of each phase. One block of 64 threads.
#[kernel(block = 64, arch = 90)]
pub fn phases(mut out: PerThread<[u32; 4]>) {
    let words = shared!([u32; 64]);
    let mut barriers = shared!([Mbarrier; 1]);
    let [all] = barriers.init_mbarriers(|_| 64);
    let t = thread_x() as usize;
    let word = |i: usize| words.as_ptr().cast::<u32>().wrapping_add(i % 64);
    let mut found = [0; 4];
    for (phase, found) in found.iter_mut().enumerate() {
        // SAFETY: each thread writes its own word, and reads another's behind the
        // phase; the block's barrier keeps it until all have read.
        unsafe { word(t).write_volatile((100 * phase + t) as u32) };
        let arrival = all.arrive();
        let parity = phase as u32 & 1;
        match phase {
            0 => all.wait(arrival),
            1 => all.wait_parity(parity),
            2 => while !all.try_wait(arrival) {},
            _ => while !all.try_wait_parity(parity) {},
        }
        assert!(all.test_wait(arrival) && all.test_wait_parity(parity));
        // SAFETY: as above.
        *found = unsafe { word(t + 1).read_volatile() };
        barrier();
    }
    if let Some((_, result)) = out.mine() {
        *result = found;
    }
}

/// What one thread can tell of phases that arrivals and bytes hold open: a bit for each
/// answer, in order. One thread.
#[kernel(block = 1, arch = 90)]
pub fn holds(mut out: PerThread<u32>) {
    let mut barriers = shared!([Mbarrier; 2]);
    let [counted, bytes] = barriers.init_mbarriers(|i| if i == 0 { 3 } else { 1 });
    let mut answers = 0;
    let mut note = |answer: bool| answers = answers << 1 | u32::from(answer);
    let first = counted.arrive_no_complete(2);
    note(counted.test_wait(first));
    let _ = counted.arrive_drop();
    note(counted.test_wait(first));
    let second = counted.arrive_count(2);
    note(counted.test_wait(second));
    let _ = bytes.arrive_expect_tx(96);
    note(bytes.test_wait_parity(0));
    bytes.complete_tx(64);
    note(bytes.test_wait_parity(0));
    bytes.complete_tx(32);
    note(bytes.test_wait_parity(0));
    bytes.expect_tx(8);
    let third = bytes.arrive();
    note(bytes.test_wait(third));
    bytes.complete_tx(8);
    note(bytes.test_wait(third));
    if let Some((_, result)) = out.mine() {
        *result = answers;
    }
}

/// Blocks of a cluster of four read each other's arrays, arrive at each other's
/// barriers, and meet at barriers of each kind.
#[kernel(block = 64, cluster = 4, arch = 90)]
pub fn neighbours(mut out: PerThread<[u32; 4]>) {
    let mut values = shared!([u32; 64]);
    let cell = shared!([u32; 1]);
    let mut barriers = shared!([Mbarrier; 1]);
    let [full] = barriers.init_cluster_mbarriers(|_| 4);
    let (rank, t) = (cluster_rank(), thread_x());
    let others = values.fill_cluster(
        |i| block_x() * 1000 + i as u32,
        |arrays| (0..arrays.blocks()).map(|rank| arrays.of_rank(rank)[t as usize]).sum::<u32>(),
    );
    let place = cell.as_ptr().cast::<u32>();
    if t == 0 {
        // SAFETY: the rank exists, its block lives until the barrier at the end, and
        // this thread alone writes the cell before that block's phase completes.
        unsafe {
            cluster_map(place, (rank + 1) % 4).write_volatile(block_x() + 7);
            (0..4).for_each(|rank| full.arrive_remote(rank));
        }
    }
    full.suspend_parity_cluster(0);
    // SAFETY: written before the arrivals that the phase has counted.
    let written = unsafe { place.read_volatile() };
    cluster_arrive();
    cluster_wait();
    cluster_barrier_unaligned();
    let all = [others, written, u32::from(full.test_wait_parity(0)), cluster_blocks()];
    if let Some((_, result)) = out.mine() {
        *result = all;
    }
    cluster_arrive_relaxed();
    cluster_wait();
}

/// Every thread updates the same cells; what they hold in the end does not depend on
/// the order.
#[kernel]
pub fn updates(words: &[Atomic<u32>], wide: &[Atomic<u64>], signed: &[Atomic<i32>]) {
    let i = global_x() as u32;
    words[0].fetch_add(i, Relaxed);
    words[1].fetch_sub(i, AcqRel);
    words[2].fetch_max(i, Release);
    words[3].fetch_min(1_000_000 - i, Acquire);
    words[4].fetch_and(!(1 << (i % 16)), Relaxed);
    words[5].fetch_or(1 << (i % 16), Relaxed);
    words[6].fetch_xor(i, Relaxed);
    words[7].fetch_inc(9, Relaxed);
    words[8].fetch_dec(9, Relaxed);
    words[9].scoped::<SystemScope>().fetch_add(1, AcqRel);
    wide[0].fetch_add(u64::from(i) << 20, AcqRel);
    wide[1].scoped::<SystemScope>().fetch_max(u64::from(i) << 33, Relaxed);
    signed[0].fetch_min(-(i as i32), Relaxed);
    signed[1].fetch_sub(i as i32, Relaxed);
    let mut old = wide[2].load(Relaxed);
    while let Err(found) = wide[2].compare_exchange(old, old + 3, AcqRel) {
        old = found;
    }
}

/// Sums of small integers in floats, in global and in shared memory.
#[kernel(block = 128)]
pub fn float_updates(single: &[Atomic<f32>], double: &[Atomic<f64>]) {
    let mut cells = shared!([Atomic<f32, BlockScope>; 1]);
    let cells = cells.fill_atomic(|_| 0.0);
    let t = thread_x();
    cells[0].fetch_add(t as f32, Relaxed);
    single[0].fetch_add((t % 8) as f32, Relaxed);
    double[0].fetch_sub(f64::from(t), Relaxed);
    barrier();
    if t == 0 {
        single[1].fetch_add(cells[0].load(Relaxed), Relaxed);
        double[1].swap(0.5, AcqRel);
    }
}

/// Additions to two and to four neighbouring cells at once.
#[kernel(arch = 90)]
pub fn vector_updates(cells: &[Atomic<f32>]) {
    let i = global_x();
    if let (Some(pair), Some(quad)) = (cells.first_chunk(), cells[4..].first_chunk()) {
        Atomic::add_pair(pair, [1.0, (i % 4) as f32]);
        Atomic::add_quad(quad, [1.0, 2.0, 3.0, (i % 2) as f32]);
    }
}

/// By how much each clock has gone on when it first shows another number; whether the
/// lane is the one elected; whether an active lane knows itself to be active.
#[kernel(block = 64, arch = 90)]
pub fn clocks(mut out: PerThread<[u64; 5]>) {
    let (cycles, short, time) = (clock64(), clock(), global_timer_ns());
    while clock64() == cycles || clock() == short || global_timer_ns() == time {
        nanosleep(200);
    }
    let (cycles, short) = (clock64().wrapping_sub(cycles), clock().wrapping_sub(short));
    let time = global_timer_ns().wrapping_sub(time);
    let elected = Lanes::ALL.elect();
    let knows_itself = active_mask() >> lane() & 1;
    if let Some((_, result)) = out.mine() {
        *result = [cycles, short.into(), time, elected.into(), knows_itself.into()];
    }
}

/// A line from each of four threads.
#[kernel]
pub fn prints(x: &[f32]) {
    let i = global_x();
    if i < 4 {
        let (place, is_even) = ("thread", i.is_multiple_of(2));
        println!("{} {} of {}: {:8.3} {:x} {}", place, i, x.len(), x[i], i * 255, is_even);
    }
}
