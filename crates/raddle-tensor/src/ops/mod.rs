//! The op table: rows by family, and the search in it.
//!
//! A family is a file with a list `ROWS` and the functions that its rows name.
//! To add an operation, add a row to its family's list and its function; a new
//! family also needs its line in `FAMILIES`.

mod activation;
mod attention;
mod bitcast;
mod blocked;
mod channel_norm;
mod constants;
mod control;
mod conv;
mod cumulative;
mod dropout;
mod einsum;
mod elementwise;
mod flex_attention;
mod fourier;
mod fused;
mod gelu;
mod image;
mod indexing;
mod legacy;
mod linear;
mod linear_attention;
mod loss;
mod ml;
mod movement;
mod norm;
mod optimizer;
mod pad;
mod pool;
mod quantize;
mod quantized_product;
mod random;
mod real;
pub mod recurrent;
mod reduce;
pub mod resize;
mod rotary;
mod sampling;
mod scatter;
mod sequence;
mod shaping;
mod signal;
mod sort;
mod text;
mod transposed;
pub mod window;

pub use fused::DOMAIN as INTERNAL_DOMAIN;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::{Error, Op, Result, full_name};

/// The rows of all families.
const FAMILIES: &[&[Op]] = &[
    attention::ROWS,
    bitcast::ROWS,
    blocked::ROWS,
    channel_norm::ROWS,
    constants::ROWS,
    control::ROWS,
    conv::ROWS,
    cumulative::ROWS,
    dropout::ROWS,
    einsum::ROWS,
    elementwise::ROWS,
    flex_attention::ROWS,
    fused::ROWS,
    gelu::ROWS,
    image::ROWS,
    indexing::ROWS,
    legacy::ROWS,
    linear::ROWS,
    linear_attention::ROWS,
    loss::ROWS,
    ml::ROWS,
    movement::ROWS,
    norm::ROWS,
    optimizer::ROWS,
    pad::ROWS,
    pool::ROWS,
    quantize::ROWS,
    quantized_product::ROWS,
    random::ROWS,
    recurrent::ROWS,
    reduce::ROWS,
    resize::ROWS,
    rotary::ROWS,
    sampling::ROWS,
    scatter::ROWS,
    sequence::ROWS,
    shaping::ROWS,
    signal::ROWS,
    sort::ROWS,
    text::ROWS,
    transposed::ROWS,
];

type ByName = HashMap<(&'static str, &'static str), Vec<&'static Op>>;

static BY_NAME: LazyLock<ByName> = LazyLock::new(|| {
    let mut by_name = ByName::new();
    for op in all() {
        by_name.entry((op.domain, op.name)).or_default().push(op);
    }
    by_name
});

/// All rows.
pub fn all() -> impl Iterator<Item = &'static Op> {
    FAMILIES.iter().copied().flatten()
}

/// The row of an operation for a version of its operator set.
///
/// ## Errors
/// [`Error::UnknownOp`], [`Error::UnsupportedOpset`].
pub fn find(domain: &str, name: &str, opset: u32) -> Result<&'static Op> {
    let op = || full_name(domain, name);
    let Some(rows) = BY_NAME.get(&(domain, name)) else {
        return Err(Error::UnknownOp { op: op() });
    };
    let row = rows.iter().find(|row| (row.opsets.0..=row.opsets.1).contains(&opset));
    row.copied().ok_or_else(|| {
        let supported: Vec<_> =
            rows.iter().map(|row| format!("{} to {}", row.opsets.0, row.opsets.1)).collect();
        Error::UnsupportedOpset { op: op(), opset, supported: supported.join(", ") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_says_what_its_types_are() {
        let silent: Vec<_> = all().filter(|row| !row.can_infer()).collect();
        assert!(silent.is_empty(), "{silent:?}");
    }

    #[test]
    fn rows_of_one_name_do_not_overlap() {
        for rows in BY_NAME.values() {
            for (at, row) in rows.iter().enumerate() {
                assert!(row.opsets.0 <= row.opsets.1, "{row:?}");
                for other in &rows[..at] {
                    let is_apart = row.opsets.0 > other.opsets.1 || other.opsets.0 > row.opsets.1;
                    assert!(is_apart, "{row:?} has two rows for one opset");
                }
            }
        }
    }
}
