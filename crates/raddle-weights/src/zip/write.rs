//! Writing an archive. The same entries make the same bytes: no times are kept.

use miniz_oxide::deflate;

use super::{CENTRAL, END, END_64, EXTRA_64, LOCAL, LOCATOR_64, Method};
use crate::{Error, Result};

/// Version of the format that an extractor needs: 4.5, for 64-bit sizes.
const VERSION: u16 = 45;
/// Flag: names are UTF-8.
const UTF8: u16 = 1 << 11;
/// 1 January 1980, the first day that the format can say.
const DATE: u16 = 1 << 5 | 1;
/// Level of compression, as NumPy uses it.
const LEVEL: u8 = 6;

/// An archive in the making.
#[derive(Debug, Default)]
pub struct Writer {
    file: Vec<u8>,
    directory: Vec<u8>,
    names: std::collections::BTreeSet<String>,
}

impl Writer {
    /// Adds an entry.
    ///
    /// ## Errors
    /// [`Error::Name`] if the name occurs twice or is longer than 65,535 bytes.
    pub fn add(&mut self, name: &str, content: &[u8], method: Method) -> Result<()> {
        let refuse = |why| Error::Name { name: name.to_owned(), why };
        let name_len =
            u16::try_from(name.len()).map_err(|_| refuse("is longer than an archive can say"))?;
        if !self.names.insert(name.to_owned()) {
            return Err(refuse("occurs twice"));
        }
        let compressed;
        let (number, stored) = match method {
            Method::Stored => (0u16, content),
            Method::Deflated => {
                compressed = deflate::compress_to_vec(content, LEVEL);
                (8, &compressed[..])
            }
        };
        let header_at = self.file.len() as u64;
        let sizes = [content.len() as u64, stored.len() as u64];
        // What is the same in both headers: from the version to the sizes, and the
        // length of the name. Sizes always stand in the 64-bit field, as NumPy's do.
        let mut shared = Vec::with_capacity(32);
        for half in [VERSION, UTF8, number, 0, DATE] {
            shared.extend_from_slice(&half.to_le_bytes());
        }
        for word in [crc32fast::hash(content), u32::MAX, u32::MAX] {
            shared.extend_from_slice(&word.to_le_bytes());
        }
        shared.extend_from_slice(&name_len.to_le_bytes());

        self.file.extend_from_slice(&LOCAL.to_le_bytes());
        self.file.extend_from_slice(&shared);
        extend_16(&mut self.file, &[4 + 16]);
        self.file.extend_from_slice(name.as_bytes());
        extend_16(&mut self.file, &[EXTRA_64, 16]);
        extend_64(&mut self.file, &sizes);
        self.file.extend_from_slice(stored);

        self.directory.extend_from_slice(&CENTRAL.to_le_bytes());
        extend_16(&mut self.directory, &[VERSION]);
        self.directory.extend_from_slice(&shared);
        // Extra fields, comment, disk, attributes inside and outside.
        extend_16(&mut self.directory, &[4 + 24, 0, 0, 0, 0, 0]);
        self.directory.extend_from_slice(&u32::MAX.to_le_bytes());
        self.directory.extend_from_slice(name.as_bytes());
        extend_16(&mut self.directory, &[EXTRA_64, 24]);
        extend_64(&mut self.directory, &[sizes[0], sizes[1], header_at]);
        Ok(())
    }

    /// Ends the archive and gives its bytes.
    pub fn finish(self) -> Vec<u8> {
        let Self { mut file, directory, names } = self;
        let count = names.len() as u64;
        let directory_at = file.len() as u64;
        file.extend_from_slice(&directory);
        let wide_at = file.len() as u64;
        file.extend_from_slice(&END_64.to_le_bytes());
        extend_64(&mut file, &[44]);
        extend_16(&mut file, &[VERSION, VERSION]);
        file.extend_from_slice(&[0; 8]); // disks
        extend_64(&mut file, &[count, count, directory.len() as u64, directory_at]);
        file.extend_from_slice(&LOCATOR_64.to_le_bytes());
        file.extend_from_slice(&[0; 4]);
        extend_64(&mut file, &[wide_at]);
        file.extend_from_slice(&1u32.to_le_bytes());
        file.extend_from_slice(&END.to_le_bytes());
        extend_16(&mut file, &[0, 0, u16::MAX, u16::MAX]);
        file.extend_from_slice(&[0xff; 8]);
        extend_16(&mut file, &[0]);
        file
    }
}

fn extend_16(bytes: &mut Vec<u8>, numbers: &[u16]) {
    numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
}

fn extend_64(bytes: &mut Vec<u8>, numbers: &[u64]) {
    numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
}
