//! Owners and small conveniences over [`api`]: the loaded library, contexts,
//! modules, target machines.
//!
//! A [`Module`] borrows its [`Context`], so no handle outlives its context.

pub mod api;

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use api::{
    Api, Attribute, Block, BufferRef, BuilderRef, ContextRef, Diagnostic, LayoutRef, MachineRef,
    Metadata, ModuleRef, Type, Value,
};

use crate::error::Error;

/// `LLVMLinkage` values in use.
pub mod linkage {
    /// `LLVMExternalLinkage`
    pub const EXTERNAL: i32 = 0;
    /// `LLVMLinkOnceODRLinkage`
    pub const LINK_ONCE_ODR: i32 = 3;
    /// `LLVMAppendingLinkage`
    pub const APPENDING: i32 = 7;
    /// `LLVMInternalLinkage`
    pub const INTERNAL: i32 = 8;
    /// `LLVMPrivateLinkage`
    pub const PRIVATE: i32 = 9;
}

/// Attribute index of a function itself; parameters count from 1.
pub const FUNCTION_INDEX: u32 = u32::MAX;
/// `LLVMFRem`
pub const OPCODE_FREM: i32 = 19;
/// `LLVMUnreachable`
pub const OPCODE_UNREACHABLE: i32 = 7;
/// `LLVMAlloca`
pub const OPCODE_ALLOCA: i32 = 26;
/// `LLVMLoad`
pub const OPCODE_LOAD: i32 = 27;
/// `LLVMAtomicCmpXchg`
pub const OPCODE_COMPARE_EXCHANGE: i32 = 56;
/// `LLVMAtomicRMW`
pub const OPCODE_UPDATE: i32 = 57;
/// `LLVMStore`
pub const OPCODE_STORE: i32 = 28;
/// `LLVMGetElementPtr`
pub const OPCODE_ELEMENT: i32 = 29;
/// `LLVMFPToUI`
pub const OPCODE_FLOAT_TO_UNSIGNED: i32 = 33;
/// `LLVMFPToSI`
pub const OPCODE_FLOAT_TO_SIGNED: i32 = 34;
/// `LLVMUIToFP`
pub const OPCODE_UNSIGNED_TO_FLOAT: i32 = 35;
/// `LLVMSIToFP`
pub const OPCODE_SIGNED_TO_FLOAT: i32 = 36;
/// `LLVMPHI`
pub const OPCODE_PHI: i32 = 44;
/// `LLVMVoidTypeKind`
pub const KIND_VOID: i32 = 0;
/// `LLVMFloatTypeKind`
pub const KIND_FLOAT: i32 = 2;
/// `LLVMDoubleTypeKind`
pub const KIND_DOUBLE: i32 = 3;
/// `LLVMIntegerTypeKind`
pub const KIND_INTEGER: i32 = 8;
/// `LLVMPointerTypeKind`
pub const KIND_POINTER: i32 = 12;

/// rustc's libLLVM, loaded and with its NVPTX back end initialised.
pub struct Llvm {
    /// The C functions.
    pub api: Api,
    /// The file it came from.
    pub path: PathBuf,
}

/// Options of LLVM's passes. Loops of constant length are unrolled up to a larger
/// size than a CPU would want: an array that is indexed by a loop counter stays in
/// registers only if the loop is gone.
const OPTIONS: [&CStr; 2] = [c"raddle-build", c"-unroll-threshold=1600"];

static LOADED: OnceLock<Llvm> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

impl Llvm {
    /// Loads `path` once for the life of the process.
    pub fn load(path: &Path) -> Result<&'static Self, Error> {
        let _guard = LOADING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(llvm) = LOADED.get() {
            return Ok(llvm);
        }
        let api = Api::load(path).map_err(|source| Error::LlvmLoad {
            path: path.to_path_buf(),
            reason: source.to_string(),
        })?;
        api.init_target_info();
        api.init_target();
        api.init_target_mc();
        api.init_asm_printer();
        api.install_fatal_handler(fatal_error);
        let options = OPTIONS.map(CStr::as_ptr);
        api.parse_options(options.len() as i32, options.as_ptr(), std::ptr::null());
        let llvm = Self { api, path: path.to_path_buf() };
        Ok(LOADED.get_or_init(|| llvm))
    }

    /// Major, minor and patch of the LLVM in a library, which is not kept loaded.
    pub fn version_of(path: &Path) -> Result<(u32, u32, u32), Error> {
        api::version_of(path).map_err(|source| Error::LlvmLoad {
            path: path.to_path_buf(),
            reason: source.to_string(),
        })
    }
}

