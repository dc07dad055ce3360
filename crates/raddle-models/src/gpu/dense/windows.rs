//! Convolutions, pooling and resizing.

use raddle_kernels::dense::{Channels, Function, Pool, Pooling, Reduction};
use raddle_tensor::ops::resize::{AxisWeights, resampling};
use raddle_tensor::ops::window::Window;
use raddle_tensor::{DType, Tensor, shape};

use super::call::{Call, only, same_type};
use super::products::{sliding, whole};
use super::value::{Dense, Strided};
use super::{Failure, Made};

impl Call<'_, '_> {
    pub fn windows(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        match self.node.op.name {
            "Conv" => {
                if let Some(made) = self.conv_of_images()? {
                    return Ok(Some(made));
                }
                if let Some(made) = self.conv_of_groups()? {
                    return Ok(Some(made));
                }
                let (x, w) = (self.x(0)?, self.x(1)?);
                let bias = self.maybe(2)?;
                let dtype = x.dtype;
                self.conv(&x, &w, bias, dtype)
            }
            "ConvInteger" => {
                let x = self.centred(0, 2, 1)?;
                let w = self.centred(1, 3, 0)?;
                self.conv(&x, &w, None, DType::I32)
            }
            "ConvTranspose" => self.conv_transpose(),
            "MaxPool" => self.max_pool(),
            "AveragePool" => {
                let counts = self.ctx.flag("count_include_pad", false)?;
                self.pool(Pooling::Mean, counts, 0)
            }
            "LpPool" => {
                let power = self.ctx.int("p", 2)?;
                self.pool(Pooling::Power, false, power)
            }
            "GlobalAveragePool" => self.global_pool(Reduction::Mean),
            "GlobalMaxPool" => self.global_pool(Reduction::Max),
            "GlobalLpPool" => match self.ctx.int("p", 2)? {
                1 => self.global_pool(Reduction::L1),
                2 => self.global_pool(Reduction::L2),
                other => Err(Failure::why(format!("the norm {other} has no kernel"))),
            },
            "Resize" | "Upsample" => self.resize(),
            _ => Ok(None),
        }
    }

    fn conv(
        &mut self,
        x: &Dense,
        w: &Dense,
        bias: Option<Dense>,
        dtype: DType,
    ) -> Result<Option<Vec<Made>>, Failure> {
        same_type(x, w)?;
        let groups = self.ctx.int("group", 1)?.max(1) as usize;
        let is_fit = x.rank() >= 3
            && w.rank() == x.rank()
            && w.shape[1] * groups == x.shape[1]
            && w.shape[0].is_multiple_of(groups);
        if !is_fit {
            return Err(Failure::why(format!("{:?} and {:?} do not fit", x.shape, w.shape)));
        }
        let window = Window::new(&self.ctx, &w.shape[2..], &x.shape[2..])?;
        let mut shape = vec![x.shape[0], w.shape[0]];
        shape.extend(&window.output);
        let channels = Channels {
            groups: groups as u32,
            inputs: w.shape[1] as u32,
            outputs: (w.shape[0] / groups) as u32,
            is_transposed: 0,
            has_bias: u32::from(bias.is_some()),
            weights: 0,
        };
        let operands = [x, w, bias.as_ref().unwrap_or(w)];
        let follow = if dtype == DType::F32 { self.follow(&shape) } else { None };
        let residual = follow.as_ref().and_then(|follow| follow.residual);
        let residual = residual.map(|id| self.value(id)).transpose()?;
        let bounds = follow.as_ref().map(|follow| (follow.bounds, residual.as_ref()));
        let of = (shape, dtype);
        let (made, has_followed) =
            self.kit().convolved(operands, sliding(&window)?, channels, of, bounds)?;
        match follow {
            Some(follow) if has_followed => {
                self.leave(&follow.nodes, made.into());
                Ok(Some(Vec::new()))
            }
            _ => only(made),
        }
    }

