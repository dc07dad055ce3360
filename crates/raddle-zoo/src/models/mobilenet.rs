//! MobileNetV2. *Source*: Sandler et al., "MobileNetV2: inverted residuals and
//! linear bottlenecks", 2018; names and initialisation as in torchvision.

use super::{CLASSES, logits, picture};
use crate::Result;
use crate::builder::{Builder, Value};
use crate::head::OwnHead;
use crate::layers::{Activation, Conv};
use crate::parameters::Init;

/// Expansion, output channels, blocks and first stride of each stage.
const STAGES: [[usize; 4]; 7] = [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
];

/// Channels before the classifier.
const FEATURES: usize = 1_280;

pub fn mobilenet_v2(builder: &mut Builder<'_>) -> Result<()> {
    let x = picture(builder);
    let mut channels = 32;
    let mut x = block(builder, "features.0", &x, Conv::same(3, channels, 3, 2), Activation::Relu6)?;
    let mut at = 1;
    for [expansion, channels_out, depth, first_stride] in STAGES {
        for index in 0..depth {
            let stride = if index == 0 { first_stride } else { 1 };
            let name = format!("features.{at}");
            x = inverted(builder, &name, &x, [channels, channels_out, expansion, stride])?;
            channels = channels_out;
            at += 1;
        }
    }
    let last = Conv::same(channels, FEATURES, 1, 1);
    let x = block(builder, &format!("features.{at}"), &x, last, Activation::Relu6)?;
    let x = builder.global_average("avgpool", &x);
    let init = [Init::Normal(0.01), Init::Constant(0.0)];
    let own = OwnHead { module: "classifier", linear: "classifier.1", classes: CLASSES, init };
    let (x, classes) = builder.classifier(&x, FEATURES, own)?;
    logits(builder, &x, classes);
    Ok(())
}

/// A convolution, its normalisation and activation: parts `.0`, `.1` and `.2`.
fn block(
    builder: &mut Builder<'_>,
    name: &str,
    x: &Value,
    conv: Conv,
    activation: Activation,
) -> Result<Value> {
    let x = builder.conv(&format!("{name}.0"), x, conv, false)?;
    let x = builder.batch_norm(&format!("{name}.1"), &x, conv.channels_out)?;
    Ok(builder.activate(&format!("{name}.2"), &x, activation))
}

/// An inverted residual: widen, filter each channel, narrow, add.
fn inverted(
    builder: &mut Builder<'_>,
    name: &str,
    x: &Value,
    [channels_in, channels_out, expansion, stride]: [usize; 4],
) -> Result<Value> {
    let hidden = channels_in * expansion;
    let mut y = x.clone();
    let mut part = 0;
    if expansion != 1 {
        let widen = Conv::same(channels_in, hidden, 1, 1);
        y = block(builder, &format!("{name}.conv.{part}"), &y, widen, Activation::Relu6)?;
        part += 1;
    }
    let filter = Conv::depthwise(hidden, 3, stride);
    y = block(builder, &format!("{name}.conv.{part}"), &y, filter, Activation::Relu6)?;
    let narrow = Conv::same(hidden, channels_out, 1, 1);
    y = builder.conv(&format!("{name}.conv.{}", part + 1), &y, narrow, false)?;
    y = builder.batch_norm(&format!("{name}.conv.{}", part + 2), &y, channels_out)?;
    if stride == 1 && channels_in == channels_out {
        y = builder.node("Add", &format!("{name}.add"), &[x, &y], &[]);
    }
    Ok(y)
}