/// Takes the message of a fatal error.
type Report = Box<dyn FnOnce(String)>;

thread_local! {
    /// Where a fatal LLVM error on this thread is reported.
    static FATAL: RefCell<Option<Report>> = const { RefCell::new(None) };
}

/// Runs `report` with the message if LLVM meets a fatal error on this thread.
/// The thread then sleeps for ever, since LLVM would end the process if the
/// handler returned; its memory goes when the build script ends.
pub fn on_fatal_error(report: impl FnOnce(String) + 'static) {
    FATAL.with(|slot| *slot.borrow_mut() = Some(Box::new(report)));
}

unsafe extern "C" fn fatal_error(reason: *const c_char) {
    // SAFETY: LLVM passes a NUL-terminated message.
    let reason = unsafe { CStr::from_ptr(reason) }.to_string_lossy().into_owned();
    let report = FATAL.with(|slot| slot.borrow_mut().take());
    if let Some(report) = report {
        report(reason);
        loop {
            std::thread::park();
        }
    }
    eprintln!("LLVM failed: {reason}");
}

/// An LLVM context that gathers error diagnostics instead of printing them.
pub struct Context {
    /// The library.
    pub llvm: &'static Llvm,
    /// The handle.
    pub raw: ContextRef,
    errors: Box<RefCell<Vec<String>>>,
}

impl Context {
    /// A fresh context.
    pub fn new(llvm: &'static Llvm) -> Self {
        let raw = llvm.api.context_create();
        let errors = Box::new(RefCell::new(Vec::new()));
        let data = (&raw const *errors).cast_mut().cast::<c_void>();
        llvm.api.set_diagnostic_handler(raw, Some(gather_diagnostic), data);
        Self { llvm, raw, errors }
    }

    /// Takes the errors that LLVM has reported so far.
    pub fn take_errors(&self) -> Vec<String> {
        std::mem::take(&mut *self.errors.borrow_mut())
    }

    /// Parses bitcode.
    pub fn parse(&self, bitcode: &[u8], name: &str) -> Result<Module<'_>, Error> {
        let api = &self.llvm.api;
        let label = CString::new(name.replace('\0', "")).expect("NUL bytes were removed");
        let buffer = api.buffer_from_bytes(bitcode.as_ptr().cast(), bitcode.len(), label.as_ptr());
        let mut raw = ModuleRef::NULL;
        let failed = api.parse_bitcode(self.raw, buffer, &mut raw) != 0;
        api.buffer_dispose(buffer);
        if failed {
            return Err(Error::Bitcode {
                name: name.to_owned(),
                reason: self.take_errors().join("; "),
            });
        }
        Ok(Module { context: self, raw })
    }

    /// The integer type of `bits` bits.
    pub fn int(&self, bits: u32) -> Type {
        self.llvm.api.int_type(self.raw, bits)
    }

    /// The pointer type of address space `space`.
    pub fn pointer(&self, space: u32) -> Type {
        self.llvm.api.pointer_type(self.raw, space)
    }

    /// The void type.
    pub fn void(&self) -> Type {
        self.llvm.api.void_type(self.raw)
    }

    /// A function type.
    pub fn function(&self, ret: Type, params: &[Type]) -> Type {
        self.llvm.api.function_type(ret, params.as_ptr(), params.len() as u32, 0)
    }

    /// The attribute `name` with an integer value (0 for a flag).
    pub fn attribute(&self, name: &str, value: u64) -> Attribute {
        let api = &self.llvm.api;
        api.create_enum_attribute(self.raw, self.attribute_kind(name), value)
    }

    /// LLVM's number for the attribute `name`.
    pub fn attribute_kind(&self, name: &str) -> u32 {
        self.llvm.api.attribute_kind(name.as_ptr().cast(), name.len())
    }

    /// A string attribute.
    pub fn string_attribute(&self, key: &str, value: &str) -> Attribute {
        self.llvm.api.create_string_attribute(
            self.raw,
            key.as_ptr().cast(),
            key.len() as u32,
            value.as_ptr().cast(),
            value.len() as u32,
        )
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.llvm.api.context_dispose(self.raw);
    }
}

