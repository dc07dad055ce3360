//! From an image to a loaded module, and what of the machine code is kept.
//!
//! The driver's linker gives the cubin that the cache keeps, but it compiles for calls
//! from other modules: it then ignores `setmaxnreg` and waits after each `wgmma`.
//! Images with these are assembled whole. The driver does that when it is given the
//! PTX, and keeps the result in a cache of its own that is slower to load from; what can
//! be found there goes to ours ([`driver_cache`]). An assembler that the user names does
//! it for our cache. Machine code that the build put beside the PTX (`RADDLE_CUBINS`) is
//! assembled whole too, and needs no cache.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use raddle_cuda::Module;
use raddle_device::kernel::Image;

use crate::cache::Key;
use crate::cuda::CudaDevice;
use crate::driver_cache;
use crate::error::{Error, Result};
use crate::kernels::choose_cubin;

/// The assembler of the user's choice.
const VARIABLE: &str = "RADDLE_PTXAS";
/// The driver as an assembler of whole images, in the names of what is kept.
const DRIVER: &str = "the driver, whole";

/// Loads an image: what the build assembled, from the cache of cubins, or assembled
/// now and kept there.
pub(crate) fn load_module(
    cuda: &CudaDevice,
    name: &'static str,
    image: &Image,
) -> Result<Arc<Module>> {
    let context = cuda.context();
    let program = if is_whole(image.ptx) { Program::named() } else { None };
    if program.is_none()
        && let Some(module) = from_build(cuda, image)?
    {
        return Ok(module);
    }
    let by_driver = program.is_none() && is_whole(image.ptx);
    let identity = match &program {
        Some(program) => &program.identity,
        None if by_driver => DRIVER,
        None => "",
    };
    let place = cuda.cache.key(image.ptx, identity).zip(cuda.cache.drafts());
    let Some((key, drafts)) = place else {
        return Ok(Module::from_ptx(context, image.ptx)?);
    };
    if let Some(module) = from_cache(cuda, &key)? {
        return Ok(module);
    }
    if by_driver {
        let module = Module::from_ptx(context, image.ptx)?;
        if let Some(cubin) = driver_cache::find(image.ptx, image.entry, cuda.capability()) {
            cuda.cache.write(&key, &cubin);
        }
        return Ok(module);
    }
    let cubin = match program {
        None => raddle_cuda::assemble(context, name, image.ptx)?,
        Some(program) => program.assemble(image, &drafts)?,
    };
    cuda.cache.write(&key, &cubin);
    // SAFETY: an assembler made this cubin just now, whole.
    Ok(unsafe { Module::from_cubin(context, &cubin)? })
}

/// Loads PTX that was written at run time: from the cache of cubins, or assembled now and
/// kept there.
pub(crate) fn load_text(cuda: &CudaDevice, name: &str, ptx: &str) -> Result<Arc<Module>> {
    let context = cuda.context();
    let key = if is_whole(ptx) { None } else { cuda.cache.key(ptx, "") };
    let Some(key) = key else { return Ok(Module::from_ptx(context, ptx)?) };
    if let Some(module) = from_cache(cuda, &key)? {
        return Ok(module);
    }
    let cubin = raddle_cuda::assemble(context, name, ptx)?;
    cuda.cache.write(&key, &cubin);
    // SAFETY: an assembler made this cubin just now, whole.
    Ok(unsafe { Module::from_cubin(context, &cubin)? })
}

