//! Shared memory: one copy for each block, seen by all its threads.
//!
//! [`shared!`](macro@crate::shared) declares a static variable, also in generic
//! functions, where each instance has its own; [`dynamic_shared`] is the memory
//! whose size the launch gives. Both begin uninitialised.
//!
//! Invariant: no `&mut` to shared memory is ever handed out, because a `&mut`
//! that lives across a barrier lets the optimiser keep the value in a register
//! although another thread changes it. Shared views (`&[T]`) are made after a
//! barrier and end before the next write, because writing takes the handle
//! mutably.
//!
//! The collective methods ([`Shared::fill`] and the others) are reached by all
//! threads of the block, like a barrier, and a site is not evaluated again while
//! a view from it is alive (by recursion, or by two handles in a collection).
//! The type system does not see either; the CPU device reports the first as a
//! divergent barrier. Element types are [`AnyBits`] so that even then a thread
//! reads a wrong number, never an invalid value.
//!
//! *Source*: PTX ISA, "State Spaces: .shared".

use core::marker::PhantomData;
#[cfg(not(raddle_device))]
use core::panic::Location;

use crate::barrier::barrier;
use crate::bits::AnyBits;
use crate::index::{block_threads, thread_linear};

/// Declares a variable of type `T` in the block's shared memory and gives a
/// [`Shared<T>`](crate::shared::Shared) handle to it.
///
/// Each place in the source is one variable, and each instance of a generic
/// function has its own. The memory is uninitialised, aligned to at least 16
/// bytes, and lives as long as the block.
///
/// ```ignore
/// let mut tile = shared!([f32; 256]);
/// let tile = tile.fill(|i| x[start + i]);
/// ```
#[macro_export]
macro_rules! shared {
    ($ty:ty) => {
        // The closure's type is what distinguishes sites and instances.
        $crate::shared::Shared::<$ty>::declare(
            || (),
            concat!(file!(), ":", line!(), ":", column!()),
        )
    };
}

/// A handle to a variable in shared memory; see [`shared!`](macro@crate::shared).
pub struct Shared<T> {
    ptr: *mut T,
    // Shared memory means something to the threads of one block only.
    not_send: PhantomData<*mut T>,
}

impl<T> Shared<T> {
    /// The body of [`shared!`](macro@crate::shared).
    #[doc(hidden)]
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn declare<Site: Fn()>(_site: Site, _place: &'static str) -> Self {
        #[cfg(raddle_device)]
        let ptr = static_address::<T, Site>().cast();
        #[cfg(not(raddle_device))]
        let ptr = host::static_address::<T, Site>(_place).cast();
        Self { ptr, not_send: PhantomData }
    }

    /// The variable's address.
    ///
    /// What is read and written through it is the caller's to order with
    /// barriers; make no `&mut` from it that lives across one.
    #[inline(always)]
    #[must_use]
    pub const fn as_ptr(&self) -> *mut T {
        self.ptr
    }
}

