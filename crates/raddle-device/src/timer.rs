//! Clocks, and waiting for time to pass.
//!
//! *Source*: PTX ISA, "Special Registers: %clock, %clock64, %globaltimer" and
//! "Miscellaneous Instructions: nanosleep".

// `nanosleep` is marked convergent, as what waits for other threads is: the mark
// tells the CPU device that the kernel's threads need each other.
intrinsics! {
    TIMERS, "Special Registers: %clock, %clock64, %globaltimer; nanosleep";
    fn read_clock() -> u32 = "raddle.asm.v:=r,~{memory}:mov.u32 $0, %clock;", sm 20, ptx 10;
    fn read_clock64() -> u64 = "raddle.asm.v:=l,~{memory}:mov.u64 $0, %clock64;", sm 20, ptx 20;
    fn read_globaltimer() -> u64 = "raddle.asm.v:=l,~{memory}:mov.u64 $0, %globaltimer;", sm 30, ptx 31;
    fn sleep(nanoseconds: u32) = "raddle.asm.c.v:r,~{memory}:nanosleep.u32 $0;", sm 70, ptx 63;
}

/// The multiprocessor's cycle counter, cut to 32 bits: CUDA `clock()`, PTX
/// `%clock`. On the CPU device it counts nanoseconds.
#[inline(always)]
#[must_use]
pub fn clock() -> u32 {
    #[cfg(raddle_device)]
    // SAFETY: reads a register.
    unsafe {
        read_clock()
    }
    #[cfg(not(raddle_device))]
    {
        clock64() as u32
    }
}

/// The multiprocessor's cycle counter: CUDA `clock64()`, PTX `%clock64`. On the
/// CPU device it counts nanoseconds.
#[inline(always)]
#[must_use]
pub fn clock64() -> u64 {
    #[cfg(raddle_device)]
    // SAFETY: reads a register.
    unsafe {
        read_clock64()
    }
    #[cfg(not(raddle_device))]
    {
        use std::sync::OnceLock;
        use std::time::Instant;

        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }
}

/// Nanoseconds by a clock that all multiprocessors share: PTX `%globaltimer`. Its
/// resolution varies with the GPU and may be as coarse as a microsecond.
#[inline(always)]
#[must_use]
pub fn global_timer_ns() -> u64 {
    #[cfg(raddle_device)]
    // SAFETY: reads a register.
    unsafe {
        read_globaltimer()
    }
    #[cfg(not(raddle_device))]
    {
        use std::time::{SystemTime, UNIX_EPOCH};

        // A clock set before 1970 reads as 0.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
    }
}

/// Suspends the thread for about `nanoseconds`, at most twice as long and at most
/// a millisecond: CUDA `__nanosleep()`, PTX `nanosleep.u32` (sm_70). Loops that
/// wait for another thread call it, so that the other can run; on the CPU device
/// it does just that and lasts as long as the others take.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn nanosleep(nanoseconds: u32) {
    #[cfg(raddle_device)]
    // SAFETY: the instruction only waits.
    unsafe {
        sleep(nanoseconds);
    }
    #[cfg(not(raddle_device))]
    {
        let _ = nanoseconds;
        crate::host::engine().yield_now();
    }
}
