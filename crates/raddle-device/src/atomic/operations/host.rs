//! Host bodies of the atomic operations, on `core`'s atomics of the same width.
//!
//! All are sequentially consistent, which is one of the behaviours that every
//! order allows.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

/// A type that atomics of the host hold as an integer of its width.
pub(super) trait Word: Copy {
    /// # Safety
    ///
    /// `cell` is live, aligned, and accessed atomically only; so for all below.
    unsafe fn load(cell: *mut Self) -> Self;
    /// # Safety
    ///
    /// As [`load`](Self::load).
    unsafe fn store(cell: *mut Self, value: Self);
    /// # Safety
    ///
    /// As [`load`](Self::load).
    unsafe fn swap(cell: *mut Self, value: Self) -> Self;
    /// # Safety
    ///
    /// As [`load`](Self::load).
    unsafe fn compare_swap(cell: *mut Self, old: Self, new: Self) -> Self;
    /// Sets the value to `new` of the old one, which is returned.
    ///
    /// # Safety
    ///
    /// As [`load`](Self::load).
    unsafe fn update(cell: *mut Self, new: impl Fn(Self) -> Self) -> Self;
}

macro_rules! word {
    ($ty:ty, $atomic:ty, |$a:ident| $to_bits:expr, |$b:ident| $from_bits:expr) => {
        impl Word for $ty {
            #[track_caller]
            unsafe fn load(cell: *mut Self) -> Self {
                // A loop that waits for another thread loads again and again.
                crate::host::engine().yield_now();
                // SAFETY: by the caller's contract.
                let $b = unsafe { <$atomic>::from_ptr(cell.cast()) }.load(SeqCst);
                $from_bits
            }
            unsafe fn store(cell: *mut Self, $a: Self) {
                // SAFETY: by the caller's contract.
                unsafe { <$atomic>::from_ptr(cell.cast()) }.store($to_bits, SeqCst);
            }
            #[track_caller]
            unsafe fn swap(cell: *mut Self, $a: Self) -> Self {
                // A lock is often taken by a loop around a swap.
                crate::host::engine().yield_now();
                // SAFETY: by the caller's contract.
                let $b = unsafe { <$atomic>::from_ptr(cell.cast()) }.swap($to_bits, SeqCst);
                $from_bits
            }
            #[track_caller]
            unsafe fn compare_swap(cell: *mut Self, old: Self, new: Self) -> Self {
                let bits = |$a: $ty| $to_bits;
                // SAFETY: by the caller's contract.
                let cell = unsafe { <$atomic>::from_ptr(cell.cast()) };
                match cell.compare_exchange(bits(old), bits(new), SeqCst, SeqCst) {
                    Ok($b) => $from_bits,
                    Err($b) => {
                        crate::host::engine().yield_now();
                        $from_bits
                    }
                }
            }
            unsafe fn update(cell: *mut Self, new: impl Fn(Self) -> Self) -> Self {
                // SAFETY: by the caller's contract.
                let cell = unsafe { <$atomic>::from_ptr(cell.cast()) };
                let mut $b = cell.load(SeqCst);
                loop {
                    let old: $ty = $from_bits;
                    let $a: $ty = new(old);
                    match cell.compare_exchange_weak($b, $to_bits, SeqCst, SeqCst) {
                        Ok(_) => return old,
                        Err(found) => $b = found,
                    }
                }
            }
        }
    };
}

word!(u32, AtomicU32, |a| a, |b| b);
word!(i32, AtomicU32, |a| a.cast_unsigned(), |b| b.cast_signed());
word!(f32, AtomicU32, |a| a.to_bits(), |b| f32::from_bits(b));
word!(u64, AtomicU64, |a| a, |b| b);
word!(i64, AtomicU64, |a| a.cast_unsigned(), |b| b.cast_signed());
word!(f64, AtomicU64, |a| a.to_bits(), |b| f64::from_bits(b));
