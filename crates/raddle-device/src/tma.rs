//! Bulk asynchronous copies and the Tensor Memory Accelerator: one thread moves
//! whole boxes of a tensor between global and shared memory.
//!
//! A [`TensorMap`] describes the tensor; the host makes it from a
//! [`TensorMapSpec`] and passes it to a kernel as `&TensorMap`. Loads report the
//! bytes that have arrived to an [`Mbarrier`], which a thread has told to expect
//! them ([`Mbarrier::arrive_expect_tx`]). Stores are closed into groups that
//! their thread waits for.
//!
//! A box lies in shared memory row by row; with a swizzle, a row takes the whole
//! span even if the box is narrower, and 16-byte chunks are permuted as
//! [`Swizzle`](crate::matrix::Swizzle) says.
//!
//! For convolutions, [`tma_load_im2col`] takes a column of pixels instead of a box.
//!
//! Coordinates count elements, axis 0 (the contiguous one) first, and may lie
//! outside of the tensor: a load fills in zeros there, a store leaves them out.
//! The manual does not say so, but a box begins at a multiple of 16 bytes along
//! axis 0, and a store at no negative coordinate: a Hopper GPU ends the kernel with
//! an illegal instruction otherwise (seen on H200), and the host bodies panic.
//!
//! The host bodies copy at once, which is the earliest completion that the
//! instructions allow.
//!
//! *Source*: PTX ISA, "Data Movement and Conversion Instructions: Bulk copy" and
//! "Tensor copy", `sm_90`, PTX 8.0.

mod error;
#[cfg(not(raddle_device))]
pub(crate) mod host;
mod im2col;
mod spec;

pub use error::TensorMapError;
pub use im2col::*;
pub use spec::*;

use crate::cache::CachePolicy;
use crate::mbarrier::Mbarrier;
use crate::param::KernelParam;
#[cfg(raddle_device)]
use crate::shared::shared_address;

/// A tensor as the copy engine knows it: 128 opaque bytes, made on the host.
///
/// On a GPU they are what the driver's `cuTensorMapEncode…` wrote; on the CPU
/// device, what [`TensorMap::for_cpu`] made.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct TensorMap {
    words: [u64; 16],
}

impl TensorMap {
    /// The 128 bytes that the driver encoded.
    #[must_use]
    pub const fn from_words(words: [u64; 16]) -> Self {
        Self { words }
    }

    /// Brings the map into the descriptor cache before its first use. PTX
    /// `prefetch.tensormap`, `sm_90`.
    #[inline(always)]
    pub fn prefetch(&self) {
        #[cfg(raddle_device)]
        // SAFETY: a prefetch has no effect but on a cache.
        unsafe {
            prefetch_map(self.operand());
        }
    }

    #[cfg(raddle_device)]
    #[inline(always)]
    fn operand(&self) -> u64 {
        (&raw const *self) as u64
    }
}

impl core::fmt::Debug for TensorMap {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TensorMap").finish_non_exhaustive()
    }
}

// SAFETY: the map is read-only and lies in the launch's parameter block, whose
// address the hardware wants: the map itself travels, and every thread refers to
// it there.
unsafe impl KernelParam for &'static TensorMap {
    type Raw = TensorMap;
    #[inline(always)]
    unsafe fn from_raw(raw: *const TensorMap) -> Self {
        // SAFETY: the parameter block outlives the kernel's threads.
        unsafe { &*raw }
    }
}

