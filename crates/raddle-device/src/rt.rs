//! Run-time support inside device modules: panic records and the memory
//! functions that compiled Rust code expects.
//!
//! `raddle-build` links these on demand: a call to one of `core`'s panic
//! functions becomes a call to [`__raddle_panic`], which writes one record and
//! ends the thread. The module's `__raddle_panic_slot` is filled in by the host
//! when it loads the module.

pub use crate::kernel::PanicRecord;
