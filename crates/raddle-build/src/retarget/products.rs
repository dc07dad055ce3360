//! Asynchronous products (`wgmma`) stand in the kernel itself.
//!
//! ptxas lets products in a function that is called wait for each other (C7520), and LLVM
//! inlines by cost alone. To inline such functions before LLVM has seen them would lose what
//! it learns from their parameters, so that this happens behind its passes, which then run
//! once more.

use crate::error::Error;
use crate::llvm::api::Value;
use crate::llvm::{FUNCTION_INDEX, Machine, Module};

/// Functions with products that call each other, at most.
const DEPTH_MAX: usize = 8;

/// Makes functions with products part of what calls them, up to the kernel `entry`.
pub fn inline(module: &Module<'_>, machine: &Machine, entry: &str) -> Result<(), Error> {
    for _ in 0..DEPTH_MAX {
        let is_apart = |f: &Value| module.name(*f) != entry && has_products(module, *f);
        let apart: Vec<Value> = module.functions().into_iter().filter(is_apart).collect();
        if apart.is_empty() {
            break;
        }
        let (cx, api) = (module.context, module.api());
        for function in apart {
            // rustc says on each call as well what `#[inline(never)]` says.
            let never = cx.attribute_kind("noinline");
            api.remove_enum_attribute(function, FUNCTION_INDEX, never);
            for call in module.calls_of(function) {
                api.remove_call_enum_attribute(call, FUNCTION_INDEX, never);
            }
            api.add_attribute(function, FUNCTION_INDEX, cx.attribute("alwaysinline", 0));
        }
        machine.run_passes(module, "always-inline,default<O3>,globaldce")?;
    }
    Ok(())
}

fn has_products(module: &Module<'_>, function: Value) -> bool {
    let texts = module.instructions(function).into_iter();
    let mut texts = texts.filter_map(|instruction| module.inline_asm_text(instruction));
    texts.any(|text| text.contains("wgmma."))
}
