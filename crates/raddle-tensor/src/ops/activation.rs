//! Activations that recurrent layers name by text (ONNX, "RNN", attribute `activations`).

use crate::{OpContext, Result, vector};

/// An activation with its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activation {
    kind: Kind,
    alpha: f64,
    beta: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Affine,
    Elu,
    HardSigmoid,
    LeakyRelu,
    Relu,
    ScaledTanh,
    Sigmoid,
    Softplus,
    Softsign,
    Tanh,
    ThresholdedRelu,
}

/// Names with their default parameters.
const NAMES: [(&str, Kind, f64, f64); 11] = [
    ("Affine", Kind::Affine, 1.0, 0.0),
    ("Elu", Kind::Elu, 1.0, 0.0),
    ("HardSigmoid", Kind::HardSigmoid, 0.2, 0.5),
    ("LeakyRelu", Kind::LeakyRelu, 0.01, 0.0),
    ("Relu", Kind::Relu, 0.0, 0.0),
    ("ScaledTanh", Kind::ScaledTanh, 1.0, 1.0),
    ("Sigmoid", Kind::Sigmoid, 0.0, 0.0),
    ("Softplus", Kind::Softplus, 0.0, 0.0),
    ("Softsign", Kind::Softsign, 0.0, 0.0),
    ("Tanh", Kind::Tanh, 0.0, 0.0),
    ("ThresholdedRelu", Kind::ThresholdedRelu, 1.0, 0.0),
];

impl Activation {
    /// The activations of a node, as many as `defaults` for each direction. The
    /// lists of parameters are used up from the front by those that have one.
    ///
    /// ## Errors
    /// [`crate::Error::Attribute`].
    pub fn list(ctx: &OpContext<'_>, defaults: &[&str], directions: usize) -> Result<Vec<Self>> {
        let expected = defaults.len() * directions;
        let names: Vec<&str> = match ctx.texts("activations")? {
            Some(names) => names.iter().map(String::as_str).collect(),
            None => defaults.repeat(directions),
        };
        if names.len() != expected {
            let why = format!("must have {expected} names, found {}", names.len());
            return Err(ctx.bad_attribute("activations", why));
        }
        let mut alphas = ctx.floats("activation_alpha")?.unwrap_or_default().iter();
        let mut betas = ctx.floats("activation_beta")?.unwrap_or_default().iter();
        names
            .into_iter()
            .map(|name| {
                let row = NAMES.iter().find(|row| row.0.eq_ignore_ascii_case(name));
                let &(_, kind, alpha, beta) = row.ok_or_else(|| {
                    ctx.bad_attribute("activations", format!("names an unknown one: {name:?}"))
                })?;
                let take = |list: &mut std::slice::Iter<'_, f32>, default: f64, has: bool| {
                    if has { list.next().map_or(default, |&x| x.into()) } else { default }
                };
                let alpha = take(&mut alphas, alpha, kind.has_alpha());
                let beta = take(&mut betas, beta, kind.has_beta());
                Ok(Self { kind, alpha, beta })
            })
            .collect()
    }

    /// The activation of a number.
    pub fn apply(self, x: f64) -> f64 {
        let Self { kind, alpha, beta } = self;
        match kind {
            Kind::Affine => alpha * x + beta,
            Kind::Elu => {
                if x < 0.0 {
                    alpha * x.exp_m1()
                } else {
                    x
                }
            }
            Kind::HardSigmoid => (alpha * x + beta).clamp(0.0, 1.0),
            Kind::LeakyRelu => {
                if x < 0.0 {
                    alpha * x
                } else {
                    x
                }
            }
            Kind::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            Kind::ScaledTanh => alpha * (beta * x).tanh(),
            Kind::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            // Without overflow for large x.
            Kind::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Kind::Softsign => x / (1.0 + x.abs()),
            Kind::Tanh => x.tanh(),
            Kind::ThresholdedRelu => {
                if x >= alpha {
                    x
                } else {
                    0.0
                }
            }
        }
    }

    /// Replaces each number of a line by its activation.
    pub fn apply_all(self, line: &mut [f32]) {
        let (alpha, beta) = (self.alpha as f32, self.beta as f32);
        match self.kind {
            Kind::Sigmoid => vector::sigmoid(line),
            Kind::Tanh => vector::tanh(line),
            Kind::ScaledTanh => {
                line.iter_mut().for_each(|x| *x *= beta);
                vector::tanh(line);
                line.iter_mut().for_each(|x| *x *= alpha);
            }
            Kind::Relu => line.iter_mut().for_each(|x| *x = if *x < 0.0 { 0.0 } else { *x }),
            Kind::HardSigmoid => {
                line.iter_mut().for_each(|x| *x = (alpha * *x + beta).clamp(0.0, 1.0));
            }
            // No model has asked for these in lines of vectors.
            Kind::Affine
            | Kind::Elu
            | Kind::LeakyRelu
            | Kind::Softplus
            | Kind::Softsign
            | Kind::ThresholdedRelu => {
                line.iter_mut().for_each(|x| *x = self.apply(f64::from(*x)) as f32);
            }
        }
    }
}

impl Kind {
    fn has_alpha(self) -> bool {
        self.has_beta() || matches!(self, Self::Elu | Self::LeakyRelu | Self::ThresholdedRelu)
    }

    fn has_beta(self) -> bool {
        matches!(self, Self::Affine | Self::HardSigmoid | Self::ScaledTanh)
    }
}
