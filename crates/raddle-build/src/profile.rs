//! Overflow checks and debug assertions: the device build follows the profile of
//! the host build, as cargo tells it to the build script.

/// Which run-time checks rustc inserts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Panic on integer overflow.
    pub overflow: bool,
    /// `debug_assert!` and `cfg(debug_assertions)`.
    pub debug_assertions: bool,
}

impl Checks {
    /// What the profile of this build asks for: `CARGO_CFG_DEBUG_ASSERTIONS` tells
    /// the assertions, and overflow checks follow them unless
    /// `RADDLE_OVERFLOW_CHECKS` says otherwise.
    pub fn from_environment() -> Self {
        let debug = std::env::var("PROFILE").is_ok_and(|profile| profile == "debug");
        let overflow = match std::env::var("RADDLE_OVERFLOW_CHECKS").as_deref() {
            Ok("on" | "1" | "true") => true,
            Ok("off" | "0" | "false") => false,
            _ => debug,
        };
        Self { overflow, debug_assertions: debug }
    }
}
