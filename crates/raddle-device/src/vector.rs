//! Short vectors with the alignment of their size, so that a load or store of
//! one is a single instruction of 4, 8 or 16 bytes (`ld.global.v4.f32`).
//!
//! Invariant: `Vector<T, N>` is exactly `N` elements of `T` aligned to
//! `N * size_of::<T>()` bytes.
//!
//! *Source*: PTX ISA, "Vectors" and "ld".

use core::ops::{Add, AddAssign, Deref, DerefMut, Div, Mul, Neg, Sub};

use crate::bits::AnyBits;
use crate::float::{bf16, bf16x2, f8e4m3, f8e5m2, f16, f16x2, tf32};
use crate::param::{DeviceType, Zeroable};

/// `N` elements moved as one, like CUDA's `float4`.
///
/// Behaves as the array it holds. `N * size_of::<T>()` is 2, 4, 8 or 16.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Vector<T: VectorElement<N>, const N: usize> {
    align: [T::Align; 0],
    elements: [T; N],
}

/// An element type of which `N` make a vector.
///
/// # Safety
///
/// `Align` is aligned to `N * size_of::<Self>()` bytes.
#[diagnostic::on_unimplemented(
    message = "{N} elements of `{Self}` do not make a vector",
    note = "a vector has 2, 4, 8 or 16 bytes and holds numbers"
)]
pub unsafe trait VectorElement<const N: usize>: DeviceType {
    /// A type with the vector's alignment.
    type Align: Copy + Send + Sync + 'static;
}

/// Alignments of vectors.
#[doc(hidden)]
pub mod align {
    macro_rules! aligned {
        ($($name:ident $bytes:literal),*) => { $(
            #[derive(Clone, Copy)]
            #[repr(C, align($bytes))]
            pub struct $name;
        )* };
    }
    aligned!(Align2 2, Align4 4, Align8 8, Align16 16);
}

macro_rules! vector_elements {
    ($($align:ident: $($ty:ident $n:literal),*;)*) => { $( $(
        // SAFETY: checked by the assertion below.
        unsafe impl VectorElement<$n> for $ty {
            type Align = align::$align;
        }
        const _: () = assert!(
            align_of::<Vector<$ty, $n>>() == size_of::<$ty>() * $n
                && size_of::<Vector<$ty, $n>>() == size_of::<$ty>() * $n
        );
    )* )* };
}
vector_elements! {
    Align2: u8 2, i8 2, f8e4m3 2, f8e5m2 2;
    Align4: u8 4, i8 4, f8e4m3 4, f8e5m2 4, u16 2, i16 2, f16 2, bf16 2;
    Align8: u8 8, i8 8, f8e4m3 8, f8e5m2 8, u16 4, i16 4, f16 4, bf16 4,
        u32 2, i32 2, f32 2, tf32 2, f16x2 2, bf16x2 2;
    Align16: u8 16, i8 16, f8e4m3 16, f8e5m2 16, u16 8, i16 8, f16 8, bf16 8,
        u32 4, i32 4, f32 4, tf32 4, f16x2 4, bf16x2 4, u64 2, i64 2, f64 2;
}

/// Two `f32`.
pub type F32x2 = Vector<f32, 2>;
/// Four `f32`, 16 bytes.
pub type F32x4 = Vector<f32, 4>;
/// Two `f64`, 16 bytes.
pub type F64x2 = Vector<f64, 2>;
/// Two `u32`.
pub type U32x2 = Vector<u32, 2>;
/// Four `u32`, 16 bytes.
pub type U32x4 = Vector<u32, 4>;
/// Four `i32`, 16 bytes.
pub type I32x4 = Vector<i32, 4>;
/// Four bytes.
pub type U8x4 = Vector<u8, 4>;
/// Sixteen bytes.
pub type U8x16 = Vector<u8, 16>;
/// Eight `f16`, 16 bytes.
pub type F16x8 = Vector<f16, 8>;
/// Eight [`bf16`], 16 bytes.
pub type Bf16x8 = Vector<bf16, 8>;

// SAFETY: `repr(C)` of a zero-sized and an array field, no padding: the size is
// that of the elements.
unsafe impl<T: VectorElement<N>, const N: usize> DeviceType for Vector<T, N> {}
// SAFETY: each element is zeroable.
unsafe impl<T: VectorElement<N> + Zeroable, const N: usize> Zeroable for Vector<T, N> {}

// SAFETY: `N` elements with no padding, each of any bits.
unsafe impl<T: VectorElement<N> + AnyBits, const N: usize> AnyBits for Vector<T, N> {}

impl<T: VectorElement<N>, const N: usize> Vector<T, N> {
    /// A vector of these elements.
    #[inline(always)]
    #[must_use]
    pub const fn new(elements: [T; N]) -> Self {
        Self { align: [], elements }
    }

    /// The same element `N` times.
    #[inline(always)]
    #[must_use]
    pub const fn splat(element: T) -> Self {
        Self::new([element; N])
    }

    /// The elements.
    #[inline(always)]
    #[must_use]
    pub const fn to_array(self) -> [T; N] {
        self.elements
    }

    /// A vector of `function`'s results.
    #[inline(always)]
    #[must_use]
    pub fn map<U: VectorElement<N>>(self, function: impl FnMut(T) -> U) -> Vector<U, N> {
        Vector::new(self.elements.map(function))
    }

