//! Hints to the compiler that change nothing but the code it makes.

use crate::param::DeviceType;

#[cfg(raddle_device)]
asm_intrinsic! {
    /// Nothing, on a register that the compiler must take to be changed.
    fn touch(word: *mut u32) = "raddle.asm.v:+r:// opaque $0";
}

/// The architecture that this image is for, as in `sm_NN`: a constant, so that only one
/// side of a branch on it is compiled. `raddle-build` puts the number in its place.
#[cfg(raddle_device)]
#[inline(always)]
pub(crate) fn architecture() -> u32 {
    unsafe extern "C" {
        safe fn __raddle_architecture() -> u32;
    }
    __raddle_architecture()
}

/// Whether the kernel is compiled with Hopper's own instructions (`wgmma`, `setmaxnreg`;
/// target `sm_90a`): a constant, so that only one side of a branch on it is compiled.
///
/// A kernel with `#[kernel(arch = (80, 90))]` is compiled twice, and each GPU runs the
/// variant that suits it best:
///
/// ```ignore
/// #[kernel(block = 128, arch = (80, 90))]
/// pub fn product(/* .. */) {
///     if is_hopper() { /* wgmma */ } else { /* mma.sync */ }
/// }
/// ```
///
/// On the CPU device it is true, unless `RADDLE_SIM_ARCH=80` asks for the variant of
/// older GPUs.
#[inline(always)]
#[must_use]
pub fn is_hopper() -> bool {
    #[cfg(raddle_device)]
    {
        unsafe extern "C" {
            safe fn __raddle_is_hopper() -> u32;
        }
        __raddle_is_hopper() != 0
    }
    #[cfg(not(raddle_device))]
    crate::host::engine().is_hopper()
}

/// Gives `value` back as one that the compiler knows nothing about.
///
/// What is computed from it is computed anew, even if the same was computed before:
/// for values that are cheaper to compute twice than to keep in registers
/// meanwhile. On the CPU it does nothing.
#[inline(always)]
#[must_use]
pub fn opaque<T: DeviceType>(value: T) -> T {
    const {
        assert!(
            size_of::<T>().is_multiple_of(4) && align_of::<T>() >= 4,
            "`opaque` takes values made of 32-bit words"
        );
    };
    #[cfg(raddle_device)]
    {
        let mut value = value;
        let words = (&raw mut value).cast::<u32>();
        for i in 0..size_of::<T>() / 4 {
            // SAFETY: word `i` lies in the value, which keeps its bits.
            unsafe { touch(words.add(i)) };
        }
        value
    }
    #[cfg(not(raddle_device))]
    value
}
