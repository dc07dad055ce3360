//! NumPy's `.npz`: a zip archive with one `.npy` file for each array.

use std::path::Path;

use crate::weights::{read_file, write_file};
use crate::zip::{Archive, Method, Writer};
use crate::{Array, Budget, Error, Place, Result, Weights, npy};

/// How entries are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As they are, like `numpy.savez`.
    Stored,
    /// Compressed, like `numpy.savez_compressed`.
    Deflated,
}

/// Reads a file.
///
/// ## Errors
/// [`Error::Io`], and those of [`decode`].
pub fn read(path: impl AsRef<Path>) -> Result<Weights> {
    let path = path.as_ref();
    let bytes = read_file(path)?;
    decode(&bytes, &Place::file(path), &mut Budget::for_file(bytes.len()))
}

/// Writes a file.
///
/// ## Errors
/// [`Error::Io`], and those of [`encode`].
pub fn write<'a>(
    path: impl AsRef<Path>,
    arrays: impl IntoIterator<Item = (&'a str, &'a Array)>,
    compression: Compression,
) -> Result<()> {
    write_file(path.as_ref(), &encode(arrays, compression)?)
}

/// Reads all arrays of an archive.
///
/// ## Errors
/// Those of [`npy::decode`] and of a damaged archive; [`Error::Unsupported`] for
/// entries that are not arrays and for compression other than deflate.
pub fn decode(bytes: &[u8], place: &Place, budget: &mut Budget) -> Result<Weights> {
    let archive = Archive::open(bytes, place)?;
    let mut weights = Weights::default();
    for entry in archive.entries().iter().filter(|entry| !entry.name.ends_with('/')) {
        let place = place.entry(&entry.name);
        let content = archive.read(entry, budget)?;
        if !content.starts_with(npy::MAGIC) {
            return Err(Error::Unsupported {
                place,
                what: "an entry that is no .npy file".into(),
                remedy: "an .npz archive holds arrays only; write it with numpy.savez",
            });
        }
        let name = entry.name.strip_suffix(".npy").unwrap_or(&entry.name);
        weights.arrays.push((name.to_owned(), npy::decode(&content, &place, budget)?));
    }
    Ok(weights)
}

/// The bytes of an archive.
///
/// ## Errors
/// Those of [`npy::encode`]; [`Error::Name`] if a name occurs twice or is longer
/// than an archive can say.
pub fn encode<'a>(
    arrays: impl IntoIterator<Item = (&'a str, &'a Array)>,
    compression: Compression,
) -> Result<Vec<u8>> {
    let method = match compression {
        Compression::Stored => Method::Stored,
        Compression::Deflated => Method::Deflated,
    };
    let mut writer = Writer::default();
    for (name, array) in arrays {
        writer.add(&format!("{name}.npy"), &npy::encode(array)?, method)?;
    }
    Ok(writer.finish())
}