    /// A vector of `function`'s results for the elements in the same places.
    #[inline(always)]
    #[must_use]
    pub fn zip_with<U: VectorElement<N>, V: VectorElement<N>>(
        self,
        other: Vector<U, N>,
        mut function: impl FnMut(T, U) -> V,
    ) -> Vector<V, N> {
        Vector::new(core::array::from_fn(|i| function(self.elements[i], other.elements[i])))
    }
}

/// `slice` as vectors, or `None` if its address is not aligned to the vector or
/// its length is not a multiple of `N`.
#[inline]
#[must_use]
pub fn as_vectors<T: VectorElement<N>, const N: usize>(slice: &[T]) -> Option<&[Vector<T, N>]> {
    let pointer = slice.as_ptr().cast::<Vector<T, N>>();
    if !pointer.is_aligned() || !slice.len().is_multiple_of(N) {
        return None;
    }
    // SAFETY: aligned, the same bytes, and `Vector<T, N>` is `N` elements.
    Some(unsafe { core::slice::from_raw_parts(pointer, slice.len() / N) })
}

/// `slice` as vectors that can be written, under the conditions of
/// [`as_vectors`].
#[inline]
#[must_use]
pub fn as_vectors_mut<T: VectorElement<N>, const N: usize>(
    slice: &mut [T],
) -> Option<&mut [Vector<T, N>]> {
    let pointer = slice.as_mut_ptr().cast::<Vector<T, N>>();
    if !pointer.is_aligned() || !slice.len().is_multiple_of(N) {
        return None;
    }
    // SAFETY: as in `as_vectors`, and the borrow is exclusive.
    Some(unsafe { core::slice::from_raw_parts_mut(pointer, slice.len() / N) })
}

/// The elements of `vectors` one after the other.
#[inline]
#[must_use]
pub fn as_elements<T: VectorElement<N>, const N: usize>(vectors: &[Vector<T, N>]) -> &[T] {
    // SAFETY: a vector is `N` elements with no padding.
    unsafe { core::slice::from_raw_parts(vectors.as_ptr().cast(), vectors.len() * N) }
}

impl<T: VectorElement<N>, const N: usize> Deref for Vector<T, N> {
    type Target = [T; N];
    #[inline(always)]
    fn deref(&self) -> &[T; N] {
        &self.elements
    }
}

impl<T: VectorElement<N>, const N: usize> DerefMut for Vector<T, N> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T; N] {
        &mut self.elements
    }
}

impl<T: VectorElement<N>, const N: usize> From<[T; N]> for Vector<T, N> {
    #[inline(always)]
    fn from(elements: [T; N]) -> Self {
        Self::new(elements)
    }
}

impl<T: VectorElement<N>, const N: usize> From<Vector<T, N>> for [T; N] {
    #[inline(always)]
    fn from(vector: Vector<T, N>) -> Self {
        vector.elements
    }
}

impl<T: VectorElement<N> + Default, const N: usize> Default for Vector<T, N> {
    fn default() -> Self {
        Self::new(core::array::from_fn(|_| T::default()))
    }
}

impl<T: VectorElement<N> + PartialEq, const N: usize> PartialEq for Vector<T, N> {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.elements == other.elements
    }
}

impl<T: VectorElement<N> + core::fmt::Debug, const N: usize> core::fmt::Debug for Vector<T, N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.elements.fmt(f)
    }
}

macro_rules! elementwise {
    ($($trait:ident $method:ident),*) => { $(
        impl<T: VectorElement<N> + $trait<Output = T>, const N: usize> $trait for Vector<T, N> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                self.zip_with(other, T::$method)
            }
        }
    )* };
}
elementwise!(Add add, Sub sub, Mul mul, Div div);

impl<T: VectorElement<N> + Add<Output = T>, const N: usize> AddAssign for Vector<T, N> {
    #[inline(always)]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl<T: VectorElement<N> + Neg<Output = T>, const N: usize> Neg for Vector<T, N> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        self.map(T::neg)
    }
}

#[cfg(all(test, not(raddle_device)))]
mod tests {
    use super::*;

    #[test]
    fn slices_become_vectors_only_when_aligned() {
        let vectors = [F32x4::new([0.0, 1.0, 2.0, 3.0]), F32x4::splat(4.0)];
        let elements = as_elements(&vectors);
        assert_eq!(elements, [0.0, 1.0, 2.0, 3.0, 4.0, 4.0, 4.0, 4.0]);
        assert_eq!(as_vectors::<f32, 4>(elements), Some(&vectors[..]));
        assert_eq!(as_vectors::<f32, 4>(&elements[1..5]), None, "not aligned");
        assert_eq!(as_vectors::<f32, 4>(&elements[..6]), None, "not a multiple");
        assert_eq!(as_vectors::<f32, 4>(&elements[..0]), Some(&[][..]));
    }

    #[test]
    fn arithmetic_is_elementwise() {
        let (a, b) = (F32x4::new([1.0, 2.0, 3.0, 4.0]), F32x4::splat(2.0));
        assert_eq!((a + b).to_array(), [3.0, 4.0, 5.0, 6.0]);
        assert_eq!((a * b - a).to_array(), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!((-a / b)[3], -2.0);
        assert_eq!(a.map(f16::from_f32).map(f16::to_bits)[1], 0x4000);
        let mut elements = [F16x8::default(); 2];
        elements[1][7] = f16::ONE;
        assert_eq!(as_elements(&elements)[15], f16::ONE);
    }
}
