//! A report of the memory that is held when the program ends.
//!
//! If `RADDLE_MEMORY_PROFILE_FILE` is set when a device is opened, `FILE.PID.txt`
//! and `FILE.PID.pb.gz` are written as the process exits, by `return` from `main`
//! or `exit`. A process that is killed or aborts writes nothing.

use std::ffi::OsString;
use std::path::PathBuf;

use super::MemoryProfile;

/// Has the report written at exit if the environment asks for it.
pub(crate) fn report_at_exit() {
    if file("").is_some() {
        crate::shutdown::write_at_exit();
    }
}

fn file(extension: &str) -> Option<PathBuf> {
    let mut path: OsString = std::env::var_os("RADDLE_MEMORY_PROFILE_FILE")?;
    if path.is_empty() {
        return None;
    }
    path.push(format!(".{}{extension}", std::process::id()));
    Some(path.into())
}

/// Writes the report if the environment asks for it.
pub(crate) fn write_report() {
    if file("").is_none() {
        return;
    }
    let profile = MemoryProfile::now();
    let text = format!("held_bytes {}\n{}", profile.held_bytes(), profile.to_text());
    write(".txt", text.as_bytes());
    write(".pb.gz", &profile.to_pprof());
}

fn write(extension: &str, bytes: &[u8]) {
    let Some(path) = file(extension) else { return };
    if let Err(error) = std::fs::write(&path, bytes) {
        eprintln!("raddle: the memory profile was not written to {}: {error}", path.display());
    }
}