unsafe extern "C" fn gather_diagnostic(info: Diagnostic, data: *mut c_void) {
    let Some(llvm) = LOADED.get() else { return };
    const SEVERITY_ERROR: i32 = 0;
    if llvm.api.diagnostic_severity(info) != SEVERITY_ERROR {
        return;
    }
    let text = take_message(&llvm.api, llvm.api.diagnostic_description(info));
    // SAFETY: `data` points to the context's boxed cell, which lives as long as
    // the context that calls this handler.
    let errors = unsafe { &*data.cast::<RefCell<Vec<String>>>() };
    errors.borrow_mut().push(text);
}

/// Copies and frees a message that LLVM allocated.
pub fn take_message(api: &Api, message: *mut c_char) -> String {
    if message.is_null() {
        return String::new();
    }
    // SAFETY: LLVM messages are NUL-terminated strings.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
    api.dispose_message(message);
    text
}

/// A module and the context it lives in.
pub struct Module<'c> {
    /// The context.
    pub context: &'c Context,
    /// The handle.
    pub raw: ModuleRef,
}

impl Drop for Module<'_> {
    fn drop(&mut self) {
        if self.raw != ModuleRef::NULL {
            self.api().module_dispose(self.raw);
        }
    }
}

impl<'c> Module<'c> {
    /// The C functions.
    pub fn api(&self) -> &'static Api {
        &self.context.llvm.api
    }

    /// Every function, declared or defined.
    pub fn functions(&self) -> Vec<Value> {
        walk(self.api().first_function(self.raw), |f| self.api().next_function(f))
    }

    /// Every global variable.
    pub fn globals(&self) -> Vec<Value> {
        walk(self.api().first_global(self.raw), |g| self.api().next_global(g))
    }

    /// The instructions of a function, in order.
    pub fn instructions(&self, function: Value) -> Vec<Value> {
        let api = self.api();
        let mut all = Vec::new();
        let mut block = api.first_block(function);
        while block != Block::NULL {
            all.extend(walk(api.first_instruction(block), |i| api.next_instruction(i)));
            block = api.next_block(block);
        }
        all
    }

    /// The blocks of a function, in order.
    pub fn blocks(&self, function: Value) -> Vec<Block> {
        let api = self.api();
        let mut blocks = Vec::new();
        let mut block = api.first_block(function);
        while block != Block::NULL {
            blocks.push(block);
            block = api.next_block(block);
        }
        blocks
    }

    /// The blocks that may follow a block.
    pub fn successors(&self, block: Block) -> Vec<Block> {
        let api = self.api();
        let terminator = api.terminator(block);
        (0..api.count_successors(terminator)).map(|i| api.successor(terminator, i)).collect()
    }

    /// The users of a value, each as often as it uses it.
    pub fn users(&self, value: Value) -> Vec<Value> {
        let api = self.api();
        let mut all = Vec::new();
        let mut usage = api.first_use(value);
        while let Some(current) = usage.some() {
            all.push(api.user(current));
            usage = api.next_use(current);
        }
        all
    }

    /// The calls of `function` (not the places that take its address).
    pub fn calls_of(&self, function: Value) -> Vec<Value> {
        let api = self.api();
        let is_call = |user: Value| {
            (api.is_call(user).some().is_some() || api.is_invoke(user).some().is_some())
                && api.callee(user) == function
        };
        let mut calls: Vec<Value> =
            self.users(function).into_iter().filter(|&u| is_call(u)).collect();
        let mut seen = std::collections::HashSet::new();
        calls.retain(|&call| seen.insert(call));
        calls
    }

    /// The function that holds an instruction.
    pub fn function_of(&self, instruction: Value) -> Value {
        self.api().block_function(self.api().instruction_block(instruction))
    }

    /// The name of a value; empty if it has none.
    pub fn name(&self, value: Value) -> String {
        let mut bytes = 0;
        let text = self.api().value_name(value, &mut bytes);
        if text.is_null() {
            return String::new();
        }
        // SAFETY: LLVM returns `bytes` bytes at `text`, alive while the value is.
        let slice = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), bytes) };
        String::from_utf8_lossy(slice).into_owned()
    }

    /// Renames a value.
    pub fn rename(&self, value: Value, name: &str) {
        self.api().set_value_name(value, name.as_ptr().cast(), name.len());
    }

    /// The template of the inline assembly that `call` runs, if it does.
    pub fn inline_asm_text(&self, call: Value) -> Option<String> {
        let api = self.api();
        api.is_call(call).some()?;
        let code = api.is_inline_asm(api.callee(call)).some()?;
        let mut bytes = 0;
        let text = api.inline_asm_text(code, &mut bytes);
        // SAFETY: LLVM returns `bytes` bytes at `text`, alive with the context.
        let slice = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), bytes) };
        Some(String::from_utf8_lossy(slice).into_owned())
    }

    /// Gives a function a string attribute of our own.
    pub fn set_note(&self, function: Value, key: &str, text: &str) {
        let attribute = self.context.string_attribute(key, text);
        self.api().add_attribute(function, FUNCTION_INDEX, attribute);
    }

    /// The string attribute `key` of a function; other values have none.
    pub fn note(&self, value: Value, key: &str) -> Option<String> {
        let api = self.api();
        let function = api.is_function(value).some()?;
        let attribute = api
            .string_attribute(function, FUNCTION_INDEX, key.as_ptr().cast(), key.len() as u32)
            .some()?;
        let mut bytes = 0;
        let text = api.string_attribute_value(attribute, &mut bytes);
        if text.is_null() {
            return Some(String::new());
        }
        // SAFETY: LLVM returns `bytes` bytes at `text`, alive with the context.
        let slice = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), bytes as usize) };
        Some(String::from_utf8_lossy(slice).into_owned())
    }

    /// The function called `name`.
    pub fn function(&self, name: &str) -> Option<Value> {
        let name = CString::new(name).ok()?;
        self.api().named_function(self.raw, name.as_ptr()).some()
    }

    /// The global variable called `name`.
    pub fn global(&self, name: &str) -> Option<Value> {
        let name = CString::new(name).ok()?;
        self.api().named_global(self.raw, name.as_ptr()).some()
    }

    /// Declares a function.
    pub fn declare(&self, name: &str, ty: Type) -> Value {
        let name = CString::new(name).expect("symbol names hold no NUL");
        self.api().add_function(self.raw, name.as_ptr(), ty)
    }

    /// Adds a private constant.
    pub fn add_constant(&self, name: &str, constant: Value) -> Value {
        let api = self.api();
        let name = CString::new(name).expect("symbol names hold no NUL");
        let global = api.add_global(self.raw, api.type_of(constant), name.as_ptr());
        api.set_initializer(global, constant);
        api.set_linkage(global, linkage::PRIVATE);
        api.set_constant(global, 1);
        global
    }

    /// Whether `value` is declared here but defined nowhere.
    pub fn is_declaration(&self, value: Value) -> bool {
        self.api().is_declaration(value) != 0
    }

    /// The parameter types of a function type.
    pub fn param_types(&self, ty: Type) -> Vec<Type> {
        let mut types = vec![Type::NULL; self.api().count_param_types(ty) as usize];
        self.api().param_types(ty, types.as_mut_ptr());
        types
    }

    /// A builder for this module's context.
    pub fn builder(&self) -> Builder {
        Builder { api: self.api(), raw: self.api().builder(self.context.raw) }
    }

    /// A copy in the same context.
    pub fn duplicate(&self) -> Module<'c> {
        Module { context: self.context, raw: self.api().clone_module(self.raw) }
    }

    /// The bitcode of the module.
    pub fn to_bitcode(&self) -> Vec<u8> {
        take_buffer(self.api(), self.api().write_bitcode(self.raw))
    }

    /// The module as LLVM assembly, for debugging dumps.
    pub fn to_text(&self) -> String {
        take_message(self.api(), self.api().print_module(self.raw))
    }

    /// Links what this module needs of `other` into it.
    pub fn link(&self, mut other: Module<'c>) -> Result<(), Error> {
        let raw = std::mem::replace(&mut other.raw, ModuleRef::NULL);
        if self.api().link_modules(self.raw, raw) != 0 {
            return Err(Error::Link { reason: self.context.take_errors().join("; ") });
        }
        Ok(())
    }

    /// LLVM's own consistency check.
    pub fn verify(&self) -> Result<(), Error> {
        const RETURN_STATUS: i32 = 2;
        let mut message = std::ptr::null_mut();
        let broken = self.api().verify(self.raw, RETURN_STATUS, &mut message) != 0;
        let reason = take_message(self.api(), message);
        if broken { Err(Error::Verify { reason }) } else { Ok(()) }
    }

    /// The source place of an instruction: `file:line:column`, innermost first,
    /// then where that was inlined.
    pub fn places(&self, instruction: Value) -> Vec<Place> {
        let api = self.api();
        let mut places = Vec::new();
        let mut location = api.debug_location(instruction);
        while location != Metadata::NULL {
            let file = api.scope_file(api.location_scope(location));
            let file = if file == Metadata::NULL { String::new() } else { self.file_name(file) };
            places.push(Place {
                file,
                line: api.location_line(location),
                column: api.location_column(location),
            });
            location = api.location_inlined_at(location);
        }
        places
    }

    fn file_name(&self, file: Metadata) -> String {
        let mut bytes = 0;
        let text = self.api().file_name(file, &mut bytes);
        if text.is_null() {
            return String::new();
        }
        // SAFETY: LLVM returns `bytes` bytes at `text`, alive while the module is.
        let slice = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), bytes as usize) };
        String::from_utf8_lossy(slice).into_owned()
    }
}