/// A tensor that a kernel may store to: a [`TensorMap`] that the host binds from
/// an exclusive borrow.
///
/// Which boxes which thread stores is the kernel's to keep apart: [`tma_store`] is
/// unsafe.
#[derive(Clone, Copy, Debug)]
pub struct TensorMapMut(&'static TensorMap);

impl core::ops::Deref for TensorMapMut {
    type Target = TensorMap;
    #[inline(always)]
    fn deref(&self) -> &TensorMap {
        self.0
    }
}

// SAFETY: as for `&TensorMap`; writing through it takes unsafe code.
unsafe impl KernelParam for TensorMapMut {
    type Raw = TensorMap;
    #[inline(always)]
    unsafe fn from_raw(raw: *const TensorMap) -> Self {
        // SAFETY: the parameter block outlives the kernel's threads.
        Self(unsafe { &*raw })
    }
}

intrinsics! {
    TENSOR_LOADS, "cp.async.bulk.tensor";
    fn load_1d(shared: u32, map: u64, barrier: u32, at: *const [i32; 1]) = "raddle.asm.v:r,l,r,r*1,~{memory}:cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes [$0], [$1, {$3}], [$2];", sm 90, ptx 80;
    fn load_2d(shared: u32, map: u64, barrier: u32, at: *const [i32; 2]) = "raddle.asm.v:r,l,r,r*2,~{memory}:cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [$0], [$1, {$3, $4}], [$2];", sm 90, ptx 80;
    fn load_3d(shared: u32, map: u64, barrier: u32, at: *const [i32; 3]) = "raddle.asm.v:r,l,r,r*3,~{memory}:cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [$0], [$1, {$3, $4, $5}], [$2];", sm 90, ptx 80;
    fn load_4d(shared: u32, map: u64, barrier: u32, at: *const [i32; 4]) = "raddle.asm.v:r,l,r,r*4,~{memory}:cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [$0], [$1, {$3, $4, $5, $6}], [$2];", sm 90, ptx 80;
    fn load_5d(shared: u32, map: u64, barrier: u32, at: *const [i32; 5]) = "raddle.asm.v:r,l,r,r*5,~{memory}:cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes [$0], [$1, {$3, $4, $5, $6, $7}], [$2];", sm 90, ptx 80;
    fn load_hinted_1d(shared: u32, map: u64, barrier: u32, at: *const [i32; 1], policy: u64) = "raddle.asm.v:r,l,r,r*1,l,~{memory}:cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [$0], [$1, {$3}], [$2], $4;", sm 90, ptx 80;
    fn load_hinted_2d(shared: u32, map: u64, barrier: u32, at: *const [i32; 2], policy: u64) = "raddle.asm.v:r,l,r,r*2,l,~{memory}:cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [$0], [$1, {$3, $4}], [$2], $5;", sm 90, ptx 80;
    fn load_hinted_3d(shared: u32, map: u64, barrier: u32, at: *const [i32; 3], policy: u64) = "raddle.asm.v:r,l,r,r*3,l,~{memory}:cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [$0], [$1, {$3, $4, $5}], [$2], $6;", sm 90, ptx 80;
    fn load_hinted_4d(shared: u32, map: u64, barrier: u32, at: *const [i32; 4], policy: u64) = "raddle.asm.v:r,l,r,r*4,l,~{memory}:cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [$0], [$1, {$3, $4, $5, $6}], [$2], $7;", sm 90, ptx 80;
    fn load_hinted_5d(shared: u32, map: u64, barrier: u32, at: *const [i32; 5], policy: u64) = "raddle.asm.v:r,l,r,r*5,l,~{memory}:cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [$0], [$1, {$3, $4, $5, $6, $7}], [$2], $8;", sm 90, ptx 80;
    fn load_multicast_1d(shared: u32, map: u64, barrier: u32, at: *const [i32; 1], blocks: u16) = "raddle.asm.v:r,l,r,r*1,h,~{memory}:cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [$0], [$1, {$3}], [$2], $4;", sm 90, ptx 80;
    fn load_multicast_2d(shared: u32, map: u64, barrier: u32, at: *const [i32; 2], blocks: u16) = "raddle.asm.v:r,l,r,r*2,h,~{memory}:cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [$0], [$1, {$3, $4}], [$2], $5;", sm 90, ptx 80;
    fn load_multicast_3d(shared: u32, map: u64, barrier: u32, at: *const [i32; 3], blocks: u16) = "raddle.asm.v:r,l,r,r*3,h,~{memory}:cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [$0], [$1, {$3, $4, $5}], [$2], $6;", sm 90, ptx 80;
    fn load_multicast_4d(shared: u32, map: u64, barrier: u32, at: *const [i32; 4], blocks: u16) = "raddle.asm.v:r,l,r,r*4,h,~{memory}:cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [$0], [$1, {$3, $4, $5, $6}], [$2], $7;", sm 90, ptx 80;
    fn load_multicast_5d(shared: u32, map: u64, barrier: u32, at: *const [i32; 5], blocks: u16) = "raddle.asm.v:r,l,r,r*5,h,~{memory}:cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [$0], [$1, {$3, $4, $5, $6, $7}], [$2], $8;", sm 90, ptx 80;
    fn load_multicast_hinted_1d(shared: u32, map: u64, barrier: u32, at: *const [i32; 1], blocks: u16, policy: u64) = "raddle.asm.v:r,l,r,r*1,h,l,~{memory}:cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint [$0], [$1, {$3}], [$2], $4, $5;", sm 90, ptx 80;
    fn load_multicast_hinted_2d(shared: u32, map: u64, barrier: u32, at: *const [i32; 2], blocks: u16, policy: u64) = "raddle.asm.v:r,l,r,r*2,h,l,~{memory}:cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint [$0], [$1, {$3, $4}], [$2], $5, $6;", sm 90, ptx 80;
    fn load_multicast_hinted_3d(shared: u32, map: u64, barrier: u32, at: *const [i32; 3], blocks: u16, policy: u64) = "raddle.asm.v:r,l,r,r*3,h,l,~{memory}:cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint [$0], [$1, {$3, $4, $5}], [$2], $6, $7;", sm 90, ptx 80;
    fn load_multicast_hinted_4d(shared: u32, map: u64, barrier: u32, at: *const [i32; 4], blocks: u16, policy: u64) = "raddle.asm.v:r,l,r,r*4,h,l,~{memory}:cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint [$0], [$1, {$3, $4, $5, $6}], [$2], $7, $8;", sm 90, ptx 80;
    fn load_multicast_hinted_5d(shared: u32, map: u64, barrier: u32, at: *const [i32; 5], blocks: u16, policy: u64) = "raddle.asm.v:r,l,r,r*5,h,l,~{memory}:cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint [$0], [$1, {$3, $4, $5, $6, $7}], [$2], $8, $9;", sm 90, ptx 80;
}

intrinsics! {
    TENSOR_STORES, "cp.async.bulk.tensor, cp.reduce.async.bulk.tensor, cp.async.bulk.prefetch.tensor";
    fn store_1d(shared: u32, map: u64, at: *const [i32; 1]) = "raddle.asm.v:r,l,r*1,~{memory}:cp.async.bulk.tensor.1d.global.shared::cta.bulk_group [$1, {$2}], [$0];", sm 90, ptx 80;
    fn store_2d(shared: u32, map: u64, at: *const [i32; 2]) = "raddle.asm.v:r,l,r*2,~{memory}:cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [$1, {$2, $3}], [$0];", sm 90, ptx 80;
    fn store_3d(shared: u32, map: u64, at: *const [i32; 3]) = "raddle.asm.v:r,l,r*3,~{memory}:cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [$1, {$2, $3, $4}], [$0];", sm 90, ptx 80;
    fn store_4d(shared: u32, map: u64, at: *const [i32; 4]) = "raddle.asm.v:r,l,r*4,~{memory}:cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [$1, {$2, $3, $4, $5}], [$0];", sm 90, ptx 80;
    fn store_5d(shared: u32, map: u64, at: *const [i32; 5]) = "raddle.asm.v:r,l,r*5,~{memory}:cp.async.bulk.tensor.5d.global.shared::cta.bulk_group [$1, {$2, $3, $4, $5, $6}], [$0];", sm 90, ptx 80;
    fn add_1d(shared: u32, map: u64, at: *const [i32; 1]) = "raddle.asm.v:r,l,r*1,~{memory}:cp.reduce.async.bulk.tensor.1d.global.shared::cta.add.bulk_group [$1, {$2}], [$0];", sm 90, ptx 80;
    fn add_2d(shared: u32, map: u64, at: *const [i32; 2]) = "raddle.asm.v:r,l,r*2,~{memory}:cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.bulk_group [$1, {$2, $3}], [$0];", sm 90, ptx 80;
    fn add_3d(shared: u32, map: u64, at: *const [i32; 3]) = "raddle.asm.v:r,l,r*3,~{memory}:cp.reduce.async.bulk.tensor.3d.global.shared::cta.add.bulk_group [$1, {$2, $3, $4}], [$0];", sm 90, ptx 80;
    fn add_4d(shared: u32, map: u64, at: *const [i32; 4]) = "raddle.asm.v:r,l,r*4,~{memory}:cp.reduce.async.bulk.tensor.4d.global.shared::cta.add.bulk_group [$1, {$2, $3, $4, $5}], [$0];", sm 90, ptx 80;
    fn add_5d(shared: u32, map: u64, at: *const [i32; 5]) = "raddle.asm.v:r,l,r*5,~{memory}:cp.reduce.async.bulk.tensor.5d.global.shared::cta.add.bulk_group [$1, {$2, $3, $4, $5, $6}], [$0];", sm 90, ptx 80;
    fn prefetch_1d(map: u64, at: *const [i32; 1]) = "raddle.asm.v:l,r*1:cp.async.bulk.prefetch.tensor.1d.L2.global [$0, {$1}];", sm 90, ptx 80;
    fn prefetch_2d(map: u64, at: *const [i32; 2]) = "raddle.asm.v:l,r*2:cp.async.bulk.prefetch.tensor.2d.L2.global [$0, {$1, $2}];", sm 90, ptx 80;
    fn prefetch_3d(map: u64, at: *const [i32; 3]) = "raddle.asm.v:l,r*3:cp.async.bulk.prefetch.tensor.3d.L2.global [$0, {$1, $2, $3}];", sm 90, ptx 80;
    fn prefetch_4d(map: u64, at: *const [i32; 4]) = "raddle.asm.v:l,r*4:cp.async.bulk.prefetch.tensor.4d.L2.global [$0, {$1, $2, $3, $4}];", sm 90, ptx 80;
    fn prefetch_5d(map: u64, at: *const [i32; 5]) = "raddle.asm.v:l,r*5:cp.async.bulk.prefetch.tensor.5d.L2.global [$0, {$1, $2, $3, $4, $5}];", sm 90, ptx 80;
    fn prefetch_map(map: u64) = "raddle.asm.v:l:prefetch.tensormap [$0];", sm 90, ptx 80;
}

intrinsics! {
    BULK_COPIES, "cp.async.bulk, cp.async.bulk.commit_group, cp.async.bulk.wait_group";
    fn bulk_load(shared: u32, global: u64, bytes: u32, barrier: u32) = "raddle.asm.v:r,l,r,r,~{memory}:cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [$0], [$1], $2, [$3];", sm 90, ptx 80;
    fn bulk_store(global: u64, shared: u32, bytes: u32) = "raddle.asm.v:l,r,r,~{memory}:cp.async.bulk.global.shared::cta.bulk_group [$0], [$1], $2;", sm 90, ptx 80;
    fn bulk_send(target: u32, source: u32, bytes: u32, barrier: u32) = "raddle.asm.v:r,r,r,r,~{memory}:cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [$0], [$1], $2, [$3];", sm 90, ptx 80;
    fn map_shared(address: u32, rank: u32) -> u32 = "raddle.asm:=r,r,r:mapa.shared::cluster.u32 $0, $1, $2;", sm 90, ptx 78;
    fn bulk_commit() = "raddle.asm.v:~{memory}:cp.async.bulk.commit_group;", sm 90, ptx 80;
    fn wait_0() = "raddle.asm.v:~{memory}:cp.async.bulk.wait_group 0;", sm 90, ptx 80;
    fn wait_1() = "raddle.asm.v:~{memory}:cp.async.bulk.wait_group 1;", sm 90, ptx 80;
    fn wait_2() = "raddle.asm.v:~{memory}:cp.async.bulk.wait_group 2;", sm 90, ptx 80;
    fn wait_3() = "raddle.asm.v:~{memory}:cp.async.bulk.wait_group 3;", sm 90, ptx 80;
    fn wait_4() = "raddle.asm.v:~{memory}:cp.async.bulk.wait_group 4;", sm 90, ptx 80;
    fn wait_5() = "raddle.asm.v:~{memory}:cp.async.bulk.wait_group 5;", sm 90, ptx 80;
    fn wait_6() = "raddle.asm.v:~{memory}:cp.async.bulk.wait_group 6;", sm 90, ptx 80;
    fn wait_7() = "raddle.asm.v:~{memory}:cp.async.bulk.wait_group 7;", sm 90, ptx 80;
    fn wait_read_0() = "raddle.asm.v:~{memory}:cp.async.bulk.wait_group.read 0;", sm 90, ptx 80;
    fn wait_read_1() = "raddle.asm.v:~{memory}:cp.async.bulk.wait_group.read 1;", sm 90, ptx 80;
    fn wait_read_2() = "raddle.asm.v:~{memory}:cp.async.bulk.wait_group.read 2;", sm 90, ptx 80;
    fn wait_read_3() = "raddle.asm.v:~{memory}:cp.async.bulk.wait_group.read 3;", sm 90, ptx 80;
    fn wait_read_4() = "raddle.asm.v:~{memory}:cp.async.bulk.wait_group.read 4;", sm 90, ptx 80;
    fn wait_read_5() = "raddle.asm.v:~{memory}:cp.async.bulk.wait_group.read 5;", sm 90, ptx 80;
    fn wait_read_6() = "raddle.asm.v:~{memory}:cp.async.bulk.wait_group.read 6;", sm 90, ptx 80;
    fn wait_read_7() = "raddle.asm.v:~{memory}:cp.async.bulk.wait_group.read 7;", sm 90, ptx 80;
}

/// Calls the row of the rank.
#[cfg(raddle_device)]
macro_rules! by_rank {
    ($at:ident, $rank:ident: $one:ident $two:ident $three:ident $four:ident $five:ident ($($arg:expr),*) $($tail:expr),*) => {
        match $rank {
            1 => $one($($arg,)* $at.as_ptr().cast() $(, $tail)*),
            2 => $two($($arg,)* $at.as_ptr().cast() $(, $tail)*),
            3 => $three($($arg,)* $at.as_ptr().cast() $(, $tail)*),
            4 => $four($($arg,)* $at.as_ptr().cast() $(, $tail)*),
            _ => $five($($arg,)* $at.as_ptr().cast() $(, $tail)*),
        }
    };
}

/// Starts loading the box at coordinates `at` into shared memory; `barrier`
/// counts the bytes of the whole box, those out of bounds included. PTX
/// `cp.async.bulk.tensor`, `sm_90`.
///
/// # Safety
///
/// `shared` points into this block's shared memory, aligned to 128 bytes (for a
/// pattern that begins with the box, to the swizzle's period) with room for the
/// box, which nobody accesses until the barrier's phase has completed. `map` is
/// tiled and encoded for this device with rank `RANK` for a tensor that lives, and `at[0]` is a
/// multiple of 16 bytes. One thread makes the call; the kernel requires compute capability 9.0.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub unsafe fn tma_load<T, const RANK: usize>(
    shared: *mut T,
    map: &TensorMap,
    at: [i32; RANK],
    barrier: &Mbarrier,
) {
    const { assert_rank(RANK) };
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        let (target, barrier) = (shared_address(shared), shared_address(&raw const *barrier));
        by_rank!(at, RANK: load_1d load_2d load_3d load_4d load_5d (target, map.operand(), barrier));
    }
    #[cfg(not(raddle_device))]
    // SAFETY: by the caller's contract.
    unsafe {
        host::load(shared.cast(), host::Source::tiled(map, &at), barrier);
    }
}

