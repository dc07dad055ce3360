//! Bytes of a file or entry, read from front to back, with the place of each
//! for errors. Nothing is copied before it is known to be there.

use crate::{Error, Place, Result};

/// A position in some bytes.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The file and entry; its offset is where `bytes` begins.
    origin: Place,
}

impl<'a> Cursor<'a> {
    /// The beginning of `bytes`, which lie at `origin`.
    pub fn new(bytes: &'a [u8], origin: Place) -> Self {
        Self { bytes, at: 0, origin }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Bytes that are left.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Where the next byte stands.
    pub fn place(&self) -> Place {
        self.place_of(self.at)
    }

    /// Where a byte stands, counted from the beginning of these bytes.
    pub fn place_of(&self, at: usize) -> Place {
        Place { offset: self.origin.offset + at as u64, ..self.origin.clone() }
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let rest = self.rest();
        let taken = rest.get(..len).ok_or_else(|| Error::Truncated {
            place: self.place(),
            needed: len as u64,
            found: rest.len() as u64,
        })?;
        self.at += len;
        Ok(taken)
    }

    /// The next `len` bytes, for a length that a file gives in 64 bits.
    pub fn take_u64(&mut self, len: u64) -> Result<&'a [u8]> {
        let found = self.rest().len() as u64;
        match usize::try_from(len) {
            Ok(len) => self.take(len),
            Err(_) => Err(Error::Truncated { place: self.place(), needed: len, found }),
        }
    }

    /// The next bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("`take` gives as many bytes as it is asked for"))
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    /// Two bytes, least significant first.
    pub fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes, least significant first.
    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes, least significant first.
    pub fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Bytes up to a line feed, without it.
    pub fn line(&mut self) -> Result<&'a [u8]> {
        let rest = self.rest();
        let len = rest.iter().position(|&byte| byte == b'\n').ok_or_else(|| Error::Truncated {
            place: self.place(),
            needed: rest.len() as u64 + 1,
            found: rest.len() as u64,
        })?;
        self.at += len + 1;
        Ok(&rest[..len])
    }

    /// The error that what was read last, from `at` on, breaks the format.
    pub fn malformed(&self, at: usize, what: impl Into<String>) -> Error {
        Error::Malformed { place: self.place_of(at), what: what.into() }
    }
}
