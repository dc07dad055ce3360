//! Reductions, products, windows and indexing of dense values.

use raddle::Slice;
use raddle_kernels::dense::generated::Expression;
use raddle_kernels::dense::{
    self, Channels, Class, Dims, Finish, Indexing, Order, Pool, Product, Reduce, Reduction,
    SPACE_MAX, Scan, Scatter, Sliding, Update, View,
};
use raddle_tensor::{DType, shape};

use super::Failure;
use super::value::{Dense, Kit, Strided, scalar, sum_class};

impl Kit<'_> {
    /// Reduces over axes; the result has length 1 along them. A thread makes an element,
    /// so where there are few of many terms, parts of them are reduced first.
    pub fn reduced(
        &mut self,
        x: &Dense,
        axes: &[usize],
        reduction: Reduction,
        dtype: DType,
    ) -> Result<Dense, Failure> {
        if let Some(grid) = rows_of(x, axes, reduction) {
            let is_unsigned = !matches!(x.dtype, DType::I8 | DType::I16 | DType::I32 | DType::I64);
            let mut shape = x.shape.clone();
            axes.iter().for_each(|&axis| shape[axis] = 1);
            return self.lazy_reduction(x, grid, (reduction, is_unsigned), (shape, dtype));
        }
        let Some(cut) = Cut::of(x, axes, reduction) else {
            return self.reduced_at_once(x, axes, reduction, dtype);
        };
        let whole = [cut.outer, cut.terms / cut.parts, cut.parts, cut.inner];
        let mut parts = self.reduced_at_once(&x.reshaped(&whole)?, &[1], cut.first, cut.between)?;
        parts.shape.remove(1);
        let mut out = self.reduced_at_once(&parts, &[1], cut.second, dtype)?;
        out.shape = x.shape.clone();
        axes.iter().for_each(|&axis| out.shape[axis] = 1);
        Ok(out)
    }

    fn reduced_at_once(
        &mut self,
        x: &Dense,
        axes: &[usize],
        reduction: Reduction,
        dtype: DType,
    ) -> Result<Dense, Failure> {
        let own = x.strides();
        let (mut shape, mut kept) = (x.shape.clone(), own.clone());
        let (mut dims, mut inner) = (Vec::new(), Vec::new());
        for &axis in axes {
            dims.push(x.shape[axis]);
            inner.push(own[axis]);
            shape[axis] = 1;
            kept[axis] = 0;
        }
        let from = x.scalar();
        let reduce = Reduce {
            reduced: Dims::new(&dims)?,
            kept: View::new(from, 0, &kept),
            inner: View::new(from, 0, &inner),
            reduction: reduction.code(),
            is_unsigned: u32::from(!matches!(
                x.dtype,
                DType::I8 | DType::I16 | DType::I32 | DType::I64
            )),
            scalar: 0,
        };
        let to = scalar(dtype).ok_or_else(|| Failure::why(format!("{dtype} has no kernel")))?;
        let of = (to, Dims::new(&shape)?);
        let input = self.words(x)?;
        let out = dense::reduce(self.stream, sum_class(x.dtype), of, reduce, input.as_slice())?;
        Ok(self.launched(shape, dtype, out))
    }

    /// A product of matrices whose strides may be swapped by the caller: `left` is
    /// `[batch.., m, k]` and `right` `[batch.., k, n]` by their strides.
    pub fn product(
        &mut self,
        [left, right]: [&Strided<'_>; 2],
        [left_shape, right_shape]: [&[usize]; 2],
        class: Class,
        dtype: DType,
    ) -> Result<Dense, Failure> {
        let (a, b) = (left_shape.len(), right_shape.len());
        let depth = left_shape[a - 1];
        if right_shape[b - 2] != depth {
            let why = format!("cannot multiply {left_shape:?} and {right_shape:?}");
            return Err(Failure::why(why));
        }
        if let Some(made) = self.half_product([left, right], [left_shape, right_shape], dtype)? {
            return Ok(made);
        }
        let (shape, product) = multiplied([left, right], [left_shape, right_shape])?;
        let to = scalar(dtype).ok_or_else(|| Failure::why(format!("{dtype} has no kernel")))?;
        let operands = [self.words(left.dense)?, self.words(right.dense)?];
        let operands = operands.each_ref().map(|words| words.as_slice());
        let of = (to, Dims::new(&shape)?);
        let (out, launches) =
            dense::product(self.stream, class, of, product, self.arithmetic, operands)?;
        self.launches += launches - 1;
        Ok(self.launched(shape, dtype, out))
    }

    /// A product of `f32` with bounds and a bias behind it, where one launch has them all.
    pub fn product_finished(
        &mut self,
        [left, right]: [&Strided<'_>; 2],
        shapes: [&[usize]; 2],
        (bounds, bias): ([f32; 2], Option<Slice<'_, u64>>),
    ) -> Result<Option<Dense>, Failure> {
        let (shape, product) = multiplied([left, right], shapes)?;
        let finish = Finish { bounds, ..Finish::plain(self.arithmetic) };
        let operands = [self.words(left.dense)?, self.words(right.dense)?];
        let operands = operands.each_ref().map(|words| words.as_slice());
        let dims = Dims::new(&shape)?;
        let of = (finish, bias);
        let made = dense::product_finished(self.stream, dims, &product, of, operands)?;
        Ok(made.map(|(out, launches)| {
            self.launches += launches - 1;
            self.launched(shape, DType::F32, out)
        }))
    }

    /// `x * y` as numpy's `matmul` has it.
    pub fn matmul(&mut self, x: &Dense, y: &Dense, dtype: DType) -> Result<Dense, Failure> {
        if x.rank() == 0 || y.rank() == 0 {
            return Err(Failure::why("an operand is a number"));
        }
        let (mut left, mut right) = (x.clone(), y.clone());
        if x.rank() == 1 {
            left.shape.insert(0, 1);
        }
        if y.rank() == 1 {
            right.shape.push(1);
        }
        let seen = [&left, &right]
            .map(|it| seen_matrices(it).unwrap_or_else(|| (it.clone(), 0, it.strides())));
        let [a, b] = seen.each_ref().map(|(dense, offset, strides)| Strided {
            dense,
            offset: *offset,
            strides: strides.clone(),
        });
        let class = x.class();
        let mut out = self.product([&a, &b], [&left.shape, &right.shape], class, dtype)?;
        if y.rank() == 1 {
            out.shape.pop();
        }
        if x.rank() == 1 {
            let at = out.shape.len() - usize::from(y.rank() != 1) - 1;
            out.shape.remove(at);
        }
        Ok(out)
    }

    pub fn scanned(&mut self, x: &Dense, axis: usize, scan: Scan) -> Result<Dense, Failure> {
        let stride = x.strides()[axis] as u32;
        let scan = Scan { len: x.shape[axis] as u32, stride, ..scan };
        let (class, of) = (sum_class(x.dtype), (x.scalar(), Dims::new(&[x.len()])?.len));
        let input = self.words(x)?;
        let out = dense::scan(self.stream, class, of, scan, input.as_slice())?;
        Ok(self.launched(x.shape.clone(), x.dtype, out))
    }

    /// The places of the first `count` elements along an axis.
    pub fn ordered(
        &mut self,
        x: &Dense,
        axis: usize,
        count: usize,
        is_descending: bool,
    ) -> Result<Dense, Failure> {
        let order = Order {
            len: x.shape[axis] as u32,
            stride: x.strides()[axis] as u32,
            scalar: x.scalar().code(),
            is_descending: u32::from(is_descending),
            is_unsigned: u32::from(x.dtype == DType::U64),
        };
        let of = (Dims::new(&[x.len()])?.len, count as u32);
        let input = self.words(x)?;
        let out = dense::order(self.stream, sum_class(x.dtype), of, order, input.as_slice())?;
        let mut shape = x.shape.clone();
        shape[axis] = count;
        self.launches += 1;
        Ok(self.launched(shape, DType::I64, out))
    }

    /// Elements of `source`, chosen by tuples of indices; strides are along `shape`.
    pub fn gathered(
        &mut self,
        shape: &[usize],
        source: (&Dense, &[i64]),
        indices: (&Dense, &[i64], i64),
        counted: &[(usize, i64)],
    ) -> Result<Dense, Failure> {
        let (x, strides) = source;
        if shape.len() > dense::RANK_MAX {
            return Err(Failure::why(format!("its result has shape {shape:?}")));
        }
        let (tuples, along, step) = indices;
        let indexing = indexing(tuples, along, step, counted)?;
        let of = (x.scalar(), Dims::new(shape)?);
        let view = View::new(x.scalar(), 0, strides);
        let (input, tuples) = (self.words(x)?, self.words(tuples)?);
        let (input, tuples) = (input.as_slice(), tuples.as_slice());
        let out = dense::gather(self.stream, of, view, indexing, input, tuples)?;
        Ok(self.launched(shape.to_vec(), x.dtype, out))
    }

    /// Elements of each row along an axis, at indices `[count]`.
    pub fn taken(&mut self, x: &Dense, axis: usize, indices: &Dense) -> Result<Dense, Failure> {
        let own = x.strides();
        let mut shape = x.shape[..axis].to_vec();
        shape.extend(&indices.shape);
        shape.extend(&x.shape[axis + 1..]);
        let mut strides = own[..axis].to_vec();
        strides.extend(vec![0; indices.rank()]);
        strides.extend(&own[axis + 1..]);
        let mut along = vec![0; axis];
        along.extend(indices.strides());
        along.extend(vec![0; x.rank() - axis - 1]);
        let counted = [(x.shape[axis], own[axis])];
        self.gathered(&shape, (x, &strides), (indices, &along, 0), &counted)
    }

    /// Elements at indices that replace their coordinate along an axis.
    pub fn taken_along(
        &mut self,
        x: &Dense,
        axis: usize,
        indices: &Dense,
    ) -> Result<Dense, Failure> {
        let mut strides = x.strides();
        let counted = [(x.shape[axis], strides[axis])];
        strides[axis] = 0;
        let along = indices.strides();
        self.gathered(&indices.shape, (x, &strides), (indices, &along, 0), &counted)
    }

    /// Updates; see [`Scatter`].
    pub fn scattered(
        &mut self,
        [x, indices, updates]: [&Dense; 3],
        update: Update,
        scatter: Scatter,
    ) -> Result<Dense, Failure> {
        let scatter = Scatter {
            update: update.code(),
            is_unsigned: u32::from(x.dtype == DType::U64),
            ..scatter
        };
        let of = (x.scalar(), Dims::new(&x.shape)?);
        let class = if update == Update::Set { Class::I64 } else { x.class() };
        let operands = [self.words(x)?, self.words(indices)?, self.words(updates)?];
        let operands = operands.each_ref().map(|words| words.as_slice());
        let out = dense::scatter(self.stream, class, of, scatter, operands)?;
        Ok(self.launched(x.shape.clone(), x.dtype, out))
    }

    pub fn triangle(&mut self, x: &Dense, diagonal: i64, is_upper: bool) -> Result<Dense, Failure> {
        let diagonal = diagonal.clamp(i64::from(i32::MIN / 2), i64::from(i32::MAX / 2)) as i32;
        let of = (x.scalar(), Dims::new(&x.shape)?);
        let view = View::new(x.scalar(), 0, &x.strides());
        let input = self.words(x)?;
        let out = dense::triangle(self.stream, of, view, diagonal, is_upper, input.as_slice())?;
        Ok(self.launched(x.shape.clone(), x.dtype, out))
    }

    pub fn pooled(
        &mut self,
        x: &Dense,
        sliding: Sliding,
        pool: Pool,
        (shape, dtype): (Vec<usize>, DType),
    ) -> Result<Dense, Failure> {
        let len = Dims::new(&[shape.iter().product()])?.len;
        let sliding = Sliding { scalar: x.scalar().code(), len, ..sliding };
        let class = sum_class(x.dtype);
        let to = scalar(dtype).ok_or_else(|| Failure::why(format!("{dtype} has no kernel")))?;
        let input = self.words(x)?;
        let out = dense::pool(self.stream, class, to, sliding, pool, input.as_slice())?;
        Ok(self.launched(shape, dtype, out))
    }

    /// A convolution, and whether its launch computed what follows: bounds and a residual.
    pub fn convolved(
        &mut self,
        [x, weights, bias]: [&Dense; 3],
        sliding: Sliding,
        channels: Channels,
        (shape, dtype): (Vec<usize>, DType),
        follow: Option<([f32; 2], Option<&Dense>)>,
    ) -> Result<(Dense, bool), Failure> {
        let len = Dims::new(&[shape.iter().product()])?.len;
        let sliding = Sliding { scalar: x.scalar().code(), len, ..sliding };
        let channels = Channels { weights: weights.scalar().code(), ..channels };
        let operands = [self.words(x)?, self.words(weights)?, self.words(bias)?];
        let operands = operands.each_ref().map(|words| words.as_slice());
        let to = scalar(dtype).ok_or_else(|| Failure::why(format!("{dtype} has no kernel")))?;
        let has_tiles = dense::has_tiles(self.stream, to, sliding, channels);
        let follow = follow.filter(|_| has_tiles);
        let residual_words;
        let mut finish = Finish::plain(self.arithmetic);
        if let Some((bounds, residual)) = follow {
            finish.bounds = bounds;
            residual_words = residual.map(|residual| self.words(residual)).transpose()?;
            finish.residual = residual_words.as_ref().map(|words| words.as_slice());
        }
        let (out, launches) =
            dense::convolve(self.stream, x.class(), to, sliding, channels, finish, operands)?;
        self.launches += launches - 1;
        Ok((self.launched(shape, dtype, out), follow.is_some()))
    }
}

/// A product's shape, and what its kernels are told of the operands.
fn multiplied(
    [left, right]: [&Strided<'_>; 2],
    [left_shape, right_shape]: [&[usize]; 2],
) -> Result<(Vec<usize>, Product), Failure> {
    let (a, b) = (left_shape.len(), right_shape.len());
    let depth = left_shape[a - 1];
    let mut shape = shape::broadcast(&left_shape[..a - 2], &right_shape[..b - 2])?;
    let batch = shape.len();
    shape.extend([left_shape[a - 2], right_shape[b - 1]]);
    let strides = |operand: &Strided<'_>, own: &[usize], [row, column]: [i64; 2]| {
        let mut all = vec![0; batch - (own.len() - 2)];
        let lens = own[..own.len() - 2].iter();
        all.extend(lens.zip(&operand.strides).map(|(&n, &it)| if n == 1 { 0 } else { it }));
        all.extend([row, column]);
        View::new(operand.dense.scalar(), operand.offset, &all)
    };
    let product = Product {
        left: strides(left, left_shape, [left.strides[a - 2], 0]),
        right: strides(right, right_shape, [0, right.strides[b - 1]]),
        left_step: left.strides[a - 1] as i32,
        right_step: right.strides[b - 2] as i32,
        depth: depth as u32,
        scalar: 0,
    };
    Ok((shape, product))
}

/// Several matrices that are only turned or cut out, where they lie: products read them there.
fn seen_matrices(dense: &Dense) -> Option<(Dense, i64, Vec<i64>)> {
    let seen = dense.seen()?;
    let (matrices, last) = dense.shape.split_at(dense.rank().checked_sub(2)?);
    let steps = &seen.2[matrices.len()..];
    let is_fit = matrices.iter().product::<usize>() > 1 && last.iter().all(|&dim| dim > 1);
    (is_fit && steps.contains(&1) && !steps.contains(&0)).then_some(seen)
}

/// Rows and columns of a reduction of rows that a written kernel has a block or a warp for.
fn rows_of(x: &Dense, axes: &[usize], reduction: Reduction) -> Option<[usize; 2]> {
    let begin = x.rank() - axes.len();
    let is_last = (begin..x.rank()).all(|axis| axes.contains(&axis));
    if !is_last || !Expression::has_reduction(reduction) {
        return None;
    }
    let (rows, columns) = x.shape.split_at(begin);
    let (rows, columns): (usize, usize) = (rows.iter().product(), columns.iter().product());
    // Shorter rows leave most of a warp idle, a few long ones most of a device.
    let is_fit = rows > 0 && columns >= 16 && (columns < 1 << 15 || rows >= 64);
    is_fit.then_some([rows, columns])
}

/// A long reduction of floats in two steps: `[outer, terms, inner]` over its middle.
struct Cut {
    outer: usize,
    terms: usize,
    inner: usize,
    /// Reductions of the first step for each element of the result.
    parts: usize,
    first: Reduction,
    second: Reduction,
    /// Type of what lies between the steps.
    between: DType,
}

impl Cut {
    /// Fewest terms of a reduction that is cut.
    const TERMS_MIN: usize = 256;
    /// Elements of a result that keep a device busy.
    const ELEMENTS: usize = 1 << 15;

    fn of(x: &Dense, axes: &[usize], reduction: Reduction) -> Option<Self> {
        let (first, second, between) = match reduction {
            Reduction::Max | Reduction::Min => (reduction, reduction, x.dtype),
            Reduction::Mean => (reduction, reduction, DType::F64),
            Reduction::Sum | Reduction::L1 | Reduction::SumSquare => {
                (reduction, Reduction::Sum, DType::F64)
            }
            _ => return None,
        };
        let (&begin, &end) = (axes.iter().min()?, axes.iter().max()?);
        let is_run = end - begin + 1 == axes.len();
        if !x.dtype.is_float() || !is_run {
            return None;
        }
        let product = |dims: &[usize]| dims.iter().product::<usize>();
        let outer = product(&x.shape[..begin]);
        let terms = product(&x.shape[begin..=end]);
        let inner = product(&x.shape[end + 1..]);
        let elements = outer * inner;
        if elements == 0 || elements >= Self::ELEMENTS || terms < Self::TERMS_MIN {
            return None;
        }
        // Parts of one length, so that a mean is the mean of their means.
        let parts = [256, 128, 64, 32, 16, 7]
            .into_iter()
            .find(|&parts| terms.is_multiple_of(parts) && parts * parts <= 4 * terms)?;
        Some(Self { outer, terms, inner, parts, first, second, between })
    }
}

/// All of a value, as it lies.
pub fn whole(dense: &Dense) -> Strided<'_> {
    Strided { dense, offset: 0, strides: dense.strides() }
}

/// Tuples whose numbers count `counted`: lengths and distances.
pub fn indexing(
    indices: &Dense,
    along: &[i64],
    step: i64,
    counted: &[(usize, i64)],
) -> Result<Indexing, Failure> {
    let (mut lens, mut strides) = ([0; dense::RANK_MAX], [0; dense::RANK_MAX]);
    if counted.len() > lens.len() {
        return Err(Failure::why("its indices have too many numbers"));
    }
    for (at, &(len, stride)) in counted.iter().enumerate() {
        lens[at] = len as i32;
        strides[at] = stride as i32;
    }
    Ok(Indexing {
        indices: View::new(indices.scalar(), 0, along),
        step: step as i32,
        depth: counted.len() as u32,
        lens,
        strides,
    })
}

/// A window as the kernels have it.
pub fn sliding(window: &raddle_tensor::ops::window::Window) -> Result<Sliding, Failure> {
    let rank = window.input.len();
    if rank > SPACE_MAX {
        return Err(Failure::why(format!("it slides over {rank} dimensions")));
    }
    let list = |list: &[usize], default: u32| {
        let mut own = [default; SPACE_MAX];
        own[SPACE_MAX - rank..].iter_mut().zip(list).for_each(|(own, &n)| *own = n as u32);
        own
    };
    Ok(Sliding {
        input: list(&window.input, 1),
        output: list(&window.output, 1),
        window: list(&window.kernel, 1),
        strides: list(&window.strides, 1),
        dilations: list(&window.dilations, 1),
        begins: list(&window.begins, 0).map(|n| n as i32),
        ends: list(&window.ends, 0).map(|n| n as i32),
        scalar: 0,
        scalar_out: 0,
        len: 0,
    })
}
