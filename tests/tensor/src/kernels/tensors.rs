//! TMA loads, stores, additions and multicasts, and bulk copies.

use raddle::prelude::*;

/// Bytes of shared memory that the kernels hand back.
pub const WINDOW: usize = 8192;

/// Where boxes land in shared memory.
#[repr(C, align(1024))]
pub struct Window([u32; WINDOW / 4]);

/// Loads the box at `at` of a map of the rank and gives back the window it lands in,
/// which is filled with `0xaaaaaaaa` before.
macro_rules! loads {
    ($($name:ident $rank:literal;)*) => { $(
        /// One block of 64 threads.
        #[kernel(block = 64, arch = 90)]
        pub fn $name(map: &TensorMap, at: [i32; $rank], bytes: u32, mut out: PerThread<u32>) {
            let window = shared!(Window).as_ptr().cast::<u32>();
            let mut barriers = shared!([Mbarrier; 2]);
            let barriers = barriers.init_cluster_mbarriers(|_| 1);
            // SAFETY: the window is as large as the boxes of the tests.
            unsafe {
                for i in (thread_x() as usize..WINDOW / 4).step_by(64) {
                    window.add(i).write(0xaaaa_aaaa);
                }
                fence_proxy_async_shared();
                barrier();
                if thread_x() == 0 {
                    map.prefetch();
                    tma_prefetch(map, at);
                    let _ = barriers[0].arrive_expect_tx(bytes);
                    tma_load(window, map, at, &barriers[0]);
                }
                barriers[0].suspend_parity(0);
                for (i, result) in out.iter_mut() {
                    *result = window.add(i).read();
                }
                barrier();
                // Once more, with a hint for L2: the same bytes arrive.
                if thread_x() == 0 {
                    let _ = barriers[1].arrive_expect_tx(bytes);
                    tma_load_hinted(window, map, at, &barriers[1], CachePolicy::evict_first());
                }
                barriers[1].suspend_parity(0);
                for (i, result) in out.iter_mut() {
                    *result ^= window.add(i).read();
                }
            }
        }
    )* };
}
loads! { load_1d 1; load_2d 2; load_3d 3; load_4d 4; load_5d 5; }

/// Stores 1, 2, … to the box at `at`, or adds them.
///
/// # Safety
///
/// The map's box has `elements` elements that fit in the window, and one block runs.
#[kernel(block = 64, arch = 90)]
pub unsafe fn store_2d(map: TensorMapMut, at: [i32; 2], elements: u32, adds: bool) {
    let window = shared!(Window).as_ptr().cast::<f32>();
    // SAFETY: the test's box fits in the window, and one block writes the tensor.
    unsafe {
        for i in (thread_x()..elements).step_by(64) {
            window.add(i as usize).write(i as f32 + 1.0);
        }
        fence_proxy_async_shared();
        barrier();
        if thread_x() == 0 {
            if adds {
                tma_add(&map, at, window);
            } else {
                tma_store(&map, at, window);
            }
            tma_commit();
            tma_wait_read::<0>();
            tma_wait::<0>();
        }
    }
}

/// Each block of a cluster of two loads half of the box and sends it to both.
/// Block `b` writes the window at `b * WINDOW / 4`.
#[kernel(block = 64, cluster = 2, arch = 90)]
pub fn multicast(map: &TensorMap, half_bytes: u32, mut out: PerThread<u32>) {
    let window = shared!(Window).as_ptr().cast::<u8>();
    let mut barriers = shared!([Mbarrier; 2]);
    let barriers = barriers.init_cluster_mbarriers(|_| 1);
    let rank = cluster_rank();
    // SAFETY: both halves fit in the windows of both blocks, which are alive until
    // the cluster barrier at the end.
    unsafe {
        if thread_x() == 0 {
            let _ = barriers[0].arrive_expect_tx(2 * half_bytes);
            let _ = barriers[1].arrive_expect_tx(2 * half_bytes);
            let place = window.add((rank * half_bytes) as usize);
            let rows = (half_bytes / 128) as i32;
            let at = [0, rank as i32 * rows];
            tma_load_multicast(place, map, at, &barriers[0], 3);
            let (far, policy) = (place.add(2 * half_bytes as usize), CachePolicy::evict_last());
            tma_load_multicast_hinted(far, map, at, &barriers[1], 3, policy);
        }
        barriers[0].suspend_parity(0);
        barriers[1].suspend_parity(0);
        let words = window.cast::<u32>();
        for (i, result) in out.iter_mut() {
            *result = words.add(i % (WINDOW / 4)).read();
        }
    }
    cluster_barrier();
}

