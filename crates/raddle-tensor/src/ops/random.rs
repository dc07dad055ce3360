//! Random numbers: reproducible from the attribute `seed`, otherwise different
//! in every run.
//!
//! The generator is xoshiro256++ (D. Blackman, S. Vigna, 2019), seeded by
//! SplitMix64. ONNX prescribes no generator, so that the same seed gives other
//! numbers in other programs.

use std::hash::{BuildHasher, Hasher};

use super::elementwise::unsupported;
use crate::Kind::{Float, Int, Ints};
use crate::convert::Compute;
use crate::infer::rules;
use crate::shape::{dims, element_count};
use crate::{
    DType, DTypeRule, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("RandomUniform", 1..=LATEST)
        .inputs(0, 0)
        .attributes(&[
            ("dtype", Int),
            ("high", Float),
            ("low", Float),
            ("seed", Float),
            ("shape", Ints),
        ])
        .impure()
        .infer(rules::from_shape_attribute)
        .run(|ctx| sample(ctx, uniform)),
    op("RandomUniformLike", 1..=LATEST)
        .attributes(&[("dtype", Int), ("high", Float), ("low", Float), ("seed", Float)])
        .result(DTypeRule::Computed, ShapeRule::Like(0))
        .impure()
        .infer(rules::random_like)
        .run(|ctx| sample(ctx, uniform)),
    op("RandomNormal", 1..=LATEST)
        .inputs(0, 0)
        .attributes(&[
            ("dtype", Int),
            ("mean", Float),
            ("scale", Float),
            ("seed", Float),
            ("shape", Ints),
        ])
        .impure()
        .infer(rules::from_shape_attribute)
        .run(|ctx| sample(ctx, normal)),
    op("RandomNormalLike", 1..=LATEST)
        .attributes(&[("dtype", Int), ("mean", Float), ("scale", Float), ("seed", Float)])
        .result(DTypeRule::Computed, ShapeRule::Like(0))
        .impure()
        .infer(rules::random_like)
        .run(|ctx| sample(ctx, normal)),
    op("Bernoulli", 15..=LATEST)
        .attributes(&[("dtype", Int), ("seed", Float)])
        .result(DTypeRule::Computed, ShapeRule::Like(0))
        .impure()
        .infer(rules::random_like)
        .run(bernoulli),
    op("Multinomial", 7..=LATEST)
        .attributes(&[("dtype", Int), ("sample_size", Int), ("seed", Float)])
        .impure()
        .infer(rules::multinomial)
        .run(multinomial),
];

/// A generator of random numbers.
pub struct Random([u64; 4]);

impl Random {
    /// Seeded by the node, or by the system if it names no seed.
    ///
    /// ## Errors
    /// [`Error::Attribute`].
    pub fn of(ctx: &OpContext<'_>) -> Result<Self> {
        let seed = match ctx.node.attribute("seed") {
            Some(_) => u64::from(ctx.float("seed", 0.0)?.to_bits()),
            None => std::hash::RandomState::new().build_hasher().finish(),
        };
        Ok(Self::new(seed))
    }

    /// Seeded by a number.
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number from `[0, 1)` with 53 random bits.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number with mean 0 and variance 1 (Box and Muller).
    pub fn gauss(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (2.0 * std::f64::consts::PI * self.unit()).cos()
    }
}

type Draw = fn(&OpContext<'_>, &mut Random, usize) -> Result<Vec<f64>>;

fn uniform(ctx: &OpContext<'_>, random: &mut Random, count: usize) -> Result<Vec<f64>> {
    let (low, high) = (f64::from(ctx.float("low", 0.0)?), f64::from(ctx.float("high", 1.0)?));
    Ok((0..count).map(|_| low + (high - low) * random.unit()).collect())
}

fn normal(ctx: &OpContext<'_>, random: &mut Random, count: usize) -> Result<Vec<f64>> {
    let (mean, scale) = (f64::from(ctx.float("mean", 0.0)?), f64::from(ctx.float("scale", 1.0)?));
    Ok((0..count).map(|_| mean + scale * random.gauss()).collect())
}

fn sample(ctx: &mut OpContext<'_>, draw: Draw) -> Result<Vec<Value>> {
    let stated = ctx.dtype_attribute("dtype")?;
    let (shape, dtype) = match ctx.has(0) {
        true => {
            let like = ctx.tensor(0)?;
            (like.shape().to_vec(), stated.unwrap_or(like.dtype()))
        }
        false => {
            let shape = ctx.ints("shape")?;
            let shape = shape.ok_or_else(|| ctx.bad_attribute("shape", "is required"))?;
            (dims(shape)?, stated.unwrap_or(DType::F32))
        }
    };
    if !dtype.is_float() {
        return Err(ctx.bad_attribute("dtype", format!("must be a float, found {dtype}")));
    }
    let count = element_count(&shape, dtype)?;
    let elements = draw(ctx, &mut Random::of(ctx)?, count)?;
    one(Tensor::computed(&shape, dtype, elements))
}

/// 1 with the probability that the input gives, else 0.
fn bernoulli(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    if !x.dtype().is_float() {
        return Err(unsupported(0, x.dtype(), "a float"));
    }
    let dtype = ctx.dtype_attribute("dtype")?.unwrap_or(x.dtype());
    let mut random = Random::of(ctx)?;
    let elements = f64::widen(x)?.iter().map(|&p| f64::from(u8::from(random.unit() < p))).collect();
    one(Tensor::computed::<f64>(x.shape(), dtype, elements))
}

/// Classes drawn by unnormalised logarithms of probabilities: `[batch, classes]`
/// to `[batch, samples]`.
fn multinomial(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let &[batch, classes] = x.shape() else {
        return Err(Error::invalid(format!("expected rank 2, found {:?}", x.shape())));
    };
    let samples = usize::try_from(ctx.int("sample_size", 1)?)
        .map_err(|_| ctx.bad_attribute("sample_size", "is negative"))?;
    if classes == 0 {
        return Err(Error::invalid("there are no classes to draw from"));
    }
    let dtype = ctx.dtype_attribute("dtype")?.unwrap_or(DType::I32);
    let mut random = Random::of(ctx)?;
    let mut out = Vec::with_capacity(element_count(&[batch, samples], DType::I64)?);
    for row in f64::widen(x)?.chunks(classes) {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = row.iter().map(|x| (x - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        for _ in 0..samples {
            let mut rest = random.unit() * total;
            let drawn = weights.iter().position(|weight| {
                rest -= weight;
                rest < 0.0
            });
            out.push(drawn.unwrap_or(classes - 1) as i64);
        }
    }
    one(Tensor::computed(&[batch, samples], dtype, out))
}
