//! Formatting functions: known by address, never run.
//!
//! A `fmt::Arguments` holds the addresses of `<T as Display>::fmt` and the like.
//! On the device only panic messages look at them, through
//! `__raddle_format_code`, which gets a body here that compares the address with
//! those of the primitives' functions. The functions themselves become empty:
//! running one needs a `Formatter`, which only `core::fmt::write` makes, and that
//! stays undefined, so that formatting elsewhere is an error and never silence.

use crate::llvm::api::Value;
use crate::llvm::{KIND_INTEGER, KIND_POINTER, Module, linkage};
use crate::names::demangle;

/// Types that `raddle-device`'s `rt::format` writes, with its codes.
const CODES: &[(&str, u32)] = &[
    ("u8", 1),
    ("u16", 2),
    ("u32", 3),
    ("u64", 4),
    ("usize", 4),
    ("i8", 5),
    ("i16", 6),
    ("i32", 7),
    ("i64", 8),
    ("isize", 8),
    ("bool", 9),
    ("&str", 10),
];

/// Empties the formatting functions and defines `__raddle_format_code`.
pub fn lower(module: &Module<'_>) {
    let mut known = Vec::new();
    for function in module.functions() {
        let name = demangle(&module.name(function));
        if is_formatter(module, function, &name) {
            let stand_in = stand_in(module, function);
            if let Some(code) = code_of(&name) {
                known.push((stand_in, code));
            }
        }
    }
    if let Some(function) = module.function("__raddle_format_code") {
        define_code(module, function, &known);
    }
}

/// `fn(&T, &mut Formatter) -> Result` whose name says that it formats.
fn is_formatter(module: &Module<'_>, function: Value, name: &str) -> bool {
    let api = module.api();
    let ty = api.value_type(function);
    let params = module.param_types(ty);
    let ret = api.return_type(ty);
    let is_result = api.type_kind(ret) == KIND_INTEGER && api.int_width(ret) == 1;
    let takes_value_and_formatter =
        params.len() == 2 && params.iter().all(|&p| api.type_kind(p) == KIND_POINTER);
    let is_named_so = name.contains(" as core::fmt::") && name.ends_with(">::fmt");
    is_named_so && is_result && takes_value_and_formatter
}

fn code_of(name: &str) -> Option<u32> {
    let (ty, rest) = name.strip_prefix('<')?.split_once(" as core::fmt::")?;
    let is_plain = rest.starts_with("Display") || (rest.starts_with("Debug") && ty != "&str");
    CODES.iter().find(|(name, _)| is_plain && *name == ty).map(|&(_, code)| code)
}

/// Puts an empty function with an address of its own in the place of `function`.
fn stand_in(module: &Module<'_>, function: Value) -> Value {
    let (cx, api) = (module.context, module.api());
    let fresh = module.declare("raddle_formatter", api.value_type(function));
    let block = api.append_block(cx.raw, fresh, c"entry".as_ptr());
    let builder = module.builder();
    builder.at_end(block).ret(api.const_int(cx.int(1), 0, 0));
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
