//! Atomic cells in global and shared memory, with CUDA's scopes and orders.
//!
//! [`Atomic<T, S>`] has the layout of `T`; `S` is the scope, the set of threads
//! among which its operations are atomic and ordered: [`BlockScope`],
//! [`ClusterScope`] (sm_90), [`DeviceScope`] (the default) or [`SystemScope`].
//! Orders are types too, so that a release load does not compile. A kernel takes
//! `&[Atomic<T>]` for memory that all its threads update.
//!
//! The atomics of `core::sync::atomic` also work in kernels: the compiler lowers
//! them at system scope. Use them where code is shared with the host, and these
//! where the scope, float addition or PTX's further operations matter.
//!
//! On the CPU device a load, and a compare-and-swap that failed, let other
//! threads of the block run, so that spinning on a cell ends. Wait for another
//! thread by [`Acquire`] loads (or with [`nanosleep`](crate::nanosleep) in the
//! loop): by them the compiler knows that threads of the kernel need each other.
//!
//! *Source*: PTX ISA, "Memory Consistency Model"; "Parallel Synchronization and
//! Communication Instructions: atom, red"; "Data Movement: ld, st".

use core::cell::UnsafeCell;
use core::marker::PhantomData;

use crate::barrier::barrier;
use crate::param::{DeviceType, KernelParam, RawSlice};
use crate::shared::{Shared, write_strided};

pub use order::{AcqRel, Acquire, LoadOrder, Order, Relaxed, Release, StoreOrder};
pub use scope::{BlockScope, ClusterScope, DeviceScope, Scope, SystemScope};

/// A cell that many threads update; see the [module](self).
#[repr(transparent)]
pub struct Atomic<T, S = DeviceScope> {
    value: UnsafeCell<T>,
    scope: PhantomData<S>,
}

// SAFETY: all safe access is by atomic instructions.
unsafe impl<T: AtomicValue, S: Scope> Sync for Atomic<T, S> {}

// SAFETY: cells are updated by atomic instructions only, so every thread may
// hold the slice.
unsafe impl<T: AtomicValue, S: Scope> KernelParam for &'static [Atomic<T, S>] {
    type Raw = RawSlice;
    #[inline(always)]
    unsafe fn from_raw(raw: *const RawSlice) -> Self {
        // SAFETY: the host wrote the address and length of a live buffer.
        unsafe {
            let cells: *const Atomic<T, S> = RawSlice::pointer(raw);
            core::slice::from_raw_parts(cells, (*raw).len as usize)
        }
    }
}

// SAFETY: as for slices.
unsafe impl<T: AtomicValue, S: Scope> KernelParam for &'static Atomic<T, S> {
    type Raw = u64;
    #[inline(always)]
    unsafe fn from_raw(raw: *const u64) -> Self {
        // SAFETY: the host wrote the address of a live cell.
        unsafe { &*raw.cast::<*const Atomic<T, S>>().read() }
    }
}

