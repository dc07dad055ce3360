//! Whether threads of a kernel wait for each other: at a barrier, in an operation of
//! the warp, or in a loop that only another thread's write ends. On the CPU such
//! kernels need a fibre for each thread.

use std::collections::HashSet;

use crate::llvm::api::{Block, Value};
use crate::llvm::{FUNCTION_INDEX, Module, OPCODE_COMPARE_EXCHANGE, OPCODE_LOAD, OPCODE_UPDATE};

/// Whether any call is marked convergent: barriers and warp operations are. To be
/// asked before optimisation, which may drop what has no effect on this kernel's
/// results.
pub fn at_barriers(module: &Module<'_>) -> bool {
    let api = module.api();
    let kind = module.context.attribute_kind("convergent");
    let is_convergent = |f: Value| !api.enum_attribute(f, FUNCTION_INDEX, kind).0.is_null();
    module.functions().into_iter().any(|function| {
        let name = module.name(function);
        if name.starts_with("llvm.") {
            return is_convergent(function) && !module.users(function).is_empty();
        }
        module.instructions(function).into_iter().any(|instruction| {
            api.is_call(instruction) != Value::NULL
                && api.is_inline_asm(api.callee(instruction)) != Value::NULL
                && api.call_attribute(instruction, FUNCTION_INDEX, kind).some().is_some()
        })
    })
}

/// Whether a loop's end depends on what it reads atomically. To be asked after
/// optimisation, when conditions hang directly on what they come from.
///
/// A loop around a compare-and-exchange that tries again with the value it found ends
/// whatever other threads do, and does not count; one that expects the same value
/// each time is a lock.
pub fn in_loops(module: &Module<'_>) -> bool {
    module.functions().into_iter().any(|function| {
        let blocks = module.blocks(function);
        blocks.iter().any(|&block| waits_at(module, block))
    })
}

/// Whether the branch at the end of a block may leave a loop, by a condition that
/// comes from an atomic read in that loop.
fn waits_at(module: &Module<'_>, block: Block) -> bool {
    let api = module.api();
    let next = module.successors(block);
    if next.len() < 2 {
        return false;
    }
    let cycle = cycle_through(module, block);
    if !cycle.contains(&block) || next.iter().all(|block| cycle.contains(block)) {
        return false;
    }
    let condition = api.operand(api.terminator(block), 0);
    let sources = sources_in(module, condition, &cycle);
    sources.iter().any(|&source| is_wait(module, source, &cycle))
}

/// The blocks that lie on a way from `block` back to itself.
fn cycle_through(module: &Module<'_>, block: Block) -> HashSet<Block> {
    let mut after: HashSet<Block> = HashSet::new();
    let mut queue = module.successors(block);
    while let Some(block) = queue.pop() {
        if after.insert(block) {
            queue.extend(module.successors(block));
        }
    }
    // What leads back: grows until nothing is added.
    let mut cycle: HashSet<Block> = after.iter().copied().filter(|&b| b == block).collect();
    loop {
        let leads_back = |b: &&Block| {
            !cycle.contains(*b) && module.successors(**b).iter().any(|next| cycle.contains(next))
        };
        let more: Vec<Block> = after.iter().filter(leads_back).copied().collect();
        if more.is_empty() {
            return cycle;
        }
        cycle.extend(more);
    }
}

/// The instructions of the loop that a value is computed from, itself included.
fn sources_in(module: &Module<'_>, value: Value, cycle: &HashSet<Block>) -> HashSet<Value> {
    let api = module.api();
    let mut seen = HashSet::new();
    let mut queue = vec![value];
    while let Some(value) = queue.pop() {
        let is_inside = api.is_instruction(value) != Value::NULL
            && cycle.contains(&api.instruction_block(value));
        if is_inside && seen.insert(value) {
            queue.extend((0..api.count_operands(value) as u32).map(|i| api.operand(value, i)));
        }
    }
    seen
}

fn is_wait(module: &Module<'_>, instruction: Value, cycle: &HashSet<Block>) -> bool {
    let api = module.api();
    let expects_what_it_found =
        |operand: u32| !sources_in(module, api.operand(instruction, operand), cycle).is_empty();
    match api.opcode(instruction) {
        OPCODE_COMPARE_EXCHANGE => !expects_what_it_found(1),
        OPCODE_UPDATE => true,
        OPCODE_LOAD => api.is_volatile(instruction) != 0 || api.ordering(instruction) != 0,
        _ => match module.inline_asm_text(instruction) {
            Some(text) if text.contains("atom.") && text.contains(".cas.") => {
                !expects_what_it_found(1)
            }
            Some(text) => {
                ["atom.", "ld.acquire", "ld.relaxed", "ld.volatile", "test_wait", "try_wait"]
                    .iter()
                    .any(|read| text.contains(read))
            }
            None => false,
        },
    }
}
