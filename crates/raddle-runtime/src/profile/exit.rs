//! A report of the memory that is held when the program ends.
//!
//! If `RADDLE_MEMORY_PROFILE_FILE` is set when a device is opened, `FILE.PID.txt`
//! and `FILE.PID.pb.gz` are written as the process exits, by `return` from `main`
//! or `exit`. A process that is killed or aborts writes nothing.

use std::ffi::{OsString, c_int};
use std::path::PathBuf;
use std::sync::Once;

use super::MemoryProfile;

unsafe extern "C" {
    /// The C library's.
    fn atexit(callback: extern "C" fn()) -> c_int;
}

static REGISTER: Once = Once::new();

/// Has the report written at exit if the environment asks for it.
pub(crate) fn report_at_exit() {
    REGISTER.call_once(|| {
        if file("").is_some() {
            // SAFETY: the function takes no arguments and does not unwind.
            let refused = unsafe { atexit(write_report) } != 0;
            if refused {
                eprintln!("raddle: the memory profile cannot be written at exit");
            }
        }
    });
}

fn file(extension: &str) -> Option<PathBuf> {
    let mut path: OsString = std::env::var_os("RADDLE_MEMORY_PROFILE_FILE")?;
    if path.is_empty() {
        return None;
    }
    path.push(format!(".{}{extension}", std::process::id()));
    Some(path.into())
}

extern "C" fn write_report() {
    // A panic must not leave an exit handler.
    let written = std::panic::catch_unwind(|| {
        let profile = MemoryProfile::now();
        let text = format!("held_bytes {}\n{}", profile.held_bytes(), profile.to_text());
        write(".txt", text.as_bytes());
        write(".pb.gz", &profile.to_pprof());
    });
    if written.is_err() {
        eprintln!("raddle: the memory profile could not be made at exit");
    }
}

fn write(extension: &str, bytes: &[u8]) {
    let Some(path) = file(extension) else { return };
    if let Err(error) = std::fs::write(&path, bytes) {
        eprintln!("raddle: the memory profile was not written to {}: {error}", path.display());
    }
}
