//! `setmaxnreg`: warps that only issue copies give registers to those that hold
//! accumulators.
//!
//! *Source*: PTX ISA, "setmaxnreg", `sm_90a`.

macro_rules! register_counts {
    ($($count:literal $increase:ident $decrease:ident;)*) => {
        intrinsics! {
            SETMAXNREG, "setmaxnreg";
            $(fn $increase() = concat!("raddle.asm.c.v::setmaxnreg.inc.sync.aligned.u32 ", $count, ";"), sm 90, ptx 80;)*
            $(fn $decrease() = concat!("raddle.asm.c.v::setmaxnreg.dec.sync.aligned.u32 ", $count, ";"), sm 90, ptx 80;)*
        }

        /// Asks for `COUNT` registers a thread and waits until other warps have given
        /// them up. PTX `setmaxnreg.inc`, `sm_90a`.
        ///
        /// # Safety
        ///
        /// All warps of the warpgroup make the call; the kernel states its block
        /// shape, requires `sm_90a`, and its warpgroups together ask for no more
        /// than the registers the block began with.
        #[inline(always)]
        pub unsafe fn registers_increase<const COUNT: u32>() {
            const { assert_count(COUNT) };
            #[cfg(raddle_device)]
            // SAFETY: by the caller's contract.
            unsafe {
                match COUNT {
                    $($count => $increase(),)*
                    _ => {}
                }
            }
        }

        /// Gives up all but `COUNT` registers a thread. PTX `setmaxnreg.dec`, `sm_90a`.
        ///
        /// # Safety
        ///
        /// As for [`registers_increase`]; the code that follows needs no more.
        #[inline(always)]
        pub unsafe fn registers_decrease<const COUNT: u32>() {
            const { assert_count(COUNT) };
            #[cfg(raddle_device)]
            // SAFETY: by the caller's contract.
            unsafe {
                match COUNT {
                    $($count => $decrease(),)*
                    _ => {}
                }
            }
        }
    };
}

register_counts! {
    24 increase_24 decrease_24; 32 increase_32 decrease_32; 40 increase_40 decrease_40;
    48 increase_48 decrease_48; 56 increase_56 decrease_56; 64 increase_64 decrease_64;
    72 increase_72 decrease_72; 80 increase_80 decrease_80; 88 increase_88 decrease_88;
    96 increase_96 decrease_96; 104 increase_104 decrease_104; 112 increase_112 decrease_112;
    120 increase_120 decrease_120; 128 increase_128 decrease_128; 136 increase_136 decrease_136;
    144 increase_144 decrease_144; 152 increase_152 decrease_152; 160 increase_160 decrease_160;
    168 increase_168 decrease_168; 176 increase_176 decrease_176; 184 increase_184 decrease_184;
    192 increase_192 decrease_192; 200 increase_200 decrease_200; 208 increase_208 decrease_208;
    216 increase_216 decrease_216; 224 increase_224 decrease_224; 232 increase_232 decrease_232;
    240 increase_240 decrease_240; 248 increase_248 decrease_248; 256 increase_256 decrease_256;
}

const fn assert_count(count: u32) {
    assert!(
        count >= 24 && count <= 256 && count.is_multiple_of(8),
        "a register count is a multiple of 8 from 24 to 256"
    );
}
