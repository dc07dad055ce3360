//! Operations that only move elements.

use raddle_tensor::{Tensor, shape};

use super::call::{Call, only};
use super::value::Dense;
use super::{Failure, Made};

impl Call<'_, '_> {
    pub fn movement(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        match self.node.op.name {
            "Shape" => self.shape(),
            "Size" => {
                let (_, shape) = self.outline(0)?;
                Ok(Some(vec![Made::Host(Tensor::scalar(shape.iter().product::<usize>() as i64))]))
            }
            "Reshape" => self.reshape(),
            "Flatten" => {
                let x = self.x(0)?;
                let axis = self.ctx.int("axis", 1)?;
                let axis = if axis < 0 { axis + x.rank() as i64 } else { axis };
                let axis = usize::try_from(axis).unwrap_or(usize::MAX);
                if axis > x.rank() {
                    return Err(Failure::why("its axis is out of range"));
                }
                let (rows, columns) = x.shape.split_at(axis);
                let shape = [rows.iter().product(), columns.iter().product()];
                only(x.reshaped(&shape)?)
            }
            "Squeeze" => self.squeeze(),
            "Unsqueeze" => self.unsqueeze(),
            "Transpose" => {
                let x = self.x(0)?;
                let order = match self.ctx.ints("perm")? {
                    Some(list) => shape::axes(list, x.rank())?,
                    None => (0..x.rank()).rev().collect(),
                };
                only(self.kit().transposed(&x, &order)?)
            }
            "Expand" => {
                let x = self.x(0)?;
                let wanted = shape::dims(&self.host_i64s(1)?.unwrap_or_default())?;
                let target = shape::broadcast(&x.shape, &wanted)?;
                only(self.kit().expanded(&x, &target)?)
            }
            "Tile" => self.tile(),
            "Slice" => self.slice(),
            "Split" => self.split(),
            "Concat" => {
                let parts: Result<Vec<_>, _> =
                    (0..self.node.inputs.len()).map(|at| self.x(at)).collect();
                let parts = parts?;
                let axis = self.axis(0, parts[0].rank())?;
                only(self.kit().concatenated(&parts.iter().collect::<Vec<_>>(), axis)?)
            }
            "Pad" => self.pad(),
            "DepthToSpace" => self.depth_to_space(),
            "SpaceToDepth" => self.space_to_depth(),
            "Trilu" => {
                let diagonal = self.host_i64s(1)?.and_then(|list| list.first().copied());
                let is_upper = self.ctx.flag("upper", true)?;
                let x = self.x(0)?;
                only(self.kit().triangle(&x, diagonal.unwrap_or(0), is_upper)?)
            }
            "EyeLike" | "ConstantOfShape" | "Range" => self.made_on_host(),
            _ => Ok(None),
        }
    }

    /// What depends on shapes or on single numbers only.
    fn made_on_host(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let operands = (0..self.node.inputs.len()).map(|at| {
            let tensor = match self.node.op.name {
                "EyeLike" => {
                    let (dtype, shape) = self.outline(at)?;
                    Tensor::zeros(&shape, dtype)?
                }
                _ => self.host(at)?,
            };
            Ok(Some(tensor.into()))
        });
        let operands = operands.collect::<Result<_, Failure>>()?;
        let values = raddle_tensor::evaluate(self.node, operands)?.into_iter();
        Ok(Some(values.filter_map(|it| it.into_tensor().map(Made::Host)).collect()))
    }

    fn shape(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let (_, shape) = self.outline(0)?;
        let rank = shape.len() as i64;
        let place = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize;
        let start = place(self.ctx.int("start", 0)?);
        let end = place(self.ctx.int("end", rank)?).max(start);
        let list = shape[start..end].iter().map(|&dim| dim as i64).collect();
        Ok(Some(vec![Made::Host(Tensor::vector::<i64>(list))]))
    }