/// A place in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// File, as rustc was given it (remapped).
    pub file: String,
    /// Line, from 1; 0 when unknown.
    pub line: u32,
    /// Column, from 1; 0 when unknown.
    pub column: u32,
}

fn walk<T: Copy + PartialEq + IsNull>(first: T, next: impl Fn(T) -> T) -> Vec<T> {
    let mut all = Vec::new();
    let mut current = first;
    while !current.is_null() {
        all.push(current);
        current = next(current);
    }
    all
}

trait IsNull {
    fn is_null(&self) -> bool;
}

impl IsNull for Value {
    fn is_null(&self) -> bool {
        self.0.is_null()
    }
}

/// Copies and frees a memory buffer.
pub fn take_buffer(api: &Api, buffer: BufferRef) -> Vec<u8> {
    let (start, bytes) = (api.buffer_start(buffer), api.buffer_bytes(buffer));
    // SAFETY: the buffer holds `bytes` bytes at `start` until it is disposed.
    let copy = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), bytes) }.to_vec();
    api.buffer_dispose(buffer);
    copy
}

/// An instruction builder.
pub struct Builder {
    api: &'static Api,
    raw: BuilderRef,
}

const UNNAMED: *const c_char = c"".as_ptr();

impl Builder {
    /// Builds before `instruction` from now on.
    pub fn before(&self, instruction: Value) -> &Self {
        self.api.position_before(self.raw, instruction);
        self
    }

