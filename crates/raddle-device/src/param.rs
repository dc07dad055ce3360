//! What may cross from host to kernel: plain data with a fixed layout, and the
//! rule that turns each kernel parameter into raw bytes and back.
//!
//! Invariant: a parameter's `Raw` form has the same layout on the host and on
//! the device, because one rustc lays out both.

/// Plain data with a fixed layout that may live in device memory.
///
/// Implemented for the numeric primitives, arrays of device types and, through
/// `#[derive(DeviceType)]`, for `#[repr(C)]` and `#[repr(transparent)]` structs
/// and field-less enums with a primitive representation.
///
/// # Safety
///
/// The type is `Copy`, holds no pointer into host memory, and its layout is
/// fixed by its definition (primitive, `repr(C)`, `repr(transparent)`, or an enum
/// with a primitive representation).
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no fixed layout on the device",
    note = "add `#[derive(Clone, Copy, raddle::DeviceType)]` and `#[repr(C)]` to its definition"
)]
pub unsafe trait DeviceType: Copy + Send + Sync + 'static {}

/// A device type for which all-zero bytes are a valid value.
///
/// # Safety
///
/// The all-zero bit pattern is a valid value of the type.
pub unsafe trait Zeroable: DeviceType {}

macro_rules! plain {
    ($($ty:ty),*) => { $(
        // SAFETY: a primitive number: fixed layout, any bit pattern is valid.
        unsafe impl DeviceType for $ty {}
        // SAFETY: zero is a number.
        unsafe impl Zeroable for $ty {}
    )* };
}
plain!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64, ());

// SAFETY: one byte whose layout Rust fixes.
unsafe impl DeviceType for bool {}
// SAFETY: zero is `false`.
unsafe impl Zeroable for bool {}
// SAFETY: four bytes whose layout Rust fixes.
unsafe impl DeviceType for char {}
// SAFETY: zero is `'\0'`.
unsafe impl Zeroable for char {}
// SAFETY: arrays lay their elements out in order with no padding between.
unsafe impl<T: DeviceType, const N: usize> DeviceType for [T; N] {}
// SAFETY: each element is zeroable.
unsafe impl<T: Zeroable, const N: usize> Zeroable for [T; N] {}

/// A pointer and a length as they travel in kernel parameters.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RawSlice {
    /// Device address of the first element.
    pub ptr: u64,
    /// Number of elements.
    pub len: u64,
}

impl RawSlice {
    /// The address as a pointer.
    ///
    /// The field is read *as a pointer*: LLVM then knows that it points to global
    /// memory, and that it is not null spares a test behind every `Option<&mut T>`.
    ///
    /// # Safety
    ///
    /// `raw` is valid and its address is not zero (the host passes an aligned
    /// dangling address for an empty buffer).
    #[inline(always)]
    #[must_use]
    pub unsafe fn pointer<T>(raw: *const Self) -> *mut T {
        // SAFETY: the field has the size and alignment of a pointer, and the caller
        // promises that it is not zero.
        unsafe {
            let pointer = (&raw const (*raw).ptr).cast::<*mut T>().read();
            core::hint::assert_unchecked(!pointer.is_null());
            pointer
        }
    }
}

/// What a parameter type demands of a launch; checked on the host before the
/// driver sees the launch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParamRules {
    /// The grid and the block must extend along x only: the parameter hands out
    /// elements by a one-dimensional thread index.
    pub one_dimensional: bool,
    /// The grid may extend along x and y but not z, and so the block.
    pub two_dimensional: bool,
}

impl ParamRules {
    /// No demand.
    pub const NONE: Self = Self { one_dimensional: false, two_dimensional: false };
    /// Launches must be one-dimensional.
    pub const ONE_D: Self = Self { one_dimensional: true, two_dimensional: false };
    /// Launches must be at most two-dimensional.
    pub const TWO_D: Self = Self { one_dimensional: false, two_dimensional: true };

    /// The demands of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            one_dimensional: self.one_dimensional || other.one_dimensional,
            two_dimensional: self.two_dimensional || other.two_dimensional,
        }
    }
}

/// A type that may stand in a kernel's parameter list.
///
/// # Safety
///
/// `from_raw` of the bytes that the host's binding made must yield a valid
/// `Self` in every thread of the launch at once; in particular two threads must
/// not be able to reach the same element mutably through safe methods of `Self`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a kernel parameter",
    note = "kernels take device types by value, `&[T]` for input, and exclusive outputs such as `PerThread<T>`"
)]
pub unsafe trait KernelParam: Sized {
    /// The parameter as it lies in the launch's parameter block.
    type Raw: Copy + 'static;
    /// What the parameter demands of a launch.
    const RULES: ParamRules = ParamRules::NONE;
    /// Rebuilds the parameter inside the kernel.
    ///
    /// # Safety
    ///
    /// `raw` points into this launch's parameter block, made by the matching
    /// host binding, and the result is used by the current thread only.
    unsafe fn from_raw(raw: *const Self::Raw) -> Self;
}

// SAFETY: plain data is copied to each thread.
unsafe impl<T: DeviceType> KernelParam for T {
    type Raw = T;
    #[inline(always)]
    unsafe fn from_raw(raw: *const T) -> T {
        // SAFETY: `raw` holds a `T` by the caller's contract.
        unsafe { *raw }
    }
}

// SAFETY: shared slices are read-only for the length of the kernel: the host
// binds them from a buffer it does not hand out mutably in the same launch.
unsafe impl<T: DeviceType> KernelParam for &'static [T] {
    type Raw = RawSlice;
    #[inline(always)]
    unsafe fn from_raw(raw: *const RawSlice) -> Self {
        // SAFETY: the host wrote the address and length of a live buffer.
        unsafe { core::slice::from_raw_parts(RawSlice::pointer(raw), (*raw).len as usize) }
    }
}

// SAFETY: raw pointers give no safe access.
unsafe impl<T: DeviceType> KernelParam for *const T {
    type Raw = u64;
    #[inline(always)]
    unsafe fn from_raw(raw: *const u64) -> Self {
        // SAFETY: `raw` holds the address by the caller's contract. It is read as a
        // pointer, so that LLVM takes it for one to global memory.
        unsafe { raw.cast::<*const T>().read() }
    }
}

// SAFETY: raw pointers give no safe access.
unsafe impl<T: DeviceType> KernelParam for *mut T {
    type Raw = u64;
    #[inline(always)]
    unsafe fn from_raw(raw: *const u64) -> Self {
        // SAFETY: `raw` holds the address by the caller's contract. It is read as a
        // pointer, so that LLVM takes it for one to global memory.
        unsafe { raw.cast::<*mut T>().read() }
    }
}
