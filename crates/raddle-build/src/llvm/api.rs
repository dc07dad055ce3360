//! The part of LLVM's C API that the compiler uses, resolved from rustc's own
//! libLLVM at run time.
//!
//! Invariant: every handle passed to a method of [`Api`] came from the same
//! library and its context is still alive. Handles are plain pointers; the
//! owners ([`Context`](super::Context) and friends) live as long as the
//! compilation of one kernel, and nothing outside this crate sees a handle.
//! On that condition the methods are safe to call, which keeps the passes
//! readable; the calls themselves are the only unsafe code of this module.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::path::Path;

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident;)*) => { $(
        $(#[$doc])*
        #[repr(transparent)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub struct $name(pub *mut c_void);
    )* };
}

handles! {
    /// `LLVMContextRef`
    ContextRef;
    /// `LLVMModuleRef`
    ModuleRef;
    /// `LLVMValueRef`
    Value;
    /// `LLVMTypeRef`
    Type;
    /// `LLVMBasicBlockRef`
    Block;
    /// `LLVMBuilderRef`
    BuilderRef;
    /// `LLVMMemoryBufferRef`
    BufferRef;
    /// `LLVMTargetRef`
    TargetRef;
    /// `LLVMTargetMachineRef`
    MachineRef;
    /// `LLVMTargetDataRef`
    LayoutRef;
    /// `LLVMPassBuilderOptionsRef`
    PassOptionsRef;
    /// `LLVMErrorRef`
    ErrorRef;
    /// `LLVMUseRef`
    Use;
    /// `LLVMMetadataRef`
    Metadata;
    /// `LLVMAttributeRef`
    Attribute;
    /// `LLVMDiagnosticInfoRef`
    Diagnostic;
}

/// `LLVMDiagnosticHandler`
pub type DiagnosticHandler = unsafe extern "C" fn(Diagnostic, *mut c_void);

macro_rules! nullable {
    ($($name:ident),*) => { $(
        impl $name {
            /// The null handle, LLVM's "none".
            pub const NULL: Self = Self(std::ptr::null_mut());
        }
    )* };
}

nullable!(ModuleRef, Value, Type, Block, BufferRef, TargetRef, ErrorRef, Metadata);

macro_rules! optional {
    ($($name:ident),*) => { $(
        impl $name {
            /// The handle, unless it is null.
            pub fn some(self) -> Option<Self> {
                (!self.0.is_null()).then_some(self)
            }
        }
    )* };
}

optional!(Value, Use, Attribute);

/// The version that a library's `LLVMGetVersion` tells; the library is unloaded
/// again.
pub fn version_of(path: &Path) -> Result<(u32, u32, u32), libloading::Error> {
    type GetVersion = unsafe extern "C" fn(*mut c_uint, *mut c_uint, *mut c_uint);
    // SAFETY: a libLLVM runs only its own initialisers, which are meant to run in
    // any process that loads it.
    let library = unsafe { libloading::Library::new(path)? };
    // SAFETY: the type is the C declaration of this function since LLVM 16.
    let get_version = unsafe { library.get::<GetVersion>(b"LLVMGetVersion\0")? };
    let (mut major, mut minor, mut patch) = (0, 0, 0);
    // SAFETY: three places for numbers, alive for the call.
    unsafe { get_version(&mut major, &mut minor, &mut patch) };
    Ok((major, minor, patch))
}

macro_rules! api {
    ($($symbol:ident => fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?;)*) => {
        /// The resolved functions.
        pub struct Api {
            $($name: unsafe extern "C" fn($($ty),*) $(-> $ret)?,)*
            _library: libloading::Library,
        }

        impl Api {
            /// Loads the library and resolves every function.
            ///
            /// # Errors
            ///
            /// When the file is not a loadable library or lacks a function, which
            /// means an LLVM that is too old.
            pub fn load(path: &Path) -> Result<Self, libloading::Error> {
                // SAFETY: rustc's libLLVM runs only its own initialisers, which
                // are meant to run in any process that loads it.
                let library = unsafe { libloading::Library::new(path)? };
                $(
                    // SAFETY: the type is the C declaration of this function in
                    // LLVM 20 to 22.
                    let $name = unsafe { *library.get(concat!(stringify!($symbol), "\0").as_bytes())? };
                )*
                Ok(Self { $($name,)* _library: library })
            }

            $(
                #[allow(clippy::too_many_arguments)]
                pub fn $name(&self, $($arg: $ty),*) $(-> $ret)? {
                    // SAFETY: see the module's invariant: live handles of one library.
                    unsafe { (self.$name)($($arg),*) }
                }
            )*
        }
    };
}

