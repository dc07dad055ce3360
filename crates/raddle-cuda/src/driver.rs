//! Finding and loading the driver's library.
//!
//! Order: `RADDLE_CUDA_LIBRARY` alone if it is set, else the system's
//! `libcuda.so.1`, then the place where WSL puts it; on Windows `nvcuda.dll`.
//! The library stays loaded for the life of the process, since its threads do.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::sync::OnceLock;

use libloading::Library;

use crate::error::{Error, Result, check};
use crate::fork;
use crate::sys::Api;

/// The loaded and initialised driver. Copying it is free.
#[derive(Clone, Copy)]
pub struct Driver {
    loaded: &'static Loaded,
}

struct Loaded {
    api: Api,
    library: String,
    version: u32,
}

static DRIVER: OnceLock<Result<Loaded>> = OnceLock::new();

impl Driver {
    /// The driver of this process, loaded and initialised on the first call.
    ///
    /// # Errors
    ///
    /// [`Error::LibraryMissing`] without a driver, [`Error::DriverTooOld`] below
    /// version 530, [`Error::Driver`] if it does not start (no GPU, say). The
    /// answer is kept: later calls return the same. [`Error::Forked`] in the child
    /// of a process that had started the driver.
    pub fn load() -> Result<Self> {
        if fork::is_child() {
            return Err(fork::error());
        }
        match DRIVER.get_or_init(|| load(&candidates())) {
            Ok(loaded) => Ok(Self { loaded }),
            Err(error) => Err(error.clone()),
        }
    }

    /// The newest CUDA version that the driver supports, as (major, minor).
    #[must_use]
    pub fn version(self) -> (u32, u32) {
        (self.loaded.version / 1000, self.loaded.version % 1000 / 10)
    }

    /// The name or path under which the library was loaded.
    #[must_use]
    pub fn library(self) -> &'static str {
        &self.loaded.library
    }

    /// Number of devices that the driver shows to this process.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn device_count(self) -> Result<u32> {
        let mut count: c_int = 0;
        // SAFETY: writes one int.
        let status = unsafe { (self.api().device_get_count)(&raw mut count) };
        check("cuDeviceGetCount", status)?;
        Ok(u32::try_from(count).unwrap_or(0))
    }

    #[inline(always)]
    pub(crate) fn api(self) -> &'static Api {
        &self.loaded.api
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (major, minor) = self.version();
        write!(f, "Driver({} for CUDA {major}.{minor})", self.library())
    }
}

/// The places to look for the driver's library.
fn candidates() -> Vec<String> {
    if let Ok(path) = std::env::var("RADDLE_CUDA_LIBRARY") {
        return vec![path];
    }
    let names: &[&str] = if cfg!(windows) {
        &["nvcuda.dll"]
    } else {
        &["libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1", "libcuda.so"]
    };
    names.iter().map(ToString::to_string).collect()
}

fn load(candidates: &[String]) -> Result<Loaded> {
    let (library, name) =
        open_first(candidates).map_err(|tried| Error::LibraryMissing { tried: tried.into() })?;
    // The driver keeps threads of its own: it is never unloaded.
    let library = ManuallyDrop::new(library);
    let api = resolve_api(&library)
        .map_err(|symbol| Error::DriverTooOld { symbol, library: name.as_str().into() })?;
    fork::watch();
    // SAFETY: the argument must be zero and is.
    let status = unsafe { (api.init)(0) };
    check("cuInit", status)?;
    let mut version: c_int = 0;
    // SAFETY: writes one int.
    let status = unsafe { (api.driver_get_version)(&raw mut version) };
    check("cuDriverGetVersion", status)?;
    Ok(Loaded { api, library: name, version: u32::try_from(version).unwrap_or(0) })
}

/// Opens the first library that can be opened; otherwise says why each cannot.
pub(crate) fn open_first(
    candidates: &[String],
) -> Result<(Library, String), Vec<(String, String)>> {
    let mut tried = Vec::new();
    for name in candidates {
        // SAFETY: the vendor's library runs its own initialisers, which is what
        // loading the driver means.
        match unsafe { Library::new(name) } {
            Ok(library) => return Ok((library, name.clone())),
            Err(error) => tried.push((name.clone(), reason(&error))),
        }
    }
    Err(tried)
}

/// What the system's loader said.
fn reason(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

type GetProcAddressV2 =
    unsafe extern "system" fn(*const c_char, *mut *mut c_void, c_int, u64, *mut u32) -> u32;
type GetProcAddress = unsafe extern "system" fn(*const c_char, *mut *mut c_void, c_int, u64) -> u32;

/// Resolves the function table: through `cuGetProcAddress` where the driver has
/// it (CUDA 11.3), else by exported name.
fn resolve_api(library: &Library) -> Result<Api, &'static str> {
    // SAFETY: the signatures are those of cuda.h for these exported names.
    let v2 = unsafe { library.get::<GetProcAddressV2>(c"cuGetProcAddress_v2") }.ok();
    // SAFETY: as above.
    let v1 = unsafe { library.get::<GetProcAddress>(c"cuGetProcAddress") }.ok();
    Api::resolve(&|symbol, export, version| {
        let name = CString::new(symbol).expect("symbol names hold no zero byte");
        let mut address: *mut c_void = std::ptr::null_mut();
        let status = if let Some(v2) = &v2 {
            let mut found = 0;
            // SAFETY: the name is a C string and both outputs are writable.
            unsafe { v2(name.as_ptr(), &raw mut address, version, 0, &raw mut found) }
        } else if let Some(v1) = &v1 {
            // SAFETY: as above.
            unsafe { v1(name.as_ptr(), &raw mut address, version, 0) }
        } else {
            1
        };
        if status == 0 && !address.is_null() {
            return address;
        }
        exported(library, export)
    })
}

/// The address of an exported function, or null.
pub(crate) fn exported(library: &Library, name: &str) -> *mut c_void {
    // SAFETY: the symbol is only read as an address here; callers give it the
    // signature that belongs to it.
    let symbol = unsafe { library.get::<*mut c_void>(name) };
    symbol.map_or(std::ptr::null_mut(), |symbol| *symbol)
}

/// Text that the driver wrote into `bytes`, up to the first zero.
pub(crate) fn text_of(bytes: &[u8]) -> String {
    CStr::from_bytes_until_nul(bytes).map_or_else(
        |_| String::from_utf8_lossy(bytes).into_owned(),
        |text| text.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_an_error_that_names_the_places() {
        let places = vec!["/nowhere/libcuda.so.1".to_string(), "/nowhere/else.so".to_string()];
        let Err(error) = load(&places) else { panic!("no such library exists") };
        assert!(error.is_absent());
        let text = error.to_string();
        assert!(
            text.contains("/nowhere/libcuda.so.1") && text.contains("/nowhere/else.so"),
            "{text}"
        );
        assert!(text.contains("RADDLE_CUDA_LIBRARY"), "{text}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_library_that_is_no_driver_is_an_error_that_names_the_symbol() {
        let places = vec!["libc.so.6".to_string()];
        match load(&places) {
            Err(Error::DriverTooOld { symbol, library }) => {
                assert_eq!(symbol, "cuInit");
                assert_eq!(&*library, "libc.so.6");
            }
            Err(other) => panic!("unexpected error: {other}"),
            Ok(_) => panic!("the C library is no GPU driver"),
        }
    }
}
