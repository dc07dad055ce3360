//! The host side of device code: which simulated thread is running, and the
//! engine that its barriers and warp operations go to.
//!
//! `raddle-sim` implements [`Engine`]; this crate only knows the trait, so that
//! the vocabulary does not depend on how blocks are scheduled.

use core::cell::Cell;
use core::panic::Location;

/// Where the running thread stands in its launch, in CUDA's terms.
#[derive(Clone, Copy, Debug)]
pub struct ThreadContext {
    /// `threadIdx`.
    pub thread: [u32; 3],
    /// `blockIdx`.
    pub block: [u32; 3],
    /// `blockDim`.
    pub block_dim: [u32; 3],
    /// `gridDim`.
    pub grid_dim: [u32; 3],
    /// Blocks per cluster along each axis.
    pub cluster_dim: [u32; 3],
    /// The engine that runs this block.
    pub engine: *const dyn Engine,
}

/// What a scheduler of simulated threads offers to the host bodies.
///
/// All calls are made by the running thread itself, between its own statements;
/// calls that wait switch to other threads of the block meanwhile. A wait that
/// can never end (a divergent barrier, a dead peer) ends the launch with an
/// error instead of returning.
pub trait Engine {
    /// `barrier.sync id, threads`: waits until `threads` threads of the block
    /// (all live ones when `None`) have arrived at barrier `id`.
    fn barrier(&self, id: u32, threads: Option<u32>, at: &'static Location<'static>);
    /// `barrier.arrive`: counts this thread at barrier `id` without waiting.
    fn barrier_arrive(&self, id: u32, threads: u32, at: &'static Location<'static>);
    /// A barrier over the whole block at which every thread offers `value`;
    /// returns how many offered a non-zero one, and how many took part.
    fn barrier_count(&self, id: u32, value: bool, at: &'static Location<'static>) -> (u32, u32);
    /// A rendezvous of the lanes in `mask`, which must contain the caller. Each
    /// offers `payload` (the same length in every lane); once all live lanes of
    /// the mask have arrived, lane `i`'s bytes stand at
    /// `all[i * payload.len()..]`. Returns the mask of lanes that took part.
    fn warp_collect(
        &self,
        mask: u32,
        payload: &[u8],
        all: &mut [u8],
        at: &'static Location<'static>,
    ) -> u32;
    /// The same over `warps` consecutive warps beginning at the caller's
    /// warpgroup (`wgmma`): thread `i` of the group stands at index `i`.
    fn group_collect(
        &self,
        warps: u32,
        payload: &[u8],
        all: &mut [u8],
        at: &'static Location<'static>,
    );
    /// Lets other threads run until `ready` says yes (`mbarrier` waits, spins).
    fn wait_until(
        &self,
        what: &'static str,
        ready: &mut dyn FnMut() -> bool,
        at: &'static Location<'static>,
    );
    /// Lets other threads run once, without a condition.
    fn yield_now(&self);
    /// The block's copy of a static shared variable: the same `key` and type
    /// name give the same bytes to every thread of a block.
    fn shared_static(&self, key: SharedKey, bytes: usize, align: usize) -> *mut u8;
    /// Dynamic shared memory of the launch: address and length in bytes.
    fn shared_dynamic(&self) -> (*mut u8, usize);
    /// `mapa`: the address in the block of rank `rank` of this cluster that
    /// corresponds to `address` in the caller's shared memory.
    fn cluster_map(&self, address: *mut u8, rank: u32) -> *mut u8;
    /// `barrier.cluster.arrive` followed by `.wait`; `is_one_place` if all threads must
    /// come from one place in the source, as `.aligned` demands of each warp.
    fn cluster_barrier(&self, is_one_place: bool, at: &'static Location<'static>);
    /// Device `print!`.
    fn print(&self, text: &str);
    /// Whether kernels take the way of Hopper's own instructions.
    fn is_hopper(&self) -> bool;
}

/// Identifies a static shared variable: its place in the source and the
/// generic instance it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SharedKey {
    /// `file:line:column` of the declaration.
    pub site: &'static str,
    /// Type name of the surrounding instance.
    pub instance: &'static str,
}

std::thread_local! {
    static CURRENT: Cell<*const ThreadContext> = const { Cell::new(core::ptr::null()) };
}

/// Makes `context` the running thread of this OS thread and returns the one
/// before; a null pointer means "no kernel is running".
#[inline]
pub fn set_current(context: *const ThreadContext) -> *const ThreadContext {
    CURRENT.with(|current| current.replace(context))
}

/// The running thread, if a kernel is running on this OS thread.
#[inline]
#[must_use]
pub fn try_current() -> Option<&'static ThreadContext> {
    // SAFETY: the engine keeps the context alive while the thread runs and sets
    // the pointer back to null before it goes away.
    CURRENT.with(|current| unsafe { current.get().as_ref() })
}

/// The running thread.
///
/// # Panics
///
/// When called outside a kernel: device functions have no meaning there.
#[inline]
#[must_use]
#[track_caller]
pub fn current() -> &'static ThreadContext {
    match try_current() {
        Some(context) => context,
        None => outside_kernel(),
    }
}

/// The running thread's engine.
#[inline]
#[must_use]
#[track_caller]
pub fn engine() -> &'static dyn Engine {
    // SAFETY: the engine outlives every thread context it made.
    unsafe { &*current().engine }
}

#[cold]
#[track_caller]
fn outside_kernel() -> ! {
    panic!("this function belongs to device code: call it inside a kernel launched on a device")
}