/// [`tma_load`] with a policy for L2. PTX `.L2::cache_hint`, `sm_90`.
///
/// # Safety
///
/// As for [`tma_load`].
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub unsafe fn tma_load_hinted<T, const RANK: usize>(
    shared: *mut T,
    map: &TensorMap,
    at: [i32; RANK],
    barrier: &Mbarrier,
    policy: CachePolicy,
) {
    const { assert_rank(RANK) };
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        let (target, barrier) = (shared_address(shared), shared_address(&raw const *barrier));
        by_rank!(at, RANK: load_hinted_1d load_hinted_2d load_hinted_3d load_hinted_4d load_hinted_5d
            (target, map.operand(), barrier) policy.operand());
    }
    #[cfg(not(raddle_device))]
    // SAFETY: by the caller's contract.
    unsafe {
        let _ = policy;
        host::load(shared.cast(), host::Source::tiled(map, &at), barrier);
    }
}

/// [`tma_load`] into the same place of several blocks of the cluster: bit `i` of
/// `blocks` stands for the block of rank `i`. Each of them counts the bytes at its
/// own barrier in the same place. PTX `.multicast::cluster`, `sm_90`.
///
/// # Safety
///
/// As for [`tma_load`], in each of those blocks.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub unsafe fn tma_load_multicast<T, const RANK: usize>(
    shared: *mut T,
    map: &TensorMap,
    at: [i32; RANK],
    barrier: &Mbarrier,
    blocks: u16,
) {
    const { assert_rank(RANK) };
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        let (target, barrier) = (shared_address(shared), shared_address(&raw const *barrier));
        by_rank!(at, RANK: load_multicast_1d load_multicast_2d load_multicast_3d load_multicast_4d load_multicast_5d
            (target, map.operand(), barrier) blocks);
    }
    #[cfg(not(raddle_device))]
    // SAFETY: by the caller's contract.
    unsafe {
        host::load_multicast(shared.cast(), host::Source::tiled(map, &at), barrier, blocks);
    }
}

