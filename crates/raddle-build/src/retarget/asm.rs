//! Device functions that are not Rust: link names that name an LLVM intrinsic or
//! carry one PTX template. The grammar is documented in `raddle-device`'s `asm`.

use crate::error::Error;
use crate::llvm::api::{Type, Value};
use crate::llvm::{FUNCTION_INDEX, KIND_VOID, Module};

const INTRINSIC: &str = "raddle.intrinsic:";
const ASM: &str = "raddle.asm";

/// Replaces declarations `raddle.intrinsic:NAME` by the LLVM intrinsic.
pub fn lower_intrinsics(module: &Module<'_>) -> Result<(), Error> {
    let api = module.api();
    for function in module.functions() {
        let link_name = module.name(function);
        let Some(name) = link_name.strip_prefix(INTRINSIC) else { continue };
        let id = api.lookup_intrinsic(name.as_ptr().cast(), name.len());
        if id == 0 || api.intrinsic_is_overloaded(id) != 0 {
            let reason = "LLVM has no such intrinsic, or it is overloaded".to_owned();
            return Err(Error::BadIntrinsic { link_name, reason });
        }
        let intrinsic = api.intrinsic_declaration(module.raw, id, std::ptr::null(), 0);
        if api.value_type(intrinsic) != api.value_type(function) {
            let reason = "its Rust signature differs from LLVM's".to_owned();
            return Err(Error::BadIntrinsic { link_name, reason });
        }
        for call in module.calls_of(function) {
            clear_result_attributes(module, call);
        }
        api.replace_uses(function, intrinsic);
        api.delete_function(function);
    }
    Ok(())
}

/// `core::hint::black_box` is assembly without text whose operand class NVPTX does
/// not have; its only effect is on the optimiser, which we let go.
pub fn drop_empty_assembly(module: &Module<'_>) {
    for function in module.functions() {
        for call in module.instructions(function) {
            let is_empty = module.inline_asm_text(call).is_some_and(|text| text.is_empty());
            if is_empty && module.users(call).is_empty() {
                module.api().erase(call);
            }
        }
    }
}

