//! One kernel from the prepared module to PTX: cut out, optimise, rename, print.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::error::Error;
use crate::llvm::api::Value;
use crate::llvm::{Context, Llvm, Machine, Module, linkage};
use crate::names::{demangle, stable_symbol};
use crate::retarget::format::{self, Formatting};
use crate::retarget::recursion::{self, Calls};
use crate::retarget::{KernelEntry, Meta};
use crate::retarget::{cold, products, shared, waits};

/// What to compile a kernel for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// LLVM's processor and PTX's `.target`.
    pub name: &'static str,
    /// LLVM's features: the PTX version.
    pub features: &'static str,
}

/// Runs on every GPU from Ampere on.
pub const PORTABLE: Target = Target { name: "sm_80", features: "+ptx80" };
/// Hopper with its own instructions; runs on compute capability 9.0 only.
pub const HOPPER: Target = Target { name: "sm_90a", features: "+ptx81" };

/// Compute capability 9.0 and later, for kernels with clusters.
pub const CLUSTERS: Target = Target { name: "sm_90", features: "+ptx80" };

impl Target {
    /// The targets a kernel is built for.
    pub fn for_kernel(meta: &Meta) -> &'static [Self] {
        let has_clusters = meta.cluster[0] > 0;
        match (meta.architecture >= 90, meta.variant >= 90, has_clusters) {
            (true, ..) => &[HOPPER],
            (false, true, true) => &[CLUSTERS, HOPPER],
            (false, true, false) => &[PORTABLE, HOPPER],
            (false, false, true) => &[CLUSTERS],
            (false, false, false) => &[PORTABLE],
        }
    }
}

/// A kernel's PTX for one target.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The text.
    pub ptx: String,
    /// Whether threads can wait for each other.
    pub synchronizes: bool,
}

