//! Programmatic dependent launch: a kernel that begins while the one before it
//! in the stream still runs.
//!
//! The second kernel does what does not depend on the first (indices, shared
//! memory, loads of constants), then calls [`wait_for_previous_kernel`]; the
//! first says with [`allow_next_kernel`] when the second may be scheduled. Only
//! launches marked as dependent overlap; elsewhere, and on the CPU device, where
//! kernels of a stream run one after the other, both calls do nothing.
//!
//! *Source*: PTX ISA, "Parallel Synchronization and Communication Instructions:
//! griddepcontrol" (sm_90, PTX 7.8).

intrinsics! {
    DEPENDENTS, "Parallel Synchronization and Communication Instructions: griddepcontrol";
    fn griddepcontrol_wait() = "raddle.asm.c.v:~{memory}:griddepcontrol.wait;", sm 90, ptx 78;
    fn griddepcontrol_launch_dependents() = "raddle.asm.c.v:~{memory}:griddepcontrol.launch_dependents;", sm 90, ptx 78;
}

/// Waits until the kernels this one depends on have ended and their writes are
/// visible: PTX `griddepcontrol.wait` (sm_90).
#[inline(always)]
pub fn wait_for_previous_kernel() {
    #[cfg(raddle_device)]
    // SAFETY: the instruction only waits.
    unsafe {
        griddepcontrol_wait();
    }
}

/// Lets kernels that depend on this one be scheduled once every block has called
/// it or ended: PTX `griddepcontrol.launch_dependents` (sm_90). It publishes no
/// writes; the dependent kernel sees them after its own wait.
#[inline(always)]
pub fn allow_next_kernel() {
    #[cfg(raddle_device)]
    // SAFETY: the instruction only gives a hint to the scheduler.
    unsafe {
        griddepcontrol_launch_dependents();
    }
}
