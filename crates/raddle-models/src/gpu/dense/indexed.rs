//! Operations that choose elements by indices or by order.

use raddle_kernels::dense::{Class, Function, RANK_MAX, Scan, Scatter, Update, View};
use raddle_tensor::{DType, Tensor, shape};

use super::call::{Call, only};
use super::products::indexing;
use super::sums::numbers;
use super::value::Dense;
use super::{Failure, Made};

impl Call<'_, '_> {
    pub fn indexed(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        match self.node.op.name {
            "Gather" => {
                let (x, indices) = (self.x(0)?, self.x(1)?);
                let axis = self.axis(0, x.rank())?;
                if let Some(at) = self.known_index(&indices, x.shape[axis]) {
                    let part = self.kit().part(&x, axis, at, 1)?;
                    let shape = [&x.shape[..axis], &indices.shape, &x.shape[axis + 1..]].concat();
                    return only(part.reshaped(&shape)?);
                }
                only(self.kit().taken(&x, axis, &indices)?)
            }
            "GatherElements" => {
                let (x, indices) = (self.x(0)?, self.x(1)?);
                let axis = self.axis(0, x.rank())?;
                only(self.kit().taken_along(&x, axis, &indices)?)
            }
            "GatherND" => self.gather_tuples(),
            "ScatterElements" | "Scatter" => self.scatter_elements(),
            "ScatterND" => self.scatter_tuples(),
            "OneHot" => self.one_hot(),
            "TopK" => self.top(),
            "CumSum" | "CumProd" => self.running(),
            _ => Ok(None),
        }
    }

    /// The one index of a node with known indices, if there is one and it is an element's.
    fn known_index(&self, indices: &Dense, len: usize) -> Option<usize> {
        if indices.len() != 1 {
            return None;
        }
        let &index = self.host(1).ok()?.to_i64s().ok()?.first()?;
        let index = if index < 0 { index + len as i64 } else { index };
        usize::try_from(index).ok().filter(|&index| index < len)
    }

    fn gather_tuples(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let (x, indices) = (self.x(0)?, self.x(1)?);
        let batch = self.ctx.int("batch_dims", 0)? as usize;
        let rank = indices.rank();
        if rank == 0 || batch >= rank || batch + indices.shape[rank - 1] > x.rank() {
            return Err(Failure::why("its indices do not fit"));
        }
        let depth = indices.shape[rank - 1];
        let (own, tuples) = (x.strides(), indices.strides());
        let mut shape = indices.shape[..rank - 1].to_vec();
        shape.extend(&x.shape[batch + depth..]);
        let mut strides = own[..batch].to_vec();
        strides.extend(vec![0; rank - 1 - batch]);
        strides.extend(&own[batch + depth..]);
        let mut along = tuples[..rank - 1].to_vec();
        along.extend(vec![0; x.rank() - batch - depth]);
        let counted: Vec<_> =
            (batch..batch + depth).map(|axis| (x.shape[axis], own[axis])).collect();
        only(self.kit().gathered(&shape, (&x, &strides), (&indices, &along, 1), &counted)?)
    }

    fn update(&self) -> Result<Update, Failure> {
        let is_known = self.node.op.name != "Scatter";
        let name = if is_known { self.ctx.text("reduction", "none")? } else { "none" };
        Ok(match name {
            "none" => Update::Set,
            "add" => Update::Add,
            "mul" => Update::Mul,
            "max" => Update::Max,
            "min" => Update::Min,
            other => return Err(Failure::why(format!("the reduction {other} is unknown"))),
        })
    }

    fn scatter_elements(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let (x, indices, updates) = (self.x(0)?, self.x(1)?, self.x(2)?);
        let axis = self.axis(0, x.rank())?;
        if indices.rank() != x.rank() || updates.shape != indices.shape {
            return Err(Failure::why("its indices do not fit"));
        }
        let first = RANK_MAX - x.rank();
        let mut strides = indices.strides();
        let step = strides[axis] as i32;
        strides[axis] = 0;
        let mut limits = [1; RANK_MAX];
        for (at, limit) in limits[first..].iter_mut().enumerate() {
            *limit = if at == axis { x.shape[at] } else { indices.shape[at] } as i32;
        }
        let mut axes = [0; RANK_MAX];
        axes[0] = (first + axis) as u32;
        let scatter = Scatter {
            indexing: indexing(&indices, &strides, 0, &[(x.shape[axis], 0)])?,
            updates: View::new(updates.scalar(), 0, &strides),
            limits,
            count: indices.shape[axis] as u32,
            index_step: step,
            update_step: step,
            axes,
            update: 0,
            is_unsigned: 0,
        };
        let update = self.update()?;
        only(self.kit().scattered([&x, &indices, &updates], update, scatter)?)
    }