    /// Builds at the end of `block` from now on.
    pub fn at_end(&self, block: Block) -> &Self {
        self.api.position_at_end(self.raw, block);
        self
    }

    /// A call.
    pub fn call(&self, ty: Type, function: Value, args: &[Value]) -> Value {
        self.api.build_call(self.raw, ty, function, args.as_ptr(), args.len() as u32, UNNAMED)
    }

    /// A variable on the stack.
    pub fn alloca(&self, ty: Type, align: u32) -> Value {
        let variable = self.api.build_alloca(self.raw, ty, UNNAMED);
        self.api.set_alignment(variable, align);
        variable
    }

    /// A copy of `bytes` bytes between variables with one alignment.
    pub fn copy(&self, to: Value, from: Value, align: u32, bytes: Value) {
        self.api.build_memcpy(self.raw, to, align, from, align, bytes);
    }

    /// Puts an instruction that is in no block here.
    pub fn insert(&self, instruction: Value) {
        self.api.insert(self.raw, instruction);
    }

    /// A load.
    pub fn load(&self, ty: Type, pointer: Value) -> Value {
        self.api.build_load(self.raw, ty, pointer, UNNAMED)
    }

    /// A store.
    pub fn store(&self, value: Value, pointer: Value) {
        self.api.build_store(self.raw, value, pointer);
    }

