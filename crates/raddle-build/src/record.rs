//! What a device crate was compiled from and to, kept for builds in which none of
//! it has changed: a second `OUT_DIR` (`cargo check` has its own), a changed file
//! that the kernels do not use, a variable set back.
//!
//! The key holds what is known before compiling: compiler, manifest, lock file. The
//! record holds what only compiling tells: the files and variables that rustc read,
//! and the digests they had.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::device_crate::{CompiledCrate, Package, Prepared, shared_target_folder};
use crate::digest::Digest;
use crate::error::Error;
use crate::index::{DeviceCode, Image};
use crate::store::{Store, line, lines};
use crate::toolchain::Toolchain;

/// A device crate's result with the files that it depends on.
pub struct Done {
    /// The kernels.
    pub code: DeviceCode,
    /// The files of the user's that rustc read.
    pub files: Vec<PathBuf>,
}

/// What names the record of a device crate.
pub fn key(toolchain: &Toolchain, prepared: &Prepared) -> Digest {
    let llvm = std::env::var_os("RADDLE_LLVM").unwrap_or_default();
    Digest::of_all([
        env!("SOURCES_DIGEST").as_bytes(),
        toolchain.version.as_bytes(),
        toolchain.sysroot.as_os_str().as_encoded_bytes(),
        llvm.as_encoded_bytes(),
        prepared.name.as_bytes(),
        prepared.digest.to_string().as_bytes(),
    ])
}

/// The result kept under `key`, if what it was made from is unchanged.
pub fn find(store: &Store, key: Digest) -> Option<Done> {
    let text = store.read(key, "record")?;
    let mut done = Done { code: DeviceCode::default(), files: Vec::new() };
    for fields in lines(&text) {
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        match fields[..] {
            ["file", path, digest] => {
                let path = PathBuf::from(path);
                if Digest::of_file(&path)?.to_string() != digest {
                    return None;
                }
                done.files.push(path);
            }
            ["variable", name, value] if std::env::var(name).as_deref() == Ok(value) => {}
            ["no-variable", name] if std::env::var_os(name).is_none() => {}
            ["error", path, message] => {
                done.code.errors.push((path.to_owned(), message.to_owned()));
            }
            ["image", path, target, entry, synchronizes, ptx] => done.code.images.push(Image {
                path: path.to_owned(),
                target: target.to_owned(),
                entry: entry.to_owned(),
                synchronizes: synchronizes == "1",
                ptx: ptx.to_owned(),
            }),
            _ => return None,
        }
    }
    Some(done)
}

/// How far a file system's clock may lie behind the system's.
const CLOCK_TICK: Duration = Duration::from_millis(20);

/// Whether a file has not been written since a time.
fn is_unchanged_since(file: &Path, begun: SystemTime) -> bool {
    let written = std::fs::metadata(file).and_then(|about| about.modified());
    written.is_ok_and(|written| written + CLOCK_TICK < begun)
}

/// Keeps a result that was begun at a time. A file that was written since then may not
/// be what rustc read, and its digest would keep an old result for the new text: then
/// nothing is kept, and the next build makes it anew.
pub fn keep(
    store: &Store,
    key: Digest,
    (done, begun): (&Done, SystemTime),
    crates: &[CompiledCrate],
) -> Result<(), Error> {
    if !done.files.iter().all(|file| is_unchanged_since(file, begun)) {
        return Ok(());
    }
    let mut text = String::new();
    for file in &done.files {
        // What cannot be read now is not what rustc read: keep nothing.
        let Some(digest) = Digest::of_file(file) else { return Ok(()) };
        text.push_str(&line(&["file", &file.display().to_string(), &digest.to_string()]));
    }
    let is_seen = |name: &str| !name.starts_with("CARGO") && name != "OUT_DIR";
    for (name, value) in crates.iter().flat_map(|one| &one.variables) {
        match value {
            Some(value) if is_seen(name) => text.push_str(&line(&["variable", name, value])),
            None if is_seen(name) => text.push_str(&line(&["no-variable", name])),
            _ => {}
        }
    }
    for (path, message) in &done.code.errors {
        text.push_str(&line(&["error", path, message]));
    }
    for Image { path, target, entry, synchronizes, ptx } in &done.code.images {
        let flag = if *synchronizes { "1" } else { "0" };
        text.push_str(&line(&["image", path, target, entry, flag, ptx]));
    }
    store.write(key, "record", &text)?;
    store.trim();
    Ok(())
}

/// The user's files that the crates were compiled from, with the manifests of their
/// packages: sources from registries never change, and what raddle-build wrote itself
/// is no source.
pub fn files_of_user(package: &Package, crates: &[CompiledCrate]) -> Vec<PathBuf> {
    let written = shared_target_folder(&package.out);
    let mut files = BTreeSet::new();
    for one in crates.iter().filter(|one| one.is_local) {
        let own = one.sources.iter().cloned().chain([one.home.join("Cargo.toml")]);
        files.extend(own.filter(|file| !file.starts_with(&written) && file.is_file()));
    }
    files.into_iter().collect()
}

/// Tells cargo to run the build script again when one of the files changes.
pub fn watch<'f>(files: impl IntoIterator<Item = &'f Path>) {
    for file in files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_while_a_result_was_made_is_seen() {
        let file = std::env::temp_dir().join(format!("raddle-record-{}", std::process::id()));
        std::fs::write(&file, "old").unwrap();
        let begun = SystemTime::now();
        let written_at = |time| {
            std::fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        };
        written_at(begun - Duration::from_secs(1));
        assert!(is_unchanged_since(&file, begun));
        written_at(begun + Duration::from_secs(1));
        assert!(!is_unchanged_since(&file, begun));
        std::fs::remove_file(&file).unwrap();
        assert!(!is_unchanged_since(&file, begun));
    }
}
