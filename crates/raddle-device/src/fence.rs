//! Fences: order this thread's memory accesses without waiting for anyone.
//!
//! A fence makes what came before visible, to the threads of its scope, before
//! what comes after. `core::sync::atomic::fence` works in kernels as well, at
//! system scope.
//!
//! *Source*: PTX ISA, "Parallel Synchronization and Communication Instructions:
//! membar, fence".

#[cfg(not(raddle_device))]
use core::sync::atomic::{Ordering, fence};

macro_rules! fences {
    ($($(#[$doc:meta])* $name:ident = $device:ident, $link:literal, sm $sm:literal, ptx $ptx:literal;)*) => {
        intrinsics! {
            FENCES, "Parallel Synchronization and Communication Instructions: membar, fence";
            $(fn $device() = $link, sm $sm, ptx $ptx;)*
        }
        $(
            $(#[$doc])*
            #[inline(always)]
            pub fn $name() {
                #[cfg(raddle_device)]
                // SAFETY: the instruction only orders memory accesses.
                unsafe {
                    $device();
                }
                #[cfg(not(raddle_device))]
                fence(Ordering::SeqCst);
            }
        )*
    };
}

fences! {
    /// Acquire and release in the block: PTX `fence.acq_rel.cta` (sm_70).
    fence_block = fence_acq_rel_cta, "raddle.asm.v:~{memory}:fence.acq_rel.cta;", sm 70, ptx 60;
    /// Acquire and release in the cluster: PTX `fence.acq_rel.cluster` (sm_90).
    fence_cluster = fence_acq_rel_cluster, "raddle.asm.v:~{memory}:fence.acq_rel.cluster;", sm 90, ptx 78;
    /// Acquire and release on the GPU: PTX `fence.acq_rel.gpu` (sm_70).
    fence_device = fence_acq_rel_gpu, "raddle.asm.v:~{memory}:fence.acq_rel.gpu;", sm 70, ptx 60;
    /// Acquire and release in the system, host and other GPUs included: PTX
    /// `fence.acq_rel.sys` (sm_70).
    fence_system = fence_acq_rel_sys, "raddle.asm.v:~{memory}:fence.acq_rel.sys;", sm 70, ptx 60;
    /// Sequentially consistent in the block: PTX `fence.sc.cta`, CUDA
    /// `__threadfence_block()` (sm_70).
    thread_fence_block = fence_sc_cta, "raddle.asm.v:~{memory}:fence.sc.cta;", sm 70, ptx 60;
    /// Sequentially consistent on the GPU: PTX `fence.sc.gpu`, CUDA
    /// `__threadfence()` (sm_70).
    thread_fence = fence_sc_gpu, "raddle.asm.v:~{memory}:fence.sc.gpu;", sm 70, ptx 60;
    /// Sequentially consistent in the system: PTX `fence.sc.sys`, CUDA
    /// `__threadfence_system()` (sm_70).
    thread_fence_system = fence_sc_sys, "raddle.asm.v:~{memory}:fence.sc.sys;", sm 70, ptx 60;
    /// Orders ordinary accesses and those of the asynchronous proxy (TMA,
    /// `wgmma` operands): PTX `fence.proxy.async` (sm_90). Without it a TMA store
    /// may not see what threads wrote to shared memory.
    fence_proxy_async = fence_proxy_async_any, "raddle.asm.v:~{memory}:fence.proxy.async;", sm 90, ptx 80;
    /// The same for shared memory only: PTX `fence.proxy.async.shared::cta` (sm_90).
    fence_proxy_async_shared = fence_proxy_async_cta, "raddle.asm.v:~{memory}:fence.proxy.async.shared::cta;", sm 90, ptx 80;
    /// The same for global memory only: PTX `fence.proxy.async.global` (sm_90).
    fence_proxy_async_global = fence_proxy_async_gmem, "raddle.asm.v:~{memory}:fence.proxy.async.global;", sm 90, ptx 80;
    /// Makes the initialisation of an mbarrier visible to the cluster and to the
    /// asynchronous proxy: PTX `fence.mbarrier_init.release.cluster` (sm_90).
    fence_mbarrier_init = fence_mbarrier_init_cluster, "raddle.asm.v:~{memory}:fence.mbarrier_init.release.cluster;", sm 90, ptx 80;
}
