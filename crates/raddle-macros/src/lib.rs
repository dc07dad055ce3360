//! `#[kernel]`, `#[derive(DeviceType)]`, `#[derive(Zeroable)]` and `ptx!`.
//!
//! The macros are thin: they write down what the traits of `raddle-device` and
//! `raddle-runtime` decide, and they keep the user's tokens with their spans, so
//! that rustc and rust-analyzer see ordinary Rust.
//!
//! Invariant: one expansion serves both compilations of a kernel (see
//! ARCHITECTURE.md); `cfg(raddle_device)` inside the expansion tells them apart.
//! All logic works on `proc_macro2` streams, so that tests can call it.
#![forbid(unsafe_code)]

mod derive;
mod index;
mod kernel;
mod ptx;
#[cfg(test)]
#[path = "../tests/unit/mod.rs"]
mod tests;

use std::sync::atomic::AtomicBool;

use proc_macro::TokenStream;

/// Marks a function as a kernel: compiled to PTX by the build script, and made
/// into a typed launch function on the host.
///
/// ```ignore
/// #[kernel]
/// pub fn saxpy(a: f32, x: &[f32], mut y: PerThread<f32>) {
///     for (i, y) in y.iter_mut() {
///         *y += a * x[i];
///     }
/// }
/// // on the host:
/// stream.launch(Grid::cover(n, 256), kernels::saxpy(2.0, &x, &mut y))?;
/// ```
///
/// *Options*, separated by commas:
///
/// - `block = 256`, `block = (16, 16)`: the block shape that launches must have;
/// - `max_threads = 512`: most threads a launch may have in a block;
/// - `min_blocks = 2`: blocks that should fit on one multiprocessor;
/// - `max_registers = 64`: most registers a thread may use;
/// - `cluster = 2`, `cluster = (2, 1)`: the cluster shape that launches must have;
/// - `arch = 90`: the lowest architecture the kernel needs; `arch = (80, 90)`: a portable
///   variant and one with Hopper's own instructions, told apart by `is_hopper()`;
/// - `instances(f32, f16)`, `instances((f32, 4), (f16, 8))`: the instances of a
///   generic kernel to compile, by its type and const parameters in order;
/// - `crate = path`: where the `raddle` crate is, if under another name.
///
/// Shapes and limits may be any constant integer expression, also of the
/// kernel's const parameters.
#[proc_macro_attribute]
pub fn kernel(options: TokenStream, item: TokenStream) -> TokenStream {
    let index = index::Index::of_this_crate();
    kernel::expand(options.into(), item.into(), &index, &FIRST_REPORT).into()
}

/// Derives `DeviceType`: plain data that may cross from host to kernel.
///
/// Structs need `#[repr(C)]` or `#[repr(transparent)]`, enums no payload and a
/// primitive representation such as `#[repr(u32)]`; every field must itself be a
/// `DeviceType`, and the type must be `Copy`.
#[proc_macro_derive(DeviceType, attributes(raddle))]
pub fn derive_device_type(item: TokenStream) -> TokenStream {
    derive::expand(item.into(), derive::device_type).into()
}

/// Derives `Zeroable`: all-zero bytes are a valid value.
///
/// For structs of `Zeroable` fields, and for enums one of whose variants is 0.
#[proc_macro_derive(Zeroable, attributes(raddle))]
pub fn derive_zeroable(item: TokenStream) -> TokenStream {
    derive::expand(item.into(), derive::zeroable).into()
}

/// Inline PTX in a kernel, for what the vocabulary of device code lacks.
///
/// ```ignore
/// let sum: u32;
/// // SAFETY: reads and writes registers only.
/// unsafe {
///     ptx!(
///         "add.cc.u32 {sum}, {a}, {b};",
///         sum = out(reg32) sum, a = in(reg32) x, b = in(reg32) y,
///         options(pure, nomem),
///         host = { sum = a.wrapping_add(b) },
///     );
/// }
/// ```
///
/// The text is one or more string literals, joined by line breaks; `{name}` stands
/// for an operand's register, `{{` and `}}` for braces of the PTX.
///
/// *Operands*: `name = in(class) value`, `name = out(class) place`,
/// `name = inout(class) place`, `name = const value`. The classes are `reg16`,
/// `reg32`, `reg64`, `reg128` (`u16` to `u128`), `f32`, `f64`, and for inputs
/// `ptr`, any raw pointer. `[class; N]` is an array of registers: `{name}` then
/// lists all of them and `{name[2]}` is one. Predicates live inside the PTX.
///
/// *Options*: `pure` (may be dropped or merged; needs `nomem`), `nomem` (touches no
/// memory), `convergent` (all threads of the warp must arrive together; implied
/// by `.sync` and barriers), `volatile` (the default).
///
/// *Host*: on the CPU the block after `host =` runs instead; in it the operands
/// are variables, and outputs must be assigned. Without it, running this code on
/// the CPU panics, which ends the launch with an error.
///
/// *Safety*: using the macro is unsafe; the PTX must keep the promises of its
/// options and of the memory that it touches.
///
/// *Source*: PTX ISA, all of it; inline assembly in LLVM's sense.
#[proc_macro]
pub fn ptx(input: TokenStream) -> TokenStream {
    ptx::expand(input.into()).into()
}

/// Whether reports that concern the whole crate are still to be made: the first
/// kernel that rustc expands takes them. Rustc runs one process for each crate.
static FIRST_REPORT: AtomicBool = AtomicBool::new(true);
