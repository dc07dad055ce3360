//! The classifier at the end of a network, where it is not one linear layer.

use std::str::FromStr;

use crate::builder::{Builder, Value};
use crate::layers::Activation;
use crate::parameters::{Init, Source};
use crate::{Error, Result};

/// A layer of a classifier, under its name in `torch.nn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadLayer {
    /// Nothing in inference, but it counts in the names of the layers behind it.
    Dropout,
    /// A fully connected layer.
    Linear,
    /// `max(x, 0)`.
    Relu,
}

/// The layers of a classifier that was made as a `torch.nn.Sequential` in place of
/// the network's own: the parameters of layer `i` of `fc` are then `fc.i.weight` and
/// `fc.i.bias`. The weights alone do not say which layers without parameters lie
/// between, so it is said here: `dropout,linear,relu,linear`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head(Vec<HeadLayer>);

impl FromStr for Head {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let layer = |word: &str| match word.trim() {
            "dropout" => Ok(HeadLayer::Dropout),
            "linear" => Ok(HeadLayer::Linear),
            "relu" => Ok(HeadLayer::Relu),
            other => Err(Error::HeadLayer { name: other.into() }),
        };
        let layers = text.split(',').map(layer).collect::<Result<Vec<_>>>()?;
        if layers.contains(&HeadLayer::Linear) {
            Ok(Self(layers))
        } else {
            Err(Error::HeadWithoutLinear)
        }
    }
}

/// What a network's own classifier is.
#[derive(Debug, Clone, Copy)]
pub struct OwnHead<'a> {
    /// Name of the module.
    pub module: &'a str,
    /// Name of its one linear layer.
    pub linear: &'a str,
    /// Classes with random parameters.
    pub classes: usize,
    /// How weight and bias begin.
    pub init: [Init; 2],
}

impl Builder<'_> {
    /// The classifier: the network's own, or what was asked for in its place.
    /// `[n, features]` to `[n, classes]`; gives the number of classes as well.
    pub(crate) fn classifier(
        &mut self,
        x: &Value,
        features: usize,
        own: OwnHead<'_>,
    ) -> Result<(Value, usize)> {
        let Some(Head(layers)) = self.take_head() else {
            let classes = self.parameters().rows(&format!("{}.weight", own.linear), own.classes)?;
            let x = self.linear(own.linear, x, [features, classes], own.init)?;
            return Ok((x, classes));
        };
        let (mut x, mut len) = (x.clone(), features);
        for (at, layer) in layers.into_iter().enumerate() {
            let name = format!("{}.{at}", own.module);
            match layer {
                HeadLayer::Dropout => {}
                HeadLayer::Relu => x = self.activate(&name, &x, Activation::Relu),
                HeadLayer::Linear => {
                    let outputs = self.parameters().rows(&format!("{name}.weight"), own.classes)?;
                    x = self.linear(&name, &x, [len, outputs], own.init)?;
                    len = outputs;
                }
            }
        }
        Ok((x, len))
    }
}

impl crate::Model {
    /// The bytes of an ONNX file whose classifier has these layers instead of its
    /// own, with as many units as the weights have.
    ///
    /// ## Errors
    /// [`Error::HeadNeedsWeights`] with a seed, [`Error::NoHead`] for a network
    /// without a classifier of pictures, and those of [`build`](Self::build).
    pub fn build_with_head(&self, source: Source<'_>, head: Head) -> Result<Vec<u8>> {
        if let Source::Seed(_) = source {
            return Err(Error::HeadNeedsWeights);
        }
        let mut builder = Builder::with_head(source, head);
        (self.make)(&mut builder)?;
        if builder.take_head().is_some() {
            return Err(Error::NoHead { name: self.name });
        }
        builder.finish(self.name)
    }
}
