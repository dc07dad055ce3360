//! The protobuf wire format, read in place.
//!
//! A [`Reader`] walks over the fields of one message and hands out slices of
//! the file; nothing is copied, and nothing is believed: every length is held
//! against what is left, and an error names the byte at which the file is wrong.
//! Source: protobuf, "Encoding".

use crate::{Error, Result};

/// A cursor over the fields of one message.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Offset of `bytes` in the file.
    base: usize,
}

/// The payload of one field.
#[derive(Clone, Copy, Debug)]
pub enum Field<'a> {
    /// An integer, as it is encoded.
    Varint(u64),
    /// Eight bytes.
    Fixed64([u8; 8]),
    /// Four bytes.
    Fixed32([u8; 4]),
    /// A text, a message or packed numbers, with the offset in the file.
    Bytes(&'a [u8], usize),
}

impl<'a> Reader<'a> {
    /// A reader of a whole file.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, base: 0 }
    }

    /// Offset in the file of the next byte.
    pub fn offset(&self) -> usize {
        self.base + self.at
    }

    /// The next field with its number, or `None` at the end of the message.
    ///
    /// ## Errors
    /// [`Error::Wire`].
    pub fn next_field(&mut self) -> Result<Option<(u32, Field<'a>)>> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let start = self.offset();
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).unwrap_or(0);
        if number == 0 || number >= 1 << 29 {
            return Err(Error::Wire { offset: start, what: "a field number is out of range" });
        }
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(self.array()?),
            2 => {
                let len = self.varint()?;
                let left = self.bytes.len() - self.at;
                let Some(len) = usize::try_from(len).ok().filter(|&len| len <= left) else {
                    return Err(Error::Wire { offset: start, what: "a length goes past the end" });
                };
                let offset = self.offset();
                Field::Bytes(self.take(len)?, offset)
            }
            5 => Field::Fixed32(self.array()?),
            _ => return Err(Error::Wire { offset: start, what: "a field has an unknown type" }),
        };
        Ok(Some((number, field)))
    }

    /// A varint: seven bits a byte, least significant first.
    fn varint(&mut self) -> Result<u64> {
        let start = self.offset();
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let [byte] = self.array()?;
            // The tenth byte holds the one bit that is left.
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::Wire { offset: start, what: "a number is longer than 64 bits" })
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.bytes.len());
        let Some(end) = end else {
            return Err(Error::Wire { offset: self.offset(), what: "the file ends too early" });
        };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("as many bytes as were asked for"))
    }
}

impl<'a> Field<'a> {
    /// The payload of a length-delimited field.
    ///
    /// ## Errors
    /// [`Error::Wire`].
    pub fn bytes(self) -> Result<&'a [u8]> {
        match self {
            Self::Bytes(bytes, _) => Ok(bytes),
            _ => Err(Error::Wire { offset: 0, what: "a field that should be bytes is a number" }),
        }
    }

    /// The message in a length-delimited field.
    ///
    /// ## Errors
    /// [`Error::Wire`].
    pub fn message(self) -> Result<Reader<'a>> {
        match self {
            Self::Bytes(bytes, base) => Ok(Reader { bytes, at: 0, base }),
            _ => {
                Err(Error::Wire { offset: 0, what: "a field that should be a message is a number" })
            }
        }
    }

    /// A text.
    ///
    /// ## Errors
    /// [`Error::Wire`] if it is not UTF-8.
    pub fn text(self) -> Result<&'a str> {
        let Self::Bytes(bytes, offset) = self else {
            return Err(Error::Wire { offset: 0, what: "a field that should be text is a number" });
        };
        std::str::from_utf8(bytes).map_err(|_| Error::Wire { offset, what: "a text is not UTF-8" })
    }

    /// A signed or unsigned integer.
    ///
    /// ## Errors
    /// [`Error::Wire`].
    pub fn int(self) -> Result<i64> {
        match self {
            Self::Varint(value) => Ok(value as i64),
            _ => Err(Error::Wire { offset: 0, what: "a field that should be an integer is not" }),
        }
    }

    /// Appends one integer or a packed list of them.
    ///
    /// ## Errors
    /// [`Error::Wire`].
    pub fn ints(self, list: &mut Vec<i64>) -> Result<()> {
        match self {
            Self::Varint(value) => list.push(value as i64),
            Self::Bytes(bytes, base) => {
                let mut reader = Reader { bytes, at: 0, base };
                while reader.at < bytes.len() {
                    list.push(reader.varint()? as i64);
                }
            }
            Self::Fixed32(_) | Self::Fixed64(_) => {
                return Err(Error::Wire { offset: 0, what: "integers are not encoded as such" });
            }
        }
        Ok(())
    }

    /// Appends one `float` or a packed list of them.
    ///
    /// ## Errors
    /// [`Error::Wire`].
    pub fn floats(self, list: &mut Vec<f32>) -> Result<()> {
        match self {
            Self::Fixed32(bytes) => list.push(f32::from_le_bytes(bytes)),
            Self::Bytes(bytes, offset) => {
                let (chunks, rest) = bytes.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(Error::Wire { offset, what: "a list of floats ends within one" });
                }
                list.extend(chunks.iter().map(|&chunk| f32::from_le_bytes(chunk)));
            }
            Self::Varint(_) | Self::Fixed64(_) => {
                return Err(Error::Wire { offset: 0, what: "floats are not encoded as such" });
            }
        }
        Ok(())
    }

    /// Appends one `double` or a packed list of them.
    ///
    /// ## Errors
    /// [`Error::Wire`].
    pub fn doubles(self, list: &mut Vec<f64>) -> Result<()> {
        match self {
            Self::Fixed64(bytes) => list.push(f64::from_le_bytes(bytes)),
            Self::Bytes(bytes, offset) => {
                let (chunks, rest) = bytes.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(Error::Wire { offset, what: "a list of doubles ends within one" });
                }
                list.extend(chunks.iter().map(|&chunk| f64::from_le_bytes(chunk)));
            }
            Self::Varint(_) | Self::Fixed32(_) => {
                return Err(Error::Wire { offset: 0, what: "doubles are not encoded as such" });
            }
        }
        Ok(())
    }
}
