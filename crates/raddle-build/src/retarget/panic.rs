//! Panics: `core`'s panic functions get bodies that write a record for the host
//! and end the thread.
//!
//! The record is written by `__raddle_rt_panic` and `__raddle_rt_panic_fmt` of
//! `raddle-device`; this module only decides, by the function's name, which
//! operands and which message they get. A panic never traps: the context lives.

use crate::llvm::api::Value;
use crate::llvm::{FUNCTION_INDEX, KIND_INTEGER, KIND_POINTER, Module, linkage};
use crate::names::demangle;

/// `raddle_device::kernel::PanicKind` as its number.
#[derive(Clone, Copy)]
enum Kind {
    Message = 0,
    BoundsCheck = 1,
    CopyLength = 5,
    SliceIndex = 6,
}

/// Where a panic function's message comes from.
enum Message {
    /// A fixed text.
    Fixed(&'static str),
    /// The first two parameters are a string.
    FirstParams,
    /// The first two parameters are `fmt::Arguments`.
    Format,
    /// The kind words it from the integer parameters.
    FromKind(Kind),
    /// A function of `raddle-device` takes the same parameters and words it.
    Passed(&'static str),
}

/// Gives every undefined panic function of `core` a body.
pub fn define_panics(module: &Module<'_>) {
    for function in module.functions() {
        if !module.is_declaration(function) || module.users(function).is_empty() {
            continue;
        }
        let name = demangle(&module.name(function));
        let is_ours = ["core::", "std::", "alloc::"].iter().any(|krate| name.starts_with(krate));
        if is_ours && is_noreturn(module, function) && !allocates(&name) {
            define(module, function, &classify(&name));
        }
    }
}

fn allocates(name: &str) -> bool {
    name.starts_with("alloc::")
        || name.contains("handle_alloc_error")
        || name.starts_with("std::process")
        || name.starts_with("std::sys")
        || name.starts_with("std::rt")
}

fn is_noreturn(module: &Module<'_>, function: Value) -> bool {
    let kind = module.context.attribute_kind("noreturn");
    let api = module.api();
    !api.enum_attribute(function, FUNCTION_INDEX, kind).0.is_null()
}

fn classify(name: &str) -> Message {
    const CONSTANTS: &[(&str, &str)] = &[
        ("panic_const_add_overflow", "attempt to add with overflow"),
        ("panic_const_sub_overflow", "attempt to subtract with overflow"),
        ("panic_const_mul_overflow", "attempt to multiply with overflow"),
        ("panic_const_div_overflow", "attempt to divide with overflow"),
        ("panic_const_rem_overflow", "attempt to calculate the remainder with overflow"),
        ("panic_const_neg_overflow", "attempt to negate with overflow"),
        ("panic_const_shr_overflow", "attempt to shift right with overflow"),
        ("panic_const_shl_overflow", "attempt to shift left with overflow"),
        ("panic_const_div_by_zero", "attempt to divide by zero"),
        ("panic_const_rem_by_zero", "attempt to calculate the remainder with a divisor of zero"),
        ("option::unwrap_failed", "called `Option::unwrap()` on a `None` value"),
        ("panic_already_borrowed", "RefCell already borrowed"),
        ("panic_already_mutably_borrowed", "RefCell already mutably borrowed"),
        ("panic_null_pointer_dereference", "null pointer dereference occurred"),
        ("panic_misaligned_pointer_dereference", "misaligned pointer dereference"),
        ("panic_cannot_unwind", "panic in a function that cannot unwind"),
        ("panic_in_cleanup", "panic in a destructor during cleanup"),
    ];
    if let Some((_, text)) = CONSTANTS.iter().find(|(suffix, _)| name.ends_with(suffix)) {
        return Message::Fixed(text);
    }
    let last = name.rsplit("::").next().unwrap_or(name);
    match last {
        "unwrap_failed" if name.starts_with("core::result::") => {
            Message::Passed("__raddle_rt_panic_unwrap")
        }
        "assert_failed_inner" => Message::Passed("__raddle_rt_panic_assert"),
        "panic_bounds_check" => Message::FromKind(Kind::BoundsCheck),
        "slice_index_fail" => Message::FromKind(Kind::SliceIndex),
        "len_mismatch_fail" => Message::FromKind(Kind::CopyLength),
        "panic_fmt" | "panic_nounwind_fmt" | "const_panic_fmt" => Message::Format,
        "panic"
        | "panic_nounwind"
        | "panic_nounwind_nobacktrace"
        | "panic_str_2015"
        | "expect_failed"
        | "panic_explicit" => Message::FirstParams,
        _ => Message::Fixed("panicked"),
    }
}

fn define(module: &Module<'_>, function: Value, message: &Message) {
    let Some(record) = module.function("__raddle_rt_panic") else { return };
    let Some(format) = module.function("__raddle_rt_panic_fmt") else { return };
    let (cx, api) = (module.context, module.api());
    let block = api.append_block(cx.raw, function, c"panic".as_ptr());
    let builder = module.builder();
    builder.at_end(block);
    let params: Vec<Value> =
        (0..api.count_params(function)).map(|i| api.param(function, i)).collect();
    let null = api.null(cx.pointer(0));
    let location = location_param(module, &params).unwrap_or(null);
    let zero = api.const_int(cx.int(64), 0, 0);
    let kind_value = |kind: Kind| api.const_int(cx.int(32), kind as u64, 0);
    let worded = match message {
        Message::Passed(name) => with_params_of(module, function, name),
        _ => None,
    };
    match message {
        Message::Passed(_) if worded.is_some() => {
            let worded = worded.unwrap_or(Value::NULL);
            builder.call(api.value_type(worded), worded, &params);
        }
        Message::Format
            if params.len() >= 2 && params[..2].iter().all(|&p| is_pointer(module, p)) =>
        {
            let args = [params[0], params[1], location];
            builder.call(api.value_type(format), format, &args);
        }
        Message::FirstParams
            if params.len() >= 2 && is_pointer(module, params[0]) && is_word(module, params[1]) =>
        {
            let args =
                [kind_value(Kind::Message), zero, zero, zero, params[0], params[1], location];
            builder.call(api.value_type(record), record, &args);
        }
        Message::FromKind(kind) => {
            let word =
                |i: usize| params.get(i).copied().filter(|&p| is_word(module, p)).unwrap_or(zero);
            // `len_mismatch_fail(destination, source)`; the record has the source first.
            let (a, b) = if matches!(kind, Kind::CopyLength) { (1, 0) } else { (0, 1) };
            let args = [kind_value(*kind), word(a), word(b), word(2), null, zero, location];
            builder.call(api.value_type(record), record, &args);
        }
        other => {
            let text = if let Message::Fixed(text) = other { text } else { "panicked" };
            let (pointer, bytes) = string_constant(module, text);
            let args = [kind_value(Kind::Message), zero, zero, zero, pointer, bytes, location];
            builder.call(api.value_type(record), record, &args);
        }
    }
    builder.unreachable();
    finish(module, function);
}

/// Marks a panic function whose body was written here.
pub fn finish(module: &Module<'_>, function: Value) {
    let (cx, api) = (module.context, module.api());
    api.set_linkage(function, linkage::INTERNAL);
    api.add_attribute(function, FUNCTION_INDEX, cx.attribute("cold", 0));
    api.add_attribute(function, FUNCTION_INDEX, cx.attribute("noinline", 0));
}

/// The function called `name`, if its parameters are those of `function`.
fn with_params_of(module: &Module<'_>, function: Value, name: &str) -> Option<Value> {
    let api = module.api();
    let types = |f: Value| module.param_types(api.value_type(f));
    module.function(name).filter(|&worded| types(worded) == types(function))
}

fn is_pointer(module: &Module<'_>, value: Value) -> bool {
    module.api().type_kind(module.api().type_of(value)) == KIND_POINTER
}

fn is_word(module: &Module<'_>, value: Value) -> bool {
    let ty = module.api().type_of(value);
    module.api().type_kind(ty) == KIND_INTEGER && module.api().int_width(ty) == 64
}

/// `#[track_caller]` passes `&Location` last.
fn location_param(module: &Module<'_>, params: &[Value]) -> Option<Value> {
    params.last().copied().filter(|&last| is_pointer(module, last))
}

/// A constant text and its length.
pub fn string_constant(module: &Module<'_>, text: &str) -> (Value, Value) {
    let (cx, api) = (module.context, module.api());
    let constant = api.const_string(cx.raw, text.as_ptr().cast(), text.len(), 1);
    let global = module.add_constant("raddle_panic_text", constant);
    (global, api.const_int(cx.int(64), text.len() as u64, 0))
}
