//! Scaled dot-product attention in one launch, without a matrix of scores in memory.
//!
//! ```text
//! out[query] = sum over keys of p[query, key] * v[key] / sum over keys of p[query, key]
//! p[query, key] = exp(scale * q[query]·k[key] + mask[query, key] - largest of the row so far)
//! ```
//!
//! A block has a tile of queries of one head and walks over tiles of keys. What it has summed
//! so far belongs to the largest score that it has seen; where a later tile has a larger one,
//! the sums are scaled down to it. So exponentials never overflow and no score is needed
//! twice. Powers are of two: the scale has the factor log2 e.
//!
//! [`warps`] multiplies with `mma.sync`, in 16 bits and as tf32; [`groups`] with `wgmma` and
//! the copy engine. Scores lie in registers the same way in both, and [`softmax`] is common.
//!
//! *Source*: Dao, "FlashAttention-2" (arXiv 2307.08691); Shah et al., "FlashAttention-3"
//! (arXiv 2407.08608) for the order of the steps in [`groups`].

pub mod groups;
mod softmax;
pub mod warps;

use raddle::device::matrix::{MnMajor, Operand, mma_f32_bf16, mma_f32_f16, wgmma_registers};
use raddle::prelude::*;

use super::conv::Half;

/// No mask.
pub const MASK_NONE: u32 = 0;
/// One byte for each score: whether the key takes part.
pub const MASK_BOOL: u32 = 1;
/// A number of the operands' type that is added to each score.
pub const MASK_ADDED: u32 = 2;

/// The numbers of an attention; steps count elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Numbers {
    /// Query heads of all images.
    pub heads: u32,
    /// Query heads of an image.
    pub image_heads: u32,
    /// Query heads that share keys and values.
    pub group: u32,
    /// Queries.
    pub queries: u32,
    /// Keys, at least one.
    pub keys: u32,
    /// Elements of a query and a key, and of a value.
    pub sizes: [u32; 2],
    /// From an image, a head and a query to the next.
    pub q_steps: [u32; 3],
    /// From an image, a head and a key to the next.
    pub k_steps: [u32; 3],
    /// From an image, a head and a value to the next.
    pub v_steps: [u32; 3],
    /// From an image, a head and a query to the next in the output.
    pub out_steps: [u32; 3],
    /// From an image, a head, a query and a key to the next in the mask.
    pub mask_steps: [u32; 4],
    /// One of the kinds above.
    pub mask: u32,
    /// Whether a query sees the keys up to its own number and `past` more only.
    pub is_causal: u32,
    /// Keys from before the first query.
    pub past: u32,
    /// Heads whose tiles are computed one after the other, so that their keys and values
    /// stay in L2.
    pub section: u32,
    /// What scores are multiplied by, times log2 e: a positive number.
    pub scale: f32,
}

/// A tile of queries.
#[derive(Clone, Copy)]
struct Place {
    image: u32,
    /// The query head in its image.
    head: u32,
    /// The first query.
    query: u32,
}

impl Numbers {
    /// Tiles of so many queries.
    #[inline(always)]
    #[must_use]
    pub fn tiles(&self, rows: usize) -> u32 {
        self.heads * self.queries.div_ceil(rows as u32)
    }

    /// Where a tile lies. Those with most keys come first: all heads of a section with their
    /// last queries, then with the ones before.
    #[inline(always)]
    fn place(&self, tile: u32, rows: usize) -> Place {
        let row_tiles = self.queries.div_ceil(rows as u32);
        let [section, within] = divided(tile, self.section * row_tiles);
        let first = section * self.section;
        let width = (self.heads - first).min(self.section);
        let [row, head] = divided(within, width);
        let [image, head] = divided(first + head, self.image_heads);
        Place { image, head, query: (row_tiles - 1 - row) * rows as u32 }
    }

    /// The head of keys and values that serves a query head.
    #[inline(always)]
    fn cache_head(&self, place: Place) -> u32 {
        divided(place.head, self.group)[0]
    }

    /// Keys that some query of a tile sees.
    #[inline(always)]
    fn seen(&self, place: Place, rows: usize) -> u32 {
        match self.is_causal {
            0 => self.keys,
            _ => self.keys.min(self.past + place.query + rows as u32),
        }
    }
}

/// Where a row of an operand begins.
#[inline(always)]
fn start(steps: &[u32; 3], image: u32, head: u32, row: u32) -> usize {
    let [of_image, of_head, of_row] = steps.map(|step| step as usize);
    image as usize * of_image + head as usize * of_head + row as usize * of_row
}

/// Quotient and remainder; never panics, so that kernels have no such path.
#[inline(always)]
fn divided(x: u32, by: u32) -> [u32; 2] {
    let by = if by == 0 { 1 } else { by };
    [x / by, x % by]
}

/// A 16-bit element type with its products on tensor cores.
pub trait Element: Half {
    /// Adds the products of 16×16 and 16×8 elements.
    fn multiply(acc: &mut [f32; 4], a: &[u32; 4], b: [u32; 2]);

    /// Starts a product of a warpgroup whose left operand is in registers.
    ///
    /// # Safety
    ///
    /// As for [`wgmma_registers`].
    unsafe fn multiply_group<const R: usize>(
        acc: &mut [f32; R],
        a: &[u32; 4],
        b: Operand<Self, MnMajor>,
    ) where
        Self: Sized;
}

macro_rules! elements {
    ($($ty:ident $pair:ident $mma:ident),*) => { $(
        impl Element for $ty {
            #[inline(always)]
            fn multiply(acc: &mut [f32; 4], a: &[u32; 4], b: [u32; 2]) {
                $mma(acc, &a.map($pair::from_bits), &b.map($pair::from_bits));
            }

            #[inline(always)]
            unsafe fn multiply_group<const R: usize>(
                acc: &mut [f32; R],
                a: &[u32; 4],
                b: Operand<Self, MnMajor>,
            ) {
                // SAFETY: the caller's contract.
                unsafe { wgmma_registers(acc, &a.map($pair::from_bits), b, true) };
            }
        }
    )* };
}
elements!(f16 f16x2 mma_f32_f16, bf16 bf16x2 mma_f32_bf16);