impl<T: AnyBits, const N: usize> Shared<[T; N]> {
    /// Fills the array with `value(0)`, `value(1)`, …, shared out among the
    /// threads of the block, and gives every thread a view of it.
    ///
    /// Thread `t` (linear index) computes elements `t`, `t + T`, …, so that
    /// neighbouring threads write neighbouring elements. All threads of the block
    /// make the call: there is a barrier before the writes, so that readers of an
    /// earlier view are done, and one after.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn fill(&mut self, value: impl FnMut(usize) -> T) -> &[T; N] {
        barrier();
        // SAFETY: the array has `N` elements, and nobody reads between barriers.
        unsafe { write_strided(self.ptr.cast(), N, value) };
        barrier();
        // SAFETY: every element is written; writing again takes `&mut self`.
        unsafe { &*self.ptr }
    }

    /// [`fill`](Self::fill) for the first `len` elements only; `len` is the same
    /// in all threads.
    ///
    /// # Panics
    ///
    /// If `len` is greater than the array's length.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn fill_first(&mut self, len: usize, value: impl FnMut(usize) -> T) -> &[T] {
        assert!(len <= N, "more elements than the shared array has");
        barrier();
        // SAFETY: in bounds by the assertion, and nobody reads between barriers.
        unsafe { write_strided(self.ptr.cast(), len, value) };
        barrier();
        // SAFETY: these elements are written; writing again takes `&mut self`.
        unsafe { core::slice::from_raw_parts(self.ptr.cast(), len) }
    }

    /// Collects one value of each thread: element `t` of the view is what thread
    /// `t` (linear index) passed. All threads of the block make the call.
    ///
    /// # Panics
    ///
    /// If the block has more threads than the array has elements.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn gather(&mut self, value: T) -> &[T] {
        let threads = block_threads() as usize;
        assert!(threads <= N, "more threads in the block than the shared array has elements");
        barrier();
        // SAFETY: in bounds by the assertion; each thread writes its own element.
        unsafe { self.ptr.cast::<T>().add(thread_linear() as usize).write(value) };
        barrier();
        // SAFETY: every thread wrote its element; writing again takes `&mut self`.
        unsafe { core::slice::from_raw_parts(self.ptr.cast(), threads) }
    }

    /// Fills this array and another between the same two barriers, as the two
    /// operand tiles of a matrix product want it.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn fill_both<'a, U: AnyBits, const M: usize>(
        &'a mut self,
        mut value: impl FnMut(usize) -> T,
        other: &'a mut Shared<[U; M]>,
        mut other_value: impl FnMut(usize) -> U,
    ) -> (&'a [T; N], &'a [U; M]) {
        barrier();
        let (ptr, other_ptr) = (self.ptr.cast::<T>(), other.ptr.cast::<U>());
        let threads = block_threads() as usize;
        for round in 0..N.max(M).div_ceil(threads) {
            let i = thread_linear() as usize + round * threads;
            // Both before either is written: a load whose check may panic is not
            // moved across a write, and would wait for the first.
            let values = ((i < N).then(|| value(i)), (i < M).then(|| other_value(i)));
            if let Some(value) = values.0 {
                // SAFETY: in bounds; only this thread writes element `i`, and nobody
                // reads between barriers.
                unsafe { ptr.add(i).write(value) };
            }
            if let Some(value) = values.1 {
                // SAFETY: as above.
                unsafe { other_ptr.add(i).write(value) };
            }
        }
        barrier();
        // SAFETY: every element is written; writing again takes `&mut`.
        unsafe { (&*self.ptr, &*other.ptr) }
    }
}

impl<T: AnyBits, const COLS: usize, const ROWS: usize> Shared<[[T; COLS]; ROWS]> {
    /// [`fill`](Shared::fill) for a matrix: element `(row, column)` becomes
    /// `value(row, column)`, neighbouring threads along a row.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn fill_matrix(&mut self, mut value: impl FnMut(usize, usize) -> T) -> &[[T; COLS]; ROWS] {
        barrier();
        // SAFETY: rows lie one behind the other; nobody reads between barriers.
        unsafe { write_strided(self.ptr.cast(), ROWS * COLS, |i| value(i / COLS, i % COLS)) };
        barrier();
        // SAFETY: every element is written; writing again takes `&mut self`.
        unsafe { &*self.ptr }
    }
}

/// The shared memory whose size the launch gave, as an array of `T`: address and
/// length.
///
/// The address is aligned to at least 16 bytes. Every call gives the same
/// memory, whatever its `T`; reading and writing it is the caller's to order
/// with barriers.
///
/// *Source*: PTX ISA, "Special Registers: %dynamic_smem_size" (sm_20).
#[inline(always)]
#[must_use]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn dynamic_shared<T>() -> (*mut T, usize) {
    const { assert!(align_of::<T>() <= 16, "dynamic shared memory is aligned to 16 bytes") };
    const { assert!(size_of::<T>() != 0, "dynamic shared memory holds types with a size") };
    let (address, bytes) = dynamic_bytes();
    (address.cast(), bytes / size_of::<T>())
}

/// [`dynamic_shared`] with the collective methods of [`Shared`].
pub struct DynamicShared<T> {
    ptr: *mut T,
    len: usize,
    not_send: PhantomData<*mut T>,
}