/// Plain bulk copies: global to shared, to the other block, and back to global.
/// Both blocks of the cluster end up storing what the other loaded.
///
/// # Safety
///
/// `input` and `output` have `bytes` bytes for each of two blocks, and twice as many
/// fit in the window.
#[kernel(block = 64, cluster = 2, arch = 90)]
pub unsafe fn bulk(input: &[u32], output: *mut u32, bytes: u32) {
    let window = shared!(Window).as_ptr().cast::<u32>();
    let mut barriers = shared!([Mbarrier; 2]);
    let barriers = barriers.init_cluster_mbarriers(|_| 1);
    let (words, rank) = (bytes as usize / 4, cluster_rank());
    let received = window.wrapping_add(words);
    // SAFETY: two pieces of `bytes` fit in the window; the test gives memory for
    // both blocks; the blocks stay alive until the cluster barrier.
    unsafe {
        if thread_x() == 0 {
            let _ = barriers[1].arrive_expect_tx(bytes);
            let _ = barriers[0].arrive_expect_tx(bytes);
            let source = input.as_ptr().add(rank as usize * words);
            bulk_copy_to_shared(window, source, bytes, &barriers[0]);
            barriers[0].suspend_parity(0);
            bulk_copy_to_block(received, rank ^ 1, window, bytes, &barriers[1]);
            barriers[1].suspend_parity_cluster(0);
            bulk_copy_to_global(output.add(rank as usize * words), received, bytes);
            tma_commit();
            tma_wait::<0>();
        }
    }
    cluster_barrier();
}

/// Each of four blocks stores numbers of 4, 8 and 16 bytes into the next one's memory, and
/// gives back what came: for each thread seven words.
#[kernel(block = 32, cluster = 4, arch = 90)]
pub fn stores_to_next(input: &[u32], mut out: PerThread<[u32; 7]>) {
    let mut barriers = shared!([Mbarrier; 1]);
    let barriers = barriers.init_cluster_mbarriers(|_| 1);
    let fours = shared!([u32; 32]).as_ptr().cast::<u32>();
    let eights = shared!([u64; 32]).as_ptr().cast::<u64>();
    let sixteens = shared!([U32x4; 32]).as_ptr().cast::<[u32; 4]>();
    let (lane, next) = (thread_x() as usize, (cluster_rank() + 1) % 4);
    if lane == 0 {
        let _ = barriers[0].arrive_expect_tx(32 * 28);
    }
    for (i, out) in out.iter_mut() {
        let word = |k: usize| input[i * 7 + k];
        let eight = u64::from(word(1)) | u64::from(word(2)) << 32;
        let sixteen = [word(3), word(4), word(5), word(6)];
        // SAFETY: the next block's barrier is there, it waits for what comes before it
        // ends, and each thread has its own places.
        unsafe {
            store_async(fours.add(lane), next, word(0), &barriers[0]);
            store_async(eights.add(lane), next, eight, &barriers[0]);
            store_async(sixteens.add(lane), next, sixteen, &barriers[0]);
        }
        barriers[0].suspend_parity_cluster(0);
        // SAFETY: all has come.
        unsafe {
            let (four, eight) = (fours.add(lane).read(), eights.add(lane).read());
            let [a, b, c, d] = sixteens.add(lane).read();
            *out = [four, eight as u32, (eight >> 32) as u32, a, b, c, d];
        }
    }
}

/// As the loads above, but gives back the window itself; the rank as a number.
#[kernel(block = 64, arch = 90)]
pub fn load_window(map: &TensorMap, at: [i32; 5], rank: u32, bytes: u32, mut out: PerThread<u32>) {
    let window = shared!(Window).as_ptr().cast::<u32>();
    let mut barriers = shared!([Mbarrier; 1]);
    let barriers = barriers.init_cluster_mbarriers(|_| 1);
    // SAFETY: the window is as large as the boxes of the tests.
    unsafe {
        for i in (thread_x() as usize..WINDOW / 4).step_by(64) {
            window.add(i).write(0xaaaa_aaaa);
        }
        fence_proxy_async_shared();
        barrier();
        if thread_x() == 0 {
            let _ = barriers[0].arrive_expect_tx(bytes);
            match rank {
                1 => tma_load(window, map, [at[0]], &barriers[0]),
                2 => tma_load(window, map, [at[0], at[1]], &barriers[0]),
                3 => tma_load(window, map, [at[0], at[1], at[2]], &barriers[0]),
                4 => tma_load(window, map, [at[0], at[1], at[2], at[3]], &barriers[0]),
                _ => tma_load(window, map, at, &barriers[0]),
            }
        }
        barriers[0].suspend_parity(0);
        for (i, result) in out.iter_mut() {
            *result = window.add(i).read();
        }
    }
}
