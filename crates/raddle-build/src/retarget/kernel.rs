//! Kernel entries: finding what `#[kernel]` left in the module and wrapping it
//! in a PTX entry with one by-value parameter block and the numbers that say where a
//! launch's panics go.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::llvm::api::Value;
use crate::llvm::{FUNCTION_INDEX, Module, linkage};
use crate::names::KernelName;

/// Calling convention `PTX_Kernel`.
const PTX_KERNEL: u32 = 71;
/// What the last segment of an entry's symbol begins with.
pub const ENTRY_MARK: &str = "__raddle_kernel__";
const META_MARK: &str = "__raddle_meta__";

/// `raddle_device::kernel::KernelMeta`, as read from the bitcode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Size of the parameter block in bytes.
    pub params_bytes: u32,
    /// Its alignment in bytes.
    pub params_align: u32,
    /// Required block shape, zeros if not stated.
    pub block: [u32; 3],
    /// Most threads in a block.
    pub max_threads: u32,
    /// Blocks wanted on a multiprocessor.
    pub min_blocks: u32,
    /// Most registers of a thread.
    pub max_registers: u32,
    /// Required cluster shape.
    pub cluster: [u32; 3],
    /// Lowest architecture, 0 for portable.
    pub architecture: u32,
    /// Second architecture, 0 for none.
    pub variant: u32,
}

impl Meta {
    const WORDS: usize = 13;

    fn from_words(w: [u32; Self::WORDS]) -> Self {
        Self {
            params_bytes: w[0],
            params_align: w[1],
            block: [w[2], w[3], w[4]],
            max_threads: w[5],
            min_blocks: w[6],
            max_registers: w[7],
            cluster: [w[8], w[9], w[10]],
            architecture: w[11],
            variant: w[12],
        }
    }
}

/// One kernel of the module.
#[derive(Clone, Debug)]
pub struct KernelEntry {
    /// Where it is in the source tree and what PTX calls it.
    pub name: KernelName,
    /// What was stated about it.
    pub meta: Meta,
}

/// Turns every marked function into a PTX entry.
pub fn make_entries(module: &Module<'_>, program: Option<&str>) -> Result<Vec<KernelEntry>, Error> {
    let metas = read_metas(module);
    let mut kernels: BTreeMap<String, KernelEntry> = BTreeMap::new();
    for function in module.functions() {
        let symbol = module.name(function);
        let Some(name) = KernelName::from_symbol(&symbol, ENTRY_MARK) else { continue };
        if module.is_declaration(function) {
            continue;
        }
        let Some(&meta) = metas.get(&name.path) else { continue };
        if kernels.contains_key(&name.path) {
            return Err(Error::DuplicateKernel { path: name.path });
        }
        let name = name.in_program(program);
        make_entry(module, function, &name, &meta);
        kernels.insert(name.path.clone(), KernelEntry { name, meta });
    }
    Ok(kernels.into_values().collect())
}

fn read_metas(module: &Module<'_>) -> BTreeMap<String, Meta> {
    let mut metas = BTreeMap::new();
    for global in module.globals() {
        let Some(name) = KernelName::from_symbol(&module.name(global), META_MARK) else { continue };
        let words = constant_words(module, module.api().initializer(global));
        metas.insert(name.path, Meta::from_words(words));
    }
    metas
}

/// The little-endian words of a constant made of plain numbers; rustc writes
/// such a constant as one byte string, perhaps inside a struct, and as a zero
/// initialiser when every byte is zero.
fn constant_words(module: &Module<'_>, constant: Value) -> [u32; Meta::WORDS] {
    let api = module.api();
    let mut words = [0; Meta::WORDS];
    if constant == Value::NULL {
        return words;
    }
    let data = if api.is_const_data(constant) == Value::NULL && api.count_operands(constant) == 1 {
        api.operand(constant, 0)
    } else {
        constant
    };
    if api.is_const_data(data) == Value::NULL {
        return words;
    }
    let mut bytes = 0;
    let start = api.const_data(data, &mut bytes);
    // SAFETY: LLVM returns `bytes` bytes of the constant, alive with its context.
    let raw = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), bytes) };
    for (word, chunk) in words.iter_mut().zip(raw.chunks_exact(4)) {
        *word = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
    }
    words
}