    fn scatter_tuples(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let (x, indices, updates) = (self.x(0)?, self.x(1)?, self.x(2)?);
        let depth = indices.shape.last().copied().unwrap_or(0);
        if depth == 0 || depth > x.rank() {
            return Err(Failure::why("its indices do not fit"));
        }
        let first = RANK_MAX - x.rank();
        let mut strides = shape::strides(&x.shape).iter().map(|&n| n as i64).collect::<Vec<_>>();
        strides[..depth].fill(0);
        let mut limits = [1; RANK_MAX];
        limits[first..].iter_mut().zip(&x.shape).for_each(|(own, &dim)| *own = dim as i32);
        let mut axes = [0; RANK_MAX];
        (0..depth).for_each(|k| axes[k] = (first + k) as u32);
        let counted: Vec<_> = x.shape[..depth].iter().map(|&len| (len, 0)).collect();
        let scatter = Scatter {
            indexing: indexing(&indices, &vec![0; x.rank()], 1, &counted)?,
            updates: View::new(updates.scalar(), 0, &strides),
            limits,
            count: (indices.len() / depth) as u32,
            index_step: depth as i32,
            update_step: x.shape[depth..].iter().product::<usize>() as i32,
            axes,
            update: 0,
            is_unsigned: 0,
        };
        let update = self.update()?;
        only(self.kit().scattered([&x, &indices, &updates], update, scatter)?)
    }

    /// The numbers 0, 1, .. along one of `rank` axes.
    pub fn counted(
        &mut self,
        len: usize,
        axis: usize,
        rank: usize,
        dtype: DType,
    ) -> Result<Dense, Failure> {
        let numbers: Vec<i64> = (0..len as i64).collect();
        let mut shape = vec![1; rank];
        shape[axis] = len;
        self.kit().upload(&Tensor::computed(&shape, dtype, numbers)?)
    }

    fn one_hot(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let depth = numbers(&self.host(1)?)?.first().copied().unwrap_or(0.0) as usize;
        let (indices, values) = (self.x(0)?, self.x(2)?);
        let indices = self.kit().cast(&indices, DType::I64)?;
        let axis = self.axis(-1, indices.rank() + 1)?;
        let mut shape = indices.shape.clone();
        shape.insert(axis, 1);
        // Indices may count from the end; those out of range name nothing.
        let low = self.with(Function::Add, &indices, depth as f64)?;
        let zero = self.kit().number(0.0, DType::I64)?;
        let is_low = self.kit().map(Function::Less, &[&indices, &zero], DType::Bool)?;
        let places = self.kit().map_in(
            Class::I64,
            Function::Where,
            &[&is_low, &low, &indices],
            DType::I64,
        )?;
        let numbers = self.counted(depth, axis, shape.len(), DType::I64)?;
        let places = places.reshaped(&shape)?;
        let is_hot = self.kit().map(Function::Equal, &[&places, &numbers], DType::Bool)?;
        let off = self.kit().part(&values, 0, 0, 1)?;
        let on = self.kit().part(&values, 0, 1, 1)?;
        only(self.kit().map_in(Class::I64, Function::Where, &[&is_hot, &on, &off], values.dtype)?)
    }

    fn top(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let count = match self.node.attribute("k") {
            Some(_) => self.ctx.int("k", 1)?,
            None => self.host_i64s(1)?.and_then(|list| list.first().copied()).unwrap_or(1),
        };
        let x = self.x(0)?;
        let axis = self.axis(-1, x.rank())?;
        let count = usize::try_from(count).ok().filter(|&count| count <= x.shape[axis]);
        let count = count.ok_or_else(|| Failure::why("there are fewer elements than wanted"))?;
        let is_largest = self.ctx.flag("largest", true)?;
        let places = self.kit().ordered(&x, axis, count, is_largest)?;
        let values = self.kit().taken_along(&x, axis, &places)?;
        Ok(Some(vec![values.into(), places.into()]))
    }

    fn running(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let list = self.host_i64s(1)?.unwrap_or_default();
        let x = self.x(0)?;
        let axis = shape::axis(list.first().copied().unwrap_or(0), x.rank())?;
        let scan = Scan {
            len: 0,
            stride: 0,
            scalar: 0,
            is_product: u32::from(self.node.op.name == "CumProd"),
            is_exclusive: u32::from(self.ctx.flag("exclusive", false)?),
            is_reverse: u32::from(self.ctx.flag("reverse", false)?),
        };
        only(self.kit().scanned(&x, axis, scan)?)
    }
}
