//! Thread block clusters: barriers across the blocks of a cluster, and their
//! shared memory (distributed shared memory).
//!
//! Indices are in [`index`](crate::index). A block must not end while others may
//! still read its shared memory: end with a cluster barrier, as
//! [`Shared::fill_cluster`] does.
//!
//! *Source*: PTX ISA, "barrier.cluster", "mapa", "getctarank" (sm_90, PTX 7.8),
//! "st.async" (sm_90, PTX 8.1).

use core::marker::PhantomData;
#[cfg(not(raddle_device))]
use core::panic::Location;

use crate::bits::AnyBits;
use crate::index::cluster_blocks;
use crate::mbarrier::Mbarrier;
use crate::shared::Shared;

intrinsics! {
    CLUSTERS, "Parallel Synchronization and Communication Instructions: barrier.cluster; mapa; st.async";
    fn cluster_arrive_aligned() = "raddle.asm.c.v:~{memory}:barrier.cluster.arrive.aligned;", sm 90, ptx 78;
    fn cluster_wait_aligned() = "raddle.asm.c.v:~{memory}:barrier.cluster.wait.aligned;", sm 90, ptx 78;
    fn cluster_arrive_any() = "raddle.asm.c.v:~{memory}:barrier.cluster.arrive;", sm 90, ptx 78;
    fn cluster_wait_any() = "raddle.asm.c.v:~{memory}:barrier.cluster.wait;", sm 90, ptx 78;
    fn cluster_arrive_relaxed_aligned() = "raddle.asm.c.v:~{memory}:barrier.cluster.arrive.relaxed.aligned;", sm 90, ptx 80;
    fn mapa_generic(address: u64, rank: u32) -> u64 = "raddle.asm:=l,l,r:mapa.u64 $0, $1, $2;", sm 90, ptx 78;
    fn mapa_shared(address: u32, rank: u32) -> u32 = "raddle.asm:=r,r,r:mapa.shared::cluster.u32 $0, $1, $2;", sm 90, ptx 78;
    fn store_async_4(target: u32, value: u32, barrier: u32) = "raddle.asm.v:r,r,r,~{memory}:st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [$0], $1, [$2];", sm 90, ptx 81;
    fn store_async_8(target: u32, value: u64, barrier: u32) = "raddle.asm.v:r,l,r,~{memory}:st.async.shared::cluster.mbarrier::complete_tx::bytes.b64 [$0], $1, [$2];", sm 90, ptx 81;
    fn store_async_16(target: u32, value: *const [u32; 4], barrier: u32) = "raddle.asm.v:r,r*4,r,~{memory}:st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [$0], {$1, $2, $3, $4}, [$5];", sm 90, ptx 81;
}

/// Waits for all threads of the cluster; what they wrote before is visible
/// after (PTX `barrier.cluster.arrive.aligned` and `.wait.aligned`, sm_90).
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn cluster_barrier() {
    cluster_arrive();
    cluster_wait();
}

/// Counts this thread as arrived at the cluster barrier and releases its writes
/// (PTX `barrier.cluster.arrive.aligned`, sm_90). Every arrival is followed by one
/// [`cluster_wait`].
///
/// On the CPU device the arrival is made by the wait that follows, which other
/// threads cannot tell unless they wait for this one by other means in between.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn cluster_arrive() {
    #[cfg(raddle_device)]
    // SAFETY: the instruction only counts.
    unsafe {
        cluster_arrive_aligned();
    }
    #[cfg(not(raddle_device))]
    let _ = crate::host::engine();
}

/// [`cluster_arrive`] without releasing writes (PTX
/// `barrier.cluster.arrive.relaxed.aligned`, sm_90, PTX 8.0): for a barrier that
/// only keeps blocks alive.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn cluster_arrive_relaxed() {
    #[cfg(raddle_device)]
    // SAFETY: the instruction only counts.
    unsafe {
        cluster_arrive_relaxed_aligned();
    }
    #[cfg(not(raddle_device))]
    let _ = crate::host::engine();
}

/// Waits until all threads of the cluster have arrived, and acquires what they
/// released (PTX `barrier.cluster.wait.aligned`, sm_90).
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn cluster_wait() {
    #[cfg(raddle_device)]
    // SAFETY: the instruction only waits.
    unsafe {
        cluster_wait_aligned();
    }
    #[cfg(not(raddle_device))]
    crate::host::engine().cluster_barrier(true, Location::caller());
}

/// [`cluster_wait`] for code in which the lanes of a warp may have parted ways, or which
/// threads reach in different places (PTX `barrier.cluster.wait`, not aligned, sm_90).
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn cluster_wait_unaligned() {
    #[cfg(raddle_device)]
    // SAFETY: the instruction only waits.
    unsafe {
        cluster_wait_any();
    }
    #[cfg(not(raddle_device))]
    crate::host::engine().cluster_barrier(false, Location::caller());
}