/// Makes an entry of `body(params: *const Params, record: u64, tag: u64)`. The
/// function itself becomes the entry, since it has the debug information that line
/// numbers hang on; only a kernel without parameters gets a wrapper, which takes the
/// two numbers alone, because a block of no bytes cannot be passed.
fn make_entry(module: &Module<'_>, body: Value, name: &KernelName, meta: &Meta) {
    let (cx, api) = (module.context, module.api());
    let entry = if meta.params_bytes > 0 {
        let block = api.array_type(cx.int(8), u64::from(meta.params_bytes));
        api.add_attribute(
            body,
            1,
            api.create_type_attribute(cx.raw, cx.attribute_kind("byval"), block),
        );
        api.add_attribute(body, 1, cx.attribute("align", u64::from(meta.params_align.max(8))));
        api.add_attribute(body, 1, cx.string_attribute("nvvm.grid_constant", ""));
        module.rename(body, &name.entry);
        body
    } else {
        wrap_without_params(module, body, &name.entry)
    };
    inline_calls(module, body);
    api.set_function_convention(entry, PTX_KERNEL);
    api.set_linkage(entry, linkage::EXTERNAL);
    for (key, value) in launch_bounds(meta) {
        api.add_attribute(entry, FUNCTION_INDEX, cx.string_attribute(key, &value));
    }
    api.add_attribute(entry, FUNCTION_INDEX, cx.attribute("nounwind", 0));
}

/// What an entry calls is the user's function and what makes its parameters: they
/// become part of the entry, whatever their size.
fn inline_calls(module: &Module<'_>, entry: Value) {
    let (cx, api) = (module.context, module.api());
    for instruction in module.instructions(entry) {
        let callee = match api.is_call(instruction).some() {
            Some(call) => api.callee(call),
            None => continue,
        };
        if api.is_function(callee) != Value::NULL && !module.is_declaration(callee) {
            let noinline = cx.attribute_kind("noinline");
            api.remove_enum_attribute(callee, FUNCTION_INDEX, noinline);
            api.remove_call_enum_attribute(instruction, FUNCTION_INDEX, noinline);
            api.add_call_attribute(instruction, FUNCTION_INDEX, cx.attribute("alwaysinline", 0));
        }
    }
}

fn wrap_without_params(module: &Module<'_>, body: Value, name: &str) -> Value {
    let (cx, api) = (module.context, module.api());
    let entry = module.declare(name, cx.function(cx.void(), &[cx.int(64), cx.int(64)]));
    let block = api.append_block(cx.raw, entry, c"entry".as_ptr());
    let builder = module.builder();
    builder.at_end(block);
    let numbers = [api.param(entry, 0), api.param(entry, 1)];
    builder.call(api.value_type(body), body, &[api.undef(cx.pointer(0)), numbers[0], numbers[1]]);
    builder.ret_void();
    force_inline(module, body);
    entry
}

/// Makes LLVM inline every call of `function`.
pub fn force_inline(module: &Module<'_>, function: Value) {
    let (cx, api) = (module.context, module.api());
    for name in ["noinline", "optnone", "cold"] {
        api.remove_enum_attribute(function, FUNCTION_INDEX, cx.attribute_kind(name));
    }
    api.add_attribute(function, FUNCTION_INDEX, cx.attribute("alwaysinline", 0));
}

/// The attributes that become `.reqntid` and friends.
fn launch_bounds(meta: &Meta) -> Vec<(&'static str, String)> {
    let shape = |s: [u32; 3]| format!("{},{},{}", s[0], s[1].max(1), s[2].max(1));
    let mut bounds = Vec::new();
    if meta.block[0] > 0 {
        bounds.push(("nvvm.reqntid", shape(meta.block)));
    } else if meta.max_threads > 0 {
        bounds.push(("nvvm.maxntid", meta.max_threads.to_string()));
    }
    if meta.min_blocks > 0 {
        bounds.push(("nvvm.minctasm", meta.min_blocks.to_string()));
    }
    if meta.max_registers > 0 {
        bounds.push(("nvvm.maxnreg", meta.max_registers.to_string()));
    }
    if meta.cluster[0] > 0 {
        bounds.push(("nvvm.cluster_dim", shape(meta.cluster)));
    }
    bounds
}
