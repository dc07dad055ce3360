//! Programs that the build must refuse, with message and place.
//!
//! - `programs/device`: rustc accepts them, a GPU cannot run them. `//! expect:` is a
//!   part of the message, `//~ HERE` marks the line that the message names.
//! - `programs/kernel`: kernels and device types that are written wrongly.
//! - `programs/launch`: kernels that are used wrongly.
//!
//! In the latter two `//~ ERROR text` marks each error: its line, and a part of its
//! message. No error may appear twice or without a mark, and none may show a name that
//! Raddle made up. A program without marks must be accepted. `//! gap: reason` states
//! that the comparison is known to fail; an unexpected success is a failure too.

pub mod corpus;
pub mod diagnostic;
pub mod scratch;