/// [`cluster_barrier`] for code in which the lanes of a warp may have parted
/// ways (PTX `barrier.cluster.arrive` and `.wait`, not aligned, sm_90).
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn cluster_barrier_unaligned() {
    #[cfg(raddle_device)]
    // SAFETY: the instruction only counts.
    unsafe {
        cluster_arrive_any();
    }
    #[cfg(raddle_device)]
    // SAFETY: the instruction only waits.
    unsafe {
        cluster_wait_any();
    }
    #[cfg(not(raddle_device))]
    crate::host::engine().cluster_barrier(false, Location::caller());
}

/// The address, in the shared memory of the block of rank `rank`, of the same
/// variable that `pointer` points to in the caller's (CUDA
/// `cluster.map_shared_rank`, PTX `mapa`, sm_90).
///
/// # Safety
///
/// `pointer` points into this block's shared memory, and `rank` is less than
/// [`cluster_blocks`].
#[inline(always)]
#[must_use]
#[cfg_attr(not(raddle_device), track_caller)]
pub unsafe fn cluster_map<T>(pointer: *mut T, rank: u32) -> *mut T {
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        mapa_generic(pointer as u64, rank) as *mut T
    }
    #[cfg(not(raddle_device))]
    {
        crate::host::engine().cluster_map(pointer.cast(), rank).cast()
    }
}

/// Starts storing `value` at `target` in the shared memory of the block of rank `rank`,
/// whose barrier in the same place as `barrier` counts the value's bytes when it is there
/// (PTX `st.async`, sm_90). The value has 4, 8 or 16 bytes; nothing waits.
///
/// # Safety
///
/// `target` points into this block's shared memory, as the other block's is laid out, at a
/// multiple of the value's size. `rank` is below the number of blocks of the cluster; that
/// block has initialised its barrier and does not end meanwhile, and nobody accesses the
/// place until the barrier's phase has completed.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub unsafe fn store_async<T: AnyBits>(target: *mut T, rank: u32, value: T, barrier: &Mbarrier) {
    const { assert!(matches!(size_of::<T>(), 4 | 8 | 16), "a value of 4, 8 or 16 bytes") };
    #[cfg(raddle_device)]
    // SAFETY: the caller's contract; a value of a size is read as words of that size.
    unsafe {
        let target = mapa_shared(crate::shared::shared_address(target), rank);
        let barrier = mapa_shared(barrier.address(), rank);
        let words = &raw const value;
        match size_of::<T>() {
            4 => store_async_4(target, words.cast::<u32>().read_unaligned(), barrier),
            8 => store_async_8(target, words.cast::<u64>().read_unaligned(), barrier),
            _ => {
                let words = words.cast::<[u32; 4]>().read_unaligned();
                store_async_16(target, &raw const words, barrier);
            }
        }
    }
    #[cfg(not(raddle_device))]
    // SAFETY: the caller's contract.
    unsafe {
        cluster_map(target, rank).write(value);
        barrier.peer(rank).complete_tx(size_of::<T>() as u32);
    }
}

/// The arrays of all blocks of the cluster; see [`Shared::fill_cluster`].
pub struct ClusterArrays<'a, T, const N: usize> {
    ptr: *mut [T; N],
    life: PhantomData<&'a [T; N]>,
}

impl<'a, T: AnyBits, const N: usize> ClusterArrays<'a, T, N> {
    /// The array of the block of rank `rank`.
    ///
    /// # Panics
    ///
    /// If the cluster has no such block.
    #[inline(always)]
    #[must_use]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn of_rank(&self, rank: u32) -> &'a [T; N] {
        assert!(rank < cluster_blocks(), "the cluster has no block of this rank");
        // SAFETY: the address is that of a shared variable and the rank exists.
        let array = unsafe { cluster_map(self.ptr, rank) };
        // SAFETY: every block of the cluster has filled its array, and does not
        // write it before the barrier that ends the view.
        unsafe { &*array }
    }

    /// Number of blocks, and so of arrays.
    #[inline(always)]
    #[must_use]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn blocks(&self) -> u32 {
        cluster_blocks()
    }
}

impl<T: AnyBits, const N: usize> Shared<[T; N]> {
    /// Fills this block's array as [`fill`](Shared::fill) does and lets `read`
    /// see the arrays of all blocks of the cluster.
    ///
    /// All threads of the cluster make the call. There are cluster barriers
    /// before and after `read`, so that the arrays are filled when it begins and
    /// still there when it ends.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn fill_cluster<R>(
        &mut self,
        value: impl FnMut(usize) -> T,
        read: impl FnOnce(&ClusterArrays<'_, T, N>) -> R,
    ) -> R {
        self.fill(value);
        cluster_barrier();
        let result = read(&ClusterArrays { ptr: self.as_ptr(), life: PhantomData });
        cluster_barrier();
        result
    }
}
