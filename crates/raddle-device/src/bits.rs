//! Values as 32-bit words: how shuffles move types that are wider or narrower
//! than a register.
//!
//! Invariant: words keep bytes in memory order, so that the same value crosses
//! lanes unchanged on the device and on the host. Padding may arrive as any
//! byte.

#[cfg(raddle_device)]
use core::mem::MaybeUninit;

use crate::param::DeviceType;

/// A device type of which every bit pattern is a valid value and which has no
/// padding.
///
/// Operations whose result the hardware leaves unspecified in some lanes (a
/// shuffle that names a lane which does not take part) are safe for these types
/// only.
///
/// # Safety
///
/// The type has no padding, and each of its bytes may hold any value.
pub unsafe trait AnyBits: DeviceType {}

macro_rules! any_bits {
    ($($ty:ty),*) => { $(
        // SAFETY: a primitive number: no padding, any bit pattern is valid.
        unsafe impl AnyBits for $ty {}
    )* };
}
any_bits!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64);

// SAFETY: arrays lay their elements out with no padding between.
unsafe impl<T: AnyBits, const N: usize> AnyBits for [T; N] {}

/// Widest value that crosses lanes in one call, in bytes.
pub const LANE_VALUE_BYTES_MAX: usize = 16;

/// Sends each 32-bit word of `value` through `exchange` and puts the answers
/// together.
///
/// # Safety
///
/// The answers of `exchange`, word for word, are the words of some valid `T`.
#[cfg(raddle_device)]
#[inline(always)]
pub(crate) unsafe fn exchange_words<T: DeviceType>(
    value: T,
    exchange: impl Fn(MaybeUninit<u32>) -> u32,
) -> T {
    // SAFETY: the caller answers for the words; each arm's array is at least as
    // large as `T`.
    unsafe {
        match size_of::<T>() {
            0 => value,
            1..=4 => exchange_array::<T, 1>(value, exchange),
            5..=8 => exchange_array::<T, 2>(value, exchange),
            9..=12 => exchange_array::<T, 3>(value, exchange),
            _ => exchange_array::<T, 4>(value, exchange),
        }
    }
}

/// [`exchange_words`] for values of at most `4 * N` bytes.
///
/// # Safety
///
/// As [`exchange_words`].
#[cfg(raddle_device)]
#[inline(always)]
unsafe fn exchange_array<T: DeviceType, const N: usize>(
    value: T,
    exchange: impl Fn(MaybeUninit<u32>) -> u32,
) -> T {
    const { assert!(size_of::<T>() <= LANE_VALUE_BYTES_MAX, "a value of at most 16 bytes") };
    let bytes = if size_of::<T>() < 4 * N { size_of::<T>() } else { 4 * N };
    let mut words = [MaybeUninit::<u32>::uninit(); N];
    // SAFETY: both regions hold `bytes` bytes and do not overlap.
    unsafe {
        core::ptr::copy_nonoverlapping(
            (&raw const value).cast::<u8>(),
            words.as_mut_ptr().cast::<u8>(),
            bytes,
        );
    }
    for word in &mut words {
        *word = MaybeUninit::new(exchange(*word));
    }
    let mut result = value;
    // SAFETY: as above; the caller answers for the bytes being a `T`.
    unsafe {
        core::ptr::copy_nonoverlapping(
            words.as_ptr().cast::<u8>(),
            (&raw mut result).cast::<u8>(),
            bytes,
        );
    }
    result
}
