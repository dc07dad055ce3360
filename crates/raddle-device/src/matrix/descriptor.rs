//! How a matrix lies in shared memory, as `wgmma` and TMA see it: swizzles,
//! strides, and the 64-bit matrix descriptor.
//!
//! A swizzle of span `S` (32, 64 or 128 bytes) exchanges 16-byte chunks within
//! rows of `S` bytes so that the same chunk of eight rows lies in different banks:
//! bits 4 and up of an *address* are XORed with its bits 7 and up, one, two or
//! three of them. Tiles are therefore aligned to the pattern's period, `8 * S`
//! bytes.
//!
//! ```text
//! span 128:  address ^= (address >> 7 & 7) << 4
//! span  64:  address ^= (address >> 7 & 3) << 4
//! span  32:  address ^= (address >> 7 & 1) << 4
//! ```
//!
//! *Source*: PTX ISA, "Asynchronous Warpgroup Level Matrix Shared Memory Layout"
//! and "Matrix Descriptor Format"; CUTLASS's `mma_sm90_desc.hpp` for the canonical
//! layouts.

use core::marker::PhantomData;

/// A swizzle of shared memory, named by its span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Swizzle {
    /// Chunks of 16 bytes stay in place.
    None = 0,
    /// Rows of 32 bytes.
    Span32 = 1,
    /// Rows of 64 bytes.
    Span64 = 2,
    /// Rows of 128 bytes.
    Span128 = 3,
}

impl Swizzle {
    /// Bytes of a row: 16 without swizzle.
    #[inline(always)]
    #[must_use]
    pub const fn span_bytes(self) -> u32 {
        16 << self as u32
    }

    /// Alignment that a tile needs for its pattern to begin at its start.
    #[inline(always)]
    #[must_use]
    pub const fn tile_align_bytes(self) -> u32 {
        8 * self.span_bytes()
    }

    /// Where the byte of a tile's unswizzled `offset` lies, for a tile aligned
    /// to [`Self::tile_align_bytes`].
    #[inline(always)]
    #[must_use]
    pub const fn apply(self, offset: u32) -> u32 {
        offset ^ (((offset >> 7) & (self.span_bytes() / 16 - 1)) << 4)
    }

    /// The layout code of a matrix descriptor (bits 62 and 63).
    #[cfg(any(raddle_device, test))]
    const fn descriptor_code(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Span128 => 1,
            Self::Span64 => 2,
            Self::Span32 => 3,
        }
    }
}

/// Which index of an operand runs along the rows of shared memory.
pub trait Major: Copy + 'static {
    /// Whether the instruction has to transpose (its `tnsp` operand).
    const IS_TRANSPOSED: bool;
}

/// The index that is summed over, `k`, is contiguous: A row-major, B
/// column-major.
#[derive(Clone, Copy, Debug)]
pub enum KMajor {}

/// The other index, `m` of A or `n` of B, is contiguous; for 16-bit types only.
#[derive(Clone, Copy, Debug)]
pub enum MnMajor {}

impl Major for KMajor {
    const IS_TRANSPOSED: bool = false;
}

impl Major for MnMajor {
    const IS_TRANSPOSED: bool = true;
}

/// Swizzle and strides of a matrix in shared memory, in bytes.
///
/// Rows of [`Swizzle::span_bytes`] hold contiguous elements; eight rows one
/// below the other make a block.
///
/// | layout | [`stride_bytes`](Self::stride_bytes) | [`leading_bytes`](Self::leading_bytes) |
/// |---|---|---|
/// | K-major | to the next 8 rows of `m` or `n` | unswizzled: to the next 16 bytes of `k`; else unused |
/// | MN-major | to the next 8 `k` (unswizzled: next 16 bytes of `m` or `n`) | to the next span of `m` or `n` (unswizzled: next 8 `k`) |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedLayout {
    /// The swizzle.
    pub swizzle: Swizzle,
    /// PTX's "leading dimension byte offset".
    pub leading_bytes: u32,
    /// PTX's "stride dimension byte offset".
    pub stride_bytes: u32,
}

impl SharedLayout {
    /// Rows of one span below each other with nothing between: what a TMA box of
    /// one span in width leaves behind. `k` must fit in the span.
    #[inline(always)]
    #[must_use]
    pub const fn dense(swizzle: Swizzle) -> Self {
        Self { swizzle, leading_bytes: 16, stride_bytes: 8 * swizzle.span_bytes() }
    }
}

/// Tells a `wgmma` where an operand lies in shared memory.
#[derive(Clone, Copy, Debug)]
pub struct MatrixDescriptor<M: Major> {
    #[cfg(raddle_device)]
    bits: u64,
    #[cfg(not(raddle_device))]
    start: *const u8,
    #[cfg(not(raddle_device))]
    layout: SharedLayout,
    major: PhantomData<M>,
}

impl<M: Major> MatrixDescriptor<M> {
    /// The matrix that begins at `start`, which is aligned to 16 bytes, and whose
    /// layout's pattern begins at a multiple of its period.
    ///
    /// `start` itself may lie at any row of the pattern: the hardware swizzles by the
    /// bits of each address (seen on an H200, where the descriptor's "matrix base offset"
    /// has to stay zero for that).
    #[inline(always)]
    #[must_use]
    pub fn new<T>(start: *const T, layout: SharedLayout) -> Self {
        #[cfg(raddle_device)]
        {
            // SAFETY: converts a number; whether it is an address of shared memory
            // is a requirement of the instruction that uses the descriptor.
            let address = unsafe { crate::shared::shared_address(start) };
            Self { bits: encode(address, layout), major: PhantomData }
        }
        #[cfg(not(raddle_device))]
        Self { start: start.cast(), layout, major: PhantomData }
    }

