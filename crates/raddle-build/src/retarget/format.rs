//! Formatting: what a panic's message needs of it, and nothing else.
//!
//! A `fmt::Arguments` holds the addresses of `<T as Display>::fmt` and the like. Those
//! of primitive types get a code, with which `raddle-device` writes their values for
//! the host to format (see its `rt::format` and `message`). Other types' functions run
//! on the device: `core`'s code for them is linked, and below them stand functions that
//! send primitives to the host. [`choose`] decides for each kernel after optimisation
//! which of the two it needs; the first costs neither stack nor calls by pointer.
//!
//! Formatting anywhere but in a panic's message is refused: calls of `core::fmt::write`
//! by kernels' own code go to a declaration without a body.

use std::collections::{HashMap, HashSet};

use crate::llvm::api::{Type, Value};
use crate::llvm::{FUNCTION_INDEX, KIND_INTEGER, KIND_POINTER, Module, linkage};
use crate::names::{KernelName, demangle};
use crate::references::references;

use super::kernel::ENTRY_MARK;

/// Note on functions that format a primitive type: its code.
const LEAF: &str = "raddle-leaf";
/// Note on functions that format any other type.
const FORMATTER: &str = "raddle-formatter";
/// Written for a type whose formatting function needs what a GPU has not.
const OPAQUE: &str = "(a value that cannot be formatted on a GPU)";

/// The functions that write messages: for primitives, and for any type.
const WRITERS: [(&str, &str); 2] = [
    ("__raddle_rt_write_arguments", "__raddle_rt_write_arguments_full"),
    ("__raddle_rt_write_debug", "__raddle_rt_write_debug_full"),
];

/// The letters of `raddle_device::message`.
const TYPES: &[(&str, u8)] = &[
    ("u8", b'a'),
    ("u16", b'b'),
    ("u32", b'c'),
    ("u64", b'd'),
    ("usize", b'd'),
    ("u128", b'e'),
    ("i8", b'f'),
    ("i16", b'g'),
    ("i32", b'h'),
    ("i64", b'i'),
    ("isize", b'i'),
    ("i128", b'j'),
    ("f32", b'k'),
    ("f64", b'l'),
    ("bool", b'm'),
    ("char", b'n'),
    ("()", b'o'),
    ("str", b's'),
];

const TRAITS: &[(&str, u8)] = &[
    ("Display", b'D'),
    ("Debug", b'?'),
    ("LowerHex", b'x'),
    ("UpperHex", b'X'),
    ("Octal", b'o'),
    ("Binary", b'b'),
    ("LowerExp", b'e'),
    ("UpperExp", b'E'),
];

/// What a formatting function of a primitive type formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leaf {
    /// How many references lie around it.
    references: u32,
    style: u8,
    ty: u8,
}

impl Leaf {
    /// `<&&i32 as core::fmt::Debug>::fmt`.
    fn of(name: &str) -> Option<Self> {
        let (mut ty, rest) = name.strip_prefix('<')?.split_once(" as core::fmt::")?;
        let style = rest.strip_suffix(">::fmt")?;
        let mut references = 0;
        while let Some(inner) = ty.strip_prefix('&') {
            ty = inner.strip_prefix("mut ").unwrap_or(inner);
            references += 1;
        }
        let letter = |table: &[(&str, u8)], word: &str| {
            table.iter().find(|(name, _)| *name == word).map(|&(_, letter)| letter)
        };
        let (ty, style) = (letter(TYPES, ty)?, letter(TRAITS, style)?);
        // A string itself is two words, and no argument's address.
        (ty != b's' || references > 0).then_some(Self { references, style, ty })
    }

    /// What `__raddle_format_code` answers.
    fn code(self) -> u32 {
        self.references << 16 | u32::from(self.style) << 8 | u32::from(self.ty)
    }

    /// Whether a function that sends the value to the host takes the place of
    /// `core`'s. `Debug` of an integer only chooses among the others, by an option
    /// that nobody else can ask for.
    fn is_sent(self) -> bool {
        let is_integer = matches!(self.ty, b'a'..=b'j');
        self.references == 0 && !(is_integer && self.style == b'?')
    }
}

