//! Layers, each a few nodes with their parameters under PyTorch's names.

use crate::Result;
use crate::builder::{Attribute, Builder, Value};
use crate::parameters::Init;

/// A two-dimensional convolution with square filters.
#[derive(Debug, Clone, Copy)]
pub struct Conv {
    pub channels_in: usize,
    pub channels_out: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    pub groups: usize,
}

impl Conv {
    /// A convolution that keeps the size at stride 1.
    pub fn same(channels_in: usize, channels_out: usize, kernel: usize, stride: usize) -> Self {
        Self { channels_in, channels_out, kernel, stride, padding: kernel / 2, groups: 1 }
    }

    /// One filter for each channel.
    pub fn depthwise(channels: usize, kernel: usize, stride: usize) -> Self {
        Self { groups: channels, ..Self::same(channels, channels, kernel, stride) }
    }

    fn weight_shape(&self) -> [usize; 4] {
        [self.channels_out, self.channels_in / self.groups, self.kernel, self.kernel]
    }
}

/// What follows a convolution or a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    Relu,
    /// Clipped to 0..6.
    Relu6,
}

impl Builder<'_> {
    /// A convolution. `[n, channels_in, h, w]` to `[n, channels_out, h', w']`.
    pub fn conv(&mut self, name: &str, x: &Value, conv: Conv, has_bias: bool) -> Result<Value> {
        let shape = conv.weight_shape();
        let fan_in = shape[1] * conv.kernel * conv.kernel;
        let init = match has_bias {
            true => Init::default_of(fan_in),
            false => Init::kaiming_fan_out(&shape, conv.groups),
        };
        let weight = self.parameter(&format!("{name}.weight"), &shape, init)?;
        let mut inputs = vec![x, &weight];
        let bias;
        if has_bias {
            let init = Init::default_of(fan_in);
            bias = self.parameter(&format!("{name}.bias"), &[conv.channels_out], init)?;
            inputs.push(&bias);
        }
        let [kernel, stride, padding] =
            [conv.kernel, conv.stride, conv.padding].map(|size| size as i64);
        let attributes = [
            ("dilations", Attribute::Ints(&[1, 1])),
            ("group", Attribute::Int(conv.groups as i64)),
            ("kernel_shape", Attribute::Ints(&[kernel, kernel])),
            ("pads", Attribute::Ints(&[padding; 4])),
            ("strides", Attribute::Ints(&[stride, stride])),
        ];
        Ok(self.node("Conv", name, &inputs, &attributes))
    }

    /// Batch normalisation with fixed statistics over `[n, channels, h, w]`.
    pub fn batch_norm(&mut self, name: &str, x: &Value, channels: usize) -> Result<Value> {
        let fields = [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)];
        let mut inputs = vec![x.clone()];
        for (field, value) in fields {
            let init = Init::Constant(value);
            inputs.push(self.parameter(&format!("{name}.{field}"), &[channels], init)?);
        }
        let inputs: Vec<&Value> = inputs.iter().collect();
        let attributes = [("epsilon", Attribute::Float(1e-5))];
        Ok(self.node("BatchNormalization", name, &inputs, &attributes))
    }

    /// An activation.
    pub fn activate(&mut self, name: &str, x: &Value, activation: Activation) -> Value {
        match activation {
            Activation::Relu => self.node("Relu", name, &[x], &[]),
            Activation::Relu6 => {
                let min = self.scalar(&format!("{name}.min"), 0.0);
                let max = self.scalar(&format!("{name}.max"), 6.0);
                self.node("Clip", name, &[x, &min, &max], &[])
            }
        }
    }

    /// A fully connected layer on a matrix. `[n, inputs]` to `[n, outputs]`.
    pub fn linear(
        &mut self,
        name: &str,
        x: &Value,
        [inputs, outputs]: [usize; 2],
        [weight, bias]: [Init; 2],
    ) -> Result<Value> {
        let weight = self.parameter(&format!("{name}.weight"), &[outputs, inputs], weight)?;
        let bias = self.parameter(&format!("{name}.bias"), &[outputs], bias)?;
        Ok(self.node("Gemm", name, &[x, &weight, &bias], &[("transB", Attribute::Int(1))]))
    }

    /// A fully connected layer on the last of three dimensions, which weights under
    /// PyTorch's layout need a transpose for. `[n, t, inputs]` to `[n, t, outputs]`.
    pub fn linear_3d(
        &mut self,
        name: &str,
        x: &Value,
        [inputs, outputs]: [usize; 2],
        [weight, bias]: [Init; 2],
    ) -> Result<Value> {
        let weight = self.parameter(&format!("{name}.weight"), &[outputs, inputs], weight)?;
        let perm = [("perm", Attribute::Ints(&[1, 0]))];
        let weight = self.node("Transpose", &format!("{name}.weight_t"), &[&weight], &perm);
        let bias = self.parameter(&format!("{name}.bias"), &[outputs], bias)?;
        let product = self.node("MatMul", &format!("{name}.product"), &[x, &weight], &[]);
        Ok(self.node("Add", name, &[&product, &bias], &[]))
    }

    /// Layer normalisation over the last dimension.
    pub fn layer_norm(&mut self, name: &str, x: &Value, len: usize) -> Result<Value> {
        let weight = self.parameter(&format!("{name}.weight"), &[len], Init::Constant(1.0))?;
        let bias = self.parameter(&format!("{name}.bias"), &[len], Init::Constant(0.0))?;
        let attributes = [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(1e-6))];
        Ok(self.node("LayerNormalization", name, &[x, &weight, &bias], &attributes))
    }

    /// The exact GELU, `x / 2 (1 + erf(x / sqrt 2))`, of operations that opset 17 has.
    pub fn gelu(&mut self, name: &str, x: &Value) -> Value {
        let at = |part: &str| format!("{name}.{part}");
        let root = self.scalar(&at("sqrt2"), std::f32::consts::SQRT_2);
        let one = self.scalar(&at("one"), 1.0);
        let half = self.scalar(&at("half"), 0.5);
        let scaled = self.node("Div", &at("scaled"), &[x, &root], &[]);
        let erf = self.node("Erf", &at("erf"), &[&scaled], &[]);
        let sum = self.node("Add", &at("sum"), &[&erf, &one], &[]);
        let product = self.node("Mul", &at("product"), &[x, &sum], &[]);
        self.node("Mul", name, &[&product, &half], &[])
    }

    /// The mean over height and width. `[n, channels, h, w]` to `[n, channels]`.
    pub fn global_average(&mut self, name: &str, x: &Value) -> Value {
        let pooled = self.node("GlobalAveragePool", name, &[x], &[]);
        self.node("Flatten", "flatten", &[&pooled], &[("axis", Attribute::Int(1))])
    }
}
