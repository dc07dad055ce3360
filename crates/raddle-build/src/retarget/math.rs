//! Mathematics: what std's float methods compile to, sent to the device bodies
//! in `raddle-device`'s `rt` module, which state their error in ulp.
//!
//! Square root, fma, rounding, absolute value, minimum and maximum are PTX
//! instructions and stay with LLVM.

use crate::llvm::api::{Type, Value};
use crate::llvm::{KIND_DOUBLE, KIND_FLOAT, Module, OPCODE_FREM};

use super::RUNTIME_PREFIX;
use crate::names::demangle;

/// Functions that reach the module as LLVM intrinsics `llvm.NAME.f32`/`.f64`.
const INTRINSICS: &[&str] = &[
    "exp", "exp2", "exp10", "log", "log2", "log10", "pow", "sin", "cos", "tan", "asin", "acos",
    "atan", "atan2", "sinh", "cosh", "tanh",
];

/// Functions that reach the module as C library calls `NAME` and `NAMEf`.
const LIBRARY: &[&str] = &[
    "exp", "exp2", "exp10", "expm1", "log", "log1p", "log2", "log10", "pow", "sin", "cos", "tan",
    "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "cbrt",
    "hypot", "fmod", "fdim", "tgamma", "erf", "erfc", "ldexp",
];

/// Host instructions that the `libm` crate chooses for itself, by the names of its
/// functions, and the LLVM intrinsics of the same meaning.
const HOST_INSTRUCTIONS: &[(&str, &str)] = &[
    ("sqrt", "llvm.sqrt"),
    ("fma", "llvm.fma"),
    ("rint", "llvm.rint"),
    ("ceil", "llvm.ceil"),
    ("floor", "llvm.floor"),
    ("trunc", "llvm.trunc"),
    ("fabs", "llvm.fabs"),
];

/// Redirects every such call to its device body.
pub fn lower(module: &Module<'_>) {
    replace_host_instructions(module);
    for name in INTRINSICS {
        redirect(module, &format!("llvm.{name}.f32"), &format!("{name}f"));
        redirect(module, &format!("llvm.{name}.f64"), name);
    }
    redirect(module, "llvm.powi.f32.i32", "powif");
    redirect(module, "llvm.powi.f64.i32", "powi");
    for name in LIBRARY {
        redirect(module, &format!("{name}f"), &format!("{name}f"));
        redirect(module, name, name);
    }
    redirect(module, "lgammaf_r", "lgammaf_r");
    redirect(module, "lgamma_r", "lgamma_r");
    for name in ["memcmp", "bcmp", "strlen"] {
        redirect(module, name, name);
    }
    lower_remainders(module);
}

/// `libm::math::arch::…::sqrtf` holds assembly of the host; here it is an LLVM
/// intrinsic, which NVPTX has an instruction for.
fn replace_host_instructions(module: &Module<'_>) {
    let api = module.api();
    for function in module.functions() {
        let name = demangle(&module.name(function));
        if !name.starts_with("libm::math::arch::") {
            continue;
        }
        let last = name.rsplit("::").next().unwrap_or_default();
        let ty = api.return_type(api.value_type(function));
        let stem = match api.type_kind(ty) {
            KIND_FLOAT => last.strip_suffix('f'),
            KIND_DOUBLE => Some(last),
            _ => None,
        };
        let known = HOST_INSTRUCTIONS.iter().find(|(name, _)| Some(*name) == stem);
        let Some((_, intrinsic)) = known else { continue };
        let replacement = intrinsic_of(module, intrinsic, ty);
        if api.value_type(replacement) == api.value_type(function) {
            api.replace_uses(function, replacement);
        }
    }
    replace_square_roots(module);
}

/// The square root's assembly is short enough that rustc has inlined it.
fn replace_square_roots(module: &Module<'_>) {
    let api = module.api();
    for function in module.functions() {
        for call in module.instructions(function) {
            let Some(text) = module.inline_asm_text(call) else { continue };
            if !(text.starts_with("sqrtsd ") || text.starts_with("sqrtss ")) {
                continue;
            }
            let root = intrinsic_of(module, "llvm.sqrt", api.type_of(call));
            let builder = module.builder();
            builder.before(call);
            let value = builder.call(api.value_type(root), root, &[api.operand(call, 0)]);
            api.replace_uses(call, value);
            api.erase(call);
        }
    }
}

fn intrinsic_of(module: &Module<'_>, name: &str, ty: Type) -> Value {
    let id = module.api().lookup_intrinsic(name.as_ptr().cast(), name.len());
    module.api().intrinsic_declaration(module.raw, id, &ty, 1)
}

fn redirect(module: &Module<'_>, from: &str, to: &str) {
    let Some(old) = module.function(from) else { return };
    if !module.is_declaration(old) {
        return;
    }
    if let Some(body) = module.function(&format!("{RUNTIME_PREFIX}{to}")) {
        module.api().replace_uses(old, body);
        module.api().delete_function(old);
    }
}

/// Float `%` must be exact; the NVPTX back end's own expansion is not.
fn lower_remainders(module: &Module<'_>) {
    let api = module.api();
    for function in module.functions() {
        for instruction in module.instructions(function) {
            if api.opcode(instruction) != OPCODE_FREM {
                continue;
            }
            let ty = api.type_of(instruction);
            let name = match api.type_kind(ty) {
                KIND_FLOAT => "fmodf",
                KIND_DOUBLE => "fmod",
                _ => continue,
            };
            let Some(body) = module.function(&format!("{RUNTIME_PREFIX}{name}")) else { continue };
            if body == function {
                continue;
            }
            let args: [Value; 2] = [api.operand(instruction, 0), api.operand(instruction, 1)];
            let builder = module.builder();
            builder.before(instruction);
            let value = builder.call(api.value_type(body), body, &args);
            api.replace_uses(instruction, value);
            api.erase(instruction);
        }
    }
}