    /// The same layout, `bytes` further: a multiple of 16.
    ///
    /// Along a swizzled row the offset is unswizzled: the hardware swizzles
    /// addresses, so `k` steps of 32 bytes simply add 32.
    #[inline(always)]
    #[must_use]
    pub fn advance(self, bytes: u32) -> Self {
        #[cfg(raddle_device)]
        return Self { bits: self.bits + (bytes >> 4) as u64, ..self };
        #[cfg(not(raddle_device))]
        Self { start: self.start.wrapping_add(bytes as usize), ..self }
    }

    /// The instruction's operand.
    #[cfg(raddle_device)]
    #[inline(always)]
    pub(crate) fn operand(self) -> u64 {
        self.bits
    }

    /// Address of the element at index `mn` (`m` or `n`) and `k`, for elements of
    /// `size` bytes.
    #[cfg(not(raddle_device))]
    pub(crate) fn element(&self, mn: usize, k: usize, size: usize) -> *const u8 {
        let offset = element_offset::<M>(self.layout, mn, k, size);
        let linear = self.start.wrapping_add(offset);
        let (address, chunks) = (linear.addr(), self.layout.swizzle.span_bytes() as usize / 16);
        let swizzled = address ^ (((address >> 7) & (chunks - 1)) << 4);
        linear.wrapping_add(swizzled.wrapping_sub(address))
    }
}

/// Descriptor bits of a matrix at a shared-window address.
#[cfg(any(raddle_device, test))]
#[inline(always)]
fn encode(address: u32, layout: SharedLayout) -> u64 {
    let field = |bytes: u32| ((bytes >> 4) & 0x3fff) as u64;
    field(address & 0x3_ffff)
        | field(layout.leading_bytes) << 16
        | field(layout.stride_bytes) << 32
        | layout.swizzle.descriptor_code() << 62
}

/// Offset of an element before swizzling.
#[cfg(not(raddle_device))]
fn element_offset<M: Major>(layout: SharedLayout, mn: usize, k: usize, size: usize) -> usize {
    let (leading, stride) = (layout.leading_bytes as usize, layout.stride_bytes as usize);
    let span = layout.swizzle.span_bytes() as usize;
    // `along` runs within a row of one span, `across` counts rows.
    let (along, across) = if M::IS_TRANSPOSED { (mn * size, k) } else { (k * size, mn) };
    let (next_span, next_block) = match (M::IS_TRANSPOSED, layout.swizzle) {
        (true, Swizzle::None) => (stride, leading),
        (false, Swizzle::None) | (true, _) => (leading, stride),
        (false, _) => {
            assert!(along < span, "wgmma: k = {k} lies outside of a swizzled row of {span} bytes");
            (0, stride)
        }
    };
    along % span + along / span * next_span + across % 8 * span + across / 8 * next_block
}

#[cfg(all(test, not(raddle_device)))]
mod tests {
    use super::*;

    #[test]
    fn swizzles_permute_chunks() {
        // Row r, chunk c of a 128-byte swizzle lies at chunk c ^ r.
        for row in 0..8 {
            for chunk in 0..8 {
                let found = Swizzle::Span128.apply(row * 128 + chunk * 16 + 5);
                assert_eq!(found, row * 128 + (chunk ^ row) * 16 + 5);
            }
        }
        assert_eq!(Swizzle::Span64.apply(0x1b0), 0x180);
        assert_eq!(Swizzle::Span32.apply(0x0f0), 0x0e0);
        assert_eq!(Swizzle::None.apply(0x3f0), 0x3f0);
        assert_eq!(Swizzle::Span64.tile_align_bytes(), 512);
    }

    #[test]
    fn descriptor_fields() {
        let layout = SharedLayout::dense(Swizzle::Span128);
        let bits = encode(0x0100_0400, layout);
        assert_eq!(bits, 0x40 | 1 << 16 | 64 << 32 | 1 << 62);
    }

    #[test]
    fn elements_of_canonical_layouts() {
        #[repr(align(1024))]
        struct Tile([u8; 4096]);
        let tile = Tile([0; 4096]);
        let start = tile.0.as_ptr();
        let place = |address: *const u8| address.addr() - start.addr();
        let k_major = MatrixDescriptor::<KMajor>::new(start, SharedLayout::dense(Swizzle::Span128));
        // Row 9, k = 9: block 1, row 1, chunk 1 ^ 1.
        assert_eq!(place(k_major.element(9, 9, 2)), 1024 + 128 + 2);
        assert_eq!(place(k_major.advance(32).element(0, 0, 2)), 32);
        // Chunk 2 of row 3 lies at chunk 2 ^ 3.
        assert_eq!(place(k_major.advance(32).element(3, 0, 2)), 3 * 128 + 16);
        let layout = SharedLayout { swizzle: Swizzle::None, leading_bytes: 128, stride_bytes: 256 };
        let bricks = MatrixDescriptor::<KMajor>::new(start, layout);
        assert_eq!(place(bricks.element(9, 9, 2)), 256 + 16 + 128 + 2);
        let layout =
            SharedLayout { swizzle: Swizzle::Span128, leading_bytes: 2048, stride_bytes: 1024 };
        let columns = MatrixDescriptor::<MnMajor>::new(start, layout);
        assert_eq!(place(columns.element(65, 9, 2)), 2048 + 1024 + 128 + 16 + 2);
    }
}
