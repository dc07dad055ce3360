//! Fully connected layers for pictures of digits.

use raddle_tensor::DType;

use super::{BATCH, logits};
use crate::Result;
use crate::builder::{Builder, Dim};
use crate::layers::Activation;
use crate::parameters::Init;

/// Values between the layers.
const WIDTHS: [usize; 4] = [784, 256, 128, 10];

pub fn mlp(builder: &mut Builder<'_>) -> Result<()> {
    let mut x = builder.input("input", DType::F32, &[BATCH, Dim::Fixed(WIDTHS[0])]);
    let last = WIDTHS.len() - 2;
    for (at, pair) in WIDTHS.windows(2).enumerate() {
        let init = Init::default_of(pair[0]);
        x = builder.linear(&format!("fc{}", at + 1), &x, [pair[0], pair[1]], [init, init])?;
        if at < last {
            x = builder.activate(&format!("relu{}", at + 1), &x, Activation::Relu);
        }
    }
    logits(builder, &x, WIDTHS[3]);
    Ok(())
}
