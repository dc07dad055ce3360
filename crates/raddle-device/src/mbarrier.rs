//! Mbarriers: barriers that live in shared memory, count arrivals and bytes of
//! asynchronous copies, and can be waited for without arriving.
//!
//! A barrier is in one *phase* at a time. The phase completes when all expected
//! arrivals were made and no expected bytes are outstanding; then the next one
//! begins with the same number of expected arrivals. A waiter names a phase
//! either by the [`Arrival`] it got or by the phase's parity: the first phase has
//! parity 0, the second 1, and so on in turn; waiting for parity `p` ends when the
//! phase of that parity has completed.
//!
//! A thread that panics never arrives. So that its peers do not wait for ever,
//! the waiting methods look from time to time, after long waits only, whether a
//! thread of this kernel has panicked, and end their own thread if so; the host
//! reports the panic.
//!
//! *Source*: PTX ISA, "Parallel Synchronization and Communication Instructions:
//! mbarrier" (sm_80, PTX 7.0; marked methods sm_90, PTX 8.0).

use core::cell::UnsafeCell;
#[cfg(not(raddle_device))]
use core::panic::Location;

use crate::barrier::barrier;
use crate::cluster::cluster_barrier;
use crate::fence::fence_mbarrier_init;
use crate::index::thread_linear;
use crate::shared::Shared;
#[cfg(raddle_device)]
use crate::shared::shared_address;

intrinsics! {
    MBARRIERS, "Parallel Synchronization and Communication Instructions: mbarrier";
    fn mbarrier_init(at: u32, count: u32) = "raddle.asm.c.v:r,r,~{memory}:mbarrier.init.shared.b64 [$0], $1;", sm 80, ptx 70;
    fn mbarrier_inval(at: u32) = "raddle.asm.c.v:r,~{memory}:mbarrier.inval.shared.b64 [$0];", sm 80, ptx 70;
    fn mbarrier_arrive(at: u32) -> u64 = "raddle.asm.c.v:=l,r,~{memory}:mbarrier.arrive.shared.b64 $0, [$1];", sm 80, ptx 70;
    fn mbarrier_arrive_no_complete(at: u32, count: u32) -> u64 = "raddle.asm.c.v:=l,r,r,~{memory}:mbarrier.arrive.noComplete.shared.b64 $0, [$1], $2;", sm 80, ptx 70;
    fn mbarrier_arrive_drop(at: u32) -> u64 = "raddle.asm.c.v:=l,r,~{memory}:mbarrier.arrive_drop.shared.b64 $0, [$1];", sm 80, ptx 70;
    fn mbarrier_test_wait(at: u32, arrival: u64) -> u32 = "raddle.asm.c.v:=r,r,l,~{memory}:{ .reg .pred p; mbarrier.test_wait.shared.b64 p, [$1], $2; selp.u32 $0, 1, 0, p; }", sm 80, ptx 70;
    fn mbarrier_test_wait_parity(at: u32, parity: u32) -> u32 = "raddle.asm.c.v:=r,r,r,~{memory}:{ .reg .pred p; mbarrier.test_wait.parity.shared.b64 p, [$1], $2; selp.u32 $0, 1, 0, p; }", sm 80, ptx 71;
    fn mbarrier_arrive_count(at: u32, count: u32) -> u64 = "raddle.asm.c.v:=l,r,r,~{memory}:mbarrier.arrive.shared.b64 $0, [$1], $2;", sm 90, ptx 78;
    fn mbarrier_try_wait(at: u32, arrival: u64) -> u32 = "raddle.asm.c.v:=r,r,l,~{memory}:{ .reg .pred p; mbarrier.try_wait.shared.b64 p, [$1], $2; selp.u32 $0, 1, 0, p; }", sm 90, ptx 78;
    fn mbarrier_try_wait_parity(at: u32, parity: u32) -> u32 = "raddle.asm.c.v:=r,r,r,~{memory}:{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [$1], $2; selp.u32 $0, 1, 0, p; }", sm 90, ptx 78;
    fn mbarrier_try_wait_parity_cluster(at: u32, parity: u32) -> u32 = "raddle.asm.c.v:=r,r,r,~{memory}:{ .reg .pred p; mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [$1], $2; selp.u32 $0, 1, 0, p; }", sm 90, ptx 80;
    fn mbarrier_expect_tx(at: u32, bytes: u32) = "raddle.asm.c.v:r,r,~{memory}:mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [$0], $1;", sm 90, ptx 80;
    fn mbarrier_complete_tx(at: u32, bytes: u32) = "raddle.asm.c.v:r,r,~{memory}:mbarrier.complete_tx.relaxed.cluster.shared::cluster.b64 [$0], $1;", sm 90, ptx 80;
    fn mbarrier_arrive_expect_tx(at: u32, bytes: u32) -> u64 = "raddle.asm.c.v:=l,r,r,~{memory}:mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 $0, [$1], $2;", sm 90, ptx 80;
    fn mbarrier_arrive_remote(at: u32, rank: u32) = "raddle.asm.c.v:r,r,~{memory}:{ .reg .b32 remote; mapa.shared::cluster.u32 remote, $0, $1; mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote]; }", sm 90, ptx 80;
    fn mbarrier_arrive_remote_block(at: u32, rank: u32) = "raddle.asm.c.v:r,r,~{memory}:{ .reg .b32 remote; mapa.shared::cluster.u32 remote, $0, $1; mbarrier.arrive.shared::cluster.b64 _, [remote]; }", sm 90, ptx 80;
    fn mbarrier_arrive_expect_tx_remote(at: u32, rank: u32, bytes: u32) = "raddle.asm.c.v:r,r,r,~{memory}:{ .reg .b32 remote; mapa.shared::cluster.u32 remote, $0, $1; mbarrier.arrive.expect_tx.release.cluster.shared::cluster.b64 _, [remote], $2; }", sm 90, ptx 80;
    fn exit_thread() = "raddle.asm.c.v:~{memory}:exit;", sm 20, ptx 10;
}

