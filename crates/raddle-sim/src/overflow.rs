//! Says what happened when a simulated thread overflows its stack.
//!
//! The guard page below each stack turns the overflow into a signal. Nothing can
//! go on from there (the thread may hold any lock), so the handler writes one
//! line with the kernel's name and the remedy and aborts, as Rust does for the
//! stacks of OS threads. Other faulting accesses go to the handler there was.

/// Installs the handler, once. On systems without signals an overflow ends the
/// process without that line.
pub(crate) fn install() {
    #[cfg(unix)]
    unix::install();
}

#[cfg(unix)]
mod unix {
    use std::mem::MaybeUninit;
    use std::sync::OnceLock;

    use libc::{c_int, c_void, sigaction, siginfo_t};

    use crate::panics;

    /// The signals of a touched guard page, with the actions before ours.
    static PREVIOUS: [OnceLock<sigaction>; 2] = [OnceLock::new(), OnceLock::new()];
    const SIGNALS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

    pub fn install() {
        for (previous, signal) in PREVIOUS.iter().zip(SIGNALS) {
            previous.get_or_init(|| set_handler(signal));
        }
    }

    /// Makes `handle` the action of `signal`; returns the one before.
    fn set_handler(signal: c_int) -> sigaction {
        let mut previous = MaybeUninit::<sigaction>::zeroed();
        let mut action = MaybeUninit::<sigaction>::zeroed();
        // SAFETY: all zeros is a valid `sigaction`.
        let action = unsafe { action.assume_init_mut() };
        let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = handle;
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: both pointers are valid; the handler keeps to functions that
        // are allowed in handlers.
        unsafe { sigaction(signal, action, previous.as_mut_ptr()) };
        // SAFETY: zeroed, and written by the call if it succeeded.
        unsafe { previous.assume_init() }
    }

    extern "C" fn handle(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
        // SAFETY: the system passes a valid record.
        let address = unsafe { (*info).si_addr() } as usize;
        if let Some((kernel, stack_kib)) = panics::overflowed(address) {
            report(kernel, stack_kib);
            // SAFETY: always allowed.
            unsafe { libc::abort() };
        }
        forward(signal, info, context);
    }

    /// Does what would have been done without this handler.
    fn forward(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
        let index = SIGNALS.iter().position(|&other| other == signal);
        let previous = index.and_then(|index| PREVIOUS[index].get());
        match previous {
            Some(previous)
                if previous.sa_sigaction > libc::SIG_IGN
                    && previous.sa_flags & libc::SA_SIGINFO != 0 =>
            {
                // SAFETY: an action with `SA_SIGINFO` has a function of this type.
                let handler = unsafe {
                    std::mem::transmute::<
                        libc::sighandler_t,
                        extern "C" fn(c_int, *mut siginfo_t, *mut c_void),
                    >(previous.sa_sigaction)
                };
                handler(signal, info, context);
            }
            Some(previous) if previous.sa_sigaction > libc::SIG_IGN => {
                // SAFETY: an action without `SA_SIGINFO` has one of this type.
                let handler = unsafe {
                    std::mem::transmute::<libc::sighandler_t, extern "C" fn(c_int)>(
                        previous.sa_sigaction,
                    )
                };
                handler(signal);
            }
            // SAFETY: allowed in handlers; the access faults again on return and
            // then ends the process.
            _ => unsafe {
                libc::signal(signal, libc::SIG_DFL);
            },
        }
    }

    /// Writes the message without allocating.
    fn report(kernel: &str, mut stack_kib: usize) {
        let mut digits = [0; 20];
        let mut start = digits.len();
        while stack_kib > 0 {
            start -= 1;
            digits[start] = b'0' + (stack_kib % 10) as u8;
            stack_kib /= 10;
        }
        let pieces: [&[u8]; 5] = [
            b"\nkernel ",
            kernel.as_bytes(),
            b": a simulated thread has overflowed its stack of ",
            &digits[start..],
            b" KiB: set RADDLE_SIM_STACK_KIB to more\n",
        ];
        for piece in pieces {
            // SAFETY: the bytes are live for the call.
            unsafe { libc::write(libc::STDERR_FILENO, piece.as_ptr().cast(), piece.len()) };
        }
    }
}
