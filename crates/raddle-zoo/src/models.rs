//! The table of models.

use raddle_tensor::DType;

use crate::builder::{Builder, Dim, Value};
use crate::parameters::Source;
use crate::{Error, Result};

mod lstm;
mod mlp;
mod mobilenet;
mod resnet;
mod vit;

/// One model.
#[derive(Debug)]
pub struct Model {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    pub(crate) make: fn(&mut Builder<'_>) -> Result<()>,
}

/// All models.
pub const MODELS: [Model; 8] = {
    const fn row(
        name: &'static str,
        about: &'static str,
        make: fn(&mut Builder<'_>) -> Result<()>,
    ) -> Model {
        Model { name, about, make }
    }
    [
        row("resnet18", "residual network, 11.7 M parameters, 224x224 pictures", resnet::resnet18),
        row("resnet34", "residual network, 21.8 M parameters, 224x224 pictures", resnet::resnet34),
        row("resnet50", "residual network, 25.6 M parameters, 224x224 pictures", resnet::resnet50),
        row(
            "mobilenet_v2",
            "depthwise convolutions, 3.5 M parameters, 224x224 pictures",
            mobilenet::mobilenet_v2,
        ),
        row("vit_tiny", "vision transformer, 5.7 M parameters, 224x224 pictures", vit::vit_tiny),
        row("encoder", "text encoder of 4 transformer layers, tokens in", vit::encoder),
        row("lstm", "text classifier of 2 recurrent layers, tokens in", lstm::lstm),
        row("mlp", "3 fully connected layers, 28x28 digits", mlp::mlp),
    ]
};

/// The model of a name.
///
/// ## Errors
/// [`Error::UnknownModel`].
pub fn find(name: &str) -> Result<&'static Model> {
    MODELS.iter().find(|model| model.name == name).ok_or_else(|| Error::UnknownModel {
        name: name.into(),
        known: MODELS.map(|model| model.name).join(", "),
    })
}

impl Model {
    /// The bytes of an ONNX file, opset 17.
    ///
    /// ## Errors
    /// Those of parameters that do not fit the model; none with a seed.
    pub fn build(&self, source: Source<'_>) -> Result<Vec<u8>> {
        let mut builder = Builder::new(source);
        (self.make)(&mut builder)?;
        builder.finish(self.name)
    }
}

/// Side of the pictures that the vision models take, in pixels.
const PICTURE: usize = 224;
/// Classes of ImageNet.
const CLASSES: usize = 1_000;

/// The batch's dimension.
const BATCH: Dim = Dim::Free("n");

/// The input of a vision model: `[n, 3, 224, 224]`.
fn picture(builder: &mut Builder<'_>) -> Value {
    let side = Dim::Fixed(PICTURE);
    builder.input("input", DType::F32, &[BATCH, Dim::Fixed(3), side, side])
}

/// The output of a classifier: `[n, classes]`.
fn logits(builder: &mut Builder<'_>, value: &Value, classes: usize) {
    builder.output("logits", value, DType::F32, &[BATCH, Dim::Fixed(classes)]);
}