/// Why a kernel has no PTX.
pub enum Refused {
    /// The kernel refers to functions that do not exist on a GPU.
    Undefined(Vec<String>),
    /// The device build itself failed.
    Failed(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Some kernels with all they use, ready to be compiled on another thread.
pub struct Batch {
    /// The kernels.
    pub kernels: Vec<KernelEntry>,
    /// The module that holds them.
    pub bitcode: Arc<Vec<u8>>,
}

/// Cuts the prepared module into small ones. Halving it again and again costs its
/// size times the logarithm of the number of kernels, where cutting each kernel
/// out of the whole would cost the size times the number.
pub fn split(
    module: Module<'_>,
    kernels: &[KernelEntry],
    machine: &Machine,
) -> Result<Vec<Batch>, Error> {
    const KERNELS_MAX: usize = 3;
    let mut batches = Vec::new();
    let mut rest = vec![(module, kernels)];
    while let Some((module, kernels)) = rest.pop() {
        keep_only(&module, kernels, format::is_kept_for_choice);
        machine.run_passes(&module, "globaldce")?;
        if kernels.len() <= KERNELS_MAX {
            batches
                .push(Batch { kernels: kernels.to_vec(), bitcode: Arc::new(module.to_bitcode()) });
        } else {
            let (left, right) = kernels.split_at(kernels.len() / 2);
            rest.push((module.duplicate(), right));
            rest.push((module, left));
        }
    }
    Ok(batches)
}

/// Compiles the kernel out of a batch's bitcode.
pub fn compile(
    llvm: &'static Llvm,
    bitcode: &[u8],
    kernel: &KernelEntry,
    target: Target,
) -> Result<Compiled, Refused> {
    let context = Context::new(llvm);
    let machine = Machine::new(llvm, target.name, target.features)?;
    let mut form = Form { formatting: Formatting::Primitives, has_launch_in_global: false };
    let optimised = |form| optimise(&context, &machine, bitcode, kernel, target, form);
    let Optimised { mut module, synchronizes, recurses } = optimised(form)?;
    let formats = format::needs_any(&module);
    if formats {
        form.formatting = Formatting::Any;
        module = optimised(form)?.module;
    }
    let undefined = undefined_functions(&module);
    if !undefined.is_empty() {
        return Err(Refused::Undefined(undefined));
    }
    rename_leftovers(&module, kernel);
    if std::env::var_os("RADDLE_BUILD_VERIFY").is_some() {
        module.verify()?;
    }
    let mut ptx = machine.emit(&module)?;
    if static_shared_bytes(&ptx) > STATIC_SHARED_BYTES_MAX {
        form.has_launch_in_global = true;
        module = optimised(form)?.module;
        rename_leftovers(&module, kernel);
        ptx = machine.emit(&module)?;
    }
    let mark = match (recurses, formats) {
        (true, _) => "// recursion\n",
        (false, true) => "// formatting\n",
        (false, false) => "",
    };
    let ptx = let_calls_return(tidy(&ptx));
    Ok(Compiled { ptx: format!("{mark}{ptx}"), synchronizes })
}

/// What optimising finds out a kernel needs.
#[derive(Clone, Copy)]
struct Form {
    formatting: Formatting,
    /// Whether shared memory has no room for what a launch is told of its panics.
    has_launch_in_global: bool,
}

/// Most bytes of static shared memory that a kernel may have, on any architecture.
const STATIC_SHARED_BYTES_MAX: u64 = 48 << 10;

/// Bytes of the variables that a kernel has in static shared memory, which ptxas lays
/// out by alignment, the largest first.
fn static_shared_bytes(ptx: &str) -> u64 {
    let variables = ptx.lines().filter_map(|line| {
        let declaration = line.trim().strip_prefix(".shared .align ")?.strip_suffix("];")?;
        let (align, rest) = declaration.split_once(' ')?;
        let bytes = rest.rsplit_once('[')?.1;
        Some((align.parse::<u64>().ok()?, bytes.parse::<u64>().ok()?))
    });
    let mut variables: Vec<_> = variables.collect();
    variables.sort_unstable_by_key(|(align, _)| std::cmp::Reverse(*align));
    variables.iter().fold(0, |end, (align, bytes)| end.next_multiple_of((*align).max(1)) + bytes)
}

/// The kernel's module after all of LLVM's passes.
struct Optimised<'c> {
    module: Module<'c>,
    /// Whether threads can wait for each other.
    synchronizes: bool,
    /// Whether no bound of the stack is known.
    recurses: bool,
}

/// Takes the kernel out of the bitcode and runs all of LLVM's passes over it.
fn optimise<'c>(
    context: &'c Context,
    machine: &Machine,
    bitcode: &[u8],
    kernel: &KernelEntry,
    target: Target,
    Form { formatting, has_launch_in_global }: Form,
) -> Result<Optimised<'c>, Error> {
    let module = context.parse(bitcode, &kernel.name.path)?;
    if has_launch_in_global {
        shared::move_launch_to_global(&module);
    }
    keep_only(&module, std::slice::from_ref(kernel), |name| {
        formatting == Formatting::Any && format::is_kept_for_choice(name)
    });
    fold_block_shape(&module, kernel);
    fold_target(&module, target);
    machine.run_passes(&module, "globaldce")?;
    format::choose(&module, formatting);
    keep_only(&module, std::slice::from_ref(kernel), |_| false);
    machine.run_passes(&module, "globaldce")?;
    let waits = waits::at_barriers(&module);
    machine.run_passes(&module, "function(lower-invoke),default<O3>,globaldce")?;
    if cold::free_variables(&module, machine) {
        machine.run_passes(&module, "default<O3>,globaldce")?;
    }
    products::inline(&module, machine, &kernel.name.entry)?;
    let synchronizes = waits || waits::in_loops(&module);
    let entry = module.function(&kernel.name.entry).expect("the kernel is kept");
    let calls = Calls::below(&module, entry);
    recursion::take_addresses(&module, &calls);
    let recurses = calls.need_unbounded_stack();
    Ok(Optimised { module, synchronizes, recurses })
}

