//! Im2col loads: one thread brings a column of pixels of a batch of images into
//! shared memory, as a row of a convolution's matrix product needs them.
//!
//! A load begins at the pixel whose coordinates it is given, walks along width,
//! height, depth and images in this order, and takes as many pixels as its map says
//! ([`TensorMapSpec::im2col`](super::TensorMapSpec::im2col)), each at its place plus
//! the offsets: the element of the filter. Pixels outside of their image, and behind
//! the last image, arrive as zeros. Each pixel's channels are one row in shared
//! memory, swizzled as those of a box.
//!
//! For a product over filter elements and channels, the block whose rows begin at
//! result `(n, p, q)` loads at `[c, q * stride + lower_w, p * stride + lower_h, n]`
//! with offsets `[s * dilation, r * dilation]`, for each `r`, `s` and `c`.
//!
//! There is no store: results that are dense in memory are a matrix of pixels and
//! channels to a tiled map.
//!
//! *Source*: PTX ISA, "Tensors: im2col mode" and "cp.async.bulk.tensor", `sm_90`,
//! PTX 8.0.

use super::TensorMap;
#[cfg(not(raddle_device))]
use super::host;
use super::spec::IM2COL_AXES_MAX;
use crate::cache::CachePolicy;
use crate::mbarrier::Mbarrier;
#[cfg(raddle_device)]
use crate::shared::shared_address;

intrinsics! {
    IM2COL_LOADS, "cp.async.bulk.tensor.im2col, cp.async.bulk.prefetch.tensor.im2col";
    fn load_3d(shared: u32, map: u64, barrier: u32, at: *const [i32; 3], offsets: *const [u16; 1]) = "raddle.asm.v:r,l,r,r*3,h*1,~{memory}:cp.async.bulk.tensor.3d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [$0], [$1, {$3, $4, $5}], [$2], {$6};", sm 90, ptx 80;
    fn load_4d(shared: u32, map: u64, barrier: u32, at: *const [i32; 4], offsets: *const [u16; 2]) = "raddle.asm.v:r,l,r,r*4,h*2,~{memory}:cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [$0], [$1, {$3, $4, $5, $6}], [$2], {$7, $8};", sm 90, ptx 80;
    fn load_5d(shared: u32, map: u64, barrier: u32, at: *const [i32; 5], offsets: *const [u16; 3]) = "raddle.asm.v:r,l,r,r*5,h*3,~{memory}:cp.async.bulk.tensor.5d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [$0], [$1, {$3, $4, $5, $6, $7}], [$2], {$8, $9, $10};", sm 90, ptx 80;
    fn load_hinted_3d(shared: u32, map: u64, barrier: u32, at: *const [i32; 3], offsets: *const [u16; 1], policy: u64) = "raddle.asm.v:r,l,r,r*3,h*1,l,~{memory}:cp.async.bulk.tensor.3d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.L2::cache_hint [$0], [$1, {$3, $4, $5}], [$2], {$6}, $7;", sm 90, ptx 80;
    fn load_hinted_4d(shared: u32, map: u64, barrier: u32, at: *const [i32; 4], offsets: *const [u16; 2], policy: u64) = "raddle.asm.v:r,l,r,r*4,h*2,l,~{memory}:cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.L2::cache_hint [$0], [$1, {$3, $4, $5, $6}], [$2], {$7, $8}, $9;", sm 90, ptx 80;
    fn load_hinted_5d(shared: u32, map: u64, barrier: u32, at: *const [i32; 5], offsets: *const [u16; 3], policy: u64) = "raddle.asm.v:r,l,r,r*5,h*3,l,~{memory}:cp.async.bulk.tensor.5d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.L2::cache_hint [$0], [$1, {$3, $4, $5, $6, $7}], [$2], {$8, $9, $10}, $11;", sm 90, ptx 80;
    fn load_multicast_3d(shared: u32, map: u64, barrier: u32, at: *const [i32; 3], offsets: *const [u16; 1], blocks: u16) = "raddle.asm.v:r,l,r,r*3,h*1,h,~{memory}:cp.async.bulk.tensor.3d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster [$0], [$1, {$3, $4, $5}], [$2], {$6}, $7;", sm 90, ptx 80;
    fn load_multicast_4d(shared: u32, map: u64, barrier: u32, at: *const [i32; 4], offsets: *const [u16; 2], blocks: u16) = "raddle.asm.v:r,l,r,r*4,h*2,h,~{memory}:cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster [$0], [$1, {$3, $4, $5, $6}], [$2], {$7, $8}, $9;", sm 90, ptx 80;
    fn load_multicast_5d(shared: u32, map: u64, barrier: u32, at: *const [i32; 5], offsets: *const [u16; 3], blocks: u16) = "raddle.asm.v:r,l,r,r*5,h*3,h,~{memory}:cp.async.bulk.tensor.5d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster [$0], [$1, {$3, $4, $5, $6, $7}], [$2], {$8, $9, $10}, $11;", sm 90, ptx 80;
    fn load_multicast_hinted_3d(shared: u32, map: u64, barrier: u32, at: *const [i32; 3], offsets: *const [u16; 1], blocks: u16, policy: u64) = "raddle.asm.v:r,l,r,r*3,h*1,h,l,~{memory}:cp.async.bulk.tensor.3d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint [$0], [$1, {$3, $4, $5}], [$2], {$6}, $7, $8;", sm 90, ptx 80;
    fn load_multicast_hinted_4d(shared: u32, map: u64, barrier: u32, at: *const [i32; 4], offsets: *const [u16; 2], blocks: u16, policy: u64) = "raddle.asm.v:r,l,r,r*4,h*2,h,l,~{memory}:cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint [$0], [$1, {$3, $4, $5, $6}], [$2], {$7, $8}, $9, $10;", sm 90, ptx 80;
    fn load_multicast_hinted_5d(shared: u32, map: u64, barrier: u32, at: *const [i32; 5], offsets: *const [u16; 3], blocks: u16, policy: u64) = "raddle.asm.v:r,l,r,r*5,h*3,h,l,~{memory}:cp.async.bulk.tensor.5d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint [$0], [$1, {$3, $4, $5, $6, $7}], [$2], {$8, $9, $10}, $11, $12;", sm 90, ptx 80;
    fn prefetch_3d(map: u64, at: *const [i32; 3], offsets: *const [u16; 1]) = "raddle.asm.v:l,r*3,h*1:cp.async.bulk.prefetch.tensor.3d.L2.global.im2col [$0, {$1, $2, $3}], {$4};", sm 90, ptx 80;
    fn prefetch_4d(map: u64, at: *const [i32; 4], offsets: *const [u16; 2]) = "raddle.asm.v:l,r*4,h*2:cp.async.bulk.prefetch.tensor.4d.L2.global.im2col [$0, {$1, $2, $3, $4}], {$5, $6};", sm 90, ptx 80;
    fn prefetch_5d(map: u64, at: *const [i32; 5], offsets: *const [u16; 3]) = "raddle.asm.v:l,r*5,h*3:cp.async.bulk.prefetch.tensor.5d.L2.global.im2col [$0, {$1, $2, $3, $4, $5}], {$6, $7, $8};", sm 90, ptx 80;
}

