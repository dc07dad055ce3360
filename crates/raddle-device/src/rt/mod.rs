//! Run-time support inside device modules: panic records, formatting of their
//! messages, the C library's mathematics and memory functions.
//!
//! Only `raddle-build` refers to these functions, by their symbols, and links the
//! ones that a kernel needs: a call to one of `core`'s panic functions becomes a
//! call to `__raddle_rt_panic`, `f32::exp` one to `__raddle_rt_expf`, and so on.
//! Nothing here allocates, loops without bound, or panics.

mod format;
mod math;
mod memory;
mod panic;
mod wide;