    fn reshape(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let x = self.x(0)?;
        let wanted = self.list("shape", 1)?.unwrap_or_default();
        let keeps_zeros = self.ctx.flag("allowzero", false)?;
        let mut shape = Vec::new();
        for (at, &dim) in wanted.iter().enumerate() {
            shape.push(match dim {
                0 if !keeps_zeros => *x
                    .shape
                    .get(at)
                    .ok_or_else(|| Failure::why(format!("it has no dimension {at} to keep")))?,
                -1 => 1,
                _ => usize::try_from(dim).map_err(|_| Failure::why("a length is negative"))?,
            });
        }
        if let Some(open) = wanted.iter().position(|&dim| dim == -1) {
            let known: usize = shape.iter().product();
            shape[open] = x.len().checked_div(known).unwrap_or(0);
        }
        only(x.reshaped(&shape)?)
    }

    fn squeeze(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let x = self.x(0)?;
        let dropped = match self.list("axes", 1)? {
            Some(list) => shape::axes(&list, x.rank())?,
            None => (0..x.rank()).filter(|&axis| x.shape[axis] == 1).collect(),
        };
        let kept = (0..x.rank()).filter(|axis| !dropped.contains(axis));
        let shape: Vec<_> = kept.map(|axis| x.shape[axis]).collect();
        only(x.reshaped(&shape)?)
    }

    fn unsqueeze(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let x = self.x(0)?;
        let list = self.list("axes", 1)?.unwrap_or_default();
        let rank = x.rank() + list.len();
        let added = shape::axes(&list, rank)?;
        let mut own = x.shape.iter();
        let dim = |axis| if added.contains(&axis) { Some(1) } else { own.next().copied() };
        let shape: Vec<_> = (0..rank).filter_map(dim).collect();
        only(x.reshaped(&shape)?)
    }

    fn tile(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let x = self.x(0)?;
        let repeats = shape::dims(&self.host_i64s(1)?.unwrap_or_default())?;
        if repeats.len() != x.rank() {
            return Err(Failure::why(format!("it repeats {repeats:?}, rank {}", x.rank())));
        }
        let (mut spread, mut all, mut target) = (Vec::new(), Vec::new(), Vec::new());
        for (&dim, &repeat) in x.shape.iter().zip(&repeats) {
            spread.extend([1, dim]);
            all.extend([repeat, dim]);
            target.push(repeat * dim);
        }
        let spread = x.reshaped(&spread)?;
        only(self.kit().expanded(&spread, &all)?.reshaped(&target)?)
    }

