//! Variables whose address only a panic's message takes.
//!
//! `assert!(x > 0.0, "element {i}")` in a loop passes the address of `i` to code that
//! never returns. For LLVM `i` then has to be in memory whenever that code may begin,
//! and each round of the loop stores it. Here what leads to a panic gets copies: the
//! variables themselves stay in registers, and the path that does not panic holds
//! nothing of the message.

use std::collections::HashSet;

use crate::llvm::api::{Block, Value};
use crate::llvm::{
    Machine, Module, OPCODE_ALLOCA, OPCODE_ELEMENT, OPCODE_PHI, OPCODE_STORE, OPCODE_UNREACHABLE,
};

/// Larger variables are left alone: the copy would be stack that nobody needs.
const BYTES_MAX: u64 = 128;

/// Gives the ends of all functions copies of the variables that they take the
/// address of; whether there were any.
pub fn free_variables(module: &Module<'_>, machine: &Machine) -> bool {
    let is_defined = |f: &Value| !module.is_declaration(*f);
    let functions: Vec<Value> = module.functions().into_iter().filter(is_defined).collect();
    let freed = functions.into_iter().filter(|&function| free_in(module, machine, function));
    freed.count() > 0
}

fn free_in(module: &Module<'_>, machine: &Machine, function: Value) -> bool {
    let api = module.api();
    let blocks = module.blocks(function);
    let cold = without_return(module, &blocks);
    if cold.is_empty() || cold.len() == blocks.len() {
        return false;
    }
    let is_cold = |user: Value| cold.contains(&api.instruction_block(user));
    let entries: Vec<Block> = blocks
        .iter()
        .filter(|block| !cold.contains(block))
        .flat_map(|&block| module.successors(block))
        .filter(|block| cold.contains(block))
        .collect::<HashSet<_>>()
        .into_iter()
        .collect();
    // In the order of the blocks, so that the result does not depend on addresses.
    let entries: Vec<Block> = blocks.iter().copied().filter(|b| entries.contains(b)).collect();
    let mut found = false;
    for variable in module.instructions(function) {
        if api.opcode(variable) != OPCODE_ALLOCA {
            continue;
        }
        let bytes = api.bytes_of(machine.layout, api.allocated_type(variable));
        let uses = Uses::of(module, variable, &is_cold);
        if bytes > 0 && bytes <= BYTES_MAX && uses.is_worth_it() {
            copy(module, variable, bytes, &uses, &entries, &is_cold);
            found = true;
        }
    }
    found
}

/// The uses of a variable's address.
struct Uses {
    /// Those on the way to a panic.
    cold: Vec<Value>,
    /// Addresses of parts, computed elsewhere and used on the way to a panic.
    parts: Vec<Value>,
    /// Whether the rest only reads and writes, and does write.
    hot_is_plain: bool,
}

impl Uses {
    fn of(module: &Module<'_>, variable: Value, is_cold: &impl Fn(Value) -> bool) -> Self {
        let api = module.api();
        let mut uses = Self { cold: Vec::new(), parts: Vec::new(), hot_is_plain: true };
        let mut stores = false;
        let mut judge = |user: Value, address: Value, uses: &mut Self| {
            if api.opcode(user) == OPCODE_STORE {
                stores = true;
                uses.hot_is_plain &= api.operand(user, 0) != address;
            } else if api.is_call(user) != Value::NULL {
                let callee = api.callee(user);
                let name = module.name(callee);
                uses.hot_is_plain &= name.starts_with("llvm.");
                stores |= name.starts_with("llvm.mem");
            }
        };
        for user in module.users(variable) {
            if is_cold(user) {
                uses.cold.push(user);
            } else if api.opcode(user) == OPCODE_ELEMENT {
                let of_part = module.users(user);
                if of_part.iter().any(|&u| is_cold(u)) {
                    uses.parts.push(user);
                }
                for part_user in of_part.into_iter().filter(|&u| !is_cold(u)) {
                    judge(part_user, user, &mut uses);
                }
            } else {
                judge(user, variable, &mut uses);
            }
        }
        uses.hot_is_plain &= stores;
        uses
    }

    fn is_worth_it(&self) -> bool {
        self.hot_is_plain && !(self.cold.is_empty() && self.parts.is_empty())
    }
}

/// Puts a copy of `variable` in its place wherever a panic is certain.
fn copy(
    module: &Module<'_>,
    variable: Value,
    bytes: u64,
    uses: &Uses,
    entries: &[Block],
    is_cold: &impl Fn(Value) -> bool,
) {
    let (cx, api) = (module.context, module.api());
    let align = api.alignment(variable);
    let builder = module.builder();
    let twin = builder.before(variable).alloca(api.allocated_type(variable), align);
    let len = api.const_int(cx.int(64), bytes, 0);
    for &entry in entries {
        builder.before(first_after_phis(module, entry)).copy(twin, variable, align, len);
    }
    for &user in &uses.cold {
        replace_operand(module, user, variable, twin);
    }
    for &part in &uses.parts {
        let same_part = api.clone_instruction(part);
        builder.before(part).insert(same_part);
        replace_operand(module, same_part, variable, twin);
        for user in module.users(part).into_iter().filter(|&user| is_cold(user)) {
            replace_operand(module, user, part, same_part);
        }
    }
}

fn replace_operand(module: &Module<'_>, user: Value, old: Value, new: Value) {
    let api = module.api();
    for index in 0..api.count_operands(user) as u32 {
        if api.operand(user, index) == old {
            api.set_operand(user, index, new);
        }
    }
}

fn first_after_phis(module: &Module<'_>, block: Block) -> Value {
    let api = module.api();
    let mut instruction = api.first_instruction(block);
    while api.opcode(instruction) == OPCODE_PHI {
        instruction = api.next_instruction(instruction);
    }
    instruction
}

/// The blocks from which no path returns.
fn without_return(module: &Module<'_>, blocks: &[Block]) -> HashSet<Block> {
    let api = module.api();
    let ends = |block: &Block| api.opcode(api.terminator(*block)) == OPCODE_UNREACHABLE;
    let mut cold: HashSet<Block> = blocks.iter().copied().filter(ends).collect();
    loop {
        let leads_there = |block: &&Block| {
            let next = module.successors(**block);
            !cold.contains(block) && !next.is_empty() && next.iter().all(|b| cold.contains(b))
        };
        let more: Vec<Block> = blocks.iter().filter(leads_there).copied().collect();
        if more.is_empty() {
            return cold;
        }
        cold.extend(more);
    }
}