/// Everything but the kernels' entries and what `is_kept` names becomes internal, so
/// that what they do not use vanishes.
fn keep_only(module: &Module<'_>, kernels: &[KernelEntry], is_kept: impl Fn(&str) -> bool) {
    let api = module.api();
    for value in module.functions().into_iter().chain(module.globals()) {
        if module.is_declaration(value) {
            continue;
        }
        let name = module.name(value);
        let is_entry = kernels.iter().any(|kernel| kernel.name.entry == name);
        let is_appending = api.linkage(value) == linkage::APPENDING;
        if is_entry || is_kept(&name) {
            api.set_linkage(value, linkage::EXTERNAL);
        } else if !is_appending && api.linkage(value) != linkage::PRIVATE {
            api.set_linkage(value, linkage::INTERNAL);
            const DEFAULT_VISIBILITY: u32 = 0;
            api.set_visibility(value, DEFAULT_VISIBILITY);
        }
    }
}

/// What kernels ask about the target becomes constants: `__raddle_architecture` its
/// number, `__raddle_is_hopper` whether it has Hopper's own instructions.
fn fold_target(module: &Module<'_>, target: Target) {
    let number: String = target.name.chars().filter(char::is_ascii_digit).collect();
    let number = number.parse().expect("targets are named by numbers");
    let answers =
        [("__raddle_architecture", number), ("__raddle_is_hopper", u64::from(target == HOPPER))];
    let api = module.api();
    for (question, answer) in answers {
        let Some(function) = module.function(question) else { continue };
        for call in module.calls_of(function) {
            api.replace_uses(call, api.const_int(module.context.int(32), answer, 0));
            api.erase(call);
        }
    }
}

/// A kernel that states its block shape has constants for `blockDim` and ranges for
/// `threadIdx`, with which loops over a block's share of the work have constant
/// length.
fn fold_block_shape(module: &Module<'_>, kernel: &KernelEntry) {
    let [x, y, z] = kernel.meta.block;
    if x == 0 {
        return;
    }
    let (cx, api) = (module.context, module.api());
    let word = cx.int(32);
    for (axis, extent) in [("x", x), ("y", y.max(1)), ("z", z.max(1))] {
        let register =
            |name: &str| module.function(&format!("llvm.nvvm.read.ptx.sreg.{name}.{axis}"));
        let replace = |read: Value, value: u64| {
            for call in module.calls_of(read) {
                api.replace_uses(call, api.const_int(word, value, 0));
                api.erase(call);
            }
        };
        if let Some(block_dim) = register("ntid") {
            replace(block_dim, u64::from(extent));
        }
        match register("tid") {
            Some(thread) if extent == 1 => replace(thread, 0),
            Some(thread) => {
                let (low, high) = (0u64, u64::from(extent));
                let range =
                    api.create_range_attribute(cx.raw, cx.attribute_kind("range"), 32, &low, &high);
                for call in module.calls_of(thread) {
                    api.remove_call_enum_attribute(call, 0, cx.attribute_kind("range"));
                    api.add_call_attribute(call, 0, range);
                }
            }
            None => {}
        }
    }
}

/// Functions that are called but defined nowhere; PTX's own are fine.
fn undefined_functions(module: &Module<'_>) -> Vec<String> {
    const PROVIDED_BY_DRIVER: &[&str] = &["vprintf", "__assertfail"];
    let mut names = Vec::new();
    for function in module.functions() {
        let name = module.name(function);
        let is_host_intrinsic = ["llvm.x86.", "llvm.aarch64."].iter().any(|p| name.starts_with(p));
        let is_known = (name.starts_with("llvm.") && !is_host_intrinsic)
            || PROVIDED_BY_DRIVER.contains(&name.as_str());
        if module.is_declaration(function) && !module.users(function).is_empty() && !is_known {
            names.push(demangle(&name));
        }
    }
    names
}

/// Symbols depend on where the crate lies; what stays in the PTX gets names that
/// do not.
fn rename_leftovers(module: &Module<'_>, kernel: &KernelEntry) {
    let mut taken: HashSet<String> = HashSet::from([kernel.name.entry.clone()]);
    let api = module.api();
    let mut number = 0;
    for value in module.globals().into_iter().chain(module.functions()) {
        let name = module.name(value);
        let is_fixed = name == kernel.name.entry
            || module.is_declaration(value)
            || api.linkage(value) == linkage::APPENDING;
        if is_fixed {
            continue;
        }
        loop {
            number += 1;
            let fresh = stable_symbol(&name, number);
            if taken.insert(fresh.clone()) {
                module.rename(value, &fresh);
                break;
            }
        }
    }
}

