//! Shared memory: marker calls become variables in address space 3.

use crate::error::Error;
use crate::llvm::api::Value;
use crate::llvm::{Module, linkage};

use super::kernel::force_inline;

const STATIC: &str = "__raddle_shared";
const DYNAMIC: &str = "__raddle_dynamic_shared";
const SHARED_SPACE: u32 = 3;

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
        let name = format!("raddle_shared_{number}\0");
        let variable = api.add_global_in(module.raw, ty, name.as_ptr().cast(), SHARED_SPACE);
        api.set_initializer(variable, api.undef(ty));
        api.set_linkage(variable, linkage::INTERNAL);
        api.set_alignment(variable, align as u32);
        let holder = module.function_of(call);
        api.replace_uses(call, api.const_space_cast(variable, cx.pointer(0)));
        api.erase(call);
        force_inline(module, holder);
    }
    Ok(())
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