/// Whether the architecture has `mbarrier.try_wait`.
#[cfg(raddle_device)]
#[inline(always)]
fn has_try_wait() -> bool {
    const FIRST_WITH_TRY_WAIT: u32 = 90;
    crate::hint::architecture() >= FIRST_WITH_TRY_WAIT
}

/// A barrier object in shared memory; see the [module](self).
#[repr(transparent)]
pub struct Mbarrier {
    state: UnsafeCell<u64>,
}

// SAFETY: all access is by mbarrier instructions, which are atomic.
unsafe impl Sync for Mbarrier {}

/// A phase of an [`Mbarrier`], as an arrival saw it.
#[must_use = "waiting needs it; where the parity is known, discard it with `let _ =`"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival(u64);

/// Most arrivals that a phase may expect.
pub const MBARRIER_ARRIVALS_MAX: u32 = (1 << 20) - 1;

impl Mbarrier {
    /// Makes the barrier at `at` expect `arrivals` arrivals in each phase (PTX
    /// `mbarrier.init`).
    ///
    /// Other threads may use it after a [`barrier`]; the asynchronous proxy and
    /// other blocks after [`fence_mbarrier_init`] too.
    ///
    /// # Safety
    ///
    /// `at` points into this block's shared memory and no thread uses it meanwhile;
    /// `arrivals` is 1 to [`MBARRIER_ARRIVALS_MAX`].
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub unsafe fn init(at: *mut Self, arrivals: u32) {
        #[cfg(raddle_device)]
        // SAFETY: by the caller's contract.
        unsafe {
            mbarrier_init(shared_address(at), arrivals);
        }
        #[cfg(not(raddle_device))]
        // SAFETY: by the caller's contract.
        unsafe {
            host::init(at.cast(), arrivals);
        }
    }

