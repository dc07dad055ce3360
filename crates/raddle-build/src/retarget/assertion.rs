//! What a failed `assert_eq!` or `assert_ne!` calls.
//!
//! `core`'s `assert_failed` wraps the two values for the function that words the
//! message. It is generic and never inlined, and rustc compiles each instance once:
//! crates use the one of a crate below, and those of common types lie in `core` and
//! `std`. Instances for primitive types, which most assertions compare, are defined
//! here; for others the sysroot's bitcode is linked (see [`crate::merge`]).

use crate::llvm::Module;
use crate::llvm::api::Value;
use crate::names::demangle;

use super::format;
use super::panic::finish;

/// Whether a symbol is `assert_failed` for some types.
pub fn is_assertion(symbol: &str) -> bool {
    types_of(&demangle(symbol)).is_some()
}

/// Whether a symbol is `assert_failed` for types that only `core`'s code formats.
pub fn needs_library(symbol: &str) -> bool {
    types_of(&demangle(symbol)).is_some_and(|types| primitives(types).is_none())
}

/// What stands between the angle brackets of `assert_failed::<T, U>`.
fn types_of(name: &str) -> Option<&str> {
    name.strip_prefix("core::panicking::assert_failed::<")?.strip_suffix('>')
}

/// Both types, if they are primitive.
fn primitives(types: &str) -> Option<(&str, &str)> {
    types
        .split_once(", ")
        .filter(|(left, right)| format::is_scalar(left) && format::is_scalar(right))
}

/// Gives each undefined `assert_failed` for primitive types its body.
pub fn define(module: &Module<'_>) {
    let Some(worded) = module.function("__raddle_rt_panic_assert") else { return };
    let (cx, api) = (module.context, module.api());
    for function in module.functions() {
        // The kind, the addresses of both values, the message's two words, the place.
        let is_open = module.is_declaration(function)
            && !module.users(function).is_empty()
            && api.count_params(function) == 6;
        let name = demangle(&module.name(function));
        let Some((left, right)) = types_of(&name).and_then(primitives).filter(|_| is_open) else {
            continue;
        };
        let (Some(left), Some(right)) = (vtable(module, left), vtable(module, right)) else {
            continue;
        };
        let builder = module.builder();
        builder.at_end(api.append_block(cx.raw, function, c"assertion".as_ptr()));
        let param = |i| api.param(function, i);
        let args = [param(0), param(1), left, param(2), right, param(3), param(4), param(5)];
        builder.call(api.value_type(worded), worded, &args);
        builder.unreachable();
        finish(module, function);
    }
}

/// The vtable of a primitive type's `dyn Debug`, of which only the method is asked for.
fn vtable(module: &Module<'_>, ty: &str) -> Option<Value> {
    let name = format!("raddle_debug_vtable_{ty}");
    if let Some(known) = module.global(&name) {
        return Some(known);
    }
    let (cx, api) = (module.context, module.api());
    let (pointer, method) = (cx.pointer(0), format::debug_of(module, ty)?);
    let null = api.null(pointer);
    let slots = [null, null, null, method];
    let constant = api.const_array(pointer, slots.as_ptr(), slots.len() as u64);
    let global = module.add_constant(&name, constant);
    Some(global)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assertions_of_primitives_need_no_library() {
        let types = |name| types_of(name).and_then(primitives);
        assert_eq!(types("core::panicking::assert_failed::<u32, u32>"), Some(("u32", "u32")));
        assert_eq!(types("core::panicking::assert_failed::<f64, f64>"), Some(("f64", "f64")));
        for other in [
            "core::panicking::assert_failed::<&str, &str>",
            "core::panicking::assert_failed::<core::option::Option<u32>, core::option::Option<u32>>",
            "core::panicking::assert_failed_inner",
        ] {
            assert_eq!(types(other), None, "{other}");
        }
    }
}