/// Replaces each call of a `raddle.asm…` declaration by inline assembly.
pub fn lower_inline_asm(module: &Module<'_>) -> Result<(), Error> {
    for function in module.functions() {
        let link_name = module.name(function);
        if !link_name.starts_with(ASM) {
            continue;
        }
        let fail = |reason: String| Error::BadIntrinsic { link_name: link_name.clone(), reason };
        let spec = Spec::parse(&link_name).map_err(fail)?;
        for call in module.calls_of(function) {
            lower_call(module, call, &spec).map_err(fail)?;
        }
        if module.users(function).is_empty() {
            module.api().delete_function(function);
        } else {
            return Err(fail("its address is taken; call it directly".to_owned()));
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Out,
    InOut,
    In,
}

/// One constraint: `count` registers of one class; `None` means one register
/// passed by value (inputs) or through a pointer to it (outputs).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Operand {
    role: Role,
    class: char,
    count: Option<usize>,
}

#[derive(Debug, PartialEq, Eq)]
struct Spec {
    convergent: bool,
    volatile: bool,
    clobbers_memory: bool,
    operands: Vec<Operand>,
    template: String,
}

impl Spec {
    fn parse(link_name: &str) -> Result<Self, String> {
        let mut parts = link_name.splitn(3, ':');
        let (head, constraints, template) = match (parts.next(), parts.next(), parts.next()) {
            (Some(head), Some(constraints), Some(template)) => (head, constraints, template),
            _ => return Err("expected `raddle.asm[.c][.v]:constraints:template`".to_owned()),
        };
        let mut spec = Self {
            convergent: false,
            volatile: false,
            clobbers_memory: false,
            operands: Vec::new(),
            template: template.to_owned(),
        };
        for flag in head.split('.').skip(2) {
            match flag {
                "c" => spec.convergent = true,
                "v" => spec.volatile = true,
                other => return Err(format!("unknown flag `.{other}`")),
            }
        }
        for item in constraints.split(',').filter(|item| !item.is_empty()) {
            if item == "~{memory}" {
                spec.clobbers_memory = true;
            } else {
                spec.operands.push(Operand::parse(item)?);
            }
        }
        let first_input = spec.operands.iter().position(|o| o.role == Role::In);
        let last_output = spec.operands.iter().rposition(|o| o.role != Role::In);
        if let (Some(input), Some(output)) = (first_input, last_output)
            && input < output
        {
            return Err("outputs must come before inputs".to_owned());
        }
        Ok(spec)
    }

    fn has_outputs(&self) -> bool {
        self.operands.iter().any(|o| o.role != Role::In)
    }
}

impl Operand {
    fn parse(item: &str) -> Result<Self, String> {
        let (role, rest) = match item.as_bytes()[0] {
            b'=' => (Role::Out, &item[1..]),
            b'+' => (Role::InOut, &item[1..]),
            _ => (Role::In, item),
        };
        let (class, count) = match rest.split_once('*') {
            Some((class, count)) => {
                let count = count.parse().map_err(|_| format!("bad count in `{item}`"))?;
                (class, Some(count))
            }
            None => (rest, None),
        };
        let mut chars = class.chars();
        match (chars.next(), chars.next()) {
            (Some(class @ ('h' | 'r' | 'l' | 'q' | 'f' | 'd' | 'n')), None) => {
                Ok(Self { role, class, count })
            }
            _ => Err(format!("unknown constraint `{item}`")),
        }
    }

    fn registers(&self) -> usize {
        self.count.unwrap_or(1)
    }
}

/// The pieces of one inline-assembly call while it is put together.
#[derive(Default)]
struct Assembly {
    out_types: Vec<Type>,
    out_constraints: Vec<String>,
    /// Where each output register goes: pointer and element index; a null
    /// pointer means the function's own result.
    out_targets: Vec<(Value, usize)>,
    in_types: Vec<Type>,
    in_constraints: Vec<String>,
    in_values: Vec<Value>,
    tied_types: Vec<Type>,
    tied_constraints: Vec<String>,
    tied_values: Vec<Value>,
}

fn lower_call(module: &Module<'_>, call: Value, spec: &Spec) -> Result<(), String> {
    let (cx, api) = (module.context, module.api());
    let builder = module.builder();
    builder.before(call);
    let returns = api.type_kind(api.return_type(api.callee_type(call))) != KIND_VOID;
    let mut asm = Assembly::default();
    let mut next_arg = 0;
    let arg_count = api.count_args(call);
    for operand in &spec.operands {
        let ty = register_type(module, operand.class);
        let is_result = returns
            && operand.role == Role::Out
            && operand.count.is_none()
            && asm.out_types.is_empty();
        let arg = if is_result {
            Value::NULL
        } else {
            if next_arg >= arg_count {
                return Err("fewer arguments than constraints".to_owned());
            }
            next_arg += 1;
            api.operand(call, next_arg - 1)
        };
        gather(module, &builder, operand, ty, arg, &mut asm)?;
    }
    if next_arg != arg_count {
        return Err("more arguments than constraints".to_owned());
    }
    let result_type = match asm.out_types.as_slice() {
        [] => cx.void(),
        [one] => *one,
        many => api.struct_type(cx.raw, many.as_ptr(), many.len() as u32, 0),
    };
    let in_types: Vec<Type> = asm.in_types.iter().chain(&asm.tied_types).copied().collect();
    let values: Vec<Value> = asm.in_values.iter().chain(&asm.tied_values).copied().collect();
    let mut constraints: Vec<String> = Vec::new();
    constraints.extend(
        asm.out_constraints.iter().chain(&asm.in_constraints).chain(&asm.tied_constraints).cloned(),
    );
    if spec.clobbers_memory {
        constraints.push("~{memory}".to_owned());
    }
    let constraints = constraints.join(",");
    let ty = cx.function(result_type, &in_types);
    let has_side_effects = spec.volatile || spec.clobbers_memory || !spec.has_outputs();
    let code = api.inline_asm(
        ty,
        spec.template.as_ptr().cast(),
        spec.template.len(),
        constraints.as_ptr().cast(),
        constraints.len(),
        i32::from(has_side_effects),
        0,
        0,
        0,
    );
    let result = builder.call(ty, code, &values);
    mark(module, result, spec, has_side_effects);
    store_results(module, &builder, call, result, &asm);
    api.erase(call);
    Ok(())
}

fn gather(
    module: &Module<'_>,
    builder: &crate::llvm::Builder,
    operand: &Operand,
    ty: Type,
    arg: Value,
    asm: &mut Assembly,
) -> Result<(), String> {
    let (cx, api) = (module.context, module.api());
    if operand.role == Role::In && operand.count.is_none() {
        let (ty, constraint) = if operand.class == 'n' {
            if api.is_const_int(arg) == Value::NULL {
                return Err("an `n` operand must be a constant".to_owned());
            }
            (api.type_of(arg), "n".to_owned())
        } else {
            (ty, operand.class.to_string())
        };
        if api.type_of(arg) != ty {
            return Err(format!("an argument does not fit constraint `{}`", operand.class));
        }
        asm.in_types.push(ty);
        asm.in_constraints.push(constraint);
        asm.in_values.push(arg);
        return Ok(());
    }
    for index in 0..operand.registers() {
        let offset = api.const_int(cx.int(64), index as u64, 0);
        if operand.role != Role::Out {
            let value = builder.load(ty, builder.element(ty, arg, offset));
            if operand.role == Role::In {
                asm.in_types.push(ty);
                asm.in_constraints.push(operand.class.to_string());
                asm.in_values.push(value);
                continue;
            }
            asm.tied_types.push(ty);
            asm.tied_constraints.push(asm.out_types.len().to_string());
            asm.tied_values.push(value);
        }
        asm.out_types.push(ty);
        asm.out_constraints.push(format!("={}", operand.class));
        asm.out_targets.push((arg, index));
    }
    Ok(())
}

fn store_results(
    module: &Module<'_>,
    builder: &crate::llvm::Builder,
    call: Value,
    result: Value,
    asm: &Assembly,
) {
    let (cx, api) = (module.context, module.api());
    for (register, (&(target, index), &ty)) in
        asm.out_targets.iter().zip(&asm.out_types).enumerate()
    {
        let value = if asm.out_types.len() == 1 {
            result
        } else {
            builder.extract(result, register as u32)
        };
        if target == Value::NULL {
            api.replace_uses(call, value);
        } else {
            let offset = api.const_int(cx.int(64), index as u64, 0);
            builder.store(value, builder.element(ty, target, offset));
        }
    }
}

fn mark(module: &Module<'_>, call: Value, spec: &Spec, has_side_effects: bool) {
    let (cx, api) = (module.context, module.api());
    api.add_call_attribute(call, FUNCTION_INDEX, cx.attribute("nounwind", 0));
    if spec.convergent {
        api.add_call_attribute(call, FUNCTION_INDEX, cx.attribute("convergent", 0));
    }
    if !spec.clobbers_memory {
        // `memory(none)`, or `memory(inaccessiblemem: readwrite)` for effects that
        // are not on memory: LLVM encodes two bits for each kind of memory.
        const INACCESSIBLE_READ_WRITE: u64 = 0b11 << 2;
        let effects = if has_side_effects { INACCESSIBLE_READ_WRITE } else { 0 };
        api.add_call_attribute(call, FUNCTION_INDEX, cx.attribute("memory", effects));
    }
}

fn register_type(module: &Module<'_>, class: char) -> Type {
    let cx = module.context;
    match class {
        'h' => cx.int(16),
        'r' | 'n' => cx.int(32),
        'q' => cx.int(128),
        'f' => module.api().float_type(cx.raw),
        'd' => module.api().double_type(cx.raw),
        _ => cx.int(64),
    }
}

/// Drops result attributes that an intrinsic call may not carry.
fn clear_result_attributes(module: &Module<'_>, call: Value) {
    for name in ["noundef", "zeroext", "signext"] {
        module.api().remove_call_enum_attribute(call, 0, module.context.attribute_kind(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_parse() {
        let spec =
            Spec::parse("raddle.asm.c.v:=r,+f*4,r,f*2,~{memory}:foo $0;").expect("well formed");
        assert!(spec.convergent && spec.volatile && spec.clobbers_memory);
        assert_eq!(spec.template, "foo $0;");
        assert_eq!(spec.operands.iter().map(Operand::registers).collect::<Vec<_>>(), [1, 4, 1, 2]);
        assert_eq!(Spec::parse("raddle.asm::bar.sync 0;").expect("no operands").operands, []);
    }

    #[test]
    fn bad_specs_say_why() {
        assert_eq!(
            Spec::parse("raddle.asm:r,=r:x").unwrap_err(),
            "outputs must come before inputs"
        );
        assert_eq!(Spec::parse("raddle.asm.z:=r:x").unwrap_err(), "unknown flag `.z`");
        assert_eq!(Spec::parse("raddle.asm:=y:x").unwrap_err(), "unknown constraint `=y`");
        assert_eq!(Spec::parse("raddle.asm:=f*x:x").unwrap_err(), "bad count in `=f*x`");
    }
}