impl<T: AnyBits> DynamicShared<T> {
    /// The launch's dynamic shared memory as an array of `T`.
    ///
    /// # Safety
    ///
    /// No other handle or pointer to dynamic shared memory is used while this
    /// handle lives.
    #[inline(always)]
    #[must_use]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub unsafe fn take() -> Self {
        let (ptr, len) = dynamic_shared();
        Self { ptr, len, not_send: PhantomData }
    }

    /// Number of elements.
    #[inline(always)]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the launch gave less dynamic shared memory than one element.
    #[inline(always)]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address of the first element.
    #[inline(always)]
    #[must_use]
    pub const fn as_ptr(&self) -> *mut T {
        self.ptr
    }

    /// As [`Shared::fill_first`].
    ///
    /// # Panics
    ///
    /// If `len` is greater than [`len`](Self::len).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn fill_first(&mut self, len: usize, value: impl FnMut(usize) -> T) -> &[T] {
        assert!(len <= self.len, "more elements than dynamic shared memory has");
        barrier();
        // SAFETY: in bounds by the assertion, and nobody reads between barriers.
        unsafe { write_strided(self.ptr, len, value) };
        barrier();
        // SAFETY: these elements are written; writing again takes `&mut self`.
        unsafe { core::slice::from_raw_parts(self.ptr, len) }
    }
}

/// The address of a pointer into shared memory within the shared window, as
/// instructions on `.shared` operands want it.
///
/// *Source*: PTX ISA, "cvta".
///
/// # Safety
///
/// `pointer` points into this block's shared memory.
#[cfg(raddle_device)]
#[inline(always)]
pub(crate) unsafe fn shared_address<T>(pointer: *const T) -> u32 {
    // SAFETY: by the caller's contract.
    unsafe { cvta_to_shared(pointer as u64) }
}

intrinsics! {
    SHARED, "State Spaces: .shared";
    fn cvta_to_shared(pointer: u64) -> u32 = "raddle.asm:=r,l:{ .reg .u64 address; cvta.to.shared.u64 address, $1; cvt.u32.u64 $0, address; }", sm 20, ptx 20;
    fn read_dynamic_bytes() -> u32 = "raddle.asm:=r:mov.u32 $0, %dynamic_smem_size;", sm 20, ptx 41;
}

/// Writes `value(i)` to each of this thread's elements `i`.
///
/// # Safety
///
/// `ptr` holds `len` elements, and no thread reads them meanwhile.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub(crate) unsafe fn write_strided<T>(ptr: *mut T, len: usize, mut value: impl FnMut(usize) -> T) {
    let threads = block_threads() as usize;
    // Counted in rounds: where the block's shape is stated, their number is a
    // constant and the loads of `value` are all under way at once.
    for round in 0..len.div_ceil(threads) {
        let i = thread_linear() as usize + round * threads;
        if i < len {
            // SAFETY: in bounds; only this thread writes element `i`.
            unsafe { ptr.add(i).write(value(i)) };
        }
    }
}

/// Address and size of dynamic shared memory.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
fn dynamic_bytes() -> (*mut u8, usize) {
    #[cfg(raddle_device)]
    {
        unsafe extern "C" {
            /// Resolved by the compiler to the module's `.extern .shared` array.
            safe fn __raddle_dynamic_shared() -> *mut u8;
        }
        // SAFETY: reads a register.
        (__raddle_dynamic_shared(), unsafe { read_dynamic_bytes() } as usize)
    }
    #[cfg(not(raddle_device))]
    {
        let _ = Location::caller();
        crate::host::engine().shared_dynamic()
    }
}

/// The shared variable of one function instance. Each `Site` is a closure type,
/// which carries the generic arguments of the function it stands in, so each
/// place and instance makes its own instance of this function, and the compiler
/// gives each instance its own variable.
#[cfg(raddle_device)]
#[inline(never)]
fn static_address<T, Site>() -> *mut u8 {
    unsafe extern "C" {
        fn __raddle_shared(bytes: usize, align: usize) -> *mut u8;
    }
    let align = const { if align_of::<T>() < 16 { 16 } else { align_of::<T>() } };
    // SAFETY: called with constants, as the compiler wants it.
    unsafe { __raddle_shared(size_of::<T>(), align) }
}

#[cfg(not(raddle_device))]
mod host;