/// Calls the row of the rank.
#[cfg(raddle_device)]
macro_rules! by_axes {
    ($at:ident, $offsets:ident: $three:ident $four:ident $five:ident ($($arg:expr),*) $($tail:expr),*) => {{
        let (at, offsets) = ($at.as_ptr(), $offsets.as_ptr());
        match $offsets.len() {
            1 => $three($($arg,)* at.cast(), offsets.cast() $(, $tail)*),
            2 => $four($($arg,)* at.cast(), offsets.cast() $(, $tail)*),
            _ => $five($($arg,)* at.cast(), offsets.cast() $(, $tail)*),
        }
    }};
}

/// Starts loading the pixels from coordinates `at` on, each `offsets` further along
/// the spatial axes, into shared memory; `barrier` counts the bytes of all of them,
/// those out of bounds included. PTX `cp.async.bulk.tensor.im2col`, `sm_90`.
///
/// `at` is channel, the spatial coordinates from width on, and image.
///
/// # Safety
///
/// As for [`tma_load`](super::tma_load), with a map for im2col; the spatial
/// coordinates are within the map's corners, and an offset fits in 16 bits for one
/// spatial axis, in 8 for two and in 5 for three.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub unsafe fn tma_load_im2col<T, const RANK: usize, const AXES: usize>(
    shared: *mut T,
    map: &TensorMap,
    at: [i32; RANK],
    offsets: [u16; AXES],
    barrier: &Mbarrier,
) {
    const { assert_axes(RANK, AXES) };
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        let (target, barrier) = (shared_address(shared), shared_address(&raw const *barrier));
        by_axes!(at, offsets: load_3d load_4d load_5d (target, map.operand(), barrier));
    }
    #[cfg(not(raddle_device))]
    // SAFETY: by the caller's contract.
    unsafe {
        host::load(shared.cast(), host::Source::im2col(map, &at, &offsets), barrier);
    }
}

