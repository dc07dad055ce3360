//! How device bodies reach PTX: link names that `raddle-build` turns into LLVM
//! inline assembly or LLVM intrinsics.
//!
//! The link name of an inline-assembly function is
//! `raddle.asm[.c][.v]:<constraints>:<template>`:
//!
//! - `.c` marks the call `convergent` (barriers, shuffles, everything `.sync`);
//! - `.v` marks it as having side effects that must not be dropped or merged;
//! - constraints are separated by commas, outputs before inputs:
//!   `=f` output (returned when it is the only one and the function has a
//!   result, else written through a `*mut` argument), `=f*4` four outputs
//!   written through one pointer to an array, `+f*64` sixty-four in-out
//!   registers behind one pointer, `f` an input by value, `f*4` four inputs read
//!   through one pointer; `~{memory}` clobbers memory and takes no argument;
//! - register classes are `h` (16 bits), `r` (32), `l` (64), `q` (128), `f`, `d`;
//!   `n` is a constant integer;
//! - the template refers to registers as `$0`, `$1`, … in the order of the
//!   expanded constraints.
//!
//! `raddle.intrinsic:<name>` calls the LLVM intrinsic `<name>` (convergent where
//! LLVM says so).

/// Declares device functions whose bodies are one PTX template each.
///
/// ```ignore
/// asm_intrinsic! {
///     fn lane_id() -> u32 = "raddle.asm:=r:mov.u32 $0, %laneid;";
/// }
/// ```
#[cfg(raddle_device)]
macro_rules! asm_intrinsic {
    ($($(#[$meta:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $link:literal;)*) => {
        $(
            $(#[$meta])*
            #[inline(always)]
            pub(crate) unsafe fn $name($($arg: $ty),*) $(-> $ret)? {
                #[allow(improper_ctypes)]
                unsafe extern "C" {
                    #[link_name = $link]
                    fn raddle_asm($($arg: $ty),*) $(-> $ret)?;
                }
                // SAFETY: the caller upholds the PTX instruction's contract.
                unsafe { raddle_asm($($arg),*) }
            }
        )*
    };
}