impl<T: AtomicValue, S: Scope> Atomic<T, S> {
    /// A cell with a value.
    #[inline(always)]
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self { value: UnsafeCell::new(value), scope: PhantomData }
    }

    /// The cell at `ptr`.
    ///
    /// # Safety
    ///
    /// `ptr` is aligned to the size of `T` and valid for `'a`, in global or shared
    /// memory, and all access to it during `'a` is atomic.
    #[inline(always)]
    #[must_use]
    pub const unsafe fn from_ptr<'a>(ptr: *mut T) -> &'a Self {
        // SAFETY: same layout; by the caller's contract.
        unsafe { &*ptr.cast::<Self>() }
    }

    /// The cell's address.
    #[inline(always)]
    #[must_use]
    pub const fn as_ptr(&self) -> *mut T {
        self.value.get()
    }

    /// The same cell with operations of another scope.
    #[inline(always)]
    #[must_use]
    pub const fn scoped<R: Scope>(&self) -> &Atomic<T, R> {
        // SAFETY: the scope does not change the layout.
        unsafe { &*core::ptr::from_ref(self).cast::<Atomic<T, R>>() }
    }

    /// The value (PTX `ld.relaxed`, `ld.acquire`).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn load<O: LoadOrder>(&self, _order: O) -> T {
        // SAFETY: the cell is live.
        unsafe { T::load::<O, S>(self.as_ptr()) }
    }

    /// Sets the value (PTX `st.relaxed`, `st.release`).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn store<O: StoreOrder>(&self, value: T, _order: O) {
        // SAFETY: the cell is live.
        unsafe { T::store::<O, S>(self.as_ptr(), value) }
    }

    /// Sets the value and returns the old one (PTX `atom.exch`).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn swap<O: Order>(&self, value: T, _order: O) -> T {
        // SAFETY: the cell is live.
        unsafe { T::swap::<O, S>(self.as_ptr(), value) }
    }

    /// Sets the value to `new` if its bits are those of `current`; the old value
    /// comes back as `Ok` if it did and as `Err` if not (PTX `atom.cas`).
    ///
    /// ## Errors
    ///
    /// The value found, when it is not `current`.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn compare_exchange<O: Order>(&self, current: T, new: T, _order: O) -> Result<T, T> {
        // SAFETY: the cell is live.
        let old = unsafe { T::compare_swap::<O, S>(self.as_ptr(), current, new) };
        if T::same_bits(old, current) { Ok(old) } else { Err(old) }
    }

    /// Adds and returns the old value; integers wrap (PTX `atom.add`, or `red.add`
    /// where the result is not used).
    ///
    /// On a GPU, `f32` addition in global memory flushes subnormal operands and
    /// results to zero; in shared memory, and on the CPU device, it does not.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn fetch_add<O: Order>(&self, value: T, _order: O) -> T {
        // SAFETY: the cell is live.
        unsafe { T::add::<O, S>(self.as_ptr(), value) }
    }

    /// Subtracts and returns the old value; integers wrap (PTX `atom.add` of the
    /// negated value).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn fetch_sub<O: Order>(&self, value: T, _order: O) -> T {
        // SAFETY: the cell is live.
        unsafe { T::add::<O, S>(self.as_ptr(), T::negated(value)) }
    }
}