api! {
    LLVMInitializeNVPTXTargetInfo => fn init_target_info();
    LLVMInitializeNVPTXTarget => fn init_target();
    LLVMInitializeNVPTXTargetMC => fn init_target_mc();
    LLVMInitializeNVPTXAsmPrinter => fn init_asm_printer();
    LLVMParseCommandLineOptions => fn parse_options(count: c_int, options: *const *const c_char, overview: *const c_char);
    LLVMInstallFatalErrorHandler => fn install_fatal_handler(handler: unsafe extern "C" fn(*const c_char));
    LLVMContextCreate => fn context_create() -> ContextRef;
    LLVMContextDispose => fn context_dispose(context: ContextRef);
    LLVMContextSetDiagnosticHandler => fn set_diagnostic_handler(context: ContextRef, handler: Option<DiagnosticHandler>, data: *mut c_void);
    LLVMGetDiagInfoDescription => fn diagnostic_description(info: Diagnostic) -> *mut c_char;
    LLVMGetDiagInfoSeverity => fn diagnostic_severity(info: Diagnostic) -> c_int;
    LLVMDisposeMessage => fn dispose_message(message: *mut c_char);
    LLVMCreateMemoryBufferWithMemoryRangeCopy => fn buffer_from_bytes(data: *const c_char, bytes: usize, name: *const c_char) -> BufferRef;
    LLVMDisposeMemoryBuffer => fn buffer_dispose(buffer: BufferRef);
    LLVMGetBufferStart => fn buffer_start(buffer: BufferRef) -> *const c_char;
    LLVMGetBufferSize => fn buffer_bytes(buffer: BufferRef) -> usize;
    LLVMParseBitcodeInContext2 => fn parse_bitcode(context: ContextRef, buffer: BufferRef, module: *mut ModuleRef) -> c_int;
    LLVMWriteBitcodeToMemoryBuffer => fn write_bitcode(module: ModuleRef) -> BufferRef;
    LLVMCloneModule => fn clone_module(module: ModuleRef) -> ModuleRef;
    LLVMDisposeModule => fn module_dispose(module: ModuleRef);
    LLVMLinkModules2 => fn link_modules(into: ModuleRef, from: ModuleRef) -> c_int;
    LLVMVerifyModule => fn verify(module: ModuleRef, action: c_int, message: *mut *mut c_char) -> c_int;
    LLVMPrintModuleToString => fn print_module(module: ModuleRef) -> *mut c_char;
    LLVMSetTarget => fn set_target(module: ModuleRef, triple: *const c_char);
    LLVMSetModuleDataLayout => fn set_layout(module: ModuleRef, layout: LayoutRef);
    LLVMSetModuleInlineAsm2 => fn set_module_asm(module: ModuleRef, text: *const c_char, bytes: usize);
    LLVMGetTargetFromTriple => fn target_from_triple(triple: *const c_char, target: *mut TargetRef, message: *mut *mut c_char) -> c_int;
    LLVMCreateTargetMachine => fn create_machine(target: TargetRef, triple: *const c_char, cpu: *const c_char, features: *const c_char, level: c_int, reloc: c_int, model: c_int) -> MachineRef;
    LLVMDisposeTargetMachine => fn machine_dispose(machine: MachineRef);
    LLVMCreateTargetDataLayout => fn machine_layout(machine: MachineRef) -> LayoutRef;
    LLVMDisposeTargetData => fn layout_dispose(layout: LayoutRef);
    LLVMTargetMachineEmitToMemoryBuffer => fn emit(machine: MachineRef, module: ModuleRef, kind: c_int, message: *mut *mut c_char, out: *mut BufferRef) -> c_int;
    LLVMCreatePassBuilderOptions => fn pass_options() -> PassOptionsRef;
    LLVMDisposePassBuilderOptions => fn pass_options_dispose(options: PassOptionsRef);
    LLVMRunPasses => fn run_passes(module: ModuleRef, passes: *const c_char, machine: MachineRef, options: PassOptionsRef) -> ErrorRef;
    LLVMGetErrorMessage => fn error_message(error: ErrorRef) -> *mut c_char;
    LLVMDisposeErrorMessage => fn error_message_dispose(message: *mut c_char);

    LLVMGetFirstFunction => fn first_function(module: ModuleRef) -> Value;
    LLVMGetNextFunction => fn next_function(function: Value) -> Value;
    LLVMGetFirstGlobal => fn first_global(module: ModuleRef) -> Value;
    LLVMGetNextGlobal => fn next_global(global: Value) -> Value;
    LLVMGetNamedFunction => fn named_function(module: ModuleRef, name: *const c_char) -> Value;
    LLVMGetNamedGlobal => fn named_global(module: ModuleRef, name: *const c_char) -> Value;
    LLVMAddFunction => fn add_function(module: ModuleRef, name: *const c_char, ty: Type) -> Value;
    LLVMDeleteFunction => fn delete_function(function: Value);
    LLVMAddGlobal => fn add_global(module: ModuleRef, ty: Type, name: *const c_char) -> Value;
    LLVMAddGlobalInAddressSpace => fn add_global_in(module: ModuleRef, ty: Type, name: *const c_char, space: c_uint) -> Value;
    LLVMDeleteGlobal => fn delete_global(global: Value);
    LLVMGetValueName2 => fn value_name(value: Value, bytes: *mut usize) -> *const c_char;
    LLVMSetValueName2 => fn set_value_name(value: Value, name: *const c_char, bytes: usize);
    LLVMIsDeclaration => fn is_declaration(value: Value) -> c_int;
    LLVMGetLinkage => fn linkage(value: Value) -> c_int;
    LLVMSetLinkage => fn set_linkage(value: Value, linkage: c_int);
    LLVMSetVisibility => fn set_visibility(value: Value, visibility: c_uint);
    LLVMSetComdat => fn set_comdat(value: Value, comdat: *mut c_void);
    LLVMSetAlignment => fn set_alignment(value: Value, bytes: c_uint);
    LLVMGlobalGetValueType => fn value_type(value: Value) -> Type;
    LLVMGetInitializer => fn initializer(value: Value) -> Value;
    LLVMSetInitializer => fn set_initializer(value: Value, constant: Value);
    LLVMIsGlobalConstant => fn is_constant(value: Value) -> c_int;
    LLVMSetGlobalConstant => fn set_constant(value: Value, is_constant: c_int);
    LLVMIsThreadLocal => fn is_thread_local(value: Value) -> c_int;
    LLVMSetFunctionCallConv => fn set_function_convention(function: Value, convention: c_uint);
    LLVMHasPersonalityFn => fn has_personality(function: Value) -> c_int;
    LLVMSetPersonalityFn => fn set_personality(function: Value, personality: Value);
    LLVMLookupIntrinsicID => fn lookup_intrinsic(name: *const c_char, bytes: usize) -> c_uint;
    LLVMIntrinsicIsOverloaded => fn intrinsic_is_overloaded(id: c_uint) -> c_int;
    LLVMGetIntrinsicDeclaration => fn intrinsic_declaration(module: ModuleRef, id: c_uint, types: *const Type, len: usize) -> Value;
    LLVMCountParams => fn count_params(function: Value) -> c_uint;
    LLVMGetParam => fn param(function: Value, index: c_uint) -> Value;

    LLVMRemoveStringAttributeAtIndex => fn remove_string_attribute(function: Value, index: c_uint, key: *const c_char, bytes: c_uint);
    LLVMRemoveEnumAttributeAtIndex => fn remove_enum_attribute(function: Value, index: c_uint, kind: c_uint);
    LLVMGetEnumAttributeKindForName => fn attribute_kind(name: *const c_char, bytes: usize) -> c_uint;
    LLVMGetEnumAttributeAtIndex => fn enum_attribute(function: Value, index: c_uint, kind: c_uint) -> Attribute;
    LLVMCreateEnumAttribute => fn create_enum_attribute(context: ContextRef, kind: c_uint, value: u64) -> Attribute;
    LLVMCreateTypeAttribute => fn create_type_attribute(context: ContextRef, kind: c_uint, ty: Type) -> Attribute;
    LLVMCreateConstantRangeAttribute => fn create_range_attribute(context: ContextRef, kind: c_uint, bits: c_uint, low: *const u64, high: *const u64) -> Attribute;
    LLVMCreateStringAttribute => fn create_string_attribute(context: ContextRef, key: *const c_char, key_bytes: c_uint, value: *const c_char, value_bytes: c_uint) -> Attribute;
    LLVMAddAttributeAtIndex => fn add_attribute(function: Value, index: c_uint, attribute: Attribute);
    LLVMGetStringAttributeAtIndex => fn string_attribute(value: Value, index: c_uint, key: *const c_char, key_bytes: c_uint) -> Attribute;
    LLVMGetStringAttributeValue => fn string_attribute_value(attribute: Attribute, bytes: *mut c_uint) -> *const c_char;
    LLVMAddCallSiteAttribute => fn add_call_attribute(call: Value, index: c_uint, attribute: Attribute);
    LLVMGetCallSiteEnumAttribute => fn call_attribute(call: Value, index: c_uint, kind: c_uint) -> Attribute;
    LLVMRemoveCallSiteEnumAttribute => fn remove_call_enum_attribute(call: Value, index: c_uint, kind: c_uint);

    LLVMTypeOf => fn type_of(value: Value) -> Type;
    LLVMGetTypeKind => fn type_kind(ty: Type) -> c_int;
    LLVMGetIntTypeWidth => fn int_width(ty: Type) -> c_uint;
    LLVMGetReturnType => fn return_type(ty: Type) -> Type;
    LLVMCountParamTypes => fn count_param_types(ty: Type) -> c_uint;
    LLVMGetParamTypes => fn param_types(ty: Type, out: *mut Type);
    LLVMFunctionType => fn function_type(ret: Type, params: *const Type, len: c_uint, variadic: c_int) -> Type;
    LLVMStructTypeInContext => fn struct_type(context: ContextRef, fields: *const Type, len: c_uint, packed: c_int) -> Type;
    LLVMArrayType2 => fn array_type(element: Type, len: u64) -> Type;
    LLVMPointerTypeInContext => fn pointer_type(context: ContextRef, space: c_uint) -> Type;
    LLVMVoidTypeInContext => fn void_type(context: ContextRef) -> Type;
    LLVMFloatTypeInContext => fn float_type(context: ContextRef) -> Type;
    LLVMDoubleTypeInContext => fn double_type(context: ContextRef) -> Type;
    LLVMIntTypeInContext => fn int_type(context: ContextRef, bits: c_uint) -> Type;

    LLVMConstInt => fn const_int(ty: Type, value: u64, signed: c_int) -> Value;
    LLVMGetUndef => fn undef(ty: Type) -> Value;
    LLVMConstNull => fn null(ty: Type) -> Value;
    LLVMConstArray2 => fn const_array(element: Type, values: *const Value, len: u64) -> Value;
    LLVMConstAddrSpaceCast => fn const_space_cast(value: Value, ty: Type) -> Value;
    LLVMConstStringInContext2 => fn const_string(context: ContextRef, text: *const c_char, bytes: usize, no_nul: c_int) -> Value;
    LLVMIsAConstantInt => fn is_const_int(value: Value) -> Value;
    LLVMConstIntGetZExtValue => fn const_int_value(value: Value) -> u64;
    LLVMIsAConstantDataSequential => fn is_const_data(value: Value) -> Value;
    LLVMGetAsString => fn const_data(value: Value, bytes: *mut usize) -> *const c_char;
    LLVMIsAFunction => fn is_function(value: Value) -> Value;
    LLVMIsAGlobalVariable => fn is_global(value: Value) -> Value;
    LLVMIsAConstant => fn is_a_constant(value: Value) -> Value;
    LLVMIsAInlineAsm => fn is_inline_asm(value: Value) -> Value;
    LLVMIsAInstruction => fn is_instruction(value: Value) -> Value;
    LLVMGetVolatile => fn is_volatile(access: Value) -> c_int;
    LLVMGetOrdering => fn ordering(access: Value) -> c_int;
    LLVMIsACallInst => fn is_call(value: Value) -> Value;
    LLVMIsAInvokeInst => fn is_invoke(value: Value) -> Value;

    LLVMGetFirstUse => fn first_use(value: Value) -> Use;
    LLVMGetNextUse => fn next_use(usage: Use) -> Use;
    LLVMGetUser => fn user(usage: Use) -> Value;
    LLVMReplaceAllUsesWith => fn replace_uses(old: Value, new: Value);
    LLVMGetNumOperands => fn count_operands(value: Value) -> c_int;
    LLVMSetOperand => fn set_operand(user: Value, index: c_uint, value: Value);
    LLVMGetOperand => fn operand(value: Value, index: c_uint) -> Value;
    LLVMGetNumArgOperands => fn count_args(call: Value) -> c_uint;
    LLVMGetCalledValue => fn callee(call: Value) -> Value;
    LLVMGetCalledFunctionType => fn callee_type(call: Value) -> Type;
    LLVMGetInstructionOpcode => fn opcode(instruction: Value) -> c_int;
    LLVMGetFirstBasicBlock => fn first_block(function: Value) -> Block;
    LLVMGetNextBasicBlock => fn next_block(block: Block) -> Block;
    LLVMGetFirstInstruction => fn first_instruction(block: Block) -> Value;
    LLVMGetNextInstruction => fn next_instruction(instruction: Value) -> Value;
    LLVMGetInstructionParent => fn instruction_block(instruction: Value) -> Block;
    LLVMGetBasicBlockParent => fn block_function(block: Block) -> Value;
    LLVMGetBasicBlockTerminator => fn terminator(block: Block) -> Value;
    LLVMGetNumSuccessors => fn count_successors(terminator: Value) -> c_uint;
    LLVMGetSuccessor => fn successor(terminator: Value, index: c_uint) -> Block;
    LLVMGetAllocatedType => fn allocated_type(alloca: Value) -> Type;
    LLVMGetAlignment => fn alignment(value: Value) -> c_uint;
    LLVMABISizeOfType => fn bytes_of(layout: LayoutRef, ty: Type) -> u64;
    LLVMInstructionClone => fn clone_instruction(instruction: Value) -> Value;
    LLVMInsertIntoBuilder => fn insert(builder: BuilderRef, instruction: Value);
    LLVMInstructionEraseFromParent => fn erase(instruction: Value);
    LLVMAppendBasicBlockInContext => fn append_block(context: ContextRef, function: Value, name: *const c_char) -> Block;

    LLVMCreateBuilderInContext => fn builder(context: ContextRef) -> BuilderRef;
    LLVMDisposeBuilder => fn builder_dispose(builder: BuilderRef);
    LLVMPositionBuilderBefore => fn position_before(builder: BuilderRef, instruction: Value);
    LLVMPositionBuilderAtEnd => fn position_at_end(builder: BuilderRef, block: Block);
    LLVMBuildCall2 => fn build_call(builder: BuilderRef, ty: Type, function: Value, args: *const Value, len: c_uint, name: *const c_char) -> Value;
    LLVMBuildAlloca => fn build_alloca(builder: BuilderRef, ty: Type, name: *const c_char) -> Value;
    LLVMBuildMemCpy => fn build_memcpy(builder: BuilderRef, to: Value, to_align: c_uint, from: Value, from_align: c_uint, bytes: Value) -> Value;
    LLVMBuildLoad2 => fn build_load(builder: BuilderRef, ty: Type, pointer: Value, name: *const c_char) -> Value;
    LLVMBuildStore => fn build_store(builder: BuilderRef, value: Value, pointer: Value) -> Value;
    LLVMBuildInBoundsGEP2 => fn build_gep(builder: BuilderRef, ty: Type, pointer: Value, indices: *const Value, len: c_uint, name: *const c_char) -> Value;
    LLVMBuildExtractValue => fn build_extract(builder: BuilderRef, aggregate: Value, index: c_uint, name: *const c_char) -> Value;
    LLVMBuildICmp => fn build_icmp(builder: BuilderRef, predicate: c_int, left: Value, right: Value, name: *const c_char) -> Value;
    LLVMBuildCondBr => fn build_cond_br(builder: BuilderRef, condition: Value, yes: Block, no: Block) -> Value;
    LLVMBuildRet => fn build_ret(builder: BuilderRef, value: Value) -> Value;
    LLVMBuildRetVoid => fn build_ret_void(builder: BuilderRef) -> Value;
    LLVMBuildUnreachable => fn build_unreachable(builder: BuilderRef) -> Value;
    LLVMGetInlineAsm => fn inline_asm(ty: Type, text: *const c_char, text_bytes: usize, constraints: *const c_char, constraint_bytes: usize, side_effects: c_int, align_stack: c_int, dialect: c_int, can_throw: c_int) -> Value;

    LLVMGetInlineAsmDialect => fn inline_asm_dialect(code: Value) -> c_int;
    LLVMGetInlineAsmAsmString => fn inline_asm_text(code: Value, bytes: *mut usize) -> *const c_char;
    LLVMInstructionGetDebugLoc => fn debug_location(instruction: Value) -> Metadata;
    LLVMDILocationGetLine => fn location_line(location: Metadata) -> c_uint;
    LLVMDILocationGetColumn => fn location_column(location: Metadata) -> c_uint;
    LLVMDILocationGetScope => fn location_scope(location: Metadata) -> Metadata;
    LLVMDILocationGetInlinedAt => fn location_inlined_at(location: Metadata) -> Metadata;
    LLVMDIScopeGetFile => fn scope_file(scope: Metadata) -> Metadata;
    LLVMDIFileGetFilename => fn file_name(file: Metadata, bytes: *mut c_uint) -> *const c_char;
}