/// `fn(&T, &mut Formatter) -> Result` whose name says that it formats.
fn is_formatter(module: &Module<'_>, function: Value, name: &str) -> bool {
    if !(name.contains(" as core::fmt::") && name.ends_with(">::fmt")) {
        return false;
    }
    let api = module.api();
    let ty = api.value_type(function);
    let params = module.param_types(ty);
    let ret = api.return_type(ty);
    let is_result = api.type_kind(ret) == KIND_INTEGER && api.int_width(ret) == 1;
    let is_pointer = |&ty: &_| api.type_kind(ty) == KIND_POINTER;
    is_result && params.len() == 2 && params.iter().all(is_pointer)
}

/// Whether the module formats anything but primitives, so that `core`'s formatting is
/// needed.
pub fn is_needed(module: &Module<'_>) -> bool {
    module.functions().into_iter().any(|function| {
        let name = demangle(&module.name(function));
        is_formatter(module, function, &name)
            && !module.users(function).is_empty()
            && Leaf::of(&name).is_none()
    })
}

/// Whether a function formats a type, so that only messages lead to it.
pub fn is_formatting(module: &Module<'_>, function: Value) -> bool {
    module.note(function, FORMATTER).is_some() || module.note(function, LEAF).is_some()
}

/// Marks the formatting functions, and gives those of primitives their stand-ins.
pub fn lower(module: &Module<'_>) {
    let mut others = Vec::new();
    for function in module.functions() {
        let name = demangle(&module.name(function));
        let stand_in = match name.as_str() {
            "<core::fmt::Formatter>::pad" => module.function("__raddle_rt_fmt_pad"),
            "<str as core::fmt::Debug>::fmt" => module.function("__raddle_rt_fmt_str"),
            _ => None,
        };
        if let Some(stand_in) = stand_in {
            module.api().replace_uses(function, stand_in);
        } else if is_formatter(module, function, &name) {
            match Leaf::of(&name) {
                Some(leaf) => lower_leaf(module, function, leaf),
                None => others.push(function),
            }
        }
    }
    for &function in &others {
        module.set_note(function, FORMATTER, "");
    }
    replace_impossible(module, &others);
    let runs = run_by_kernels(module);
    refuse_elsewhere(module, &runs);
    keep_small(module, &runs);
}

fn lower_leaf(module: &Module<'_>, function: Value, leaf: Leaf) {
    if !leaf.is_sent() {
        module.set_note(function, LEAF, &leaf.code().to_string());
        return;
    }
    if let Some(stand_in) = sender(module, module.api().value_type(function), leaf) {
        module.api().replace_uses(function, stand_in);
    }
}

/// Whether the values of a type are sent to the host: a primitive one, but no string.
pub fn is_scalar(ty: &str) -> bool {
    TYPES.iter().any(|&(name, letter)| name == ty && letter != b's')
}

/// A function that shows a scalar as `Debug` does without options.
pub fn debug_of(module: &Module<'_>, ty: &str) -> Option<Value> {
    let &(_, letter) = TYPES.iter().find(|(name, _)| *name == ty)?;
    let debug = Leaf { references: 0, style: b'?', ty: letter };
    // An integer's `Debug` is its `Display` then, which is sent.
    let leaf = if debug.is_sent() { debug } else { Leaf { style: b'D', ..debug } };
    let cx = module.context;
    sender(module, cx.function(cx.int(1), &[cx.pointer(0); 2]), leaf)
}

/// A formatting function that sends a primitive value to the host.
fn sender(module: &Module<'_>, ty: Type, leaf: Leaf) -> Option<Value> {
    let send = module.function("__raddle_rt_fmt_value")?;
    let (cx, api) = (module.context, module.api());
    let stand_in = module.declare("raddle_formatter", ty);
    let builder = module.builder();
    builder.at_end(api.append_block(cx.raw, stand_in, c"entry".as_ptr()));
    let code_value = api.const_int(cx.int(32), u64::from(leaf.code()), 0);
    let args = [api.param(stand_in, 1), code_value, api.param(stand_in, 0)];
    builder.ret(builder.call(api.value_type(send), send, &args));
    api.set_linkage(stand_in, linkage::INTERNAL);
    module.set_note(stand_in, LEAF, &leaf.code().to_string());
    Some(stand_in)
}