    fn slice(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let x = self.x(0)?;
        let starts = self.list("starts", 1)?.unwrap_or_default();
        let ends = self.list("ends", 2)?.unwrap_or_default();
        let axes = match self.list("axes", 3)? {
            Some(list) => shape::axes(&list, x.rank())?,
            None => (0..starts.len()).collect(),
        };
        let steps = self.host_i64s(4)?.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()].iter().any(|&len| len != starts.len()) {
            return Err(Failure::why("its lists have different lengths"));
        }
        let (mut shape, mut strides, mut offset) = (x.shape.clone(), x.strides(), 0);
        for (at, &axis) in axes.iter().enumerate() {
            let (len, step) = (x.shape[axis] as i64, steps[at]);
            let place = |at: i64| if at < 0 { at.saturating_add(len) } else { at };
            let (start, count) = match step {
                0 => return Err(Failure::why("a step is zero")),
                1.. => {
                    let start = place(starts[at]).clamp(0, len);
                    let end = place(ends[at]).clamp(0, len);
                    (start, (end - start + step - 1).max(0) / step)
                }
                _ => {
                    let start = place(starts[at]).clamp(-1, len - 1);
                    let end = place(ends[at]).clamp(-1, len - 1);
                    (start, ((start - end) - step - 1).max(0) / -step)
                }
            };
            shape[axis] = count as usize;
            offset += start * strides[axis];
            strides[axis] *= step;
        }
        only(self.kit().moved(&x, &shape, offset, strides)?)
    }

    fn split(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let x = self.x(0)?;
        let axis = self.axis(0, x.rank())?;
        let (len, count) = (x.shape[axis], self.node.outputs.len());
        let lens = match self.list("split", 1)? {
            Some(list) => shape::dims(&list)?,
            None => {
                let each = len.div_ceil(count);
                (0..count).map(|at| each.min(len.saturating_sub(at * each))).collect()
            }
        };
        if lens.iter().sum::<usize>() != len {
            return Err(Failure::why(format!("cannot split {len} into {lens:?}")));
        }
        let mut start = 0;
        let mut parts = Vec::new();
        for len in lens {
            parts.push(self.kit().part(&x, axis, start, len)?.into());
            start += len;
        }
        Ok(Some(parts))
    }

    fn pad(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let mut x = self.x(0)?;
        let list = self.list("pads", 1)?.unwrap_or_default();
        let axes = match self.host_i64s(3)? {
            Some(list) => shape::axes(&list, x.rank())?,
            None => (0..x.rank()).collect(),
        };
        if list.len() != 2 * axes.len() {
            return Err(Failure::why(format!("{} axes have {} pads", axes.len(), list.len())));
        }
        let mode = self.ctx.text("mode", "constant")?.to_owned();
        if mode == "constant" {
            let fill = match self.node.attribute("value") {
                Some(_) => {
                    let value = self.ctx.float("value", 0.0)?.into();
                    Some(self.kit().number(value, x.dtype)?)
                }
                None => self.maybe(2)?,
            };
            let (mut shape, mut begins) = (x.shape.clone(), vec![0; x.rank()]);
            for (at, &axis) in axes.iter().enumerate() {
                let len = x.shape[axis] as i64 + list[at] + list[axes.len() + at];
                shape[axis] =
                    usize::try_from(len).map_err(|_| Failure::why("a length is negative"))?;
                begins[axis] = list[at];
            }
            let of = (&shape[..], x.dtype);
            return only(self.kit().assembled(of, fill.as_ref(), &[(&x, begins)])?);
        }
        for (at, &axis) in axes.iter().enumerate() {
            let len = x.shape[axis] as i64;
            let (begin, end) = (list[at], list[axes.len() + at]);
            let from = |at: i64| match &mode[..] {
                "edge" => at.clamp(0, len - 1),
                "wrap" => at.rem_euclid(len),
                _ if len == 1 => 0,
                _ => {
                    let period = 2 * (len - 1);
                    let at = at.rem_euclid(period);
                    at.min(period - at)
                }
            };
            if begin == 0 && end == 0 || len == 0 {
                continue;
            }
            let places: Vec<i64> = (-begin..len + end).map(from).collect();
            let places = self.kit().upload(&Tensor::vector(places))?;
            x = self.kit().taken(&x, axis, &places)?;
        }
        only(x)
    }

    fn depth_to_space(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let x = self.x(0)?;
        let block = self.ctx.int("blocksize", 1)? as usize;
        let &[n, c, h, w] = &x.shape[..] else { return Err(Failure::why("its rank is not 4")) };
        let depth = c / (block * block);
        let is_crd = self.ctx.text("mode", "DCR")? == "CRD";
        let (spread, order) = match is_crd {
            true => ([n, depth, block, block, h, w], [0, 1, 4, 2, 5, 3]),
            false => ([n, block, block, depth, h, w], [0, 3, 4, 1, 5, 2]),
        };
        let moved = self.permuted(&x, &spread, &order)?;
        only(moved.reshaped(&[n, depth, h * block, w * block])?)
    }

    fn space_to_depth(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let x = self.x(0)?;
        let block = self.ctx.int("blocksize", 1)? as usize;
        let &[n, c, h, w] = &x.shape[..] else { return Err(Failure::why("its rank is not 4")) };
        let spread = [n, c, h / block, block, w / block, block];
        let moved = self.permuted(&x, &spread, &[0, 3, 5, 1, 2, 4])?;
        only(moved.reshaped(&[n, c * block * block, h / block, w / block])?)
    }

    fn permuted(&mut self, x: &Dense, spread: &[usize], order: &[usize]) -> Result<Dense, Failure> {
        let spread = x.reshaped(spread)?;
        self.kit().transposed(&spread, order)
    }
}
