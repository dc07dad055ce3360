//! Fragments in registers: the operands of `mma.sync` and its accumulator, over
//! several fragments in each direction.

use core::marker::PhantomData;

use super::{FRAGMENT_COLS, FRAGMENT_ROWS, SharedTile, TileShape, warp_col, warp_row};
use crate::bits::AnyBits;
use crate::float::{bf16, f16, tf32};
use crate::index::lane;
use crate::matrix::{
    accumulator_place, mma_f32_bf16, mma_f32_f16, mma_f32_tf32, mma_i32_i8_i8, mma_i32_u8_u8,
};
use crate::unroll::{unroll, unrolled};

/// Element types that tensor cores multiply.
///
/// # Safety
///
/// A fragment of `Self::K` by 16 or 8 elements has the layout that `ldmatrix`
/// gives when elements are read in 16-byte rows.
pub unsafe trait MmaElement: AnyBits {
    /// What products are added up in.
    type Sum: AnyBits;
    /// Zero.
    const ZERO: Self::Sum;
    /// Elements of `k` in a fragment: 32 bytes.
    const K: usize = 32 / size_of::<Self>();
    /// `acc += a * b` for fragments of 16×K and K×8; all lanes of the warp make
    /// the call.
    fn multiply_add(acc: &mut [Self::Sum; 4], a: &[u32; 4], b: &[u32; 2]);
}

macro_rules! mma_elements {
    ($($ty:ident, $sum:ident $zero:literal, $function:ident;)*) => { $(
        // SAFETY: the PTX manual's layouts of this type's fragments.
        unsafe impl MmaElement for $ty {
            type Sum = $sum;
            const ZERO: $sum = $zero;
            #[inline(always)]
            #[cfg_attr(not(raddle_device), track_caller)]
            fn multiply_add(acc: &mut [$sum; 4], a: &[u32; 4], b: &[u32; 2]) {
                // SAFETY: the operands of `mma` functions are 32-bit registers of
                // any bits: `u32` or `repr(transparent)` pairs and numbers.
                unsafe {
                    $function(acc, &*(&raw const *a).cast(), &*(&raw const *b).cast());
                }
            }
        }
    )* };
}
mma_elements! {
    f16, f32 0.0, mma_f32_f16;
    bf16, f32 0.0, mma_f32_bf16;
    tf32, f32 0.0, mma_f32_tf32;
    i8, i32 0, mma_i32_i8_i8;
    u8, i32 0, mma_i32_u8_u8;
}

/// A fragment of A: 16 rows by 32 bytes of `k`.
#[derive(Clone, Copy, Debug)]
pub struct Left<T> {
    registers: [u32; 4],
    element: PhantomData<T>,
}

/// A fragment of B: 32 bytes of `k` by 8 columns.
#[derive(Clone, Copy, Debug)]
pub struct Right<T> {
    registers: [u32; 2],
    element: PhantomData<T>,
}

impl<T: MmaElement> Left<T> {
    /// A fragment from its registers, as [`matrix`](crate::matrix) lays them out.
    #[inline(always)]
    #[must_use]
    pub const fn from_registers(registers: [u32; 4]) -> Self {
        Self { registers, element: PhantomData }
    }
}

impl<T: MmaElement> Right<T> {
    /// A fragment from its registers, as [`matrix`](crate::matrix) lays them out.
    #[inline(always)]
    #[must_use]
    pub const fn from_registers(registers: [u32; 2]) -> Self {
        Self { registers, element: PhantomData }
    }
}

/// A warp's part of a sum of products: `M`×`N` fragments of 16×8.
#[derive(Clone, Copy, Debug)]
pub struct Accumulator<S, const M: usize, const N: usize> {
    fragments: [[[S; 4]; N]; M],
}

impl<S: AnyBits, const M: usize, const N: usize> Accumulator<S, M, N> {
    /// All zero.
    #[inline(always)]
    #[must_use]
    pub const fn zero() -> Self {
        // SAFETY: any bits are a valid `S`, so zero bits are. (An array expression
        // would be a loop, which keeps the array out of registers.)
        unsafe { core::mem::zeroed() }
    }

    /// `self += a * b` for fragments in registers. All lanes of the warp make the
    /// call.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn multiply_add<T: MmaElement<Sum = S>>(&mut self, a: &[Left<T>; M], b: &[Right<T>; N]) {
        unroll::<M>(|i| {
            unroll::<N>(|j| {
                T::multiply_add(&mut self.fragments[i][j], &a[i].registers, &b[j].registers);
            });
        });
    }

    /// `self += left * rightᵀ` for this warp's part of two tiles in shared memory,
    /// indexed by (row, `k`) and (column, `k`). All warps of the block make the call.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn add_product<P, T, const ROWS: usize, const COLS: usize, const K: usize>(
        &mut self,
        left: &SharedTile<T, ROWS, K>,
        right: &SharedTile<T, COLS, K>,
    ) where
        P: TileShape,
        T: MmaElement<Sum = S>,
    {
        const {
            assert!(
                P::ROWS == ROWS && P::COLS == COLS,
                "the tiles have the rows and columns of the tiling"
            );
            assert!(
                P::WARP_ROWS == M * FRAGMENT_ROWS && P::WARP_COLS == N * FRAGMENT_COLS,
                "the accumulator has the fragments of the tiling"
            );
            assert!(
                K.is_multiple_of(T::K) && K / T::K <= 64,
                "the tiles hold whole fragments of k"
            );
        };
        let (row, col) = (warp_row::<P>(), warp_col::<P>());
        let mut k = 0;
        while k < K {
            let a = left.left::<M>(row, k);
            let b = right.right::<N>(col, k);
            self.multiply_add(&a, &b);
            k += T::K;
        }
    }

    /// The accumulator with `function` applied to each sum.
    #[inline(always)]
    #[must_use]
    pub fn map<U: AnyBits>(self, mut function: impl FnMut(S) -> U) -> Accumulator<U, M, N> {
        self.map_places(|_, _, sum| function(sum))
    }

    /// [`map`](Self::map) with the row and column of each sum in the warp's part.
    #[inline(always)]
    #[must_use]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn map_places<U: AnyBits>(
        self,
        mut function: impl FnMut(usize, usize, S) -> U,
    ) -> Accumulator<U, M, N> {
        let lane = lane();
        let fragments = unrolled(|i| {
            unrolled(|j| {
                unrolled(|e| {
                    let (row, col) = accumulator_place(lane, e as u32);
                    let (row, col) = (row as usize + 16 * i, col as usize + 8 * j);
                    function(row, col, self.fragments[i][j][e])
                })
            })
        });
        Accumulator { fragments }
    }

    /// The sums of fragment (`i`, `j`).
    #[inline(always)]
    pub(super) fn fragment(&self, i: usize, j: usize) -> [S; 4] {
        self.fragments[i][j]
    }
}
