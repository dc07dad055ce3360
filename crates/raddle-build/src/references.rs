//! Which functions and globals a function or global refers to: the edges that
//! diagnostics and rewrites walk along.

use crate::llvm::api::Value;
use crate::llvm::{Module, Place};

/// The functions and globals that `value` refers to, with the places.
pub fn references_with_places(module: &Module<'_>, value: Value) -> Vec<(Value, Vec<Place>)> {
    let api = module.api();
    let mut found = Vec::new();
    if api.is_function(value) != Value::NULL {
        for instruction in module.instructions(value) {
            let mut constants = Vec::new();
            for index in 0..api.count_operands(instruction) as u32 {
                collect_globals(module, api.operand(instruction, index), &mut constants, 0);
            }
            if !constants.is_empty() {
                let places = module.places(instruction);
                found.extend(constants.into_iter().map(|constant| (constant, places.clone())));
            }
        }
    } else {
        let constants = references(module, value);
        found.extend(constants.into_iter().map(|constant| (constant, Vec::new())));
    }
    found
}

/// The functions and globals that `value` refers to.
pub fn references(module: &Module<'_>, value: Value) -> Vec<Value> {
    let api = module.api();
    let mut found = Vec::new();
    if api.is_function(value) != Value::NULL {
        for instruction in module.instructions(value) {
            for index in 0..api.count_operands(instruction) as u32 {
                collect_globals(module, api.operand(instruction, index), &mut found, 0);
            }
        }
    } else if api.is_global(value) != Value::NULL {
        collect_globals(module, api.initializer(value), &mut found, 0);
    }
    found
}

fn collect_globals(module: &Module<'_>, value: Value, found: &mut Vec<Value>, depth: u32) {
    const DEEPEST_CONSTANT: u32 = 12;
    let api = module.api();
    if value == Value::NULL || depth > DEEPEST_CONSTANT {
        return;
    }
    let is_host_assembly = api.is_inline_asm(value) != Value::NULL;
    if api.is_function(value) != Value::NULL
        || api.is_global(value) != Value::NULL
        || is_host_assembly
    {
        found.push(value);
    } else if api.is_a_constant(value) != Value::NULL {
        for index in 0..api.count_operands(value) as u32 {
            collect_globals(module, api.operand(value, index), found, depth + 1);
        }
    }
}
