//! Reading an archive: its directory first, then entries on demand.

use std::borrow::Cow;

use miniz_oxide::inflate;

use super::{CENTRAL, END, END_64, EXTRA_64, LOCAL, LOCATOR_64, Method};
use crate::cursor::Cursor;
use crate::{Budget, Error, Place, Result};

/// Bytes of the record at the end, without its comment.
const END_BYTES: usize = 22;
/// Bytes of an entry's record in the directory, without its names.
const CENTRAL_BYTES: usize = 46;
/// Deflate makes at most this many bytes of one.
const DEFLATE_RATIO_MAX: u64 = 1_032;

/// Whether bytes begin like an archive, an empty one included.
pub fn is_archive(bytes: &[u8]) -> bool {
    [LOCAL, END].iter().any(|mark| bytes.starts_with(&mark.to_le_bytes()))
}

/// An archive whose directory has been read.
#[derive(Debug)]
pub struct Archive<'a> {
    bytes: &'a [u8],
    place: Place,
    entries: Vec<Entry>,
}

/// What the directory says about an entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name, with `/` between folders.
    pub name: String,
    method: u16,
    is_encrypted: bool,
    crc32: u32,
    stored_bytes: u64,
    bytes: u64,
    /// Where its local header begins.
    header_at: u64,
}

impl<'a> Archive<'a> {
    /// Reads the directory.
    ///
    /// ## Errors
    /// [`Error::Truncated`] or [`Error::Malformed`] if there is none or it is damaged.
    pub fn open(bytes: &'a [u8], place: &Place) -> Result<Self> {
        let place = place.at(0);
        let (count, at) = find_directory(bytes, &place)?;
        let start = usize::try_from(at).ok().filter(|&start| start <= bytes.len());
        let start = start.ok_or_else(|| Error::Truncated {
            place: place.clone(),
            needed: at,
            found: bytes.len() as u64,
        })?;
        let mut cursor = Cursor::new(&bytes[start..], place.at(start));
        // Every entry takes a record, so a lying count asks for no memory.
        let mut entries = Vec::with_capacity(
            usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len() / CENTRAL_BYTES),
        );
        for _ in 0..count {
            entries.push(Entry::read(&mut cursor)?);
        }
        let archive = Self { bytes, place, entries };
        archive.check_names_and_overlaps()?;
        Ok(archive)
    }

    /// All entries, in the order of the directory.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of a name.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The content of an entry. What is compressed counts against the budget.
    ///
    /// ## Errors
    /// [`Error::Malformed`] if it is damaged, [`Error::Unsupported`] if it is
    /// encrypted or compressed other than by deflate, [`Error::TooLarge`].
    pub fn read(&self, entry: &Entry, budget: &mut Budget) -> Result<Cow<'a, [u8]>> {
        let (start, stored) = self.stored(entry)?;
        let place = self.place.entry(&entry.name);
        let malformed = |what: String| Error::Malformed { place: place.clone(), what };
        let content = match entry.method(&place)? {
            Method::Stored => Cow::Borrowed(stored),
            Method::Deflated => {
                let most = entry.stored_bytes.saturating_mul(DEFLATE_RATIO_MAX);
                if entry.bytes > most {
                    return Err(malformed(format!(
                        "{} compressed bytes cannot hold the {} announced",
                        entry.stored_bytes, entry.bytes
                    )));
                }
                let len = budget.take(usize::try_from(entry.bytes).ok(), &place)?;
                let content = inflate::decompress_to_vec_with_limit(stored, len)
                    .map_err(|error| malformed(format!("damaged deflate stream: {error}")))?;
                Cow::Owned(content)
            }
        };
        if content.len() as u64 != entry.bytes {
            let found = content.len();
            return Err(malformed(format!("{} bytes announced, {found} found", entry.bytes)));
        }
        let found = crc32fast::hash(&content);
        if found != entry.crc32 {
            let what = format!(
                "checksum {:08x} announced, {found:08x} found in the data at byte {start}",
                entry.crc32
            );
            return Err(malformed(what));
        }
        Ok(content)
    }

    /// Where the stored bytes of an entry begin, and those bytes.
    fn stored(&self, entry: &Entry) -> Result<(usize, &'a [u8])> {
        let header_at = usize::try_from(entry.header_at).unwrap_or(usize::MAX);
        let header = self.bytes.get(header_at..).ok_or_else(|| Error::Truncated {
            place: self.place.entry(&entry.name),
            needed: entry.header_at,
            found: self.bytes.len() as u64,
        })?;
        let mut cursor = Cursor::new(header, self.place.at(header_at));
        if cursor.u32()? != LOCAL {
            return Err(cursor.malformed(0, format!("no entry {:?} begins here", entry.name)));
        }
        cursor.take(22)?;
        let name_len = cursor.u16()?;
        let extra_len = cursor.u16()?;
        let name = cursor.take(name_len.into())?;
        if name != entry.name.as_bytes() {
            let what = format!("the directory calls this entry {:?}, its header not", entry.name);
            return Err(cursor.malformed(0, what));
        }
        cursor.take(extra_len.into())?;
        let start = header_at + cursor.position();
        Ok((start, cursor.take_u64(entry.stored_bytes)?))
    }

    fn check_names_and_overlaps(&self) -> Result<()> {
        let malformed = |entry: &Entry, what: &str| Error::Malformed {
            place: self.place.entry(&entry.name),
            what: what.into(),
        };
        let mut by_name: Vec<&Entry> = self.entries.iter().collect();
        by_name.sort_by(|a, b| a.name.cmp(&b.name));
        for pair in by_name.windows(2) {
            if pair[0].name == pair[1].name {
                return Err(malformed(pair[1], "two entries have this name"));
            }
        }
        let mut by_place = by_name;
        by_place.sort_by_key(|entry| entry.header_at);
        for pair in by_place.windows(2) {
            let end = pair[0].header_at.saturating_add(pair[0].stored_bytes);
            if end > pair[1].header_at {
                return Err(malformed(pair[1], "the entry overlaps the one before it"));
            }
        }
        Ok(())
    }
}

