//! What can be wrong with a file of arrays: where, what, and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use raddle_tensor::DType;

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where in a file something is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The file; empty if the bytes did not come from one.
    pub file: PathBuf,
    /// The entry of an archive; empty outside of archives.
    pub entry: String,
    /// Byte from the beginning of the entry, or of the file outside of archives.
    pub offset: u64,
}

impl Place {
    /// The beginning of a file.
    pub fn file(path: &Path) -> Self {
        Self { file: path.to_owned(), ..Self::default() }
    }

    /// The beginning of an entry of the archive at this place.
    pub fn entry(&self, name: &str) -> Self {
        Self { file: self.file.clone(), entry: name.to_owned(), offset: 0 }
    }

    /// Another byte of the same file or entry.
    pub fn at(&self, offset: usize) -> Self {
        Self { offset: offset as u64, ..self.clone() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.as_os_str().is_empty() {
            write!(f, "{}, ", self.file.display())?;
        }
        if !self.entry.is_empty() {
            write!(f, "entry {:?}, ", self.entry)?;
        }
        write!(f, "byte {}", self.offset)
    }
}

/// Why arrays could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused; see its own words.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file ends, or an entry of it, before what it announces: it was cut
    /// off or its header lies. Fetch or write it again.
    #[error("{place}: {needed} bytes expected here, {found} left; the file is cut off or damaged")]
    Truncated {
        /// Where the missing bytes should begin.
        place: Place,
        /// Bytes that should be there.
        needed: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// The bytes break the rules of the format: the file is damaged or is not
    /// of this format.
    #[error("{place}: {what}")]
    Malformed {
        /// The byte that breaks them.
        place: Place,
        /// What is expected and what is there.
        what: String,
    },
    /// The file may be in order, but holds something that is not read.
    #[error("{place}: {what} cannot be read; {remedy}")]
    Unsupported {
        /// Where it is.
        place: Place,
        /// What it is, by the name that the file gives it.
        what: String,
        /// What to do instead.
        remedy: &'static str,
    },
    /// The arrays would take many times the memory that the file's size accounts
    /// for: a hostile file, or one whose [`Budget`](crate::Budget) must be raised.
    #[error(
        "{place}: the file's arrays would take more than {bytes_max} bytes; if that is meant, \
         read it with a larger budget"
    )]
    TooLarge {
        /// The array that goes beyond.
        place: Place,
        /// Most bytes that the file may expand to.
        bytes_max: u64,
    },
    /// An array whose bytes are not those of its shape and type.
    #[error("an array of {dtype} with shape {shape:?} has {needed} bytes, {found} given")]
    ByteCount {
        /// Type of the elements.
        dtype: DType,
        /// Lengths of the dimensions.
        shape: Vec<usize>,
        /// Bytes of such an array, `None` if they cannot be counted.
        needed: Needed,
        /// Bytes given.
        found: usize,
    },
    /// A type that has no name in the format to be written, or no plain bytes.
    #[error("{format} has no type for elements of {dtype}; {remedy}")]
    NoSuchType {
        /// The format.
        format: &'static str,
        /// The type.
        dtype: DType,
        /// What to do instead.
        remedy: &'static str,
    },
    /// A name that an archive cannot hold, or that occurs twice.
    #[error("array name {name:?} {why}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The tensor refused the array.
    #[error(transparent)]
    Tensor(#[from] raddle_tensor::Error),
}

/// A number of bytes that may be too large to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needed(pub Option<usize>);

impl fmt::Display for Needed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "{bytes}"),
            None => f.write_str("more than can be counted"),
        }
    }
}
