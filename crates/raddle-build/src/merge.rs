//! One module out of many: the kernels' crate, what it uses of its dependencies,
//! and what it uses of `core` that is not generic or inlined.

use std::path::Path;

use crate::device_crate::CrateBitcode;
use crate::error::Error;
use crate::llvm::api::Value;
use crate::llvm::{Context, FUNCTION_INDEX, Module};
use crate::names::demangle;
use crate::retarget;
use crate::retarget::assertion::{is_assertion, needs_library};
use crate::toolchain::Toolchain;

/// Merges the crates' bitcode; the first is the kernels' own.
pub fn merge<'c>(
    context: &'c Context,
    toolchain: &Toolchain,
    crates: &[CrateBitcode],
) -> Result<Module<'c>, Error> {
    let (root, dependencies) = crates.split_first().ok_or_else(|| Error::Tool {
        tool: "cargo build".to_owned(),
        reason: "the device build made no bitcode".to_owned(),
    })?;
    let module = context.parse(&read(&root.path)?, &root.name)?;
    if let Some(runtime) = dependencies.iter().find(|c| c.name == "raddle_device") {
        retarget::declare_runtime(&module, &context.parse(&read(&runtime.path)?, &runtime.name)?);
    }
    // What one crate brings in may need another that was looked at before, but nothing
    // more of itself: go round until each was looked at since the last that had something.
    let mut settled = 0;
    for dependency in dependencies.iter().cycle() {
        if settled == dependencies.len() {
            break;
        }
        let bitcode = read(&dependency.path)?;
        let has_brought = link_needed(context, &module, &bitcode, &dependency.name)?;
        settled = if has_brought { 1 } else { settled + 1 };
    }
    let is_undefined = |f: &Value| module.is_declaration(*f) && !module.users(*f).is_empty();
    let asserts = || {
        let needs = |f: &Value| needs_library(&module.name(*f)) && is_undefined(f);
        module.functions().iter().any(needs)
    };
    let formats = asserts() || retarget::format::is_needed(&module);
    if formats || needs_core(&module) {
        // What `std` has may need more of `core`, and nothing the other way round.
        for library in ["std", "core"] {
            if library == "std" && !asserts() {
                continue;
            }
            for bitcode in toolchain.library_bitcode(library)? {
                let part = context.parse(&bitcode, library)?;
                keep_out(&part, formats);
                link_module(&module, part)?;
            }
        }
    }
    Ok(module)
}

/// Whether the dependency had something that was needed.
fn link_needed<'c>(
    context: &'c Context,
    module: &Module<'c>,
    bitcode: &[u8],
    name: &str,
) -> Result<bool, Error> {
    link_module(module, context.parse(bitcode, name)?)
}

fn link_module<'c>(module: &Module<'c>, dependency: Module<'c>) -> Result<bool, Error> {
    let is_needed = dependency.functions().into_iter().chain(dependency.globals()).any(|value| {
        let name = dependency.name(value);
        let wanted = module.function(&name).or_else(|| module.global(&name));
        !dependency.is_declaration(value)
            && wanted.is_some_and(|wanted| module.is_declaration(wanted))
    });
    if is_needed {
        retarget::make_linkable_on_demand(&dependency);
        module.link(dependency)?;
    }
    Ok(is_needed)
}

/// Panics must reach the host as records, so `core`'s own bodies of them stay behind:
/// calls go to declarations of the old name, which the rewrites define. Only failed
/// assertions of types that are not primitive do not, since their functions just wrap
/// the values. Formatting stays behind as well if no message needs it, and all that is
/// `std`'s own, whose callers are told what it is that a GPU cannot do.
fn keep_out(core: &Module<'_>, formats: bool) {
    let (cx, api) = (core.context, core.api());
    let noreturn = cx.attribute_kind("noreturn");
    for function in core.functions() {
        let symbol = core.name(function);
        let is_panic = !api.enum_attribute(function, FUNCTION_INDEX, noreturn).0.is_null();
        let name = demangle(&symbol);
        let is_formatting = !formats && name.contains("core::fmt::");
        let is_of_std =
            ["std::", "<std::", "alloc::", "<alloc::"].iter().any(|s| name.starts_with(s));
        let stays = is_panic || is_formatting || is_of_std;
        if core.is_declaration(function) || !stays || is_assertion(&symbol) {
            continue;
        }
        core.rename(function, &format!("{symbol}.kept_out"));
        let outside = core.declare(&symbol, api.value_type(function));
        if is_panic {
            api.add_attribute(outside, FUNCTION_INDEX, cx.attribute("noreturn", 0));
        }
        api.replace_uses(function, outside);
    }
}

/// Whether the module calls functions that only `core`'s library holds, apart from
/// formatting. Panics get bodies of ours.
fn needs_core(module: &Module<'_>) -> bool {
    let noreturn = module.context.attribute_kind("noreturn");
    module.functions().into_iter().any(|function| {
        if !module.is_declaration(function) || module.users(function).is_empty() {
            return false;
        }
        let name = demangle(&module.name(function));
        let is_core = name.starts_with("core::")
            || name.starts_with("<core::")
            || name.contains(" as core::");
        let is_panic = !module.api().enum_attribute(function, FUNCTION_INDEX, noreturn).0.is_null();
        is_core && !is_panic && !name.contains("core::fmt") && !name.contains("core::panicking")
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Io {
        action: "read",
        path: path.to_path_buf(),
        source,
    })
}