    /// Ends the barrier's life, so that its memory may be used otherwise (PTX
    /// `mbarrier.inval`).
    ///
    /// # Safety
    ///
    /// `at` points to an initialised barrier of this block that no thread uses any
    /// more.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub unsafe fn invalidate(at: *mut Self) {
        #[cfg(raddle_device)]
        // SAFETY: by the caller's contract.
        unsafe {
            mbarrier_inval(shared_address(at));
        }
        #[cfg(not(raddle_device))]
        // SAFETY: by the caller's contract.
        unsafe {
            host::invalidate(at.cast());
        }
    }

    /// Counts one arrival and releases this thread's writes to the waiters (PTX
    /// `mbarrier.arrive`).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn arrive(&self) -> Arrival {
        #[cfg(raddle_device)]
        // SAFETY: the barrier lies in shared memory.
        unsafe {
            Arrival(mbarrier_arrive(self.address()))
        }
        #[cfg(not(raddle_device))]
        Arrival(host::arrive(self.cell(), 1))
    }

    /// Counts `count` arrivals (PTX `mbarrier.arrive` with a count, sm_90).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn arrive_count(&self, count: u32) -> Arrival {
        #[cfg(raddle_device)]
        // SAFETY: the barrier lies in shared memory.
        unsafe {
            Arrival(mbarrier_arrive_count(self.address(), count))
        }
        #[cfg(not(raddle_device))]
        Arrival(host::arrive(self.cell(), count))
    }

    /// Counts `count` arrivals, which must not be the phase's last (PTX
    /// `mbarrier.arrive.noComplete`).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn arrive_no_complete(&self, count: u32) -> Arrival {
        #[cfg(raddle_device)]
        // SAFETY: the barrier lies in shared memory.
        unsafe {
            Arrival(mbarrier_arrive_no_complete(self.address(), count))
        }
        #[cfg(not(raddle_device))]
        Arrival(host::arrive_no_complete(self.cell(), count))
    }

    /// Counts one arrival and expects one less in all later phases, for a thread
    /// that leaves (PTX `mbarrier.arrive_drop`).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn arrive_drop(&self) -> Arrival {
        #[cfg(raddle_device)]
        // SAFETY: the barrier lies in shared memory.
        unsafe {
            Arrival(mbarrier_arrive_drop(self.address()))
        }
        #[cfg(not(raddle_device))]
        Arrival(host::arrive_drop(self.cell()))
    }

    /// Whether the phase of `arrival` has completed (PTX `mbarrier.test_wait`).
    #[inline(always)]
    #[must_use]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn test_wait(&self, arrival: Arrival) -> bool {
        #[cfg(raddle_device)]
        // SAFETY: the barrier lies in shared memory.
        unsafe {
            mbarrier_test_wait(self.address(), arrival.0) != 0
        }
        #[cfg(not(raddle_device))]
        {
            crate::host::engine().yield_now();
            host::is_past(self.cell(), arrival.0)
        }
    }

    /// Whether the phase of parity `parity` has completed (PTX
    /// `mbarrier.test_wait.parity`).
    #[inline(always)]
    #[must_use]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn test_wait_parity(&self, parity: u32) -> bool {
        #[cfg(raddle_device)]
        // SAFETY: the barrier lies in shared memory.
        unsafe {
            mbarrier_test_wait_parity(self.address(), parity) != 0
        }
        #[cfg(not(raddle_device))]
        {
            crate::host::engine().yield_now();
            host::is_past_parity(self.cell(), parity)
        }
    }

    /// As [`test_wait`](Self::test_wait), but may suspend the thread for a while
    /// first (PTX `mbarrier.try_wait`, sm_90).
    #[inline(always)]
    #[must_use]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn try_wait(&self, arrival: Arrival) -> bool {
        #[cfg(raddle_device)]
        // SAFETY: the barrier lies in shared memory.
        unsafe {
            mbarrier_try_wait(self.address(), arrival.0) != 0
        }
        #[cfg(not(raddle_device))]
        self.test_wait(arrival)
    }

    /// As [`test_wait_parity`](Self::test_wait_parity), but may suspend the thread
    /// for a while first (PTX `mbarrier.try_wait.parity`, sm_90).
    #[inline(always)]
    #[must_use]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn try_wait_parity(&self, parity: u32) -> bool {
        #[cfg(raddle_device)]
        // SAFETY: the barrier lies in shared memory.
        unsafe {
            mbarrier_try_wait_parity(self.address(), parity) != 0
        }
        #[cfg(not(raddle_device))]
        self.test_wait_parity(parity)
    }

    /// Waits until the phase of `arrival` has completed, and acquires what the
    /// arrivals released: by `try_wait` in images for sm_90 and later, else by
    /// `test_wait`.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn wait(&self, arrival: Arrival) {
        #[cfg(raddle_device)]
        if has_try_wait() {
            poll(POLLS_TRY, || self.try_wait(arrival));
        } else {
            poll(POLLS_TEST, || self.test_wait(arrival));
        }
        #[cfg(not(raddle_device))]
        self.host_wait(&mut || host::is_past(self.cell(), arrival.0), Location::caller());
    }

    /// Waits until the phase of parity `parity` has completed, and acquires what
    /// the arrivals released: by `try_wait` in images for sm_90 and later, else by
    /// `test_wait`.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn wait_parity(&self, parity: u32) {
        #[cfg(raddle_device)]
        if has_try_wait() {
            poll(POLLS_TRY, || self.try_wait_parity(parity));
        } else {
            poll(POLLS_TEST, || self.test_wait_parity(parity));
        }
        #[cfg(not(raddle_device))]
        self.host_wait(&mut || host::is_past_parity(self.cell(), parity), Location::caller());
    }

    /// [`wait_parity`](Self::wait_parity) by `try_wait`, which leaves the issue
    /// slots to other warps meanwhile (sm_90).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn suspend_parity(&self, parity: u32) {
        #[cfg(raddle_device)]
        poll(POLLS_TRY, || self.try_wait_parity(parity));
        #[cfg(not(raddle_device))]
        self.wait_parity(parity);
    }

    /// [`suspend_parity`](Self::suspend_parity) that acquires what threads of other
    /// blocks of the cluster released (PTX `mbarrier.try_wait.parity.acquire.cluster`,
    /// sm_90).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn suspend_parity_cluster(&self, parity: u32) {
        #[cfg(raddle_device)]
        poll(POLLS_TRY, || {
            // SAFETY: the barrier lies in shared memory.
            unsafe { mbarrier_try_wait_parity_cluster(self.address(), parity) != 0 }
        });
        #[cfg(not(raddle_device))]
        self.wait_parity(parity);
    }

    /// Expects `bytes` more bytes of asynchronous copies in this phase (PTX
    /// `mbarrier.expect_tx`, sm_90).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn expect_tx(&self, bytes: u32) {
        #[cfg(raddle_device)]
        // SAFETY: the barrier lies in shared memory.
        unsafe {
            mbarrier_expect_tx(self.address(), bytes);
        }
        #[cfg(not(raddle_device))]
        host::expect_tx(self.cell(), bytes);
    }

    /// Counts `bytes` expected bytes as arrived, as an asynchronous copy does (PTX
    /// `mbarrier.complete_tx`, sm_90).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn complete_tx(&self, bytes: u32) {
        #[cfg(raddle_device)]
        // SAFETY: the barrier lies in shared memory.
        unsafe {
            mbarrier_complete_tx(self.address(), bytes);
        }
        #[cfg(not(raddle_device))]
        host::complete_tx(self.cell(), bytes);
    }

    /// [`expect_tx`](Self::expect_tx) and one arrival (PTX
    /// `mbarrier.arrive.expect_tx`, sm_90).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn arrive_expect_tx(&self, bytes: u32) -> Arrival {
        #[cfg(raddle_device)]
        // SAFETY: the barrier lies in shared memory.
        unsafe {
            Arrival(mbarrier_arrive_expect_tx(self.address(), bytes))
        }
        #[cfg(not(raddle_device))]
        {
            host::expect_tx(self.cell(), bytes);
            Arrival(host::arrive(self.cell(), 1))
        }
    }

    /// Counts one arrival at the same barrier of the block of rank `rank` (PTX
    /// `mapa` and `mbarrier.arrive` with `.shared::cluster`, sm_90).
    ///
    /// # Safety
    ///
    /// The cluster has a block of that rank, which has initialised its barrier and
    /// does not end before the arrival is made.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub unsafe fn arrive_remote(&self, rank: u32) {
        #[cfg(raddle_device)]
        // SAFETY: by the caller's contract.
        unsafe {
            mbarrier_arrive_remote(self.address(), rank);
        }
        #[cfg(not(raddle_device))]
        // SAFETY: by the caller's contract.
        unsafe {
            let _ = self.peer(rank).arrive();
        }
    }

    /// [`arrive_remote`](Self::arrive_remote) that releases to this block only
    /// (`.release.cta`), which spares a fence of the whole GPU: for giving back memory
    /// that this thread has read through products or copies it has waited for.
    ///
    /// # Safety
    ///
    /// As [`arrive_remote`](Self::arrive_remote); ordinary writes of this thread are
    /// not made visible to the other block.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub unsafe fn arrive_remote_release_block(&self, rank: u32) {
        #[cfg(raddle_device)]
        // SAFETY: by the caller's contract.
        unsafe {
            mbarrier_arrive_remote_block(self.address(), rank);
        }
        #[cfg(not(raddle_device))]
        // SAFETY: by the caller's contract.
        unsafe {
            self.arrive_remote(rank);
        }
    }

    /// [`arrive_expect_tx`](Self::arrive_expect_tx) at the same barrier of the block
    /// of rank `rank` (sm_90).
    ///
    /// # Safety
    ///
    /// As [`arrive_remote`](Self::arrive_remote).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub unsafe fn arrive_expect_tx_remote(&self, rank: u32, bytes: u32) {
        #[cfg(raddle_device)]
        // SAFETY: by the caller's contract.
        unsafe {
            mbarrier_arrive_expect_tx_remote(self.address(), rank, bytes);
        }
        #[cfg(not(raddle_device))]
        // SAFETY: by the caller's contract.
        unsafe {
            let _ = self.peer(rank).arrive_expect_tx(bytes);
        }
    }

    /// The barrier's address in the shared window, as instructions take it.
    #[cfg(raddle_device)]
    #[inline(always)]
    pub(crate) fn address(&self) -> u32 {
        // SAFETY: barriers are made in shared memory only.
        unsafe { shared_address(self.state.get()) }
    }

    #[cfg(not(raddle_device))]
    fn cell(&self) -> &core::sync::atomic::AtomicU64 {
        // SAFETY: the host bodies access the state by this atomic only.
        unsafe { core::sync::atomic::AtomicU64::from_ptr(self.state.get()) }
    }

    /// The same barrier in the block of rank `rank`.
    ///
    /// # Safety
    ///
    /// As [`arrive_remote`](Self::arrive_remote).
    #[cfg(not(raddle_device))]
    #[track_caller]
    pub(crate) unsafe fn peer(&self, rank: u32) -> &Self {
        // SAFETY: the barrier lies in shared memory; by the caller's contract.
        let peer = unsafe { crate::cluster::cluster_map(self.state.get(), rank) };
        // SAFETY: same layout, alive by the caller's contract.
        unsafe { &*peer.cast::<Self>() }
    }

    #[cfg(not(raddle_device))]
    fn host_wait(&self, ready: &mut dyn FnMut() -> bool, at: &'static Location<'static>) {
        if !ready() {
            crate::host::engine().wait_until("mbarrier", ready, at);
        }
    }
}