/// Keeps code and line numbers, drops the rest: LLVM's banner, which names its
/// version, the DWARF sections and the labels that only they refer to. Without
/// DWARF the target is no `debug` target, for which ptxas would not optimise.
fn tidy(ptx: &str) -> String {
    let mut text = String::with_capacity(ptx.len());
    let halves = halves(ptx);
    let mut lines = ptx.lines();
    while let Some(line) = lines.next() {
        let line = line.trim_end();
        if text.is_empty() && (line.starts_with("//") || line.is_empty()) {
            continue;
        }
        if line.trim_start().starts_with(".section") {
            // The block ends with a brace on a line of its own.
            for inner in lines.by_ref() {
                if inner.trim() == "}" {
                    break;
                }
            }
            continue;
        }
        let is_debug_label =
            ["$L__tmp", "$L__func_begin", "$L__func_end"].iter().any(|l| line.starts_with(l));
        let is_globl_remark = line.trim_start().starts_with("// .globl") || line.starts_with("//");
        if (is_debug_label && line.ends_with(':')) || is_globl_remark {
            continue;
        }
        if line.starts_with(".target") {
            text.push_str(line.trim_end_matches(", debug"));
        } else if let Some(safe) =
            negate_16_bits(line).or_else(|| store_byte_of_half(line, &halves))
        {
            text.push_str(&safe);
        } else {
            text.push_str(line);
        }
        text.push('\n');
    }
    text
}

/// Takes `.noreturn` from functions called by kernels that hand registers over: on
/// those ptxas 13.0 crashes. Calls of such functions are followed by `exit` anyway.
fn let_calls_return(ptx: String) -> String {
    if !ptx.contains("setmaxnreg") {
        return ptx;
    }
    ptx.replace("\n.noreturn;", "\n;").replace("\n.noreturn\n", "\n")
}

/// Negation of 16 bits in a form that ptxas gets right. From `-O1` on, ptxas 13.0
/// computes `neg.s16`, `sub.s16 d, 0, a` and `abs.s16` in 32 bits and, where the
/// result is sign-extended, does not cut it to 16 bits again: -(-32768) becomes
/// +32768. It does cut the product with -1.
fn negate_16_bits(line: &str) -> Option<String> {
    let (operation, operands) = line.trim().strip_suffix(';')?.split_once(char::is_whitespace)?;
    let mut operands = operands.split(',').map(str::trim);
    let target = operands.next()?;
    match operation {
        "neg.s16" => Some(format!("\tmul.lo.s16 \t{target}, {}, -1;", operands.next()?)),
        "sub.s16" if operands.next()? == "0" => {
            Some(format!("\tmul.lo.s16 \t{target}, {}, -1;", operands.next()?))
        }
        "abs.s16" => {
            let source = operands.next()?;
            Some(format!(
                "\t{{ .reg .b16 negated; mul.lo.s16 negated, {source}, -1; max.s16 {target}, {source}, negated; }}"
            ))
        }
        _ => None,
    }
}

/// Registers that instructions on floats of 16 bits write.
fn halves(ptx: &str) -> BTreeSet<&str> {
    let written = |line: &'_ str| -> Option<(usize, usize)> {
        let (operation, operands) = line.trim().split_once(char::is_whitespace)?;
        let is_half = operation.split('.').any(|part| part == "f16" || part == "bf16");
        let target = operands.trim_start().split([',', ';']).next()?.trim();
        let is_register = is_half && target.starts_with("%rs");
        let start = target.as_ptr().addr() - line.as_ptr().addr();
        is_register.then_some((start, start + target.len()))
    };
    ptx.lines().filter_map(|line| written(line).map(|(start, end)| &line[start..end])).collect()
}

