//! gzip and deflate of bodies, with a limit on what comes out: a small body can
//! stand for gigabytes.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::error::{Error, Result};
use crate::tensor::Rope;

/// A way to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950: what HTTP calls deflate.
    Deflate,
}

impl Encoding {
    /// The encoding of a header's value; `None` for no compression.
    ///
    /// ## Errors
    /// [`Error::Unsupported`].
    pub fn of(value: &str) -> Result<Option<Self>> {
        match value.trim() {
            "" | "identity" => Ok(None),
            "gzip" => Ok(Some(Self::Gzip)),
            "deflate" => Ok(Some(Self::Deflate)),
            other => Err(Error::Unsupported(format!("the encoding {other:?}"))),
        }
    }

    /// The first of the encodings that a client accepts and that is known.
    pub fn accepted(value: &str) -> Option<Self> {
        value.split(',').find_map(|part| {
            let (name, quality) = part.split_once(';').unwrap_or((part, ""));
            let is_refused =
                quality.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
            if is_refused { None } else { Self::of(name).ok().flatten() }
        })
    }

    /// The name in headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// Unpacks up to `limit` bytes.
    ///
    /// ## Errors
    /// [`Error::Invalid`] for data that is none, [`Error::TooLarge`].
    pub fn unpack(self, packed: &Rope, limit: u64) -> Result<Rope> {
        let packed = packed.to_bytes();
        let mut unpacked = Vec::new();
        let read = match self {
            Self::Gzip => GzDecoder::new(&packed[..]).take(limit + 1).read_to_end(&mut unpacked),
            Self::Deflate => {
                ZlibDecoder::new(&packed[..]).take(limit + 1).read_to_end(&mut unpacked)
            }
        };
        read.map_err(|why| Error::invalid(format!("the body is no {}: {why}", self.name())))?;
        if unpacked.len() as u64 > limit {
            return Err(Error::TooLarge {
                what: "the unpacked body",
                found: unpacked.len() as u64,
                limit,
                setting: "[limits] message_bytes",
            });
        }
        Ok(unpacked.into())
    }

    /// Packs.
    pub fn pack(self, rope: &Rope) -> Bytes {
        // Writing to memory cannot fail.
        const IN_MEMORY: &str = "a growing buffer takes everything";
        let packed = match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                rope.parts().iter().for_each(|part| encoder.write_all(part).expect(IN_MEMORY));
                encoder.finish().expect(IN_MEMORY)
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
                rope.parts().iter().for_each(|part| encoder.write_all(part).expect(IN_MEMORY));
                encoder.finish().expect(IN_MEMORY)
            }
        };
        packed.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_survive_and_bombs_do_not_go_off() {
        let mut rope = Rope::from(b"abc".to_vec());
        rope.push(vec![0; 100_000].into());
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            let packed = encoding.pack(&rope);
            assert!(packed.len() < 2_000);
            let unpacked = encoding.unpack(&packed.clone().into(), 200_000).unwrap();
            assert_eq!(unpacked.to_bytes(), rope.to_bytes());
            let bomb = encoding.unpack(&packed.into(), 1000).unwrap_err();
            assert!(matches!(bomb, Error::TooLarge { found: 1001, .. }), "{bomb}");
            assert!(encoding.unpack(&Rope::from(b"nonsense".to_vec()), 1000).is_err());
        }
    }

    #[test]
    fn headers_are_understood() {
        assert_eq!(Encoding::accepted("br, gzip;q=0.5"), Some(Encoding::Gzip));
        assert_eq!(Encoding::accepted("gzip;q=0, deflate"), Some(Encoding::Deflate));
        assert_eq!(Encoding::accepted("br"), None);
        assert_eq!(Encoding::of("identity").unwrap(), None);
        assert!(Encoding::of("br").is_err());
    }
}
