//! The fake in front of another driver: calls are counted and made to fail here, and
//! go to a library that a test names otherwise. So a real GPU gets the errors that the
//! fake makes up.

use std::ffi::{CString, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use libloading::Library;

use crate::calls::{Effect, Function, strike};
use crate::handles::Code;

type GetProcAddress =
    unsafe extern "system" fn(*const c_char, *mut *mut c_void, c_int, u64, *mut u32) -> Code;

/// The driver behind, if there is one.
static DRIVER: OnceLock<GetProcAddress> = OnceLock::new();

/// Puts this driver in front of the one in a library. Functions that were found before
/// stay as they are.
pub(crate) fn begin(library: &str) -> Result<(), String> {
    // SAFETY: whoever asks for this names a driver, and loading it is the purpose.
    let library = unsafe { Library::new(library) }.map_err(|error| error.to_string())?;
    // A driver has threads of its own: it is never unloaded.
    let library = ManuallyDrop::new(library);
    // SAFETY: the signature is that of cuda.h for this name.
    let get = unsafe { library.get::<GetProcAddress>(b"cuGetProcAddress_v2") };
    let get = *get.map_err(|error| error.to_string())?;
    DRIVER.set(get).map_err(|_| "there is a driver behind this one already".to_owned())
}

/// Where the driver behind has a function; `None` if there is no such driver, null if
/// it has no such function.
pub(crate) fn resolve(name: &str, version: c_int) -> Option<*mut c_void> {
    let get = DRIVER.get()?;
    let (mut address, mut status) = (std::ptr::null_mut(), 0);
    let name = CString::new(name).ok()?;
    // SAFETY: a C string, and room for both results.
    let code = unsafe { get(name.as_ptr(), &raw mut address, version, 0, &raw mut status) };
    Some(if code == 0 { address } else { std::ptr::null_mut() })
}

/// Runs a function of the driver behind, or fails in its place.
pub(crate) fn gate(function: &'static Function, call: impl FnOnce() -> Code) -> Code {
    function.count.fetch_add(1, Ordering::Relaxed);
    let Some(injection) = strike(function.name) else { return call() };
    if function.effect == Effect::After {
        let _ = call();
    }
    injection.code
}