/// [`tma_load_multicast`] with a policy for L2.
///
/// # Safety
///
/// As for [`tma_load_multicast`].
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub unsafe fn tma_load_multicast_hinted<T, const RANK: usize>(
    shared: *mut T,
    map: &TensorMap,
    at: [i32; RANK],
    barrier: &Mbarrier,
    blocks: u16,
    policy: CachePolicy,
) {
    const { assert_rank(RANK) };
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        let (target, barrier) = (shared_address(shared), shared_address(&raw const *barrier));
        by_rank!(at, RANK: load_multicast_hinted_1d load_multicast_hinted_2d load_multicast_hinted_3d
            load_multicast_hinted_4d load_multicast_hinted_5d
            (target, map.operand(), barrier) blocks, policy.operand());
    }
    #[cfg(not(raddle_device))]
    // SAFETY: by the caller's contract.
    unsafe {
        let _ = policy;
        host::load_multicast(shared.cast(), host::Source::tiled(map, &at), barrier, blocks);
    }
}

/// Starts storing a box from shared memory to coordinates `at`, in the thread's
/// current bulk group. PTX `cp.async.bulk.tensor`, `sm_90`.
///
/// # Safety
///
/// `shared` points to a box in this block's shared memory, aligned to 128 bytes,
/// whose writes are followed by [`fence_proxy_async_shared`] and a barrier; nobody
/// writes it until [`tma_wait_read`] has returned, and nobody accesses the tensor
/// there until [`tma_wait`] has. `map` and `at` are as for [`tma_load`], and `at` is not
/// negative. One thread makes the call; the kernel requires compute capability 9.0.
///
/// [`fence_proxy_async_shared`]: crate::fence_proxy_async_shared
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub unsafe fn tma_store<T, const RANK: usize>(map: &TensorMap, at: [i32; RANK], shared: *const T) {
    const { assert_rank(RANK) };
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        by_rank!(at, RANK: store_1d store_2d store_3d store_4d store_5d
            (shared_address(shared), map.operand()));
    }
    #[cfg(not(raddle_device))]
    // SAFETY: by the caller's contract.
    unsafe {
        host::store(shared.cast(), map, &at);
    }
}

