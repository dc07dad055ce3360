//! From host bitcode to a device module: the rewrites, in order.
//!
//! All of them work on the merged, unoptimised module, where each call of the
//! source is still a call, so that diagnostics can name it. [`prepare`] leaves a
//! module in which every kernel is a PTX entry and every device function that is
//! not Rust has become LLVM's own form of it; what is still undefined after
//! optimisation cannot run on a GPU (see [`crate::check`]).

mod asm;
pub mod assertion;
pub mod cold;
pub mod format;
mod kernel;
mod math;
mod panic;
pub mod products;
pub mod recursion;
pub mod shared;
pub mod waits;
mod wide;

use crate::error::Error;
use crate::llvm::api::Value;
use crate::llvm::{FUNCTION_INDEX, Machine, Module, TRIPLE, linkage};

pub use kernel::{KernelEntry, Meta};

/// Symbols of `raddle-device` that rewrites refer to begin with this.
pub const RUNTIME_PREFIX: &str = "__raddle_rt_";

/// Retargets a merged module and returns its kernels; their paths begin with
/// `program` if that is given.
pub fn prepare(
    module: &Module<'_>,
    machine: &Machine,
    program: Option<&str>,
) -> Result<Vec<KernelEntry>, Error> {
    let api = module.api();
    api.set_target(module.raw, TRIPLE.as_ptr());
    api.set_layout(module.raw, machine.layout);
    api.set_module_asm(module.raw, c"".as_ptr(), 0);
    drop_used_lists(module);
    asm::drop_empty_assembly(module);
    asm::lower_intrinsics(module)?;
    asm::lower_inline_asm(module)?;
    shared::lower_static(module)?;
    shared::lower_dynamic(module);
    math::lower(module);
    wide::lower(module);
    assertion::define(module);
    panic::define_panics(module);
    format::lower(module);
    mark_convergent(module);
    lower_unwinding(module, machine)?;
    for function in module.functions() {
        strip_host_attributes(module, function);
    }
    kernel::make_entries(module, program)
}

/// Declares every runtime function that `runtime` defines, so that linking it
/// brings them in for the rewrites to use.
pub fn declare_runtime(module: &Module<'_>, runtime: &Module<'_>) {
    for function in runtime.functions() {
        let name = runtime.name(function);
        if name.starts_with(RUNTIME_PREFIX)
            && !runtime.is_declaration(function)
            && module.function(&name).is_none()
        {
            module.declare(&name, runtime.api().value_type(function));
        }
    }
}

/// Makes a dependency's definitions such that linking takes only what is used.
pub fn make_linkable_on_demand(module: &Module<'_>) {
    let api = module.api();
    drop_used_lists(module);
    for value in module.functions().into_iter().chain(module.globals()) {
        if module.is_declaration(value) {
            continue;
        }
        let current = api.linkage(value);
        if current != linkage::PRIVATE
            && current != linkage::INTERNAL
            && current != linkage::APPENDING
        {
            api.set_linkage(value, linkage::LINK_ONCE_ODR);
        }
    }
}

fn drop_used_lists(module: &Module<'_>) {
    for name in ["llvm.used", "llvm.compiler.used"] {
        if let Some(list) = module.global(name) {
            module.api().delete_global(list);
        }
    }
}

/// Marks every function convergent, as device compilers do: until it is inlined, a
/// call of a function with a barrier in it is to LLVM like any other, which it may
/// copy into both sides of a branch. LLVM drops the mark from functions that hold
/// nothing convergent.
fn mark_convergent(module: &Module<'_>) {
    let convergent = module.context.attribute("convergent", 0);
    for function in module.functions() {
        if !module.name(function).starts_with("llvm.") {
            module.api().add_attribute(function, FUNCTION_INDEX, convergent);
        }
    }
}

/// `core`'s own library is compiled with unwinding; here nothing unwinds.
fn lower_unwinding(module: &Module<'_>, machine: &Machine) -> Result<(), Error> {
    let unwinds = |f: &Value| module.api().has_personality(*f) != 0 && !module.is_declaration(*f);
    if module.functions().iter().any(unwinds) {
        machine.run_passes(module, "function(lower-invoke,simplifycfg)")?;
    }
    Ok(())
}

/// Removes what only makes sense for the host processor.
fn strip_host_attributes(module: &Module<'_>, function: Value) {
    let api = module.api();
    for key in [
        "target-cpu",
        "target-features",
        "tune-cpu",
        "probe-stack",
        "frame-pointer",
        "stack-probe-size",
    ] {
        api.remove_string_attribute(
            function,
            FUNCTION_INDEX,
            key.as_ptr().cast(),
            key.len() as u32,
        );
    }
    for name in ["uwtable", "sspstrong", "ssp", "sspreq", "nonlazybind"] {
        api.remove_enum_attribute(function, FUNCTION_INDEX, module.context.attribute_kind(name));
    }
    if api.has_personality(function) != 0 {
        api.set_personality(function, Value::NULL);
    }
    api.set_comdat(function, std::ptr::null_mut());
}
