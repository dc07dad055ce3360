//! Shared memory: marker calls become variables in address space 3.

use crate::error::Error;
use crate::llvm::api::Value;
use crate::llvm::{Module, linkage};
use crate::names::demangle;

use super::kernel::force_inline;

const STATIC: &str = "__raddle_shared";
const DYNAMIC: &str = "__raddle_dynamic_shared";
const SHARED_SPACE: u32 = 3;
const GLOBAL_SPACE: u32 = 1;
/// The function of `raddle-device` whose variable says where a launch's panics go.
const LAUNCH_CELL: &str = "raddle_device::launch::cell";
const LAUNCH: &str = "raddle_shared_launch";
const LAUNCH_ALIGN: u32 = 8;

/// Replaces each call of `__raddle_shared(bytes, align)` by the address of a
/// variable of its own, and inlines the function that held it.
pub fn lower_static(module: &Module<'_>) -> Result<(), Error> {
    let Some(marker) = module.function(STATIC) else { return Ok(()) };
    let (cx, api) = (module.context, module.api());
    for (number, call) in module.calls_of(marker).into_iter().enumerate() {
        let (bytes, align) = match (constant(module, call, 0), constant(module, call, 1)) {
            (Some(bytes), Some(align)) => (bytes, align),
            _ => {
                let reason = "size and alignment must be constants".to_owned();
                return Err(Error::BadIntrinsic { link_name: STATIC.to_owned(), reason });
            }
        };
        let ty = api.array_type(cx.int(8), bytes);
        let holder = module.function_of(call);
        let name = match demangle(&module.name(holder)) == LAUNCH_CELL {
            true => format!("{LAUNCH}\0"),
            false => format!("raddle_shared_{number}\0"),
        };
        let variable = api.add_global_in(module.raw, ty, name.as_ptr().cast(), SHARED_SPACE);
        api.set_initializer(variable, api.undef(ty));
        api.set_linkage(variable, linkage::INTERNAL);
        api.set_alignment(variable, align as u32);
        api.replace_uses(call, api.const_space_cast(variable, cx.pointer(0)));
        api.erase(call);
        force_inline(module, holder);
    }
    Ok(())
}

/// Moves what a launch is told of its panics from shared to global memory, for a kernel
/// whose own variables leave no room for it. Launches of it that run beside each other
/// then share it, so that the panic of one may be told to the other. Before optimisation.
pub fn move_launch_to_global(module: &Module<'_>) {
    let Some(shared) = module.global(LAUNCH) else { return };
    let (cx, api) = (module.context, module.api());
    let ty = api.value_type(shared);
    let name = c"raddle_launch_in_global";
    let global = api.add_global_in(module.raw, ty, name.as_ptr(), GLOBAL_SPACE);
    api.set_initializer(global, api.null(ty));
    api.set_linkage(global, linkage::INTERNAL);
    api.set_alignment(global, LAUNCH_ALIGN);
    let address = api.const_space_cast(global, cx.pointer(0));
    for cast in module.users(shared) {
        api.replace_uses(cast, address);
    }
}

/// Replaces calls of `__raddle_dynamic_shared()` by the address of the launch's
/// dynamic shared memory.
pub fn lower_dynamic(module: &Module<'_>) {
    const ALIGN: u32 = 1024;
    let Some(marker) = module.function(DYNAMIC) else { return };
    let (cx, api) = (module.context, module.api());
    let ty = api.array_type(cx.int(8), 0);
    let variable =
        api.add_global_in(module.raw, ty, c"raddle_dynamic_shared".as_ptr(), SHARED_SPACE);
    api.set_linkage(variable, linkage::EXTERNAL);
    api.set_alignment(variable, ALIGN);
    for call in module.calls_of(marker) {
        api.replace_uses(call, api.const_space_cast(variable, cx.pointer(0)));
        api.erase(call);
    }
}

fn constant(module: &Module<'_>, call: Value, index: u32) -> Option<u64> {
    let value = module.api().operand(call, index);
    module.api().is_const_int(value).some().map(|value| module.api().const_int_value(value))
}