impl Entry {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self> {
        let at = cursor.position();
        if cursor.u32()? != CENTRAL {
            return Err(cursor.malformed(at, "an entry of the archive's directory expected"));
        }
        cursor.take(4)?; // versions
        let flags = cursor.u16()?;
        let method = cursor.u16()?;
        cursor.take(4)?; // time and date
        let crc32 = cursor.u32()?;
        let stored_bytes = cursor.u32()?;
        let bytes = cursor.u32()?;
        let name_len = cursor.u16()?;
        let extra_len = cursor.u16()?;
        let comment_len = cursor.u16()?;
        cursor.take(8)?; // disk and attributes
        let header_at = cursor.u32()?;
        let name = std::str::from_utf8(cursor.take(name_len.into())?)
            .map_err(|_| cursor.malformed(at, "a name that is not UTF-8"))?
            .to_owned();
        let extra_at = cursor.position();
        let extra = cursor.take(extra_len.into())?;
        cursor.take(comment_len.into())?;
        let mut entry = Self {
            name,
            method,
            is_encrypted: flags & 1 != 0,
            crc32,
            stored_bytes: stored_bytes.into(),
            bytes: bytes.into(),
            header_at: header_at.into(),
        };
        entry.widen(&mut Cursor::new(extra, cursor.place_of(extra_at)))?;
        Ok(entry)
    }

    /// Takes from the extra fields what does not fit into 32 bits.
    fn widen(&mut self, extra: &mut Cursor<'_>) -> Result<()> {
        const WIDE: u64 = u32::MAX as u64;
        let fields = [&mut self.bytes, &mut self.stored_bytes, &mut self.header_at];
        let mut wide: Vec<&mut u64> = fields.into_iter().filter(|field| **field == WIDE).collect();
        while !wide.is_empty() && extra.rest().len() >= 4 {
            let id = extra.u16()?;
            let len = extra.u16()?;
            let at = extra.position();
            let field = extra.take(len.into())?;
            if id == EXTRA_64 {
                let mut field = Cursor::new(field, extra.place_of(at));
                for value in wide.drain(..) {
                    *value = field.u64()?;
                }
            }
        }
        Ok(())
    }

    fn method(&self, place: &Place) -> Result<Method> {
        let unsupported = |what: String| Error::Unsupported {
            place: place.clone(),
            what,
            remedy: "write the archive with numpy.savez, numpy.savez_compressed or torch.save",
        };
        match self.method {
            _ if self.is_encrypted => Err(unsupported("an encrypted entry".into())),
            0 => Ok(Method::Stored),
            8 => Ok(Method::Deflated),
            other => Err(unsupported(format!("an entry compressed by method {other}"))),
        }
    }
}

/// The number of entries and where the directory begins.
fn find_directory(bytes: &[u8], place: &Place) -> Result<(u64, u64)> {
    // The record at the end is followed by a comment of at most 65,535 bytes.
    let lowest = bytes.len().saturating_sub(END_BYTES + usize::from(u16::MAX));
    let is_end = |&at: &usize| {
        let record = &bytes[at..];
        let comment =
            record.get(20..22).map(|len| usize::from(u16::from_le_bytes([len[0], len[1]])));
        record.starts_with(&END.to_le_bytes())
            && comment.is_some_and(|len| record.len() == END_BYTES + len)
    };
    let at = (lowest..bytes.len()).rev().find(is_end).ok_or_else(|| Error::Malformed {
        place: place.at(bytes.len()),
        what: "the archive's directory is missing at the end of the file, which is cut off".into(),
    })?;
    let mut end = Cursor::new(&bytes[at..], place.at(at));
    end.take(10)?;
    let count = end.u16()?;
    end.take(4)?;
    let directory_at = end.u32()?;
    if count != u16::MAX && directory_at != u32::MAX {
        return Ok((count.into(), directory_at.into()));
    }
    // Numbers that do not fit stand in a 64-bit record, whose place is said just
    // before the record at the end.
    let Some(locator_at) = at.checked_sub(20) else {
        return Ok((count.into(), directory_at.into()));
    };
    let mut locator = Cursor::new(&bytes[locator_at..], place.at(locator_at));
    if locator.u32()? != LOCATOR_64 {
        return Ok((count.into(), directory_at.into()));
    }
    locator.take(4)?;
    let wide_at = usize::try_from(locator.u64()?).unwrap_or(usize::MAX);
    let wide = bytes.get(wide_at..).unwrap_or_default();
    let mut wide = Cursor::new(wide, place.at(wide_at.min(bytes.len())));
    if wide.u32()? != END_64 {
        return Err(wide.malformed(0, "the 64-bit record of the archive's end expected"));
    }
    wide.take(28)?;
    let count = wide.u64()?;
    wide.take(8)?;
    Ok((count, wide.u64()?))
}