/// [`tma_store`] that adds to what is there, atomically element by element. PTX
/// `cp.reduce.async.bulk.tensor.add`, `sm_90`.
///
/// # Safety
///
/// As for [`tma_store`], except that others may add to the same elements.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub unsafe fn tma_add<T, const RANK: usize>(map: &TensorMap, at: [i32; RANK], shared: *const T) {
    const { assert_rank(RANK) };
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        by_rank!(at, RANK: add_1d add_2d add_3d add_4d add_5d
            (shared_address(shared), map.operand()));
    }
    #[cfg(not(raddle_device))]
    // SAFETY: by the caller's contract.
    unsafe {
        host::add(shared.cast(), map, &at);
    }
}

/// Brings the box at coordinates `at` into L2. PTX
/// `cp.async.bulk.prefetch.tensor`, `sm_90`.
///
/// # Safety
///
/// `map` is as for [`tma_load`]; the kernel requires compute capability 9.0.
#[inline(always)]
pub unsafe fn tma_prefetch<const RANK: usize>(map: &TensorMap, at: [i32; RANK]) {
    const { assert_rank(RANK) };
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        by_rank!(at, RANK: prefetch_1d prefetch_2d prefetch_3d prefetch_4d prefetch_5d (map.operand()));
    }
    #[cfg(not(raddle_device))]
    let _ = (map, at);
}