impl<const N: usize> Shared<[Mbarrier; N]> {
    /// Initialises the barriers, the `i`-th to expect `arrivals(i)` arrivals, and
    /// gives every thread a view of them. All threads of the block make the call.
    ///
    /// # Panics
    ///
    /// If a count is not 1 to [`MBARRIER_ARRIVALS_MAX`].
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn init_mbarriers(&mut self, arrivals: impl FnMut(usize) -> u32) -> &[Mbarrier; N] {
        barrier();
        self.init_by_first_thread(arrivals);
        barrier();
        // SAFETY: the first thread has initialised all of them.
        unsafe { &*self.as_ptr() }
    }

    /// [`init_mbarriers`](Self::init_mbarriers) for barriers that asynchronous
    /// copies or other blocks of the cluster use (sm_90). All threads of the
    /// cluster make the call.
    ///
    /// # Panics
    ///
    /// If a count is not 1 to [`MBARRIER_ARRIVALS_MAX`].
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn init_cluster_mbarriers(&mut self, arrivals: impl FnMut(usize) -> u32) -> &[Mbarrier; N] {
        barrier();
        if self.init_by_first_thread(arrivals) {
            fence_mbarrier_init();
        }
        cluster_barrier();
        // SAFETY: the first thread has initialised all of them.
        unsafe { &*self.as_ptr() }
    }

