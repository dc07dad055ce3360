//! What cannot run on a GPU: finds it before optimisation, while every call of
//! the source is still a call, and explains it with the chain that leads there.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::llvm::api::Value;
use crate::llvm::{Module, Place};
use crate::names::demangle;
use crate::references::references_with_places;
use crate::retarget::{KernelEntry, format};

/// Something a kernel reaches and cannot have on a GPU.
struct Offence {
    what: String,
    help: &'static str,
}

/// How the search came to a function or global.
#[derive(Clone)]
struct Step {
    from: Value,
    places: Vec<Place>,
}

/// Looks through everything the kernel can reach; the message of the first
/// offence, or `None` if the kernel may run on a GPU.
///
/// `left_over` names the functions that were still undefined after optimisation.
/// Before optimisation it is empty, and only such things are offences as no
/// optimisation makes harmless.
pub fn explain(module: &Module<'_>, kernel: &KernelEntry, left_over: &[String]) -> Option<String> {
    let root = module.function(&kernel.name.entry)?;
    let mut steps: HashMap<Value, Step> = HashMap::new();
    let mut queue = VecDeque::from([root]);
    let mut seen = HashSet::from([root]);
    while let Some(value) = queue.pop_front() {
        if let Some(offence) = judge(module, value, left_over) {
            return Some(report(module, kernel, &steps, value, &offence));
        }
        for (next, places) in references_with_places(module, value) {
            // Only messages lead to these, and what they need is seen to.
            if format::is_formatting(module, next) {
                continue;
            }
            if let Some(offence) = judge_place(module, next) {
                steps.insert(next, Step { from: value, places });
                return Some(report(module, kernel, &steps, next, &offence));
            }
            if seen.insert(next) {
                steps.insert(next, Step { from: value, places });
                queue.push_back(next);
            }
        }
    }
    None
}

/// Offences that show at the reference itself.
fn judge_place(module: &Module<'_>, value: Value) -> Option<Offence> {
    /// `LLVMInlineAsmDialectIntel`: what rustc uses for x86 and we never do.
    const DIALECT_INTEL: i32 = 1;
    let api = module.api();
    if api.is_inline_asm(value) != Value::NULL && api.inline_asm_dialect(value) == DIALECT_INTEL {
        return Some(Offence {
            what: "it holds assembly of the host processor (`asm!`)".to_owned(),
            help: "use `ptx!` for instructions of the GPU",
        });
    }
    if api.is_global(value) == Value::NULL {
        return None;
    }
    let name = module.name(value);
    let readable = demangle(&name);
    let of_runtime = readable.starts_with("__raddle_rt") || readable.starts_with("raddle_device::");
    if api.is_thread_local(value) != 0 {
        return Some(Offence {
            what: format!("it uses the thread-local variable `{readable}`"),
            help: "keep the value in a local variable, or pass it as a parameter",
        });
    }
    if of_runtime || name.starts_with("raddle_shared_") || name == "raddle_dynamic_shared" {
        return None;
    }
    if readable.starts_with("std::") {
        return Some(Offence {
            what: format!("it asks the operating system (`{readable}`)"),
            help: "do this on the host and pass the result as a parameter",
        });
    }
    if module.is_declaration(value) {
        return Some(Offence {
            what: format!("it uses the foreign static `{readable}`"),
            help: "pass the value as a kernel parameter",
        });
    }
    if api.is_constant(value) == 0 {
        return Some(Offence {
            what: format!(
                "it uses the mutable static `{readable}`, which host and kernels cannot share"
            ),
            help: "pass a buffer as a parameter; for memory shared by a block use `shared!`",
        });
    }
    None
}

