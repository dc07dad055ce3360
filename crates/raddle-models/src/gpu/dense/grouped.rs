//! Convolutions in narrow groups: with channels last, as they are fast, and with what follows
//! in the same launch.

use raddle_kernels::dense::{self, Finish};
use raddle_kernels::grouped::{Grouped, is_narrow};
use raddle_tensor::graph::ValueId;
use raddle_tensor::ops::window::Window;
use raddle_tensor::{DType, Tensor};

use super::call::Call;
use super::value::Dense;
use super::{Failure, Made, lock};

/// Fewest multiplications for which images are turned.
const TERMS_MIN: usize = 1 << 15;

impl Call<'_, '_> {
    /// A convolution in narrow groups with constant weights. An input that lies with its
    /// channels first is turned, once for all who read it so: that costs less than what the
    /// kernels for any layout lose, unless there is next to nothing to do.
    pub fn conv_of_groups(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let Some(grouped) = self.narrow_groups()? else { return Ok(None) };
        let [height, width] = grouped.output;
        let shape = [grouped.images, grouped.pitches[1], height, width];
        let id = self.required(0)?;
        let (x, weights) = (self.images(id)?, self.packed_groups(1, &grouped)?);
        let bias = self.maybe(2)?;
        let follow = self.follow(&shape);
        let residual = self.residual_of(follow.as_ref())?;
        let mut finish = Finish::plain(self.kit().arithmetic);
        if let Some(follow) = &follow {
            finish.bounds = follow.bounds;
            finish.residual = residual.as_ref().map(|words| words.as_slice());
        }
        let operands = [self.kit().words(&x)?, self.kit().words(&weights)?];
        let operands = operands.each_ref().map(|words| words.as_slice());
        let bias = bias.map(|bias| self.kit().words(&bias)).transpose()?;
        let bias = bias.as_ref().map(|words| words.as_slice());
        let words = dense::convolve_groups(self.kit().stream, &grouped, finish, operands, bias)?;
        let made = self.made_images(shape, words);
        match follow {
            Some(follow) => {
                self.leave(&follow.nodes, made);
                Ok(Some(Vec::new()))
            }
            None => Ok(Some(vec![made])),
        }
    }

    /// The numbers of this convolution, if it is one that the kernels are for.
    fn narrow_groups(&mut self) -> Result<Option<Grouped>, Failure> {
        let ((x_type, x), (w_type, w)) = (self.outline(0)?, self.outline(1)?);
        let groups = self.ctx.int("group", 1)?.max(1) as usize;
        let (&[images, channels, height, width], &[outputs, inputs, ..]) = (&x[..], &w[..]) else {
            return Ok(None);
        };
        let weights = self.required(1)?;
        let is_fit = [x_type, w_type] == [DType::F32; 2]
            && w.len() == 4
            && groups > 1
            && inputs * groups == channels
            && outputs.is_multiple_of(groups)
            && self.lowering().is_constant.contains(&weights)
            && (!self.has(2) || self.outline(2)? == (DType::F32, vec![outputs]));
        if !is_fit || !is_narrow(outputs / groups) {
            return Ok(None);
        }
        let window = Window::new(&self.ctx, &w[2..], &x[2..])?;
        let pair = |list: &[usize]| [list[0], list[1]];
        let grouped = Grouped {
            images,
            size: [height, width],
            output: pair(&window.output),
            pitches: [channels, outputs],
            groups,
            inputs,
            outputs: outputs / groups,
            window: pair(&window.kernel),
            strides: pair(&window.strides),
            dilations: pair(&window.dilations),
            begins: pair(&window.begins),
        };
        let terms = grouped.flops() / 2.0;
        let is_worth_it = self.lying(0)?.is_some() || terms >= TERMS_MIN as f64;
        let is_empty = terms == 0.0 || height * width == 0;
        Ok((is_worth_it && !is_empty).then_some(grouped))
    }

    /// Constant weights for it, made once.
    fn packed_groups(&mut self, at: usize, grouped: &Grouped) -> Result<Dense, Failure> {
        let id: ValueId = self.required(at)?;
        if let Some(dense) = lock(&self.lowering().constants.grouped).get(&id) {
            return Ok(dense.clone());
        }
        let packed = grouped.pack(self.host(at)?.elements::<f32>()?)?;
        let packed = self.kit().upload(&Tensor::vector(packed))?;
        lock(&self.lowering().constants.grouped).insert(id, packed.clone());
        Ok(packed)
    }
}
