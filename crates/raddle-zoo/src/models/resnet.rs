//! Residual networks. *Source*: He et al., "Deep residual learning for image
//! recognition", 2015, with the stride in the 3x3 convolution of a bottleneck, as
//! torchvision has it.

use super::{CLASSES, logits, picture};
use crate::Result;
use crate::builder::{Attribute, Builder, Value};
use crate::head::OwnHead;
use crate::layers::{Activation, Conv};
use crate::parameters::Init;

/// What a block is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3 and 1x1, the last with four times the channels.
    Bottleneck,
}

pub fn resnet18(builder: &mut Builder<'_>) -> Result<()> {
    resnet(builder, Block::Basic, [2, 2, 2, 2])
}

pub fn resnet34(builder: &mut Builder<'_>) -> Result<()> {
    resnet(builder, Block::Basic, [3, 4, 6, 3])
}

pub fn resnet50(builder: &mut Builder<'_>) -> Result<()> {
    resnet(builder, Block::Bottleneck, [3, 4, 6, 3])
}

fn resnet(builder: &mut Builder<'_>, block: Block, depths: [usize; 4]) -> Result<()> {
    let x = picture(builder);
    let x = builder.conv("conv1", &x, Conv::same(3, 64, 7, 2), false)?;
    let x = builder.batch_norm("bn1", &x, 64)?;
    let x = builder.activate("relu", &x, Activation::Relu);
    let pool = [
        ("kernel_shape", Attribute::Ints(&[3, 3])),
        ("pads", Attribute::Ints(&[1; 4])),
        ("strides", Attribute::Ints(&[2, 2])),
    ];
    let mut x = builder.node("MaxPool", "maxpool", &[&x], &pool);
    let mut channels = 64;
    for (stage, depth) in depths.into_iter().enumerate() {
        let width = 64 << stage;
        for at in 0..depth {
            let stride = if stage > 0 && at == 0 { 2 } else { 1 };
            let name = format!("layer{}.{at}", stage + 1);
            (x, channels) = residual(builder, &name, &x, block, [channels, width, stride])?;
        }
    }
    let x = builder.global_average("avgpool", &x);
    let init = [Init::default_of(channels); 2];
    let own = OwnHead { module: "fc", linear: "fc", classes: CLASSES, init };
    let (x, classes) = builder.classifier(&x, channels, own)?;
    logits(builder, &x, classes);
    Ok(())
}

/// One block; gives its output and the output's channels.
fn residual(
    builder: &mut Builder<'_>,
    name: &str,
    x: &Value,
    block: Block,
    [channels_in, width, stride]: [usize; 3],
) -> Result<(Value, usize)> {
    let (convs, channels_out) = match block {
        Block::Basic => {
            (vec![Conv::same(channels_in, width, 3, stride), Conv::same(width, width, 3, 1)], width)
        }
        Block::Bottleneck => (
            vec![
                Conv::same(channels_in, width, 1, 1),
                Conv::same(width, width, 3, stride),
                Conv::same(width, width * 4, 1, 1),
            ],
            width * 4,
        ),
    };
    let last = convs.len();
    let mut y = x.clone();
    for (at, conv) in convs.into_iter().enumerate() {
        let at = at + 1;
        y = builder.conv(&format!("{name}.conv{at}"), &y, conv, false)?;
        y = builder.batch_norm(&format!("{name}.bn{at}"), &y, conv.channels_out)?;
        if at < last {
            y = builder.activate(&format!("{name}.relu{at}"), &y, Activation::Relu);
        }
    }
    let mut shortcut = x.clone();
    if stride != 1 || channels_in != channels_out {
        let conv = Conv { padding: 0, ..Conv::same(channels_in, channels_out, 1, stride) };
        shortcut = builder.conv(&format!("{name}.downsample.0"), x, conv, false)?;
        shortcut = builder.batch_norm(&format!("{name}.downsample.1"), &shortcut, channels_out)?;
    }
    let sum = builder.node("Add", &format!("{name}.add"), &[&y, &shortcut], &[]);
    let out = builder.activate(&format!("{name}.relu{last}"), &sum, Activation::Relu);
    Ok((out, channels_out))
}