/// The machine code that the build made for this device, if there is some and the driver
/// takes it.
fn from_build(cuda: &CudaDevice, image: &Image) -> Result<Option<Arc<Module>>> {
    let (context, driver) = (cuda.context(), cuda.context().device().driver().version());
    let Some(cubin) = choose_cubin(image.cubins, cuda.capability(), driver) else {
        return Ok(None);
    };
    // SAFETY: an assembler made these bytes, and the build embedded the whole file.
    match unsafe { Module::from_cubin(context, cubin.bytes) } {
        Ok(module) => Ok(Some(module)),
        // A driver that refuses it has the PTX.
        Err(error) if !error.is_sticky() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn from_cache(cuda: &CudaDevice, key: &Key) -> Result<Option<Arc<Module>>> {
    let Some(cubin) = cuda.cache.read(key) else { return Ok(None) };
    // SAFETY: the checksum says that these are the bytes that were made, whole.
    match unsafe { Module::from_cubin(cuda.context(), &cubin) } {
        Ok(module) => Ok(Some(module)),
        // A driver that refuses what was made for it: make it anew.
        Err(error) if !error.is_sticky() => {
            cuda.cache.remove(key);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether the image holds instructions that the linker's code spoils.
fn is_whole(ptx: &str) -> bool {
    ptx.contains("setmaxnreg.") || ptx.contains("wgmma.")
}

/// NVIDIA's assembler, `ptxas`.
struct Program {
    path: PathBuf,
    /// What tells it from others: path, size and age of the file.
    identity: String,
}

impl Program {
    /// The one that the environment names.
    fn named() -> Option<Self> {
        let path = PathBuf::from(std::env::var_os(VARIABLE).filter(|path| !path.is_empty())?);
        let file = std::fs::metadata(&path).ok();
        let written = file.as_ref().and_then(|file| file.modified().ok());
        let bytes = file.map_or(0, |file| file.len());
        let identity = format!("{} {bytes} {written:?}", path.display());
        Some(Self { path, identity })
    }

    /// The cubin of an image, with line tables as the driver's linker makes them.
    fn assemble(&self, image: &Image, folder: &Path) -> Result<Vec<u8>> {
        let draft = Draft::new(folder);
        let io = |error: std::io::Error| self.failed(error.to_string());
        std::fs::write(draft.path("ptx"), image.ptx).map_err(io)?;
        let output = Command::new(&self.path)
            .args(["-arch", image.target, "-lineinfo", "-o"])
            .arg(draft.path("cubin"))
            .arg(draft.path("ptx"))
            .output()
            .map_err(io)?;
        if !output.status.success() {
            return Err(self.failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        std::fs::read(draft.path("cubin")).map_err(io)
    }

    fn failed(&self, reason: String) -> Error {
        Error::Assembler { program: self.path.clone(), reason }
    }
}

/// Two files that go when this does.
struct Draft(PathBuf);

impl Draft {
    fn new(folder: &Path) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(folder.join(format!("ptxas-{}-{number}", std::process::id())))
    }

    fn path(&self, extension: &str) -> PathBuf {
        self.0.with_extension(extension)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        for extension in ["ptx", "cubin"] {
            let _ = std::fs::remove_file(self.path(extension));
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const IMAGE: Image = Image {
        path: "kernels::one",
        target: "sm_90a",
        entry: "one",
        ptx: "wgmma.fence.sync.aligned;",
        ..Image::EMPTY
    };

    fn folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("raddle-ptxas-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the system has a folder for such");
        folder
    }

    /// A program in place of `ptxas`.
    fn program(name: &str, script: &str) -> Program {
        let folder = folder();
        let path = folder.join(name);
        // Renamed when it is written, since a file that is open for writing is not run.
        let draft = folder.join(format!("{name}.draft"));
        std::fs::write(&draft, format!("#!/bin/sh\n{script}\n")).expect("a file can be written");
        std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o755)).expect("own file");
        std::fs::rename(&draft, &path).expect("own file");
        Program { path, identity: String::new() }
    }

    #[test]
    fn a_named_assembler_gets_the_image_and_leaves_no_files() {
        let echo =
            program("echo", "printf '%s %s %s ' $1 $2 $3 > $5; cat $6 >> $5; echo $6 > $0.saw");
        let cubin = echo.assemble(&IMAGE, &folder()).expect("the program succeeds");
        let text = String::from_utf8(cubin).expect("text");
        assert_eq!(text, format!("-arch sm_90a -lineinfo {}", IMAGE.ptx));
        let seen = std::fs::read_to_string(echo.path.with_extension("saw")).expect("it ran");
        assert!(!Path::new(seen.trim()).exists(), "{seen}");
    }

    #[test]
    fn what_it_says_is_in_the_error() {
        let refuses = program("refuses", "echo 'no such instruction' >&2; exit 1");
        let error = refuses.assemble(&IMAGE, &folder()).expect_err("a refusal").to_string();
        assert!(error.contains("no such instruction") && error.contains("RADDLE_PTXAS"), "{error}");
        let missing = Program { path: "/nowhere/ptxas".into(), identity: String::new() };
        let error = missing.assemble(&IMAGE, &folder()).expect_err("no program").to_string();
        assert!(error.contains("/nowhere/ptxas"), "{error}");
    }

    #[test]
    fn only_what_the_linker_spoils_is_assembled_whole() {
        assert!(is_whole("wgmma.mma_async.sync") && is_whole("setmaxnreg.inc.sync"));
        assert!(!is_whole(".target sm_90a\ncp.async.bulk.tensor.2d"));
    }
}