/// [`tma_load_im2col`] with a policy for L2. PTX `.L2::cache_hint`, `sm_90`.
///
/// # Safety
///
/// As for [`tma_load_im2col`].
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub unsafe fn tma_load_im2col_hinted<T, const RANK: usize, const AXES: usize>(
    shared: *mut T,
    map: &TensorMap,
    at: [i32; RANK],
    offsets: [u16; AXES],
    barrier: &Mbarrier,
    policy: CachePolicy,
) {
    const { assert_axes(RANK, AXES) };
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        let (target, barrier) = (shared_address(shared), shared_address(&raw const *barrier));
        by_axes!(at, offsets: load_hinted_3d load_hinted_4d load_hinted_5d
            (target, map.operand(), barrier) policy.operand());
    }
    #[cfg(not(raddle_device))]
    // SAFETY: by the caller's contract.
    unsafe {
        let _ = policy;
        host::load(shared.cast(), host::Source::im2col(map, &at, &offsets), barrier);
    }
}

/// [`tma_load_im2col`] into the same place of several blocks of the cluster: bit `i`
/// of `blocks` stands for the block of rank `i`. Each of them counts the bytes at its
/// own barrier in the same place. PTX `.multicast::cluster`, `sm_90`.
///
/// # Safety
///
/// As for [`tma_load_im2col`], in each of those blocks.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub unsafe fn tma_load_im2col_multicast<T, const RANK: usize, const AXES: usize>(
    shared: *mut T,
    map: &TensorMap,
    at: [i32; RANK],
    offsets: [u16; AXES],
    barrier: &Mbarrier,
    blocks: u16,
) {
    const { assert_axes(RANK, AXES) };
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        let (target, barrier) = (shared_address(shared), shared_address(&raw const *barrier));
        by_axes!(at, offsets: load_multicast_3d load_multicast_4d load_multicast_5d
            (target, map.operand(), barrier) blocks);
    }
    #[cfg(not(raddle_device))]
    // SAFETY: by the caller's contract.
    unsafe {
        let source = host::Source::im2col(map, &at, &offsets);
        host::load_multicast(shared.cast(), source, barrier, blocks);
    }
}

/// [`tma_load_im2col_multicast`] with a policy for L2.
///
/// # Safety
///
/// As for [`tma_load_im2col_multicast`].
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub unsafe fn tma_load_im2col_multicast_hinted<T, const RANK: usize, const AXES: usize>(
    shared: *mut T,
    map: &TensorMap,
    at: [i32; RANK],
    offsets: [u16; AXES],
    barrier: &Mbarrier,
    blocks: u16,
    policy: CachePolicy,
) {
    const { assert_axes(RANK, AXES) };
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        let (target, barrier) = (shared_address(shared), shared_address(&raw const *barrier));
        by_axes!(at, offsets: load_multicast_hinted_3d load_multicast_hinted_4d load_multicast_hinted_5d
            (target, map.operand(), barrier) blocks, policy.operand());
    }
    #[cfg(not(raddle_device))]
    // SAFETY: by the caller's contract.
    unsafe {
        let _ = policy;
        let source = host::Source::im2col(map, &at, &offsets);
        host::load_multicast(shared.cast(), source, barrier, blocks);
    }
}

/// Brings what [`tma_load_im2col`] would load into L2. PTX
/// `cp.async.bulk.prefetch.tensor.im2col`, `sm_90`.
///
/// # Safety
///
/// `map`, `at` and `offsets` are as for [`tma_load_im2col`]; the kernel requires
/// compute capability 9.0.
#[inline(always)]
pub unsafe fn tma_prefetch_im2col<const RANK: usize, const AXES: usize>(
    map: &TensorMap,
    at: [i32; RANK],
    offsets: [u16; AXES],
) {
    const { assert_axes(RANK, AXES) };
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        by_axes!(at, offsets: prefetch_3d prefetch_4d prefetch_5d (map.operand()));
    }
    #[cfg(not(raddle_device))]
    let _ = (map, at, offsets);
}

/// Rejects, when a call is compiled, coordinates and offsets that do not fit.
const fn assert_axes(rank: usize, axes: usize) {
    assert!(
        axes >= 1 && axes <= IM2COL_AXES_MAX && rank == axes + 2,
        "an im2col load has 3 to 5 coordinates and an offset for each but two"
    );
}
