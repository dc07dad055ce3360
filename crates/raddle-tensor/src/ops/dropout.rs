//! Dropout, for training and as the copy that it is otherwise.
//!
//! A node's `seed` gives the numbers that numpy's `RandomState(seed).uniform`
//! gives, which ONNX's own reference draws: the Mersenne Twister MT19937.
//! Source: M. Matsumoto, T. Nishimura, ACM TOMACS 8 (1998).

use std::hash::{BuildHasher, Hasher};

use super::elementwise::unsupported;
use crate::DTypeRule::Like;
use crate::Kind::{Float, Int, Ints};
use crate::convert::Compute;
use crate::infer::rules;
use crate::{DType, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, op};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("Dropout", 1..=6)
        .outputs(1, 2)
        .attributes(&[("consumed_inputs", Ints), ("is_test", Int), ("ratio", Float)])
        .result(Like(0), ShapeRule::Like(0))
        .impure()
        .infer(rules::dropout)
        .over()
        .run(|ctx| {
            let is_training = !ctx.flag("is_test", false)?;
            let ratio = ctx.float("ratio", 0.5)?;
            dropout(ctx, f64::from(ratio), is_training)
        }),
    op("Dropout", 7..=11)
        .outputs(1, 2)
        .attributes(&[("ratio", Float)])
        .result(Like(0), ShapeRule::Like(0))
        .infer(rules::dropout)
        .over()
        .run(|ctx| dropout(ctx, 0.0, false)),
    op("Dropout", 12..=LATEST)
        .inputs(1, 3)
        .outputs(1, 2)
        .attributes(&[("seed", Int)])
        .result(Like(0), ShapeRule::Like(0))
        .impure()
        .infer(rules::dropout)
        .over()
        .run(|ctx| {
            let ratio = match ctx.optional_tensor(1)? {
                Some(ratio) => single(1, ratio)?,
                None => 0.5,
            };
            let is_training = match ctx.optional_tensor(2)? {
                Some(flag) => single(2, flag)? != 0.0,
                None => false,
            };
            dropout(ctx, ratio, is_training)
        }),
];

/// The one number of a tensor.
fn single(index: usize, tensor: &Tensor) -> Result<f64> {
    match f64::widen(tensor)?[..] {
        [only] => Ok(only),
        ref many => Err(crate::Error::invalid(format!(
            "input {index} must hold one value, found {}",
            many.len()
        ))),
    }
}

/// Zeros a part of the elements and scales the others up. The second output
/// says what was kept; before opset 10 as numbers.
fn dropout(ctx: &mut OpContext<'_>, ratio: f64, is_training: bool) -> Result<Vec<Value>> {
    let x = ctx.take_tensor(0)?;
    if !x.dtype().is_float() {
        return Err(unsupported(0, x.dtype(), "a float"));
    }
    if !(0.0..1.0).contains(&ratio) {
        return Err(ctx.bad_attribute("ratio", format!("must be within [0, 1), found {ratio}")));
    }
    let mask_dtype = if ctx.opset() < 10 { x.dtype() } else { DType::Bool };
    let mask = |kept: Vec<u64>| Tensor::computed(x.shape(), mask_dtype, kept);
    if !is_training || ratio == 0.0 {
        let kept =
            if ctx.wants(1) { mask(vec![1; x.len()])? } else { Tensor::zeros(&[0], mask_dtype)? };
        return Ok(vec![x.into(), kept.into()]);
    }
    let mut random = MersenneTwister::new(match ctx.optional_int("seed")? {
        Some(seed) => seed as u32,
        None => std::hash::RandomState::new().build_hasher().finish() as u32,
    });
    let kept: Vec<u64> = (0..x.len()).map(|_| u64::from(random.unit() >= ratio)).collect();
    let scale = 1.0 / (1.0 - ratio);
    let elements = f64::widen(&x)?;
    let scaled = elements.iter().zip(&kept).map(|(x, &kept)| x * kept as f64 * scale);
    let y = Tensor::computed(x.shape(), x.dtype(), scaled.collect::<Vec<f64>>())?;
    Ok(vec![y.into(), mask(kept)?.into()])
}

/// The generator MT19937.
struct MersenneTwister {
    state: [u32; Self::LEN],
    next: usize,
}

impl MersenneTwister {
    const LEN: usize = 624;
    const SHIFT: usize = 397;

    fn new(seed: u32) -> Self {
        let mut state = [seed; Self::LEN];
        for at in 1..Self::LEN {
            let before = state[at - 1];
            state[at] =
                (before ^ (before >> 30)).wrapping_mul(1_812_433_253).wrapping_add(at as u32);
        }
        Self { state, next: Self::LEN }
    }

    fn renew(&mut self) {
        for at in 0..Self::LEN {
            let after = self.state[(at + 1) % Self::LEN];
            let joined = (self.state[at] & 0x8000_0000) | (after & 0x7fff_ffff);
            let twist = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[at] = self.state[(at + Self::SHIFT) % Self::LEN] ^ (joined >> 1) ^ twist;
        }
        self.next = 0;
    }

    /// 32 random bits.
    fn bits(&mut self) -> u32 {
        if self.next == Self::LEN {
            self.renew();
        }
        let mut bits = self.state[self.next];
        self.next += 1;
        bits ^= bits >> 11;
        bits ^= (bits << 7) & 0x9d2c_5680;
        bits ^= (bits << 15) & 0xefc6_0000;
        bits ^ (bits >> 18)
    }

    /// A number from `[0, 1)` with 53 random bits.
    fn unit(&mut self) -> f64 {
        let (high, low) = (f64::from(self.bits() >> 5), f64::from(self.bits() >> 6));
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that the authors' `mt19937ar.c` gives for its default seed.
    #[test]
    fn the_generator_is_mt19937() {
        let mut random = MersenneTwister::new(5489);
        let first: Vec<u32> = (0..3).map(|_| random.bits()).collect();
        assert_eq!(first, [3_499_211_612, 581_869_302, 3_890_346_734]);
        let last = (3..10_000).map(|_| random.bits()).last();
        assert_eq!(last, Some(4_123_659_995));
    }
}