    /// Initialises all barriers in the first thread; whether this is it.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    fn init_by_first_thread(&mut self, mut arrivals: impl FnMut(usize) -> u32) -> bool {
        if thread_linear() != 0 {
            return false;
        }
        for i in 0..N {
            let count = arrivals(i);
            assert!(
                (1..=MBARRIER_ARRIVALS_MAX).contains(&count),
                "an mbarrier expects 1 to 1048575 arrivals"
            );
            // SAFETY: in bounds; only this thread uses it before the caller's
            // barrier, and the count is in range.
            unsafe { Mbarrier::init(self.as_ptr().cast::<Mbarrier>().add(i), count) };
        }
        true
    }
}

/// Polls `ready`; ends the thread when a thread of this kernel has panicked, which
/// is looked at once in `polls` polls.
#[cfg(raddle_device)]
#[inline(always)]
fn poll(polls: u32, ready: impl Fn() -> bool) {
    let mut count = 0u32;
    while !ready() {
        count += 1;
        if count == polls {
            exit_if_panicked();
            count = 0;
        }
    }
}

/// Polls between two looks at the panic record: some tenths of a second, each poll
/// by `test_wait` taking some tens of cycles and one by `try_wait` microseconds.
#[cfg(raddle_device)]
const POLLS_TEST: u32 = 1 << 23;
#[cfg(raddle_device)]
const POLLS_TRY: u32 = 1 << 17;

/// Ends the thread if another thread of this launch has recorded a panic.
#[cfg(raddle_device)]
#[cold]
#[inline(never)]
fn exit_if_panicked() {
    let record = crate::launch::record();
    if record.is_null() {
        return;
    }
    // SAFETY: the record lives as long as the launch; it is a word that others raise.
    let last = unsafe { (&raw const (*record).last).read_volatile() };
    if last >= crate::launch::tag() {
        // SAFETY: the thread ends; nothing of it is needed by others.
        unsafe { exit_thread() };
    }
}

#[cfg(not(raddle_device))]
mod host;
