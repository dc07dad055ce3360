//! Where a model's parameters come from: a seed, or a file of trained ones.

use std::collections::BTreeSet;

use raddle_weights::{Array, Weights};

use crate::random::Random;
use crate::{Error, Result};

/// Where the parameters of a model come from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// Random ones, as torchvision initialises them.
    Seed(u64),
    /// Trained ones, by torchvision's names. A prefix that all names share, such
    /// as `module.`, is found; the number of classes is that of the last layer.
    Weights(&'a Weights),
}

/// How a parameter begins when it is random.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Always this.
    Constant(f32),
    /// Around 0 with this deviation.
    Normal(f64),
    /// Between this and its negative.
    Uniform(f64),
}

impl Init {
    /// Kaiming's normal distribution over the fan-out, for `relu` after a
    /// convolution with weights of `shape` in `groups`. *Source*: He et al. 2015;
    /// `torch.nn.init.kaiming_normal_(mode="fan_out", nonlinearity="relu")`, which
    /// counts all groups: untrained depthwise networks then give zeros.
    pub fn kaiming_fan_out(shape: &[usize], groups: usize) -> Self {
        let taps: usize = shape[2..].iter().product();
        Self::Normal((2.0 / (shape[0] / groups * taps) as f64).sqrt())
    }

    /// PyTorch's default for layers with this many inputs to each output.
    pub fn default_of(fan_in: usize) -> Self {
        Self::Uniform(1.0 / (fan_in as f64).sqrt())
    }
}

/// The parameters of one model, given out by name.
#[derive(Debug)]
pub struct Parameters<'a> {
    source: Source<'a>,
    /// What stands before every name in the weights; found by the first name.
    prefix: Option<String>,
    used: BTreeSet<String>,
}

impl<'a> Parameters<'a> {
    /// All parameters of a source.
    pub fn new(source: Source<'a>) -> Self {
        Self { source, prefix: None, used: BTreeSet::new() }
    }

    /// The elements of a parameter, little-endian.
    pub fn bytes(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Vec<u8>> {
        let count = shape.iter().product();
        match self.source {
            Source::Seed(seed) => {
                let random = Random::new(seed, name);
                Ok(match init {
                    Init::Constant(value) => bytes_of(count, std::iter::repeat(value)),
                    Init::Normal(deviation) => bytes_of(count, random.normal(deviation)),
                    Init::Uniform(bound) => bytes_of(count, random.uniform(bound)),
                })
            }
            Source::Weights(weights) => {
                let array = self.find(weights, name)?;
                if array.shape() != shape {
                    return Err(Error::ParameterShape {
                        name: name.into(),
                        expected: shape.to_vec(),
                        found: array.shape().to_vec(),
                    });
                }
                let elements = array.to_f32().ok_or_else(|| Error::ParameterType {
                    name: name.into(),
                    found: array.dtype(),
                })?;
                Ok(bytes_of(count, elements.into_iter()))
            }
        }
    }

    /// The first dimension of a parameter in the weights; `default` for random ones.
    pub fn rows(&mut self, name: &str, default: usize) -> Result<usize> {
        match self.source {
            Source::Seed(_) => Ok(default),
            Source::Weights(weights) => {
                Ok(self.find(weights, name)?.shape().first().copied().unwrap_or(default))
            }
        }
    }

    /// Checks that the weights have nothing that was not asked for.
    pub fn finish(&self) -> Result<()> {
        let Source::Weights(weights) = self.source else { return Ok(()) };
        // Batch normalisation counts its training steps, which inference ignores.
        let is_unused =
            |name: &&str| !self.used.contains(*name) && !name.ends_with("num_batches_tracked");
        let names = weights.arrays.iter().map(|(name, _)| name.as_str());
        let unused: Vec<&str> = names.filter(is_unused).collect();
        match unused.len() {
            0 => Ok(()),
            count => Err(Error::UnusedParameters { count, examples: examples(&unused) }),
        }
    }

    fn find(&mut self, weights: &'a Weights, name: &str) -> Result<&'a Array> {
        let names = || weights.arrays.iter().map(|(name, _)| name.as_str());
        let prefix = self.prefix.get_or_insert_with(|| {
            let with_dot = format!(".{name}");
            let is_here = |own: &str| own == name || own.ends_with(&with_dot);
            let shortest = names().filter(|own| is_here(own)).min_by_key(|own| own.len());
            shortest.map_or(String::new(), |own| own[..own.len() - name.len()].to_owned())
        });
        let full = format!("{prefix}{name}");
        let array = weights.get(&full).ok_or_else(|| Error::MissingParameter {
            name: full.clone(),
            examples: examples(&names().collect::<Vec<_>>()),
        })?;
        self.used.insert(full);
        Ok(array)
    }
}

fn examples(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(3).map(|name| format!("{name:?}")).collect();
    shown.join(", ")
}

fn bytes_of(count: usize, elements: impl Iterator<Item = f32>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count * 4);
    for element in elements.take(count) {
        bytes.extend_from_slice(&element.to_le_bytes());
    }
    bytes
}
