//! What language models do to queries, keys and caches beside attention:
//! rotary positions, caches written in place, root-mean-square normalisation.

use super::attention::count_attribute;
use super::elementwise::unsupported;
use super::real::Real;
use crate::DTypeRule::Like;
use crate::Kind::{Float, Int, String as Text};
use crate::movement::expand;
use crate::{
    Class, DType, Element, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op,
    parallel, shape, with_data,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("RotaryEmbedding", 23..=LATEST)
        .inputs(3, 4)
        .attributes(&[("interleaved", Int), ("num_heads", Int), ("rotary_embedding_dim", Int)])
        .result(Like(0), ShapeRule::Like(0))
        .run(rotary),
    op("TensorScatter", 24..=LATEST)
        .inputs(2, 3)
        .attributes(&[("axis", Int), ("mode", Text)])
        .result(Like(0), ShapeRule::Like(0))
        .run(tensor_scatter),
    op("RMSNormalization", 23..=LATEST)
        .inputs(2, 2)
        .attributes(&[("axis", Int), ("epsilon", Float), ("stash_type", Int)])
        .result(Like(1), ShapeRule::Like(0))
        .run(rms_normalization),
];

/// Where the angle of each vector is found.
struct Rotation {
    heads: usize,
    /// Vectors of one head; 1 if heads lie within a position.
    len: usize,
    /// Positions of one batch entry.
    positions: usize,
    /// Whether the vectors of a position, not of a head, lie together.
    is_packed: bool,
    /// Elements that are turned, at the front of each vector.
    turned: usize,
    is_interleaved: bool,
}

fn rotary(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    for index in [1, 2] {
        let dtype = ctx.tensor(index)?.dtype();
        if dtype != x.dtype() {
            return Err(unsupported(index, dtype, x.dtype().name()));
        }
    }
    one(match x.dtype().class() {
        Class::F32 => rotate::<f32>(ctx, x),
        Class::F64 => rotate::<f64>(ctx, x),
        _ => Err(unsupported(0, x.dtype(), "a float")),
    })
}

/// Turns pairs of elements of every vector by the angles of its position.
/// `x: [batch, heads, length, size]` or `[batch, length, heads * size]`.
fn rotate<T: Real>(ctx: &OpContext<'_>, x: &Tensor) -> Result<Tensor> {
    let (batch, heads, positions, size) = match *x.shape() {
        [batch, heads, len, size] => (batch, heads, len, size),
        [batch, len, width] => {
            let heads = count_attribute(ctx, "num_heads")?;
            if !width.is_multiple_of(heads) {
                let why = format!("is {heads}, which does not divide {width} of input 0");
                return Err(ctx.bad_attribute("num_heads", why));
            }
            (batch, heads, len, width / heads)
        }
        _ => {
            return Err(Error::invalid(format!(
                "input 0 must have 3 or 4 dimensions, found shape {:?}",
                x.shape()
            )));
        }
    };
    let turned = match ctx.int("rotary_embedding_dim", 0)? {
        0 => size,
        turned => usize::try_from(turned).unwrap_or(usize::MAX),
    };
    if turned > size || !turned.is_multiple_of(2) {
        let why = format!("must be even and at most the head size {size}");
        return Err(ctx.bad_attribute("rotary_embedding_dim", why));
    }
    let rows = cache_rows(ctx, batch * positions, [batch, positions, turned / 2])?;
    let (cos, sin) = (T::widen(ctx.tensor(1)?)?, T::widen(ctx.tensor(2)?)?);
    let is_packed = x.rank() == 3;
    let is_interleaved = ctx.flag("interleaved", false)?;
    let rotation = Rotation { heads, len: positions, positions, is_packed, turned, is_interleaved };
    let mut out = T::widen(x)?.into_owned();
    let half = turned / 2;
    parallel::whole_rows(&mut out, size, &|at, vector| {
        let row = rows.get(rotation.position(at));
        rotation.turn(vector, &cos[row * half..(row + 1) * half], &sin[row * half..]);
    });
    Tensor::computed(x.shape(), x.dtype(), out)
}

