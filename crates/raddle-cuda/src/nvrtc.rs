//! NVRTC, the vendor's compiler for CUDA C++ text, where it is installed.
//!
//! It is optional: nothing of ours needs it. Looked up like the driver, with
//! `RADDLE_NVRTC_LIBRARY` first.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::sync::OnceLock;

use crate::driver::{exported, open_first, text_of};
use crate::error::{Error, Result};
use crate::functions::library_functions;
use crate::module::c_string;

type Program = *mut c_void;

/// The loaded compiler. Copying it is free.
#[derive(Clone, Copy)]
pub struct Nvrtc {
    api: &'static NvrtcApi,
}

library_functions! {
    NvrtcApi {
        version: "nvrtcVersion", (*mut c_int, *mut c_int);
        create_program: "nvrtcCreateProgram", (*mut Program, *const c_char, *const c_char, c_int, *const *const c_char, *const *const c_char);
        destroy_program: "nvrtcDestroyProgram", (*mut Program);
        compile_program: "nvrtcCompileProgram", (Program, c_int, *const *const c_char);
        log_size: "nvrtcGetProgramLogSize", (Program, *mut usize);
        log: "nvrtcGetProgramLog", (Program, *mut c_char);
        ptx_size: "nvrtcGetPTXSize", (Program, *mut usize);
        ptx: "nvrtcGetPTX", (Program, *mut c_char);
        add_name: "nvrtcAddNameExpression", (Program, *const c_char);
        lowered_name: "nvrtcGetLoweredName", (Program, *const c_char, *mut *const c_char);
    }
}

static NVRTC: OnceLock<Result<NvrtcApi>> = OnceLock::new();

/// PTX made from CUDA C++ text.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The PTX.
    pub ptx: String,
    /// For each name that was asked for, the name of the entry in the PTX.
    pub entries: Vec<String>,
    /// Warnings.
    pub log: String,
}

impl Nvrtc {
    /// The compiler of this process, loaded on the first call.
    ///
    /// # Errors
    ///
    /// [`Error::NvrtcMissing`].
    pub fn load() -> Result<Self> {
        match NVRTC.get_or_init(|| load(&candidates())) {
            Ok(api) => Ok(Self { api }),
            Err(error) => Err(error.clone()),
        }
    }

    /// The compiler's version, as (major, minor).
    ///
    /// # Errors
    ///
    /// A failed call.
    pub fn version(self) -> Result<(u32, u32)> {
        let (mut major, mut minor): (c_int, c_int) = (0, 0);
        // SAFETY: writes two ints.
        let code = unsafe { (self.api.version)(&raw mut major, &raw mut minor) };
        check("nvrtcVersion", code, "")?;
        Ok((major.unsigned_abs(), minor.unsigned_abs()))
    }

    /// Compiles `source` with `options` (as `nvcc` has them, such as
    /// `--gpu-architecture=compute_80`). `names` are the kernels wanted, as C++
    /// expressions: `axpy`, or `axpy<float>` for an instance of a template.
    ///
    /// # Errors
    ///
    /// [`Error::Nvrtc`] with the compiler's log.
    pub fn compile(self, source: &str, options: &[&str], names: &[&str]) -> Result<Compiled> {
        let text = c_string(source)?;
        let options = options.iter().map(|o| c_string(o)).collect::<Result<Vec<CString>>>()?;
        let names = names.iter().map(|n| c_string(n)).collect::<Result<Vec<CString>>>()?;
        let program = OpenProgram::new(self.api, &text)?;
        for name in &names {
            // SAFETY: the program is open and the name a C string.
            let code = unsafe { (self.api.add_name)(program.raw, name.as_ptr()) };
            check("nvrtcAddNameExpression", code, "")?;
        }
        let pointers: Vec<*const c_char> = options.iter().map(|o| o.as_ptr()).collect();
        let len = c_int::try_from(pointers.len()).unwrap_or(c_int::MAX);
        // SAFETY: the program is open and the options live for the call.
        let code = unsafe { (self.api.compile_program)(program.raw, len, pointers.as_ptr()) };
        let log = program.text("nvrtcGetProgramLog", self.api.log_size, self.api.log)?;
        check("nvrtcCompileProgram", code, &log)?;
        let ptx = program.text("nvrtcGetPTX", self.api.ptx_size, self.api.ptx)?;
        let entries = names.iter().map(|n| program.entry(n)).collect::<Result<Vec<String>>>()?;
        Ok(Compiled { ptx, entries, log })
    }
}