/// A store of the low byte of a register that an instruction on floats has written, in a
/// form that ptxas gets right: ptxas 13.0 takes `st.b8 [a], %rs1` behind
/// `cvt.rn.f16.f32 %rs1, …` for a conversion of the float to an integer of 8 bits.
fn store_byte_of_half(line: &str, halves: &BTreeSet<&str>) -> Option<String> {
    let (operation, operands) = line.trim().strip_suffix(';')?.split_once(char::is_whitespace)?;
    let (address, value) = operands.trim().rsplit_once(", ")?;
    let is_byte = operation.starts_with("st.") && operation.split('.').any(|part| part == "b8");
    if !is_byte || !halves.contains(value) {
        return None;
    }
    Some(format!(
        "\t{{ .reg .b32 whole; cvt.u32.u16 whole, {value}; {operation} {address}, whole; }}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_shared_memory_is_counted_with_its_gaps() {
        let ptx = "\t.shared .align 8 .b8 a[16];\n.shared .align 128 .b8 b[49152];\n\
                   .extern .shared .align 1024 .b8 c[];\n\tst.shared.b32 \t[a], %r1;\n";
        assert_eq!(static_shared_bytes(ptx), 49_152 + 16);
    }

    #[test]
    fn bytes_of_halves_are_stored_as_bits() {
        let ptx = "\tcvt.rn.f16.f32 \t%rs1, %r3;\n\tadd.s16 \t%rs2, %rs1, 1;\n\
                   \tcvt.rn.bf16.f32 \t%rs3, %r3;\n\tst.b8 \t[%SP+24], %rs1;\n";
        let halves = halves(ptx);
        assert_eq!(halves.iter().copied().collect::<Vec<_>>(), ["%rs1", "%rs3"]);
        assert_eq!(
            store_byte_of_half("\tst.local.b8 \t[%rd1+2], %rs3;", &halves).as_deref(),
            Some("\t{ .reg .b32 whole; cvt.u32.u16 whole, %rs3; st.local.b8 [%rd1+2], whole; }")
        );
        assert_eq!(store_byte_of_half("\tst.b8 \t[%SP+24], %rs2;", &halves), None);
        assert_eq!(store_byte_of_half("\tst.b16 \t[%SP+24], %rs1;", &halves), None);
        assert!(tidy(ptx).contains("cvt.u32.u16 whole, %rs1; st.b8 [%SP+24], whole; }"));
    }

    #[test]
    fn calls_return_where_registers_are_handed_over() {
        let with = |register: &str| {
            format!(".func f\n()\n.noreturn;\n.func f()\n.noreturn\n{{ {register} }}")
        };
        assert_eq!(let_calls_return(with("")), with(""));
        let expected = ".func f\n()\n;\n.func f()\n{ setmaxnreg.inc }";
        assert_eq!(let_calls_return(with("setmaxnreg.inc")), expected);
    }

    #[test]
    fn negations_of_16_bits_are_products() {
        assert_eq!(
            negate_16_bits("\tneg.s16 \t%rs2, %rs1;").as_deref(),
            Some("\tmul.lo.s16 \t%rs2, %rs1, -1;")
        );
        assert_eq!(
            negate_16_bits("\tsub.s16 \t%rs2, 0, %rs1;").as_deref(),
            Some("\tmul.lo.s16 \t%rs2, %rs1, -1;")
        );
        assert_eq!(negate_16_bits("\tsub.s16 \t%rs2, %rs3, %rs1;"), None);
        assert_eq!(negate_16_bits("\tneg.s32 \t%r2, %r1;"), None);
        assert!(
            negate_16_bits("\tabs.s16 \t%rs2, %rs1;")
                .is_some_and(|text| text.contains("max.s16 %rs2, %rs1, negated"))
        );
    }

    #[test]
    fn tidying_keeps_code_and_lines() {
        let ptx = "//\n// banner\n\n.version 8.0\n.target sm_80, debug\n.file 1 \"k.rs\"\n\t.loc 1 2 3\n$L__tmp0:\n\tret;\n\
                   \t.section .debug_abbrev\n\t{\n.b8 1\n\t}\n";
        assert_eq!(
            tidy(ptx),
            ".version 8.0\n.target sm_80\n.file 1 \"k.rs\"\n\t.loc 1 2 3\n\tret;\n"
        );
    }
}
