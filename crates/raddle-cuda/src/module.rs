//! Kernel images: loading PTX and cubins, their functions and globals, and
//! turning PTX into a cubin that can be kept.

use std::ffi::{CString, c_int, c_uint, c_void};
use std::sync::Arc;

use crate::context::Context;
use crate::driver::text_of;
use crate::error::{Error, Result, check};
use crate::status::Status;
use crate::sys::{
    CuDevicePtr, CuFunction, CuLinkState, CuModule, CuResult, JIT_ERROR_LOG, JIT_ERROR_LOG_BYTES,
    JIT_INFO_LOG, JIT_INFO_LOG_BYTES, JIT_INPUT_PTX, JIT_LINE_INFO, SUCCESS,
};

/// Length of each of the assembler's two log buffers.
const LOG_BYTES: usize = 16 << 10;

/// A loaded image. Its functions keep it loaded.
pub struct Module {
    context: Arc<Context>,
    raw: CuModule,
}

// SAFETY: the driver allows a module to be used from any thread.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

impl Module {
    /// Loads PTX text, which the driver assembles for the context's device.
    ///
    /// # Errors
    ///
    /// [`Error::Image`] with the assembler's log, or [`Error::ZeroByte`].
    pub fn from_ptx(context: &Arc<Context>, ptx: &str) -> Result<Arc<Self>> {
        let text = c_string(ptx)?;
        // SAFETY: PTX with its final zero.
        unsafe { Self::load(context, text.as_ptr().cast()) }
    }

    /// Loads a cubin.
    ///
    /// # Errors
    ///
    /// [`Error::Image`] if the bytes are not an ELF image that this driver and
    /// device take.
    ///
    /// # Safety
    ///
    /// `cubin` is a whole image: the driver reads as far as its own headers say.
    pub unsafe fn from_cubin(context: &Arc<Context>, cubin: &[u8]) -> Result<Arc<Self>> {
        if let Err(reason) = check_elf(cubin) {
            let (call, status) = ("cuModuleLoadDataEx", Status::INVALID_IMAGE);
            return Err(Error::Image { call, status, log: reason.into() });
        }
        // SAFETY: the caller's contract.
        unsafe { Self::load(context, cubin.as_ptr().cast()) }
    }

    /// # Safety
    ///
    /// `image` is PTX with a final zero, or a whole cubin.
    unsafe fn load(context: &Arc<Context>, image: *const c_void) -> Result<Arc<Self>> {
        let api = context.enter()?;
        let mut jit = JitOptions::new();
        let mut raw: CuModule = std::ptr::null_mut();
        let (keys, values) = (jit.keys.as_mut_ptr(), jit.values.as_mut_ptr());
        let load = api.module_load_data_ex;
        // SAFETY: `image` by the caller's contract; the options and the buffers
        // they name live for the call.
        let status = unsafe { load(&raw mut raw, image, JitOptions::LEN, keys, values) };
        jit.check("cuModuleLoadDataEx", status)?;
        Ok(Arc::new(Self { context: Arc::clone(context), raw }))
    }

    /// The module's context.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The kernel of that name.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_NOT_FOUND`, or a failed driver call.
    pub fn function(self: &Arc<Self>, name: &str) -> Result<Function> {
        let text = c_string(name)?;
        let api = self.context.enter()?;
        let mut raw: CuFunction = std::ptr::null_mut();
        // SAFETY: writes one handle that lives as long as the module.
        let status = unsafe { (api.module_get_function)(&raw mut raw, self.raw, text.as_ptr()) };
        check("cuModuleGetFunction", status)?;
        Ok(Function { module: Arc::clone(self), raw })
    }

    /// Address and size in bytes of the global variable of that name, if there
    /// is one.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn global(&self, name: &str) -> Result<Option<(u64, usize)>> {
        let text = c_string(name)?;
        let api = self.context.enter()?;
        let (mut address, mut bytes): (CuDevicePtr, usize) = (0, 0);
        let get = api.module_get_global;
        // SAFETY: writes one address and one size.
        let status = unsafe { get(&raw mut address, &raw mut bytes, self.raw, text.as_ptr()) };
        if Status(status) == Status::NOT_FOUND {
            return Ok(None);
        }
        check("cuModuleGetGlobal", status)?;
        Ok(Some((address, bytes)))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if let Ok(api) = self.context.enter() {
            // SAFETY: unloaded once, when no function of it is left.
            let _ = unsafe { (api.module_unload)(self.raw) };
        }
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Module({:p})", self.raw)
    }
}