    fn conv_transpose(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let (x, w) = (self.x(0)?, self.x(1)?);
        let bias = self.maybe(2)?;
        same_type(&x, &w)?;
        let groups = self.ctx.int("group", 1)?.max(1) as usize;
        let is_fit = x.rank() >= 3
            && w.rank() == x.rank()
            && w.shape[0] == x.shape[1]
            && x.shape[1].is_multiple_of(groups);
        if !is_fit {
            return Err(Failure::why(format!("{:?} and {:?} do not fit", x.shape, w.shape)));
        }
        let window = self.spread_window(&x.shape[2..], &w.shape[2..])?;
        let mut shape = vec![x.shape[0], w.shape[1] * groups];
        shape.extend(&window.output);
        let channels = Channels {
            groups: groups as u32,
            inputs: (x.shape[1] / groups) as u32,
            outputs: w.shape[1] as u32,
            is_transposed: 1,
            has_bias: u32::from(bias.is_some()),
            weights: 0,
        };
        let operands = [&x, &w, bias.as_ref().unwrap_or(&w)];
        let of = (shape, x.dtype);
        only(self.kit().convolved(operands, sliding(&window)?, channels, of, None)?.0)
    }

    /// The window of a transposed convolution; its output is what windows spread over.
    fn spread_window(&self, input: &[usize], kernel: &[usize]) -> Result<Window, Failure> {
        let rank = input.len();
        let list = |name: &str, default: i64| -> Result<Vec<i64>, Failure> {
            let list = self.ctx.ints(name)?.filter(|list| !list.is_empty());
            Ok(list.map_or_else(|| vec![default; rank], <[i64]>::to_vec))
        };
        let (strides, dilations) = (list("strides", 1)?, list("dilations", 1)?);
        let extra = list("output_padding", 0)?;
        let pads = self.ctx.ints("pads")?.map_or_else(|| vec![0; 2 * rank], <[i64]>::to_vec);
        let auto = self.ctx.text("auto_pad", "NOTSET")?;
        let stated = self.ctx.ints("output_shape")?.filter(|list| !list.is_empty());
        let (mut begins, mut output) = (Vec::new(), Vec::new());
        for i in 0..rank {
            let full =
                (input[i] as i64 - 1) * strides[i] + (kernel[i] as i64 - 1) * dilations[i] + 1;
            let wanted = match (stated, auto) {
                (Some(list), _) => list.get(list.len() - rank + i).copied(),
                (None, "SAME_UPPER" | "SAME_LOWER") => Some(input[i] as i64 * strides[i]),
                (None, _) => None,
            };
            let (begin, len) = match wanted {
                Some(len) => {
                    let total = full + extra[i] - len;
                    let half = total.div_euclid(2);
                    (if auto == "SAME_UPPER" { half } else { total - half }, len)
                }
                None if auto == "VALID" => (0, full + extra[i]),
                None => (pads[i], full + extra[i] - pads[i] - pads[rank + i]),
            };
            begins.push(usize::try_from(begin).map_err(|_| {
                Failure::why("an output wider than what its windows reach has no kernel")
            })?);
            output.push(usize::try_from(len).map_err(|_| Failure::why("a length is negative"))?);
        }
        Ok(Window {
            kernel: kernel.to_vec(),
            strides: shape::dims(&strides)?,
            dilations: shape::dims(&dilations)?,
            begins,
            ends: vec![0; rank],
            input: input.to_vec(),
            output,
        })
    }

    /// The window of a pooling of a value of this shape, and the shape of the result.
    pub fn pool_window(&mut self, of: &[usize]) -> Result<(Window, Vec<usize>), Failure> {
        let kernel = shape::dims(self.ctx.ints("kernel_shape")?.unwrap_or_default())?;
        if of.len() < 3 {
            return Err(Failure::why(format!("its operand has shape {of:?}")));
        }
        let window = Window::new(&self.ctx, &kernel, &of[2..])?;
        let mut shape = of[..2].to_vec();
        shape.extend(&window.output);
        Ok((window, shape))
    }

    fn pool(
        &mut self,
        pooling: Pooling,
        counts_padding: bool,
        power: i64,
    ) -> Result<Option<Vec<Made>>, Failure> {
        if let Some(made) = self.pool_of_images(pooling, counts_padding)? {
            return Ok(Some(made));
        }
        let x = self.x(0)?;
        let (window, shape) = self.pool_window(&x.shape)?;
        let pool = Pool {
            pooling: pooling.code(),
            counts_padding: u32::from(counts_padding),
            is_column_major: u32::from(
                pooling == Pooling::MaxAt && self.ctx.flag("storage_order", false)?,
            ),
            power: power as u32,
        };
        let dtype = if pooling == Pooling::MaxAt { DType::I64 } else { x.dtype };
        only(self.kit().pooled(&x, sliding(&window)?, pool, (shape, dtype))?)
    }

