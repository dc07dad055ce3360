//! Placeholder.
use crate::Op;
/// Rows of this family.
pub const ROWS: &[Op] = &[];
