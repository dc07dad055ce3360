//! Where a checkpoint keeps its elements, and tensors as views of them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use raddle_tensor::DType;

use super::pickle::Machine;
use super::value::{Value, View};
use crate::array::{bytes_of, swap_words};
use crate::cursor::Cursor;
use crate::names::{self, Row};
use crate::zip::Archive;
use crate::{Array, Budget, Error, Place, Result};

/// The storages of a checkpoint, by their keys.
pub struct Storages<'z, 'a> {
    origin: Origin<'z, 'a>,
    read: BTreeMap<String, Cow<'a, [u8]>>,
    is_little_endian: bool,
}

enum Origin<'z, 'a> {
    /// Entries `ROOT/data/KEY` of an archive.
    Archive { archive: &'z Archive<'a>, root: &'z str },
    /// All have been read.
    Stream,
}

impl<'z, 'a> Storages<'z, 'a> {
    /// The storages of a zip archive.
    pub fn of_archive(archive: &'z Archive<'a>, root: &'z str) -> Result<Self> {
        let byte_order = match archive.find(&format!("{root}/byteorder")) {
            Some(entry) => archive.read(entry, &mut Budget::of(1 << 10))?,
            None => Cow::Borrowed(&b"little"[..]),
        };
        let is_little_endian = *byte_order != *b"big";
        let origin = Origin::Archive { archive, root };
        Ok(Self { origin, read: BTreeMap::new(), is_little_endian })
    }

    /// The storages that follow the pickles of a legacy file: a pickled list of
    /// keys, and for each the number of elements and the elements.
    pub fn of_stream(
        cursor: &mut Cursor<'a>,
        machine: &Machine,
        is_little_endian: bool,
    ) -> Result<Self> {
        let at = cursor.position();
        let mut keys = Machine::default();
        let list = keys.run(cursor)?;
        let Value::List(list) = keys.value(list) else {
            return Err(cursor.malformed(at, "the list of storages expected"));
        };
        let mut element_bytes = BTreeMap::new();
        for value in machine.values() {
            if let Value::Storage(storage) = value {
                let bytes = storage.dtype.and_then(names::row).map_or(1, |row| row.bytes);
                element_bytes.insert(storage.key.as_str(), bytes);
            }
        }
        let mut read = BTreeMap::new();
        for key in list {
            let place = cursor.place();
            let key = keys.text(*key);
            let known = key.and_then(|key| Some((key, *element_bytes.get(key)?)));
            let (key, element_bytes) = known.ok_or_else(|| Error::Malformed {
                place: place.clone(),
                what: "a storage that no tensor is in".into(),
            })?;
            let len = cursor.u64()?;
            let bytes = len.saturating_mul(element_bytes as u64);
            read.insert(key.to_owned(), Cow::Borrowed(cursor.take_u64(bytes)?));
        }
        Ok(Self { origin: Origin::Stream, read, is_little_endian })
    }

    /// The elements of a tensor, in row-major order.
    pub fn read(
        &mut self,
        machine: &Machine,
        view: &View,
        place: &Place,
        budget: &mut Budget,
    ) -> Result<Array> {
        let malformed = |what: String| Error::Malformed { place: place.clone(), what };
        let Value::Storage(storage) = machine.value(view.storage) else {
            return Err(malformed("a tensor without a storage".into()));
        };
        let row = view.dtype.or(storage.dtype).and_then(names::row).ok_or_else(|| {
            malformed("neither the tensor nor its storage says the type of the elements".into())
        })?;
        let element_bytes = storage.dtype.and_then(names::row).map_or(1, |row| row.bytes) as u64;
        let is_little_endian = self.is_little_endian;
        let bytes = self.bytes(&storage.key, place, budget)?;
        // The storage, as far as this tensor may see it.
        let start = storage.view_offset.checked_mul(element_bytes);
        let end =
            start.and_then(|start| start.checked_add(storage.len.checked_mul(element_bytes)?));
        let window = match (start.map(usize::try_from), end.map(usize::try_from)) {
            (Some(Ok(start)), Some(Ok(end))) => bytes.get(start..end),
            _ => None,
        };
        let window = window.ok_or_else(|| Error::Truncated {
            place: place.clone(),
            needed: end.unwrap_or(u64::MAX),
            found: bytes.len() as u64,
        })?;
        let needed = budget.take(bytes_of(&view.shape, row.bytes), place)?;
        let mut elements = gather(window, view, row, needed).ok_or_else(|| {
            malformed(format!(
                "shape {:?} with strides {:?} from element {} leaves its storage of {} bytes",
                view.shape,
                view.strides,
                view.offset,
                window.len()
            ))
        })?;
        if !is_little_endian {
            swap_words(&mut elements, row.word_bytes);
        }
        if row.dtype == DType::Bool {
            elements.iter_mut().for_each(|element| *element = u8::from(*element != 0));
        }
        Array::new(row.dtype, view.shape.clone(), elements)
    }

    /// The bytes of a storage, read once.
    fn bytes(&mut self, key: &str, place: &Place, budget: &mut Budget) -> Result<&[u8]> {
        if !self.read.contains_key(key) {
            let missing = || Error::Malformed {
                place: place.clone(),
                what: format!("storage {key:?} is missing in the file"),
            };
            let Origin::Archive { archive, root } = &self.origin else { return Err(missing()) };
            let entry = archive.find(&format!("{root}/data/{key}")).ok_or_else(missing)?;
            self.read.insert(key.to_owned(), archive.read(entry, budget)?);
        }
        Ok(&self.read[key])
    }
}

/// The elements of a view in row-major order; `None` if it leaves the storage.
fn gather(storage: &[u8], view: &View, row: &Row, needed: usize) -> Option<Vec<u8>> {
    if needed == 0 {
        return Some(Vec::new());
    }
    let mut last = view.offset;
    let mut packed = 1u64;
    let mut is_packed = true;
    for (&dim, &stride) in view.shape.iter().zip(&view.strides).rev() {
        last = last.checked_add((dim as u64 - 1).checked_mul(stride)?)?;
        is_packed &= dim == 1 || stride == packed;
        packed *= dim as u64;
    }
    let end = usize::try_from(last.checked_add(1)?.checked_mul(row.bytes as u64)?).ok()?;
    let storage = storage.get(..end)?;
    let start = view.offset as usize * row.bytes;
    if is_packed {
        return Some(storage[start..].to_vec());
    }
    // Every offset is at most `end`, so it is a `usize`.
    let strides: Vec<usize> =
        view.strides.iter().map(|&stride| (stride as usize).wrapping_mul(row.bytes)).collect();
    let mut elements = Vec::with_capacity(needed);
    let mut index = vec![0; view.shape.len()];
    let mut at = start;
    while elements.len() < needed {
        elements.extend_from_slice(&storage[at..at + row.bytes]);
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            if index[axis] < view.shape[axis] {
                at += strides[axis];
                break;
            }
            at -= strides[axis] * (view.shape[axis] - 1);
            index[axis] = 0;
        }
    }
    Some(elements)
}
