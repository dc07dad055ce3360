//! Functions that call themselves, directly or in a circle, in a kernel's optimised
//! module: their stack has no bound that could be known, and ptxas must be kept from
//! compiling them wrongly.
//!
//! With `-c`, as the driver's linker assembles, ptxas 13.0 takes the arguments of a
//! function that calls itself for equal in all lanes of a warp, whatever it is called
//! with. Lanes that leave a loop at different times are then never brought together
//! again, and counters lie in registers that a warp has once. A function whose address
//! is in memory may have callers that ptxas does not see, and gets none of this.

use std::collections::{HashMap, HashSet};

use crate::llvm::api::Value;
use crate::llvm::{Module, linkage};

/// Name of the variable that holds the addresses; nothing reads it.
const TAKEN: &str = "raddle_recursive";
const GLOBAL_SPACE: u32 = 1;

/// What the functions that a kernel reaches call.
pub struct Calls {
    calls: HashMap<Value, Vec<Value>>,
    has_pointers: bool,
}

impl Calls {
    /// The calls below a function.
    pub fn below(module: &Module<'_>, entry: Value) -> Self {
        let api = module.api();
        let mut calls: HashMap<Value, Vec<Value>> = HashMap::new();
        let mut has_pointers = false;
        let mut queue = vec![entry];
        while let Some(function) = queue.pop() {
            if calls.contains_key(&function) {
                continue;
            }
            let mut callees = Vec::new();
            for instruction in module.instructions(function) {
                if api.is_call(instruction) == Value::NULL {
                    continue;
                }
                let callee = api.callee(instruction);
                if api.is_function(callee) != Value::NULL {
                    callees.push(callee);
                    queue.push(callee);
                } else {
                    has_pointers |= api.is_inline_asm(callee) == Value::NULL;
                }
            }
            calls.insert(function, callees);
        }
        Self { calls, has_pointers }
    }

    /// Whether functions call themselves, or are called through pointers: then the
    /// image begins with `raddle_device::kernel::RECURSION_MARK`.
    pub fn need_unbounded_stack(&self) -> bool {
        self.has_pointers || self.calls.keys().any(|&function| self.is_recursive(function))
    }

    /// Whether a call of the function may lead to another call of it.
    pub fn is_recursive(&self, function: Value) -> bool {
        let mut seen = HashSet::new();
        let mut queue = self.calls.get(&function).cloned().unwrap_or_default();
        while let Some(callee) = queue.pop() {
            if callee == function {
                return true;
            }
            if seen.insert(callee) {
                queue.extend(self.calls.get(&callee).into_iter().flatten());
            }
        }
        false
    }
}

/// Puts the addresses of all recursive functions into a variable. To be done after
/// optimisation, which would drop what nothing reads.
pub fn take_addresses(module: &Module<'_>, calls: &Calls) {
    let functions = module.functions().into_iter();
    let recursive: Vec<Value> = functions.filter(|&f| calls.is_recursive(f)).collect();
    if recursive.is_empty() {
        return;
    }
    let (cx, api) = (module.context, module.api());
    let address = cx.pointer(0);
    let table = api.const_array(address, recursive.as_ptr(), recursive.len() as u64);
    let name = format!("{TAKEN}\0");
    let taken =
        api.add_global_in(module.raw, api.type_of(table), name.as_ptr().cast(), GLOBAL_SPACE);
    api.set_initializer(taken, table);
    api.set_linkage(taken, linkage::INTERNAL);
}
