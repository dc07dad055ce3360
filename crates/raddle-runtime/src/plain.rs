//! Types whose bytes are all that matters about them.

use raddle_device::float::{bf16, f16, tf32};
use raddle_device::param::DeviceType;
use raddle_device::vector::{Vector, VectorElement};

use crate::error::{Error, Result};

/// A device type without padding for which every pattern of bits is a value: such
/// elements can be seen as those of another such type.
///
/// # Safety
///
/// No byte of a value is padding, and any bytes are a valid value.
pub unsafe trait Plain: DeviceType {}

macro_rules! plain {
    ($($ty:ty),*) => { $(
        // SAFETY: a number without padding; every pattern of bits is one.
        unsafe impl Plain for $ty {}
    )* };
}
plain!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64);
plain!(f16, bf16, tf32);

// SAFETY: arrays lay their elements out with no padding between.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

// SAFETY: a vector is its elements, aligned to their whole size, which is no more than
// they take.
unsafe impl<T: Plain + VectorElement<N>, const N: usize> Plain for Vector<T, N> {}

/// How many `U`s the bytes of `len` `T`s at `address` are.
pub(crate) fn reinterpreted_len<T: Plain, U: Plain>(address: u64, len: usize) -> Result<usize> {
    let (bytes, size) = (len * size_of::<T>(), size_of::<U>());
    let is_aligned = address.is_multiple_of(align_of::<U>() as u64);
    if size == 0 || !bytes.is_multiple_of(size) || !is_aligned {
        let (from, to) = (std::any::type_name::<T>(), std::any::type_name::<U>());
        return Err(Error::Reinterpret { from, to, bytes, address });
    }
    Ok(bytes / size)
}