/// Formatting functions that reach what is defined nowhere (they allocate, say) write
/// a fixed text instead: a kernel may hold such a type in a message that nobody sees.
fn replace_impossible(module: &Module<'_>, formatters: &[Value]) {
    let Some(write) = module.function("__raddle_rt_fmt_opaque") else { return };
    let mut known = HashMap::new();
    let impossible: Vec<Value> = formatters
        .iter()
        .copied()
        .filter(|&f| !module.users(f).is_empty() && reaches_undefined(module, f, &mut known))
        .collect();
    let (cx, api) = (module.context, module.api());
    for function in impossible {
        let stand_in = module.declare("raddle_opaque", api.value_type(function));
        let builder = module.builder();
        builder.at_end(api.append_block(cx.raw, stand_in, c"entry".as_ptr()));
        let (text, bytes) = super::panic::string_constant(module, OPAQUE);
        let args = [api.param(stand_in, 1), text, bytes];
        builder.ret(builder.call(api.value_type(write), write, &args));
        api.set_linkage(stand_in, linkage::INTERNAL);
        api.replace_uses(function, stand_in);
        module.set_note(stand_in, FORMATTER, "");
    }
}

/// Whether a function or global refers, over any number of steps, to a function or
/// variable that is defined nowhere. `known` keeps the references that were looked up.
fn reaches_undefined(
    module: &Module<'_>,
    root: Value,
    known: &mut HashMap<Value, Vec<Value>>,
) -> bool {
    let mut seen = HashSet::from([root]);
    let mut queue = vec![root];
    while let Some(value) = queue.pop() {
        let is_ours = |name: &str| name.starts_with("llvm.") || name.starts_with("__raddle");
        if module.is_declaration(value) && !is_ours(&module.name(value)) {
            return true;
        }
        let next = known.entry(value).or_insert_with(|| references(module, value));
        queue.extend(next.iter().copied().filter(|&v| seen.insert(v)));
    }
    false
}

/// Sends the calls of `core::fmt::write` by what kernels run outside of messages to a
/// declaration.
fn refuse_elsewhere(module: &Module<'_>, runs: &HashSet<Value>) {
    let api = module.api();
    let find = |f: &Value| demangle(&module.name(*f)) == "core::fmt::write";
    let Some(write) = module.functions().into_iter().find(find) else { return };
    if module.is_declaration(write) {
        return;
    }
    let symbol = module.name(write);
    module.rename(write, "raddle_core_fmt_write");
    let outside = module.declare(&symbol, api.value_type(write));
    for call in module.calls_of(write) {
        if runs.contains(&module.function_of(call)) {
            let callee = api.count_operands(call) as u32 - 1;
            api.set_operand(call, callee, outside);
        }
    }
}

/// What only runs when a thread ends by a panic is made for size: a kernel has as many
/// registers as the largest function that it may call.
fn keep_small(module: &Module<'_>, runs: &HashSet<Value>) {
    let is_root = |f: &Value| is_formatting(module, *f) || writes_panics(&module.name(*f));
    let roots: Vec<Value> = module.functions().into_iter().filter(is_root).collect();
    let (cx, api) = (module.context, module.api());
    for value in reachable(module, roots, |_| true) {
        let is_defined = api.is_function(value) != Value::NULL && !module.is_declaration(value);
        if is_defined && !runs.contains(&value) {
            for name in ["minsize", "optsize", "cold"] {
                api.add_attribute(value, FUNCTION_INDEX, cx.attribute(name, 0));
            }
        }
    }
}

/// Whether this is a function of `raddle-device` that only panics call.
fn writes_panics(symbol: &str) -> bool {
    ["__raddle_rt_panic", "__raddle_rt_write_", "__raddle_rt_fmt_"]
        .iter()
        .any(|prefix| symbol.starts_with(prefix))
}

/// Everything that kernels refer to, without what panics lead to.
fn run_by_kernels(module: &Module<'_>) -> HashSet<Value> {
    let is_kernel = |f: &Value| KernelName::from_symbol(&module.name(*f), ENTRY_MARK).is_some();
    let kernels = module.functions().into_iter().filter(is_kernel).collect();
    let is_run = |v: Value| !is_formatting(module, v) && !writes_panics(&module.name(v));
    reachable(module, kernels, is_run)
}