impl Rotation {
    /// Position, counted through the batch, of vector `at`.
    fn position(&self, at: usize) -> usize {
        if self.is_packed {
            return at / self.heads;
        }
        at / (self.heads * self.len) * self.positions + at % self.len
    }

    fn turn<T: Real>(&self, vector: &mut [T], cos: &[T], sin: &[T]) {
        let half = self.turned / 2;
        for pair in 0..half {
            let [real, imaginary] =
                if self.is_interleaved { [2 * pair, 2 * pair + 1] } else { [pair, half + pair] };
            let (x, y) = (vector[real], vector[imaginary]);
            vector[real] = cos[pair] * x - sin[pair] * y;
            vector[imaginary] = sin[pair] * x + cos[pair] * y;
        }
    }
}

/// Which row of the caches belongs to each position.
enum CacheRows {
    /// The position's own.
    Own,
    Listed(Vec<usize>),
}

impl CacheRows {
    fn get(&self, position: usize) -> usize {
        match self {
            Self::Own => position,
            Self::Listed(rows) => rows[position],
        }
    }
}

/// Caches are `[batch, length, half]`, or `[rows, half]` with positions that name rows.
fn cache_rows(ctx: &OpContext<'_>, count: usize, own: [usize; 3]) -> Result<CacheRows> {
    let (cos, sin) = (ctx.tensor(1)?.shape(), ctx.tensor(2)?.shape());
    let unfit = |why| Error::ShapeMismatch { left: cos.to_vec(), right: sin.to_vec(), why };
    let Some(ids) = ctx.optional_tensor(3)? else {
        return match cos == own && sin == own {
            true => Ok(CacheRows::Own),
            false => Err(unfit("both caches must be [batch, length, turned elements / 2]")),
        };
    };
    if cos.len() != 2 || cos != sin || cos[1] != own[2] {
        return Err(unfit("both caches must be [positions, turned elements / 2]"));
    }
    if ids.shape() != &own[..2] || ids.len() != count {
        return Err(Error::ShapeMismatch {
            left: own[..2].to_vec(),
            right: ids.shape().to_vec(),
            why: "there must be one position for each vector of a head",
        });
    }
    let row = |&id: &i64| {
        usize::try_from(id)
            .ok()
            .filter(|&row| row < cos[0])
            .ok_or(Error::Index { index: id, len: cos[0] })
    };
    ids.to_i64s()?.iter().map(row).collect::<Result<_>>().map(CacheRows::Listed)
}

/// Writes new entries into a cache, each batch entry's at a place of its own.
fn tensor_scatter(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let mut cache = ctx.take_tensor(0)?;
    let update = ctx.tensor(1)?;
    if update.dtype() != cache.dtype() {
        return Err(unsupported(1, update.dtype(), cache.dtype().name()));
    }
    let is_circular = match ctx.text("mode", "linear")? {
        "linear" => false,
        "circular" => true,
        other => return Err(ctx.bad_attribute("mode", format!("is unknown: {other:?}"))),
    };
    let axis = ctx.axis("axis", -2, cache.rank())?;
    if axis == 0 {
        return Err(ctx.bad_attribute("axis", "must not be that of the batch"));
    }
    let (len, batch) = (cache.shape()[axis], cache.shape()[0]);
    let mut fits = update.rank() == cache.rank();
    for (at, (own, new)) in cache.shape().iter().zip(update.shape()).enumerate() {
        fits &= if at == axis { new <= own } else { new == own };
    }
    if !fits {
        return Err(Error::ShapeMismatch {
            left: cache.shape().to_vec(),
            right: update.shape().to_vec(),
            why: "an update must be like the cache, and at most as long along the axis",
        });
    }
    let new_len = update.shape()[axis];
    let starts = ctx.optional_i64s(2)?.unwrap_or_else(|| vec![0; batch]);
    if starts.len() != batch {
        return Err(Error::invalid(format!(
            "input 2 must have one index for each of {batch} batch entries, found {}",
            starts.len()
        )));
    }
    let start = |&start: &i64| match usize::try_from(start) {
        Ok(start) if is_circular && len > 0 => Ok(start % len),
        Ok(start) if start.checked_add(new_len).is_some_and(|end| end <= len) => Ok(start),
        _ => Err(Error::Index { index: start, len }),
    };
    let starts = starts.iter().map(start).collect::<Result<Vec<_>>>()?;
    let run_len: usize = cache.shape()[axis + 1..].iter().product();
    let per_batch: usize = cache.shape()[1..axis].iter().product();
    let at = Place { starts: &starts, per_batch, len, new_len, run_len };
    with_data!(update.data(), elements => write(elements, &mut cache, &at))?;
    Ok(vec![cache.into()])
}

