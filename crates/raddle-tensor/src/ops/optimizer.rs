//! Steps of optimisers (`ai.onnx.preview.training`): new weights and state from
//! gradients. Inputs are rate, step, then all weights, all gradients and each
//! kind of state; outputs are all weights and each kind of state.

use crate::Kind::{Float, String as Text};
use crate::convert::Compute;
use crate::infer::rules;
use crate::{Error, MANY, Op, OpContext, Result, Tensor, Value, op};

const DOMAIN: &str = "ai.onnx.preview.training";

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("Adagrad", 1..=1)
        .domain(DOMAIN)
        .inputs(3, MANY)
        .outputs(1, MANY)
        .attributes(&[("decay_factor", Float), ("epsilon", Float), ("norm_coefficient", Float)])
        .infer(rules::optimizer)
        .run(adagrad),
    op("Adam", 1..=1)
        .domain(DOMAIN)
        .inputs(3, MANY)
        .outputs(1, MANY)
        .attributes(&[
            ("alpha", Float),
            ("beta", Float),
            ("epsilon", Float),
            ("norm_coefficient", Float),
            ("norm_coefficient_post", Float),
        ])
        .infer(rules::optimizer)
        .run(adam),
    op("Momentum", 1..=1)
        .domain(DOMAIN)
        .inputs(3, MANY)
        .outputs(1, MANY)
        .attributes(&[
            ("alpha", Float),
            ("beta", Float),
            ("mode", Text),
            ("norm_coefficient", Float),
        ])
        .infer(rules::optimizer)
        .run(momentum),
];

/// Runs `update(weight, gradient, state)`, element by element, on every weight.
/// The gradient already holds that of the penalty `norm_coefficient / 2 x^2`.
fn step<const STATES: usize>(
    ctx: &OpContext<'_>,
    update: impl Fn(f64, f64, [f64; STATES]) -> (f64, [f64; STATES]),
) -> Result<Vec<Value>> {
    let lists = ctx.input_count() - 2;
    if !lists.is_multiple_of(2 + STATES) {
        let expected = format!("2 and {} for each weight", 2 + STATES);
        return Err(Error::Arity { what: "inputs", expected, found: ctx.input_count() });
    }
    let count = lists / (2 + STATES);
    let penalty = f64::from(ctx.float("norm_coefficient", 0.0)?);
    let mut outputs: Vec<Vec<Value>> = vec![Vec::with_capacity(count); 1 + STATES];
    for at in 0..count {
        let tensors = (0..2 + STATES)
            .map(|list| ctx.tensor(2 + list * count + at))
            .collect::<Result<Vec<_>>>()?;
        let weight = tensors[0];
        if let Some(other) = tensors.iter().find(|tensor| tensor.shape() != weight.shape()) {
            return Err(Error::ShapeMismatch {
                left: weight.shape().to_vec(),
                right: other.shape().to_vec(),
                why: "a weight, its gradient and its state have one shape",
            });
        }
        let columns =
            tensors.iter().map(|tensor| f64::widen(tensor)).collect::<Result<Vec<_>>>()?;
        let mut results = vec![Vec::with_capacity(weight.len()); 1 + STATES];
        for (element, &x) in columns[0].iter().enumerate() {
            let gradient = penalty * x + columns[1][element];
            let state = std::array::from_fn(|list| columns[2 + list][element]);
            let (x, state) = update(x, gradient, state);
            results[0].push(x);
            results[1..].iter_mut().zip(state).for_each(|(list, state)| list.push(state));
        }
        for (list, (elements, source)) in
            results.into_iter().zip([0].into_iter().chain(2..)).enumerate()
        {
            let dtype = tensors[source].dtype();
            outputs[list].push(Tensor::computed(weight.shape(), dtype, elements)?.into());
        }
    }
    Ok(outputs.concat())
}

/// The learning rate and the number of the step.
fn rate_and_step(ctx: &OpContext<'_>) -> Result<(f64, f64)> {
    let rate = super::control::numbers(ctx.tensor(0)?)?;
    match rate[..] {
        [rate] => Ok((rate, ctx.i64(1)? as f64)),
        _ => Err(Error::invalid("input 0 must hold one number, the learning rate")),
    }
}

fn adagrad(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (rate, t) = rate_and_step(ctx)?;
    let epsilon = f64::from(ctx.float("epsilon", 0.0)?);
    let rate = rate / (1.0 + t * f64::from(ctx.float("decay_factor", 0.0)?));
    step(ctx, |x, g, [squares]: [f64; 1]| {
        let squares = squares + g * g;
        (x - rate * g / (squares.sqrt() + epsilon), [squares])
    })
}

fn adam(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (rate, t) = rate_and_step(ctx)?;
    let (alpha, beta) = (f64::from(ctx.float("alpha", 0.9)?), f64::from(ctx.float("beta", 0.999)?));
    let epsilon = f64::from(ctx.float("epsilon", 0.0)?);
    let shrink = 1.0 - f64::from(ctx.float("norm_coefficient_post", 0.0)?);
    let correction = (1.0 - beta.powf(t)).sqrt() / (1.0 - alpha.powf(t));
    let rate = if t > 0.0 { rate * correction } else { rate };
    step(ctx, |x, g, [mean, square]: [f64; 2]| {
        let mean = alpha * mean + (1.0 - alpha) * g;
        let square = beta * square + (1.0 - beta) * g * g;
        (shrink * (x - rate * mean / (square.sqrt() + epsilon)), [mean, square])
    })
}

fn momentum(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (rate, t) = rate_and_step(ctx)?;
    let (alpha, beta) = (f64::from(ctx.float("alpha", 0.0)?), f64::from(ctx.float("beta", 0.0)?));
    let beta = if t > 0.0 { beta } else { 1.0 };
    let is_nesterov = match ctx.text("mode", "standard")? {
        "standard" => false,
        "nesterov" => true,
        other => return Err(ctx.bad_attribute("mode", format!("is {other:?}"))),
    };
    step(ctx, |x, g, [velocity]: [f64; 1]| {
        let velocity = alpha * velocity + beta * g;
        let direction = if is_nesterov { g + alpha * velocity } else { velocity };
        (x - rate * direction, [velocity])
    })
}