struct OpenProgram {
    api: &'static NvrtcApi,
    raw: Program,
}

impl OpenProgram {
    fn new(api: &'static NvrtcApi, source: &CStr) -> Result<Self> {
        let mut raw: Program = std::ptr::null_mut();
        let (name, none) = (c"kernel.cu", std::ptr::null());
        // SAFETY: the texts are C strings and no headers are given.
        let code = unsafe {
            (api.create_program)(&raw mut raw, source.as_ptr(), name.as_ptr(), 0, none, none)
        };
        check("nvrtcCreateProgram", code, "")?;
        Ok(Self { api, raw })
    }

    /// The text that `get` writes, whose length `size` gives.
    fn text(
        &self,
        call: &'static str,
        size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
        get: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    ) -> Result<String> {
        let mut bytes = 0usize;
        // SAFETY: writes one size.
        let code = unsafe { size(self.raw, &raw mut bytes) };
        check(call, code, "")?;
        let mut text = vec![0u8; bytes.max(1)];
        // SAFETY: writes as many bytes as it said.
        let code = unsafe { get(self.raw, text.as_mut_ptr().cast()) };
        check(call, code, "")?;
        Ok(text_of(&text))
    }

    fn entry(&self, name: &CStr) -> Result<String> {
        let mut lowered: *const c_char = std::ptr::null();
        // SAFETY: the name was added before compilation; the result belongs to
        // the program and is copied here.
        let code = unsafe { (self.api.lowered_name)(self.raw, name.as_ptr(), &raw mut lowered) };
        check("nvrtcGetLoweredName", code, "")?;
        // SAFETY: NVRTC gave a C string that lives as long as the program.
        Ok(unsafe { CStr::from_ptr(lowered) }.to_string_lossy().into_owned())
    }
}

impl Drop for OpenProgram {
    fn drop(&mut self) {
        // SAFETY: destroyed once.
        let _ = unsafe { (self.api.destroy_program)(&raw mut self.raw) };
    }
}

fn candidates() -> Vec<String> {
    if let Ok(path) = std::env::var("RADDLE_NVRTC_LIBRARY") {
        return vec![path];
    }
    let names: &[&str] = if cfg!(windows) {
        &["nvrtc64_130_0.dll", "nvrtc64_120_0.dll"]
    } else {
        &[
            "libnvrtc.so.13",
            "libnvrtc.so.12",
            "libnvrtc.so",
            "/usr/local/cuda/lib64/libnvrtc.so.13",
            "/usr/local/cuda/lib64/libnvrtc.so.12",
        ]
    };
    names.iter().map(ToString::to_string).collect()
}

fn load(candidates: &[String]) -> Result<NvrtcApi> {
    let (library, name) =
        open_first(candidates).map_err(|tried| Error::NvrtcMissing { tried: tried.into() })?;
    // Never unloaded: the function table lives for the process.
    let library = ManuallyDrop::new(library);
    NvrtcApi::resolve(&|symbol| exported(&library, symbol)).map_err(|symbol| Error::NvrtcMissing {
        tried: vec![(name.clone(), format!("it lacks {symbol}"))].into(),
    })
}

fn check(call: &'static str, code: c_int, log: &str) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(Error::Nvrtc { call, code, log: log.into() }) }
}
