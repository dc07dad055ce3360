//! What a launch is told of itself: where its panics go, and its number.
//!
//! Every entry of `#[kernel]` takes both beside the parameter block and begins with
//! [`begin`]. They lie in shared memory, where a panic finds them from whatever
//! function it happens in; every thread writes the same values and reads what it
//! has written itself, so that no barrier is needed. In a kernel that cannot panic
//! nobody reads them, and the optimiser removes the writes with the variable.

use crate::kernel::PanicRecord;

/// Where the panics of a launch go, and its number, as the host gave them.
#[repr(C)]
#[derive(Clone, Copy)]
struct Launch {
    /// Device address of a [`PanicRecord`]; 0 if the host keeps none.
    record: u64,
    tag: u64,
}

/// Remembers what the host says of this launch.
#[inline(always)]
pub fn begin(record: u64, tag: u64) {
    // SAFETY: the variable is there for this; all threads write the same.
    unsafe { cell().write(Launch { record, tag }) };
}

/// The record for this launch's panics, null if there is none.
#[inline(always)]
pub(crate) fn record() -> *mut PanicRecord {
    // Volatile, so that no register keeps the value from the kernel's begin on.
    // SAFETY: `begin` has run in this thread.
    unsafe { (&raw const (*cell()).record).read_volatile() as *mut PanicRecord }
}

/// The launch's number on its stream, with that of its kernel.
#[inline(always)]
pub(crate) fn tag() -> u64 {
    // SAFETY: as above.
    unsafe { (&raw const (*cell()).tag).read_volatile() }
}

/// The one variable: a function that is not generic has one instance.
#[inline(never)]
fn cell() -> *mut Launch {
    unsafe extern "C" {
        fn __raddle_shared(bytes: usize, align: usize) -> *mut u8;
    }
    // SAFETY: called with constants, as the compiler wants it.
    unsafe { __raddle_shared(size_of::<Launch>(), align_of::<Launch>()).cast() }
}