macro_rules! integer_methods {
    ($($(#[$doc:meta])* $name:ident = $operation:ident;)*) => {
        impl<T: AtomicInteger, S: Scope> Atomic<T, S> { $(
            $(#[$doc])*
            #[inline(always)]
            #[cfg_attr(not(raddle_device), track_caller)]
            pub fn $name<O: Order>(&self, value: T, _order: O) -> T {
                // SAFETY: the cell is live.
                unsafe { T::$operation::<O, S>(self.as_ptr(), value) }
            }
        )* }
    };
}

integer_methods! {
    /// Keeps the lesser of both and returns the old value (PTX `atom.min`).
    fetch_min = min;
    /// Keeps the greater of both and returns the old value (PTX `atom.max`).
    fetch_max = max;
    /// Bitwise and; returns the old value (PTX `atom.and`).
    fetch_and = and;
    /// Bitwise or; returns the old value (PTX `atom.or`).
    fetch_or = or;
    /// Bitwise exclusive or; returns the old value (PTX `atom.xor`).
    fetch_xor = xor;
}

impl<S: Scope> Atomic<u32, S> {
    /// Counts up to `last` and then starts again at 0: stores 0 if the old value
    /// is `last` or more, else the old value plus one; returns the old value
    /// (CUDA `atomicInc`, PTX `atom.inc`).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn fetch_inc<O: Order>(&self, last: u32, _order: O) -> u32 {
        // SAFETY: the cell is live.
        unsafe { operations::inc_u32::<O, S>(self.as_ptr(), last) }
    }

    /// Counts down to 0 and then starts again at `last`: stores `last` if the old
    /// value is 0 or more than `last`, else the old value less one; returns the old
    /// value (CUDA `atomicDec`, PTX `atom.dec`).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn fetch_dec<O: Order>(&self, last: u32, _order: O) -> u32 {
        // SAFETY: the cell is live.
        unsafe { operations::dec_u32::<O, S>(self.as_ptr(), last) }
    }
}

macro_rules! vector_add {
    ($($(#[$doc:meta])* $name:ident, $lanes:literal, $device:ident, ($($lane:literal),*);)*) => {
        impl<S: Scope> Atomic<f32, S> { $(
            $(#[$doc])*
            ///
            /// Each element is added atomically, the vector as a whole is not. The
            /// cells lie in global memory; the order is relaxed, the scope the GPU.
            ///
            /// *Source*: PTX ISA, "red: vector types" (sm_90, PTX 8.1).
            ///
            /// # Panics
            ///
            /// If the cells are not aligned to the size of the vector.
            #[inline(always)]
            #[cfg_attr(not(raddle_device), track_caller)]
            pub fn $name(cells: &[Self; $lanes], values: [f32; $lanes]) {
                let address = cells.as_ptr().cast::<f32>().cast_mut();
                assert!(
                    address.addr().is_multiple_of(4 * $lanes),
                    "a vector reduction needs cells aligned to the vector's size"
                );
                #[cfg(raddle_device)]
                // SAFETY: the cells are live, and aligned by the assertion.
                unsafe {
                    $device(address as u64, $(values[$lane]),*);
                }
                #[cfg(not(raddle_device))]
                for (cell, value) in cells.iter().zip(values) {
                    cell.fetch_add(value, Relaxed);
                }
            }
        )* }
    };
}

vector_add! {
    /// Adds to two neighbouring cells in one transaction.
    add_pair, 2, red_add_v2_f32, (0, 1);
    /// Adds to four neighbouring cells in one transaction.
    add_quad, 4, red_add_v4_f32, (0, 1, 2, 3);
}

intrinsics! {
    VECTOR_REDUCTIONS, "Parallel Synchronization and Communication Instructions: red";
    fn red_add_v2_f32(cell: u64, a: f32, b: f32) = "raddle.asm.v:l,f,f,~{memory}:red.relaxed.gpu.global.add.v2.f32 [$0], {$1, $2};", sm 90, ptx 81;
    fn red_add_v4_f32(cell: u64, a: f32, b: f32, c: f32, d: f32) = "raddle.asm.v:l,f,f,f,f,~{memory}:red.relaxed.gpu.global.add.v4.f32 [$0], {$1, $2, $3, $4};", sm 90, ptx 81;
}

impl<T: AtomicValue, S: Scope, const N: usize> Shared<[Atomic<T, S>; N]> {
    /// Sets the cells to `value(0)`, `value(1)`, …, shared out among the threads
    /// of the block as by [`Shared::fill`], and gives every thread the cells.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn fill_atomic(&mut self, mut value: impl FnMut(usize) -> T) -> &[Atomic<T, S>; N] {
        barrier();
        // SAFETY: the array has `N` cells, and nobody reads between barriers.
        unsafe { write_strided(self.as_ptr().cast(), N, |i| Atomic::<T, S>::new(value(i))) };
        barrier();
        // SAFETY: every cell is written; further access is atomic.
        unsafe { &*self.as_ptr() }
    }
}

/// Types with atomic loads, stores, swaps and addition: `u32`, `i32`, `u64`,
/// `i64`, `f32`, `f64`.
pub trait AtomicValue: DeviceType + operations::Operations {}
impl<T: DeviceType + operations::Operations> AtomicValue for T {}

/// Types with the integer operations as well: `u32`, `i32`, `u64`, `i64`.
pub trait AtomicInteger: AtomicValue + operations::IntegerOperations {}
impl<T: AtomicValue + operations::IntegerOperations> AtomicInteger for T {}

pub(crate) mod operations;
mod order;
mod scope;
