//! Conversions between 128-bit integers and floats, sent to the bodies in
//! `raddle-device`'s `rt::wide`: to LLVM they are calls of a library that a GPU has
//! not.

use crate::llvm::api::{Type, Value};
use crate::llvm::{
    KIND_DOUBLE, KIND_FLOAT, KIND_INTEGER, Module, OPCODE_FLOAT_TO_SIGNED,
    OPCODE_FLOAT_TO_UNSIGNED, OPCODE_SIGNED_TO_FLOAT, OPCODE_UNSIGNED_TO_FLOAT,
};

use super::RUNTIME_PREFIX;

/// Redirects every such conversion.
pub fn lower(module: &Module<'_>) {
    for function in module.functions() {
        // The bodies themselves convert 64 bits at most.
        for instruction in module.instructions(function) {
            if let Some(body) = body_of(module, instruction) {
                replace(module, instruction, body);
            }
        }
    }
}

/// The function that does the work of a conversion.
fn body_of(module: &Module<'_>, instruction: Value) -> Option<Value> {
    let api = module.api();
    let to = api.type_of(instruction);
    let from = || api.type_of(api.operand(instruction, 0));
    let (from, to) = match api.opcode(instruction) {
        OPCODE_UNSIGNED_TO_FLOAT => (integer(module, from(), 'u')?, float(module, to)?),
        OPCODE_SIGNED_TO_FLOAT => (integer(module, from(), 'i')?, float(module, to)?),
        OPCODE_FLOAT_TO_UNSIGNED => (float(module, from())?, integer(module, to, 'u')?),
        OPCODE_FLOAT_TO_SIGNED => (float(module, from())?, integer(module, to, 'i')?),
        _ if api.is_call(instruction) != Value::NULL => {
            let callee = module.name(api.callee(instruction));
            let saturating = callee.strip_prefix("llvm.fpto")?;
            let sign = saturating.strip_suffix(".sat.i128.f32").map(|sign| (sign, "f32"));
            let (sign, float) =
                sign.or(saturating.strip_suffix(".sat.i128.f64").map(|sign| (sign, "f64")))?;
            (float, if sign == "si" { "i128" } else { "u128" })
        }
        _ => return None,
    };
    module.function(&format!("{RUNTIME_PREFIX}{from}_to_{to}"))
}

fn integer(module: &Module<'_>, ty: Type, sign: char) -> Option<&'static str> {
    let api = module.api();
    let is_wide = api.type_kind(ty) == KIND_INTEGER && api.int_width(ty) == 128;
    is_wide.then_some(if sign == 'u' { "u128" } else { "i128" })
}

fn float(module: &Module<'_>, ty: Type) -> Option<&'static str> {
    match module.api().type_kind(ty) {
        KIND_FLOAT => Some("f32"),
        KIND_DOUBLE => Some("f64"),
        _ => None,
    }
}

fn replace(module: &Module<'_>, instruction: Value, body: Value) {
    let api = module.api();
    let builder = module.builder();
    builder.before(instruction);
    let value = builder.call(api.value_type(body), body, &[api.operand(instruction, 0)]);
    api.replace_uses(instruction, value);
    api.erase(instruction);
}