    /// The address of element `index` of an array of `element` at `pointer`.
    pub fn element(&self, element: Type, pointer: Value, index: Value) -> Value {
        self.api.build_gep(self.raw, element, pointer, &index, 1, UNNAMED)
    }

    /// A field of an aggregate value.
    pub fn extract(&self, aggregate: Value, index: u32) -> Value {
        self.api.build_extract(self.raw, aggregate, index, UNNAMED)
    }

    /// Whether two values are equal.
    pub fn is_equal(&self, left: Value, right: Value) -> Value {
        const INT_EQ: i32 = 32;
        self.api.build_icmp(self.raw, INT_EQ, left, right, UNNAMED)
    }

    /// A conditional branch.
    pub fn branch(&self, condition: Value, yes: Block, no: Block) {
        self.api.build_cond_br(self.raw, condition, yes, no);
    }

    /// A return of `value`.
    pub fn ret(&self, value: Value) {
        self.api.build_ret(self.raw, value);
    }

    /// A return of nothing.
    pub fn ret_void(&self) {
        self.api.build_ret_void(self.raw);
    }

    /// The end of a block that is never left.
    pub fn unreachable(&self) {
        self.api.build_unreachable(self.raw);
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        self.api.builder_dispose(self.raw);
    }
}

/// A target machine for one NVPTX processor.
pub struct Machine {
    api: &'static Api,
    /// The handle.
    pub raw: MachineRef,
    /// Its data layout.
    pub layout: LayoutRef,
}

/// The triple of device modules.
pub const TRIPLE: &CStr = c"nvptx64-nvidia-cuda";

impl Machine {
    /// A machine for `processor` (`sm_80`) with `features` (`+ptx80`).
    pub fn new(llvm: &'static Llvm, processor: &str, features: &str) -> Result<Self, Error> {
        const LEVEL_AGGRESSIVE: i32 = 3;
        let api = &llvm.api;
        let mut target = api::TargetRef::NULL;
        let mut message = std::ptr::null_mut();
        if api.target_from_triple(TRIPLE.as_ptr(), &mut target, &mut message) != 0 {
            return Err(Error::NoBackEnd {
                path: llvm.path.clone(),
                reason: take_message(api, message),
            });
        }
        let cpu = CString::new(processor).expect("processor names hold no NUL");
        let features = CString::new(features).expect("feature names hold no NUL");
        let raw = api.create_machine(
            target,
            TRIPLE.as_ptr(),
            cpu.as_ptr(),
            features.as_ptr(),
            LEVEL_AGGRESSIVE,
            0,
            0,
        );
        Ok(Self { api, raw, layout: api.machine_layout(raw) })
    }

    /// Runs a pass pipeline over a module.
    pub fn run_passes(&self, module: &Module<'_>, passes: &str) -> Result<(), Error> {
        let passes_text = CString::new(passes).expect("pass names hold no NUL");
        let options = self.api.pass_options();
        let error = self.api.run_passes(module.raw, passes_text.as_ptr(), self.raw, options);
        self.api.pass_options_dispose(options);
        if error == api::ErrorRef::NULL {
            return Ok(());
        }
        let message = self.api.error_message(error);
        // SAFETY: LLVM returns a NUL-terminated message, freed just below.
        let reason = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
        self.api.error_message_dispose(message);
        Err(Error::Passes { passes: passes.to_owned(), reason })
    }

    /// The PTX of a module.
    pub fn emit(&self, module: &Module<'_>) -> Result<String, Error> {
        const ASSEMBLY: i32 = 0;
        let mut message = std::ptr::null_mut();
        let mut buffer = BufferRef::NULL;
        if self.api.emit(self.raw, module.raw, ASSEMBLY, &mut message, &mut buffer) != 0 {
            return Err(Error::Emit { reason: take_message(self.api, message) });
        }
        let ptx = take_buffer(self.api, buffer);
        let errors = module.context.take_errors();
        if !errors.is_empty() {
            return Err(Error::Emit { reason: errors.join("; ") });
        }
        String::from_utf8(ptx).map_err(|e| Error::Emit { reason: e.to_string() })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.api.layout_dispose(self.layout);
        self.api.machine_dispose(self.raw);
    }
}
