//! Im2col loads of every rank, with a hint and to several blocks.

use raddle::prelude::*;

use super::tensors::{WINDOW, Window};

/// Loads the pixels from `at` on and gives back the window they land in, which is
/// filled with `0xaaaaaaaa` before; then the XOR with what a load with a hint brings.
macro_rules! loads {
    ($($name:ident $rank:literal $axes:literal;)*) => { $(
        /// One block of 64 threads; `out` has room for two windows.
        #[kernel(block = 64, arch = 90)]
        pub fn $name(
            map: &TensorMap,
            at: [i32; $rank],
            offsets: [u16; $axes],
            bytes: u32,
            mut out: PerThread<u32>,
        ) {
            const WORDS: usize = WINDOW / 4;
            let window = shared!(Window).as_ptr().cast::<u32>();
            let mut barriers = shared!([Mbarrier; 2]);
            let barriers = barriers.init_cluster_mbarriers(|_| 1);
            // SAFETY: the window is as large as the columns of the tests.
            unsafe {
                for i in (thread_x() as usize..WORDS).step_by(64) {
                    window.add(i).write(0xaaaa_aaaa);
                }
                fence_proxy_async_shared();
                barrier();
                if thread_x() == 0 {
                    tma_prefetch_im2col(map, at, offsets);
                    let _ = barriers[0].arrive_expect_tx(bytes);
                    tma_load_im2col(window, map, at, offsets, &barriers[0]);
                }
                barriers[0].suspend_parity(0);
                for (i, result) in out.iter_mut() {
                    *result = window.add(i % WORDS).read();
                }
                barrier();
                if thread_x() == 0 {
                    let policy = CachePolicy::evict_last();
                    let _ = barriers[1].arrive_expect_tx(bytes);
                    tma_load_im2col_hinted(window, map, at, offsets, &barriers[1], policy);
                }
                barriers[1].suspend_parity(0);
                for (i, result) in out.iter_mut() {
                    if i >= WORDS {
                        *result ^= window.add(i % WORDS).read();
                    }
                }
            }
        }
    )* };
}
loads! { load_3d 3 1; load_4d 4 2; load_5d 5 3; }

/// Each block of a cluster of two loads `pixels` pixels of 128 bytes from image row
/// `rank` on and sends them to both, without a hint and then with one.
#[kernel(block = 64, cluster = 2, arch = 90)]
pub fn multicast(map: &TensorMap, column_bytes: u32, mut out: PerThread<u32>) {
    let window = shared!(Window).as_ptr().cast::<u8>();
    let mut barriers = shared!([Mbarrier; 2]);
    let barriers = barriers.init_cluster_mbarriers(|_| 1);
    let rank = cluster_rank();
    // SAFETY: four columns fit in the windows of both blocks, which are alive until
    // the cluster barrier at the end.
    unsafe {
        if thread_x() == 0 {
            let _ = barriers[0].arrive_expect_tx(2 * column_bytes);
            let _ = barriers[1].arrive_expect_tx(2 * column_bytes);
            let place = window.add((rank * column_bytes) as usize);
            let (at, offsets) = ([0, 0, rank as i32, 0], [1, 1]);
            tma_load_im2col_multicast(place, map, at, offsets, &barriers[0], 3);
            let (far, policy) = (place.add(2 * column_bytes as usize), CachePolicy::evict_last());
            tma_load_im2col_multicast_hinted(far, map, at, offsets, &barriers[1], 3, policy);
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