/// Closes this thread's stores since the last commit into one bulk group. PTX
/// `cp.async.bulk.commit_group`, `sm_90`.
#[inline(always)]
pub fn tma_commit() {
    #[cfg(raddle_device)]
    // SAFETY: only numbers the copies.
    unsafe {
        bulk_commit();
    }
}

/// Waits until at most the `N` youngest bulk groups of this thread are under way.
/// PTX `cp.async.bulk.wait_group`, `sm_90`; `N` is at most 7.
#[inline(always)]
pub fn tma_wait<const N: u32>() {
    const { assert!(N <= 7, "`tma_wait` leaves at most 7 groups under way") };
    #[cfg(raddle_device)]
    // SAFETY: only waits.
    unsafe {
        match N {
            0 => wait_0(),
            1 => wait_1(),
            2 => wait_2(),
            3 => wait_3(),
            4 => wait_4(),
            5 => wait_5(),
            6 => wait_6(),
            _ => wait_7(),
        }
    }
}

/// [`tma_wait`] until the stores have read their shared memory, which may then be
/// written again. PTX `cp.async.bulk.wait_group.read`, `sm_90`.
#[inline(always)]
pub fn tma_wait_read<const N: u32>() {
    const { assert!(N <= 7, "`tma_wait_read` leaves at most 7 groups under way") };
    #[cfg(raddle_device)]
    // SAFETY: only waits.
    unsafe {
        match N {
            0 => wait_read_0(),
            1 => wait_read_1(),
            2 => wait_read_2(),
            3 => wait_read_3(),
            4 => wait_read_4(),
            5 => wait_read_5(),
            6 => wait_read_6(),
            _ => wait_read_7(),
        }
    }
}

