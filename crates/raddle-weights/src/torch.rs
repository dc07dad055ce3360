//! State dicts of PyTorch: `.pt`, `.pth`, `.bin`.
//!
//! A checkpoint is a pickle, a program for a small stack machine that may name any
//! Python function to call. Here the machine knows the handful of names that a
//! state dict needs (`state`), each as a constructor of plain data; every other
//! name is an error that says it. *Source*: PyTorch, `torch/serialization.py` and
//! `torch/_utils.py`; Python, `pickletools.py`.

use std::path::Path;

use crate::cursor::Cursor;
use crate::weights::read_file;
use crate::zip::Archive;
use crate::{Budget, Error, Place, Result, Weights};

mod opcode;
mod pickle;
mod state;
mod storage;
mod value;

use storage::Storages;

/// The first pickle of a legacy file: this number, which is protocol 2's `LONG1`.
const LEGACY_MAGIC: [u8; 15] = *b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";
/// The version of the legacy format, the second pickle.
const LEGACY_VERSION: i64 = 1_001;

/// Whether an entry of an archive is the pickle of a PyTorch checkpoint.
pub(crate) fn is_pickle(name: &str) -> bool {
    name.split_once('/').is_some_and(|(_, file)| file == "data.pkl")
}

/// Whether bytes begin like a legacy checkpoint, or like any pickle.
pub(crate) fn is_legacy(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 2..=5, ..])
}

/// Reads a file of either kind.
///
/// ## Errors
/// [`Error::Io`], and those of [`decode_zip`] and [`decode_legacy`].
pub fn read(path: impl AsRef<Path>) -> Result<Weights> {
    let path = path.as_ref();
    let bytes = read_file(path)?;
    let (place, mut budget) = (Place::file(path), Budget::for_file(bytes.len()));
    match crate::zip::is_archive(&bytes) {
        true => decode_zip(&bytes, &place, &mut budget),
        false => decode_legacy(&bytes, &place, &mut budget),
    }
}

/// Reads the bytes of a zip archive. Nested dicts give names joined by dots;
/// what is neither a tensor nor a dict, such as an epoch's number, is left out.
///
/// ## Errors
/// [`Error::Unsupported`] for every Python name that a state dict does not need;
/// [`Error::Malformed`] and [`Error::Truncated`] for a damaged file.
pub fn decode_zip(bytes: &[u8], place: &Place, budget: &mut Budget) -> Result<Weights> {
    let archive = Archive::open(bytes, place)?;
    let pickle = archive.entries().iter().find(|entry| is_pickle(&entry.name));
    let pickle = pickle.ok_or_else(|| Error::Malformed {
        place: place.clone(),
        what: "the archive has no data.pkl: it is no checkpoint of PyTorch".into(),
    })?;
    let (root, _) = pickle.name.split_once('/').unwrap_or_default();
    if archive.find(&format!("{root}/constants.pkl")).is_some() {
        return Err(Error::Unsupported {
            place: place.entry(&pickle.name),
            what: "a TorchScript program".into(),
            remedy: "save the weights alone: torch.save(model.state_dict(), file)",
        });
    }
    let program = archive.read(pickle, budget)?;
    let mut machine = pickle::Machine::default();
    let place = place.entry(&pickle.name);
    let top = machine.run(&mut Cursor::new(&program, place.clone()))?;
    let mut storages = Storages::of_archive(&archive, root)?;
    state::collect(&machine, top, &mut storages, &place, budget)
}

/// Reads the bytes of a legacy file: pickles of a magic number, a version, the
/// machine's facts, the object and the storages' keys, then the storages.
///
/// ## Errors
/// As [`decode_zip`].
pub fn decode_legacy(bytes: &[u8], place: &Place, budget: &mut Budget) -> Result<Weights> {
    if !bytes.starts_with(&LEGACY_MAGIC) {
        return Err(Error::Unsupported {
            place: place.at(0),
            what: "a pickle that PyTorch did not write".into(),
            remedy: "only checkpoints are read; save arrays with numpy.save or torch.save",
        });
    }
    let mut cursor = Cursor::new(bytes, place.at(0));
    cursor.take(LEGACY_MAGIC.len())?;
    let version_at = cursor.position();
    let mut header = pickle::Machine::default();
    let version = header.run(&mut cursor)?;
    if header.int(version) != Some(LEGACY_VERSION) {
        let what = format!("version {LEGACY_VERSION} of PyTorch's legacy format expected");
        return Err(cursor.malformed(version_at, what));
    }
    let facts = header.run(&mut cursor)?;
    let is_little_endian = header.entry(facts, "little_endian").and_then(|id| header.bool(id));
    let state_at = cursor.place();
    let mut machine = pickle::Machine::default();
    let top = machine.run(&mut cursor)?;
    let mut storages = Storages::of_stream(&mut cursor, &machine, is_little_endian != Some(false))?;
    state::collect(&machine, top, &mut storages, &state_at, budget)
}