    fn max_pool(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let mut made = self.pool(Pooling::Max, false, 0)?.unwrap_or_default();
        if self.wants(1) {
            made.extend(self.pool(Pooling::MaxAt, false, 0)?.unwrap_or_default());
        }
        Ok(Some(made))
    }

    fn global_pool(&mut self, reduction: Reduction) -> Result<Option<Vec<Made>>, Failure> {
        if let Some(made) = self.global_pool_of_images(reduction)? {
            return Ok(Some(made));
        }
        let x = self.x(0)?;
        let axes: Vec<_> = (2..x.rank()).collect();
        only(self.kit().reduced(&x, &axes, reduction, x.dtype)?)
    }

    /// One axis after the other, each a product with the weights of its elements.
    fn resize(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let dtype = self.outline(0)?.0;
        let (_, lens) = self.outline(0)?;
        let operands = (1..self.node.inputs.len())
            .map(|at| Ok(if self.has(at) { Some(self.host(at)?.into()) } else { None }));
        let mut operands: Vec<_> = operands.collect::<Result<_, Failure>>()?;
        operands.insert(0, Some(Tensor::zeros(&lens, dtype)?.into()));
        let ctx = raddle_tensor::OpContext::with_inputs(self.node, operands);
        let plans = resampling(&ctx)?;
        let mut x = self.wide(0)?;
        if !dtype.is_float() {
            x = self.kit().cast(&x, DType::F64)?;
        }
        for plan in &plans.axes {
            if plan.is_identity {
                continue;
            }
            x = self.resampled(&x, plan, plans.extrapolation)?;
        }
        if dtype.is_integer() {
            // Cubic weights overshoot; integers saturate at their limits.
            let bits = dtype.bits() as i32;
            let is_signed = dtype.class() == raddle_tensor::Class::I64;
            let low = if is_signed { -2f64.powi(bits - 1) } else { 0.0 };
            let high = low + 2f64.powi(bits) - 1.0;
            let above = self.with(Function::Max, &x, low)?;
            x = self.with(Function::Min, &above, high)?;
        }
        only(self.kit().cast(&x, dtype)?)
    }

    fn resampled(
        &mut self,
        x: &Dense,
        plan: &AxisWeights,
        extrapolation: f64,
    ) -> Result<Dense, Failure> {
        let axis = plan.axis;
        let (len, count) = (x.shape[axis], plan.taps.len());
        let mut shape = x.shape.clone();
        shape[axis] = count;
        let mut along = vec![1; x.rank()];
        along[axis] = count;
        let is_choice =
            plan.taps.iter().all(|taps| matches!(taps.as_deref(), Some([(_, w)]) if *w == 1.0));
        if is_choice {
            let places = plan.taps.iter().flatten().map(|taps| taps[0].0 as i64).collect();
            let places = self.kit().upload(&Tensor::vector::<i64>(places))?;
            return self.kit().taken(x, axis, &places);
        }
        let mut weights = vec![0.0; len * count];
        let mut outside = vec![false; count];
        for (at, taps) in plan.taps.iter().enumerate() {
            match taps {
                Some(taps) => taps.iter().for_each(|&(from, w)| weights[at * len + from] += w),
                None => outside[at] = true,
            }
        }
        let has_outside = outside.contains(&true);
        let weights = self.kit().upload(&Tensor::computed(&[count, len], x.dtype, weights)?)?;
        let outer: usize = x.shape[..axis].iter().product();
        let inner: usize = x.shape[axis + 1..].iter().product();
        let rows = x.reshaped(&[outer, len, inner])?;
        let left = Strided { strides: vec![len as i64, 1], ..whole(&weights) };
        let right = whole(&rows);
        let shapes: [&[usize]; 2] = [&[count, len], &rows.shape];
        let class = x.class();
        let y = self.kit().product([&left, &right], shapes, class, x.dtype)?.reshaped(&shape)?;
        if !has_outside {
            return Ok(y);
        }
        let outside = self.kit().upload(&Tensor::new(&along, outside)?)?;
        let fill = self.kit().number(extrapolation, x.dtype)?;
        let class = raddle_kernels::dense::Class::I64;
        self.kit().map_in(class, Function::Where, &[&outside, &fill, &y], x.dtype)
    }
}