/// Starts copying `bytes` bytes from global to shared memory; `barrier` counts
/// them. PTX `cp.async.bulk.shared::cluster.global`, `sm_90`.
///
/// # Safety
///
/// `shared` points into this block's shared memory and is valid for writes,
/// `global` into global memory and is valid for reads, both and `bytes` multiples
/// of 16; nobody accesses `shared` or writes `global` until the barrier's phase
/// has completed. One thread makes the call; the kernel requires compute
/// capability 9.0.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub unsafe fn bulk_copy_to_shared<T>(
    shared: *mut T,
    global: *const T,
    bytes: u32,
    barrier: &Mbarrier,
) {
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        let (target, barrier) = (shared_address(shared), shared_address(&raw const *barrier));
        bulk_load(target, global as u64, bytes, barrier);
    }
    #[cfg(not(raddle_device))]
    // SAFETY: by the caller's contract.
    unsafe {
        host::bulk(shared.cast(), global.cast(), bytes);
        barrier.complete_tx(bytes);
    }
}

/// Starts copying `bytes` bytes from shared to global memory, in the thread's
/// current bulk group. PTX `cp.async.bulk.global.shared::cta`, `sm_90`.
///
/// # Safety
///
/// As for [`bulk_copy_to_shared`] with the directions exchanged; writes to
/// `shared` are followed by [`fence_proxy_async_shared`] and a barrier. Nobody
/// writes `shared` until [`tma_wait_read`] has returned or accesses `global` until
/// [`tma_wait`] has.
///
/// [`fence_proxy_async_shared`]: crate::fence_proxy_async_shared
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub unsafe fn bulk_copy_to_global<T>(global: *mut T, shared: *const T, bytes: u32) {
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        bulk_store(global as u64, shared_address(shared), bytes);
    }
    #[cfg(not(raddle_device))]
    // SAFETY: by the caller's contract.
    unsafe {
        host::bulk(global.cast(), shared.cast(), bytes);
    }
}

/// Starts copying `bytes` bytes from this block's shared memory to the same
/// address in the block of rank `rank`, whose barrier in the same place as
/// `barrier` counts them. PTX `cp.async.bulk.shared::cluster.shared::cta`, `sm_90`.
///
/// # Safety
///
/// `source` and `target` point into this block's shared memory, `target` standing
/// for that of the other block, both and `bytes` multiples of 16; `rank` is below
/// the number of blocks of the cluster, and that block does not end meanwhile.
/// Nobody accesses the target or writes the source until the barrier's phase has
/// completed. One thread makes the call.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub unsafe fn bulk_copy_to_block<T>(
    target: *mut T,
    rank: u32,
    source: *const T,
    bytes: u32,
    barrier: &Mbarrier,
) {
    let there = (&raw const *barrier).cast_mut();
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        let target = map_shared(shared_address(target), rank);
        let barrier = map_shared(shared_address(there), rank);
        bulk_send(target, shared_address(source), bytes, barrier);
    }
    #[cfg(not(raddle_device))]
    // SAFETY: by the caller's contract.
    unsafe {
        host::bulk(crate::cluster::cluster_map(target, rank).cast(), source.cast(), bytes);
        (*crate::cluster::cluster_map(there, rank)).complete_tx(bytes);
    }
}

/// Rejects, when a call is compiled, ranks that tensors do not have.
const fn assert_rank(rank: usize) {
    assert!(rank >= 1 && rank <= RANK_MAX, "a tensor map has 1 to 5 axes");
}