/// Where an update goes: `new_len` runs into each line of `len` runs.
struct Place<'a> {
    /// First run of each batch entry.
    starts: &'a [usize],
    /// Lines of each batch entry.
    per_batch: usize,
    len: usize,
    new_len: usize,
    run_len: usize,
}

fn write<T: Element>(update: &[T], cache: &mut Tensor, at: &Place<'_>) -> Result<()> {
    let cache = cache.elements_mut::<T>()?;
    if update.is_empty() {
        return Ok(());
    }
    let line_len = at.len * at.run_len;
    for (line, new) in update.chunks(at.new_len * at.run_len).enumerate() {
        let line_start = line * line_len;
        let line_elements = &mut cache[line_start..line_start + line_len];
        let start = at.starts[line / at.per_batch] * at.run_len;
        // The part behind the end of a circular cache goes to its front.
        let (fits, wraps) = new.split_at(new.len().min(line_len - start));
        line_elements[start..start + fits.len()].clone_from_slice(fits);
        line_elements[..wraps.len()].clone_from_slice(wraps);
    }
    Ok(())
}

fn rms_normalization(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (x, scale) = (ctx.tensor(0)?, ctx.tensor(1)?);
    for (index, dtype) in [(0, x.dtype()), (1, scale.dtype())] {
        if !dtype.is_float() {
            return Err(unsupported(index, dtype, "a float"));
        }
    }
    let stash = ctx.dtype_attribute("stash_type")?.unwrap_or(DType::F32);
    if !stash.is_float() {
        return Err(ctx.bad_attribute("stash_type", format!("names {stash}, no float")));
    }
    one(if [x.dtype(), scale.dtype(), stash].contains(&DType::F64) {
        normalise::<f64>(ctx, x, scale)
    } else {
        normalise::<f32>(ctx, x, scale)
    })
}

/// `scale x / sqrt(mean(x^2) + epsilon)` over the dimensions from the axis on.
fn normalise<T: Real>(ctx: &OpContext<'_>, x: &Tensor, scale: &Tensor) -> Result<Tensor> {
    let axis = ctx.axis("axis", -1, x.rank())?;
    let inner = &x.shape()[axis..];
    if shape::broadcast(scale.shape(), inner).ok().as_deref() != Some(inner) {
        return Err(Error::ShapeMismatch {
            left: inner.to_vec(),
            right: scale.shape().to_vec(),
            why: "the scale must broadcast to the normalised dimensions",
        });
    }
    let spread = expand(scale, inner)?;
    let factors = T::widen(&spread)?;
    let epsilon = f64::from(ctx.float("epsilon", 1e-5)?);
    let row_len: usize = inner.iter().product();
    let mut y = T::widen(x)?.into_owned();
    parallel::whole_rows(&mut y, row_len, &|_, row| {
        let sum: f64 = row.iter().map(|x| x.wide() * x.wide()).sum();
        let inverse = T::of((sum / row_len as f64 + epsilon).sqrt().recip());
        for (x, &factor) in row.iter_mut().zip(factors.iter()) {
            *x = *x * inverse * factor;
        }
    });
    Tensor::computed(x.shape(), scale.dtype(), y)
}
