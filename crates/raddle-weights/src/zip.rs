//! Zip archives, as far as NumPy and PyTorch write them: entries that are stored
//! or deflated, with the 64-bit extension.
//!
//! The directory at the end of the file decides what there is; each local header
//! must agree with it. Entries may not overlap, so what an archive expands to is
//! bounded by its size. *Source*: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.5.3.

mod read;
mod write;

pub use read::{Archive, is_archive};
pub use write::Writer;

/// How the bytes of an entry are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// As they are.
    Stored,
    /// Compressed by deflate.
    Deflated,
}

/// Beginning of an entry.
const LOCAL: u32 = 0x0403_4b50;
/// Beginning of an entry's record in the directory.
const CENTRAL: u32 = 0x0201_4b50;
/// Beginning of the record at the end of the file.
const END: u32 = 0x0605_4b50;
/// Beginning of the 64-bit record at the end.
const END_64: u32 = 0x0606_4b50;
/// Beginning of the record that says where the 64-bit record is.
const LOCATOR_64: u32 = 0x0706_4b50;
/// Extra field with 64-bit sizes.
const EXTRA_64: u16 = 1;