/// Offences of a function as such.
fn judge(module: &Module<'_>, value: Value, left_over: &[String]) -> Option<Offence> {
    let api = module.api();
    if api.is_function(value) == Value::NULL || !module.is_declaration(value) {
        return None;
    }
    let symbol = module.name(value);
    if symbol.starts_with("llvm.") {
        let is_host =
            ["llvm.x86.", "llvm.aarch64.", "llvm.arm."].iter().any(|p| symbol.starts_with(p));
        return is_host.then(|| Offence {
            what: format!("it uses the host processor's SIMD instruction `{symbol}`"),
            help: "use plain arithmetic or the vector types of `raddle::device`; many crates have a scalar feature",
        });
    }
    let name = demangle(&symbol);
    let is = |prefixes: &[&str]| {
        prefixes.iter().any(|p| name.starts_with(p) || name.contains(&format!("<{p}")))
    };
    if [
        "__rust_alloc",
        "__rust_realloc",
        "__rust_alloc_zeroed",
        "__rust_dealloc",
        "__rust_no_alloc_shim",
    ]
    .iter()
    .any(|p| name.ends_with(p) || name.contains(p))
        || is(&["alloc::"])
        || matches!(symbol.as_str(), "malloc" | "calloc" | "realloc" | "free")
    {
        return Some(Offence {
            what: "it allocates on the heap".to_owned(),
            help: "use arrays, slices of buffers passed as parameters, or `shared!`",
        });
    }
    if is(&["std::io"]) {
        return Some(Offence {
            what: "it uses std's input and output (`println!`, `print!`, files, sockets)"
                .to_owned(),
            help: "use `raddle::device::println!`, or write to a buffer",
        });
    }
    if is(&["std::thread", "std::sync"]) || name.contains("std::sys::sync") {
        return Some(Offence {
            what: format!("it uses threads or locks of the operating system (`{name}`)"),
            help: "use barriers, warp operations and atomics of `raddle::device`",
        });
    }
    if is(&[
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "std::path",
        "std::time",
        "std::os",
        "std::sys",
    ]) {
        return Some(Offence {
            what: format!("it asks the operating system (`{name}`)"),
            help: "do this on the host and pass the result as a parameter",
        });
    }
    let is_mangled = name != symbol || name.contains("::");
    let is_driver_function = matches!(symbol.as_str(), "vprintf" | "__assertfail");
    if !is_mangled && !symbol.starts_with("__raddle") && !is_driver_function {
        return Some(Offence {
            what: format!("it calls the C function `{symbol}`"),
            help: "call a Rust function whose source the build can see",
        });
    }
    if left_over.contains(&name) && name == "core::fmt::write" {
        return Some(Offence {
            what: "it formats text outside of a panic's message (`core::fmt::write`)".to_owned(),
            help: "use `raddle::device::print`, or write the values to a buffer and format them on the host",
        });
    }
    if left_over.contains(&name) {
        return Some(Offence {
            what: format!("it calls `{name}`, whose code is not available to the device build"),
            help: "mark the function `#[inline]`, or use a crate whose source is compiled with yours",
        });
    }
    None
}

/// Words the message: what, where, and the chain of calls.
fn report(
    module: &Module<'_>,
    kernel: &KernelEntry,
    steps: &HashMap<Value, Step>,
    offender: Value,
    offence: &Offence,
) -> String {
    let mut text = format!("kernel `{}` cannot run on a GPU: {}\n", kernel.name.path, offence.what);
    let mut lines: Vec<(Place, String)> = Vec::new();
    let mut current = offender;
    while let Some(step) = steps.get(&current) {
        let is_generated = module.name(step.from) == kernel.name.entry
            || demangle(&module.name(step.from)).contains("__raddle_");
        let holder = if is_generated {
            format!("`{}`", kernel.name.path)
        } else {
            readable_name(module, step.from)
        };
        // The last place of code that `#[kernel]` made is the attribute; what was
        // inlined there before it is the user's.
        let shown = step.places.len() - usize::from(is_generated && !step.places.is_empty());
        for place in step.places[..shown].iter().filter(|place| place.line > 0) {
            lines.push((place.clone(), holder.clone()));
        }
        current = step.from;
    }
    let is_user_place = |place: &Place| {
        !["/rustc/", "library/", "raddle-device/"]
            .iter()
            .any(|prefix| place.file.starts_with(prefix))
    };
    let first_user = lines.iter().position(|(place, _)| is_user_place(place));
    if let Some(index) = first_user {
        let place = &lines[index].0;
        text.push_str(&format!(" --> {}:{}:{}\n", place.file, place.line, place.column));
    }
    let mut last_line = String::new();
    for (place, holder) in &lines {
        let line = format!("  in {holder} at {}:{}:{}\n", place.file, place.line, place.column);
        if line != last_line {
            text.push_str(&line);
            last_line = line;
        }
    }
    text.push_str(&format!(" = help: {}", offence.help));
    text
}

fn readable_name(module: &Module<'_>, function: Value) -> String {
    let name = demangle(&module.name(function));
    if name.is_empty() { "a constant".to_owned() } else { format!("`{name}`") }
}
