//! All arrays of a file, whichever of the formats it has.

use std::path::Path;

use crate::{Array, Budget, Error, Place, Result, npy, npz, safetensors, torch, zip};

/// The formats that are read, told apart by their content and not by the file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One array of NumPy.
    Npy,
    /// A zip archive of NumPy arrays.
    Npz,
    /// safetensors.
    Safetensors,
    /// PyTorch's zip archive, written since 1.6.
    TorchZip,
    /// PyTorch's stream of pickles, written before 1.6 or on request.
    TorchLegacy,
}

impl Format {
    /// The format of a file by its first bytes and, for zip archives, its entries.
    ///
    /// ## Errors
    /// [`Error::Malformed`] if it is none of them or a damaged archive.
    pub fn detect(bytes: &[u8], place: &Place) -> Result<Self> {
        if bytes.starts_with(npy::MAGIC) {
            return Ok(Self::Npy);
        }
        if zip::is_archive(bytes) {
            let archive = zip::Archive::open(bytes, place)?;
            let is_torch = archive.entries().iter().any(|entry| torch::is_pickle(&entry.name));
            return Ok(if is_torch { Self::TorchZip } else { Self::Npz });
        }
        if torch::is_legacy(bytes) {
            return Ok(Self::TorchLegacy);
        }
        if safetensors::is_header(bytes) {
            return Ok(Self::Safetensors);
        }
        Err(Error::Malformed {
            place: place.at(0),
            what: "the file begins like none of .npy, .npz, safetensors, .pt and .pth".into(),
        })
    }
}

/// Named arrays in the order of their file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Weights {
    /// Names and arrays; the one array of an `.npy` file has an empty name.
    pub arrays: Vec<(String, Array)>,
    /// What else the file says, as text: the metadata of safetensors.
    pub metadata: Vec<(String, String)>,
}

impl Weights {
    /// Reads a file of any of the formats.
    ///
    /// ## Errors
    /// [`Error::Io`], and those of [`Self::decode`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = read_file(path)?;
        Self::decode(&bytes, &Place::file(path), Budget::for_file(bytes.len()))
    }

    /// Reads the bytes of a file of any of the formats.
    ///
    /// ## Errors
    /// Every variant of [`Error`] that names a [`Place`].
    pub fn decode(bytes: &[u8], place: &Place, mut budget: Budget) -> Result<Self> {
        match Format::detect(bytes, place)? {
            Format::Npy => {
                let array = npy::decode(bytes, place, &mut budget)?;
                Ok(Self { arrays: vec![(String::new(), array)], metadata: Vec::new() })
            }
            Format::Npz => npz::decode(bytes, place, &mut budget),
            Format::Safetensors => safetensors::decode(bytes, place, &mut budget),
            Format::TorchZip => torch::decode_zip(bytes, place, &mut budget),
            Format::TorchLegacy => torch::decode_legacy(bytes, place, &mut budget),
        }
    }

    /// The array of a name.
    pub fn get(&self, name: &str) -> Option<&Array> {
        self.arrays.iter().find(|(own, _)| own == name).map(|(_, array)| array)
    }
}

/// The bytes of a file.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// Writes a file.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|source| Error::Io { path: path.to_owned(), source })
}