/// Whether the tables and sections of an ELF64 image lie within its bytes, so that
/// a file that was cut is found before the driver reads past its end.
fn check_elf(image: &[u8]) -> Result<(), &'static str> {
    let number = |offset: usize, bytes: usize| -> Option<u64> {
        let field = image.get(offset..offset.checked_add(bytes)?)?;
        Some(field.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    };
    let within =
        |start: u64, len: u64| start.checked_add(len).is_some_and(|end| end <= image.len() as u64);
    if !image.starts_with(b"\x7fELF\x02\x01") {
        return Err("the bytes are no 64-bit ELF image");
    }
    let cut = "the image is cut: its headers name bytes beyond its end";
    let segments = (number(32, 8), number(54, 2), number(56, 2));
    let (Some(table), Some(entry_bytes), Some(len)) = segments else { return Err(cut) };
    if !within(table, entry_bytes * len) {
        return Err(cut);
    }
    let sections = (number(40, 8), number(58, 2), number(60, 2));
    let (Some(table), Some(entry_bytes), Some(len)) = sections else { return Err(cut) };
    if len > 0 && entry_bytes < 64 || !within(table, entry_bytes * len) {
        return Err(cut);
    }
    const NO_BITS: u64 = 8;
    for i in 0..len {
        let entry = (table + i * entry_bytes) as usize;
        let fields = (number(entry + 4, 4), number(entry + 24, 8), number(entry + 32, 8));
        let (Some(kind), Some(offset), Some(bytes)) = fields else { return Err(cut) };
        if kind != NO_BITS && !within(offset, bytes) {
            return Err(cut);
        }
    }
    Ok(())
}

/// A kernel of a loaded module.
#[derive(Clone)]
pub struct Function {
    module: Arc<Module>,
    pub(crate) raw: CuFunction,
}

// SAFETY: the driver allows a function to be launched from any thread.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

/// An attribute of a function; the numbers are `CUfunction_attribute`'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum FunctionAttribute {
    /// Threads that a block may have with this function's registers.
    MaxThreadsPerBlock = 0,
    /// Static shared memory in bytes.
    SharedBytes = 1,
    /// Constant memory in bytes.
    ConstantBytes = 2,
    /// Local memory of a thread in bytes: stack and spilled registers.
    LocalBytes = 3,
    /// Registers of a thread.
    Registers = 4,
    /// PTX version, as major times ten plus minor.
    PtxVersion = 5,
    /// Architecture of the machine code, as major times ten plus minor.
    BinaryVersion = 6,
    /// Most dynamic shared memory in bytes; can be set.
    MaxDynamicSharedBytes = 8,
    /// Preferred share of shared memory in per cent; can be set.
    PreferredSharedCarveout = 9,
    /// Whether a launch must state the cluster's shape.
    ClusterSizeMustBeSet = 10,
    /// Whether clusters of more than eight blocks are allowed; can be set.
    NonPortableClusterSizeAllowed = 14,
}

impl Function {
    /// The function's module.
    #[must_use]
    pub fn module(&self) -> &Arc<Module> {
        &self.module
    }

    /// The driver's handle, for libraries that take a `CUfunction`.
    #[must_use]
    pub fn as_raw(&self) -> *mut c_void {
        self.raw
    }

    /// The value of an attribute.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn attribute(&self, attribute: FunctionAttribute) -> Result<i32> {
        let api = self.module.context.enter()?;
        let mut value: c_int = 0;
        let get = api.func_get_attribute;
        // SAFETY: writes one int; the handle lives as long as the module.
        let status = unsafe { get(&raw mut value, attribute as u32, self.raw) };
        check("cuFuncGetAttribute", status)?;
        Ok(value)
    }

    /// Sets an attribute that can be set.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` beyond what the device has.
    pub fn set_attribute(&self, attribute: FunctionAttribute, value: i32) -> Result<()> {
        let api = self.module.context.enter()?;
        // SAFETY: plain numbers; the handle lives as long as the module.
        let status = unsafe { (api.func_set_attribute)(self.raw, attribute as u32, value) };
        check("cuFuncSetAttribute", status)
    }

    /// How many blocks of `threads` threads with `shared_bytes` of dynamic
    /// shared memory fit on a multiprocessor at once.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn blocks_per_multiprocessor(&self, threads: u32, shared_bytes: usize) -> Result<u32> {
        let api = self.module.context.enter()?;
        let mut blocks: c_int = 0;
        let threads = c_int::try_from(threads).unwrap_or(c_int::MAX);
        let query = api.occupancy_max_active_blocks;
        // SAFETY: writes one int; the handle lives as long as the module.
        let status = unsafe { query(&raw mut blocks, self.raw, threads, shared_bytes) };
        check("cuOccupancyMaxActiveBlocksPerMultiprocessor", status)?;
        Ok(blocks.unsigned_abs())
    }

    /// Offset and size in bytes of the parameter at `index`, or `None` past the
    /// last one.
    ///
    /// # Errors
    ///
    /// [`Error::FunctionMissing`] below CUDA 12.4, or a failed driver call.
    pub fn param(&self, index: usize) -> Result<Option<(usize, usize)>> {
        let api = self.module.context.enter()?;
        let missing = Error::FunctionMissing { symbol: "cuFuncGetParamInfo", since: (12, 4) };
        let get = api.func_get_param_info.ok_or(missing)?;
        let (mut offset, mut bytes) = (0usize, 0usize);
        // SAFETY: writes two sizes; the handle lives as long as the module.
        let status = unsafe { get(self.raw, index, &raw mut offset, &raw mut bytes) };
        if Status(status) == Status::INVALID_VALUE {
            return Ok(None);
        }
        check("cuFuncGetParamInfo", status)?;
        Ok(Some((offset, bytes)))
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Function({:p})", self.raw)
    }
}