/// The roots and what they refer to over any number of steps, as far as `enters`.
fn reachable(
    module: &Module<'_>,
    roots: Vec<Value>,
    enters: impl Fn(Value) -> bool,
) -> HashSet<Value> {
    let mut seen: HashSet<Value> = roots.iter().copied().collect();
    let mut queue = roots;
    while let Some(value) = queue.pop() {
        let next = references(module, value);
        queue.extend(next.into_iter().filter(|&v| enters(v) && seen.insert(v)));
    }
    seen
}

/// How a kernel's messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formatting {
    /// All values are primitives.
    Primitives,
    /// Some are of other types: `core`'s formatting runs on the device.
    Any,
}

/// Functions that a module must keep until [`choose`] has decided.
pub fn is_kept_for_choice(name: &str) -> bool {
    WRITERS.iter().any(|(_, full)| *full == name)
}

/// Makes one kernel's module write its messages in the given way.
pub fn choose(module: &Module<'_>, formatting: Formatting) {
    let api = module.api();
    match formatting {
        Formatting::Primitives => {
            let mut known = Vec::new();
            for function in module.functions() {
                let Some(code) = module.note(function, LEAF) else { continue };
                if !module.users(function).is_empty() {
                    known.push((empty_stand_in(module, function), code.parse().unwrap_or(0)));
                }
            }
            if let Some(function) = module.function("__raddle_format_code") {
                define_code(module, function, &known);
            }
        }
        Formatting::Any => {
            for (primitives, full) in WRITERS {
                if let (Some(old), Some(new)) = (module.function(primitives), module.function(full))
                {
                    api.replace_uses(old, new);
                }
            }
        }
    }
}

/// Whether a module that writes primitives only still refers to other types'
/// formatting, after optimisation.
pub fn needs_any(module: &Module<'_>) -> bool {
    module.functions().into_iter().any(|f| module.note(f, FORMATTER).is_some())
}

/// Puts an empty function with an address of its own in the place of `function`.
fn empty_stand_in(module: &Module<'_>, function: Value) -> Value {
    let (cx, api) = (module.context, module.api());
    let fresh = module.declare("raddle_formatter", api.value_type(function));
    let builder = module.builder();
    builder.at_end(api.append_block(cx.raw, fresh, c"entry".as_ptr()));
    builder.ret(api.const_int(cx.int(1), 0, 0));
    api.set_linkage(fresh, linkage::INTERNAL);
    api.replace_uses(function, fresh);
    fresh
}

fn define_code(module: &Module<'_>, function: Value, known: &[(Value, u32)]) {
    let (cx, api) = (module.context, module.api());
    let builder = module.builder();
    let mut block = api.append_block(cx.raw, function, c"entry".as_ptr());
    for &(formatter, code) in known {
        let found = api.append_block(cx.raw, function, c"found".as_ptr());
        let next = api.append_block(cx.raw, function, c"next".as_ptr());
        builder.at_end(block);
        let is_it = builder.is_equal(api.param(function, 0), formatter);
        builder.branch(is_it, found, next);
        builder.at_end(found).ret(api.const_int(cx.int(32), u64::from(code), 0));
        block = next;
    }
    builder.at_end(block).ret(api.const_int(cx.int(32), 0, 0));
    api.set_linkage(function, linkage::INTERNAL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primitives_are_known_by_name() {
        let leaf = |references, style, ty| Some(Leaf { references, style, ty });
        assert_eq!(Leaf::of("<u32 as core::fmt::Display>::fmt"), leaf(0, b'D', b'c'));
        assert_eq!(Leaf::of("<&&mut isize as core::fmt::Debug>::fmt"), leaf(2, b'?', b'i'));
        assert_eq!(Leaf::of("<&str as core::fmt::Debug>::fmt"), leaf(1, b'?', b's'));
        assert_eq!(Leaf::of("<() as core::fmt::Debug>::fmt"), leaf(0, b'?', b'o'));
        for other in [
            "<str as core::fmt::Debug>::fmt",
            "<&[u32] as core::fmt::Debug>::fmt",
            "<app::U32 as core::fmt::Display>::fmt",
            "<u32 as core::fmt::num::GenericRadix>::digit",
        ] {
            assert_eq!(Leaf::of(other), None, "{other}");
        }
        assert_eq!(Leaf { references: 1, style: b'D', ty: b's' }.code(), 0x1_4473);
    }
}