/// Assembles PTX for the context's device and returns the cubin, with line
/// tables for profilers.
///
/// # Errors
///
/// [`Error::Image`] with the assembler's log, or [`Error::ZeroByte`].
pub fn assemble(context: &Arc<Context>, name: &str, ptx: &str) -> Result<Vec<u8>> {
    let (name, text) = (c_string(name)?, c_string(ptx)?);
    let api = context.enter()?;
    let mut jit = JitOptions::new();
    let mut state: CuLinkState = std::ptr::null_mut();
    let (keys, values) = (jit.keys.as_mut_ptr(), jit.values.as_mut_ptr());
    // SAFETY: the options and the buffers they name live until the link state is
    // destroyed, at the end of this function.
    let status = unsafe { (api.link_create)(JitOptions::LEN, keys, values, &raw mut state) };
    jit.check("cuLinkCreate", status)?;
    let destroy = api.link_destroy;
    let link = LinkState { state, destroy };
    let bytes = text.as_bytes_with_nul().len();
    let data = text.as_ptr().cast_mut().cast::<c_void>();
    let (none, no_values) = (std::ptr::null_mut::<u32>(), std::ptr::null_mut());
    let add = api.link_add_data;
    // SAFETY: the text lives for the call; no options are given.
    let status =
        unsafe { add(link.state, JIT_INPUT_PTX, data, bytes, name.as_ptr(), 0, none, no_values) };
    jit.check("cuLinkAddData", status)?;
    let (mut cubin, mut cubin_bytes): (*mut c_void, usize) = (std::ptr::null_mut(), 0);
    // SAFETY: writes one address and one size.
    let status = unsafe { (api.link_complete)(link.state, &raw mut cubin, &raw mut cubin_bytes) };
    jit.check("cuLinkComplete", status)?;
    // SAFETY: the driver keeps the cubin until the state is destroyed.
    Ok(unsafe { std::slice::from_raw_parts(cubin.cast::<u8>(), cubin_bytes) }.to_vec())
}

struct LinkState {
    state: CuLinkState,
    destroy: unsafe extern "system" fn(CuLinkState) -> CuResult,
}

impl Drop for LinkState {
    fn drop(&mut self) {
        // SAFETY: destroyed once, before the option buffers it points to.
        let _ = unsafe { (self.destroy)(self.state) };
    }
}

/// Log buffers and line tables for the driver's assembler.
struct JitOptions {
    keys: [u32; 5],
    values: [*mut c_void; 5],
    errors: Vec<u8>,
    _notes: Vec<u8>,
}

impl JitOptions {
    const LEN: c_uint = 5;

    fn new() -> Self {
        let mut errors = vec![0u8; LOG_BYTES];
        let mut notes = vec![0u8; LOG_BYTES];
        // Numbers travel in the pointers themselves.
        let number = |value: usize| std::ptr::without_provenance_mut::<c_void>(value);
        Self {
            keys: [
                JIT_ERROR_LOG,
                JIT_ERROR_LOG_BYTES,
                JIT_INFO_LOG,
                JIT_INFO_LOG_BYTES,
                JIT_LINE_INFO,
            ],
            values: [
                errors.as_mut_ptr().cast(),
                number(LOG_BYTES),
                notes.as_mut_ptr().cast(),
                number(LOG_BYTES),
                number(1),
            ],
            errors,
            _notes: notes,
        }
    }

    fn check(&self, call: &'static str, status: CuResult) -> Result<()> {
        if status == SUCCESS {
            return Ok(());
        }
        let log = text_of(&self.errors).trim_end().into();
        Err(Error::Image { call, status: Status(status), log })
    }
}

/// A C string of `text`.
pub(crate) fn c_string(text: &str) -> Result<CString> {
    CString::new(text)
        .map_err(|_| Error::ZeroByte { text: text.chars().take(80).collect::<String>().into() })
}

#[cfg(test)]
mod tests {
    use super::check_elf;

    /// An ELF image with one section of `len` bytes behind its header.
    fn image(len: u64) -> Vec<u8> {
        let mut image = vec![0u8; 64];
        image[..6].copy_from_slice(b"\x7fELF\x02\x01");
        image[40..48].copy_from_slice(&(64 + len).to_le_bytes());
        image[58] = 64;
        image[60] = 1;
        image.extend(vec![7; len as usize]);
        let mut section = vec![0u8; 64];
        section[4] = 1;
        section[24..32].copy_from_slice(&64u64.to_le_bytes());
        section[32..40].copy_from_slice(&len.to_le_bytes());
        image.extend(section);
        image
    }

    #[test]
    fn a_cut_image_is_found_wherever_it_is_cut() {
        let whole = image(100);
        assert_eq!(check_elf(&whole), Ok(()));
        for len in 0..whole.len() {
            assert!(check_elf(&whole[..len]).is_err(), "cut to {len} bytes");
        }
        assert!(check_elf(b"not an image at all").is_err());
        let mut wild = image(100);
        wild[40..48].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(check_elf(&wild).is_err());
    }
}
