//! Dense values and what is done with them: each function is one launch, or a few.

use std::sync::Arc;

use raddle::Stream;
use raddle_kernels::dense::generated::Shelf;
use raddle_kernels::dense::{
    self, Arithmetic, Class, Dims, Function, Operation, Region, Scalar, View, Words,
};
use raddle_tensor::{DType, Data, Tensor, shape};

use super::Failure;
use super::lazy::Content;
use crate::gpu::StepReport;

/// A value on the device in row-major order; [`Kit::words`] has its elements.
#[derive(Clone, Debug)]
pub struct Dense {
    pub shape: Vec<usize>,
    pub dtype: DType,
    pub content: Content,
}

impl Dense {
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    pub fn strides(&self) -> Vec<i64> {
        shape::strides(&self.shape).iter().map(|&stride| stride as i64).collect()
    }

    pub fn scalar(&self) -> Scalar {
        scalar(self.dtype).expect("only types with a kernel come onto the device")
    }

    pub fn class(&self) -> Class {
        class(self.dtype)
    }

    /// The same elements in another shape.
    pub fn reshaped(&self, shape: &[usize]) -> Result<Self, Failure> {
        if shape.iter().product::<usize>() != self.len() {
            return Err(Failure::why(format!("cannot shape {:?} as {shape:?}", self.shape)));
        }
        Ok(Self { shape: shape.to_vec(), ..self.clone() })
    }
}

/// The kernels' name of a type, for types that they have.
pub fn scalar(dtype: DType) -> Option<Scalar> {
    Some(match dtype {
        DType::F32 => Scalar::F32,
        DType::F64 => Scalar::F64,
        DType::F16 => Scalar::F16,
        DType::BF16 => Scalar::BF16,
        DType::I8 => Scalar::I8,
        DType::I16 => Scalar::I16,
        DType::I32 => Scalar::I32,
        DType::I64 => Scalar::I64,
        DType::U8 => Scalar::U8,
        DType::U16 => Scalar::U16,
        DType::U32 => Scalar::U32,
        DType::U64 => Scalar::U64,
        DType::Bool => Scalar::Bool,
        _ => return None,
    })
}

/// The type that operations on a type are computed in.
pub fn class(dtype: DType) -> Class {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 => Class::F32,
        DType::F64 => Class::F64,
        _ => Class::I64,
    }
}

/// The class of sums: floats are summed in double precision.
pub fn sum_class(dtype: DType) -> Class {
    if dtype.is_float() { Class::F64 } else { Class::I64 }
}

/// The type that steps between an operation's operands and its result have.
pub fn between(dtype: DType) -> DType {
    if matches!(dtype, DType::F16 | DType::BF16) { DType::F32 } else { dtype }
}

fn is_unsigned(dtype: DType) -> bool {
    matches!(dtype, DType::U8 | DType::U16 | DType::U32 | DType::U64 | DType::Bool)
}

/// The elements as words; `None` for types without a kernel.
pub fn to_words(tensor: &Tensor) -> Option<Vec<u64>> {
    fn pack<T: Copy>(elements: &[T], shift: u32, bits: impl Fn(T) -> u64) -> Vec<u64> {
        let word = |chunk: &[T]| {
            let bits = chunk.iter().enumerate().map(|(at, &x)| bits(x) << (at * (8 << shift)));
            bits.fold(0, |word, bits| word | bits)
        };
        elements.chunks(8 >> shift).map(word).collect()
    }
    let shift = scalar(tensor.dtype())?.shift();
    Some(match tensor.data() {
        Data::F64(v) => pack(v, shift, f64::to_bits),
        Data::F32(v) => pack(v, shift, |x| u64::from(f32::to_bits(x))),
        Data::F16(v) => pack(v, shift, |x| u64::from(x.to_bits())),
        Data::BF16(v) => pack(v, shift, |x| u64::from(x.to_bits())),
        Data::I8(v) => pack(v, shift, |x| u64::from(x as u8)),
        Data::I16(v) => pack(v, shift, |x| u64::from(x as u16)),
        Data::I32(v) => pack(v, shift, |x| u64::from(x as u32)),
        Data::I64(v) => pack(v, shift, |x| x as u64),
        Data::U8(v) => pack(v, shift, u64::from),
        Data::U16(v) => pack(v, shift, u64::from),
        Data::U32(v) => pack(v, shift, u64::from),
        Data::U64(v) => pack(v, shift, |x| x),
        Data::Bool(v) => pack(v, shift, u64::from),
        Data::String(_) | Data::Complex64(_) | Data::Complex128(_) => return None,
    })
}

/// Writes a tensor's elements to words that have been made for it.
pub fn write(stream: &Stream, words: &mut Words, tensor: &Tensor) -> crate::Result<()> {
    if tensor.is_empty() {
        return Ok(());
    }
    if tensor.dtype() == DType::F32 {
        // The words as they lie, without another copy on the host.
        let target = words.as_slice_mut().reinterpret_mut::<f32>()?;
        let elements = tensor.elements::<f32>()?;
        stream.write(target.slice_mut(..elements.len())?, elements)?;
        return Ok(());
    }
    let given = to_words(tensor).expect("inputs on the device have words");
    Ok(stream.write(words, &given)?)
}

/// A value's elements on the host.
pub fn read(stream: &Stream, dense: &Dense) -> crate::Result<Tensor> {
    let words = dense.content.placed().expect("outputs of a program are in memory");
    if dense.dtype == DType::F32 {
        let elements = words.as_slice().reinterpret::<f32>()?.slice(..dense.len())?;
        return Ok(Tensor::new(&dense.shape, stream.to_vec(elements)?)?);
    }
    from_words(&dense.shape, dense.dtype, &stream.to_vec(&*words)?)
}

/// The reverse of [`to_words`].
fn from_words(shape: &[usize], dtype: DType, words: &[u64]) -> crate::Result<Tensor> {
    let len = shape.iter().product::<usize>();
    let scalar = scalar(dtype).expect("only types with a kernel come onto the device");
    let bits = |at: usize| {
        let byte = at << scalar.shift();
        words[byte / 8] >> (byte % 8 * 8)
    };
    let all = (0..len).map(bits);
    let data = match dtype {
        DType::F64 => Data::new(all.map(f64::from_bits).collect()),
        DType::F32 => Data::new(all.map(|x| f32::from_bits(x as u32)).collect()),
        DType::I8 => Data::new(all.map(|x| x as i8).collect()),
        DType::I16 => Data::new(all.map(|x| x as i16).collect()),
        DType::I32 => Data::new(all.map(|x| x as i32).collect()),
        DType::I64 => Data::new(all.map(|x| x as i64).collect()),
        DType::U8 => Data::new(all.map(|x| x as u8).collect()),
        DType::U16 => Data::new(all.map(|x| x as u16).collect()),
        DType::U32 => Data::new(all.map(|x| x as u32).collect()),
        DType::U64 => Data::new(all.collect()),
        DType::Bool => Data::new(all.map(|x| x & 0xff != 0).collect()),
        DType::F16 => Data::new(all.map(|x| half::f16::from_bits(x as u16)).collect()),
        DType::BF16 => Data::new(all.map(|x| half::bf16::from_bits(x as u16)).collect()),
        _ => unreachable!("types without a kernel have no words"),
    };
    Ok(Tensor::from_data(shape, dtype, data)?)
}

/// An operand: elements with strides along the dimensions of the result.
#[derive(Clone, Debug)]
pub struct Strided<'d> {
    pub dense: &'d Dense,
    pub offset: i64,
    pub strides: Vec<i64>,
}

impl<'d> Strided<'d> {
    /// A value that is broadcast to a shape.
    pub fn broadcast(dense: &'d Dense, target: &[usize]) -> Self {
        let mut strides = dense.strides();
        for (stride, &dim) in strides.iter_mut().zip(&dense.shape) {
            if dim == 1 {
                *stride = 0;
            }
        }
        let mut all = vec![0; target.len() - dense.rank()];
        all.extend(strides);
        Self { dense, offset: 0, strides: all }
    }
}

/// Dimensions with neighbours merged that lie together in all operands.
pub fn merged(shape: &[usize], operands: &[&Strided<'_>]) -> (Vec<usize>, Vec<Vec<i64>>) {
    let mut dims: Vec<usize> = Vec::new();
    let mut strides: Vec<Vec<i64>> = vec![Vec::new(); operands.len()];
    for (axis, &dim) in shape.iter().enumerate() {
        if dim == 1 {
            continue;
        }
        let lies_together = !dims.is_empty()
            && operands
                .iter()
                .zip(&strides)
                .all(|(operand, own)| own.last() == Some(&(operand.strides[axis] * dim as i64)));
        if lies_together {
            *dims.last_mut().expect("there is one before") *= dim;
            for (operand, own) in operands.iter().zip(&mut strides) {
                *own.last_mut().expect("there is one before") = operand.strides[axis];
            }
            continue;
        }
        dims.push(dim);
        for (operand, own) in operands.iter().zip(&mut strides) {
            own.push(operand.strides[axis]);
        }
    }
    (dims, strides)
}

/// A function with its parameters.
#[derive(Clone, Copy, Debug)]
pub struct Formula {
    pub function: Function,
    pub alpha: f64,
    pub beta: f64,
}

impl From<Function> for Formula {
    fn from(function: Function) -> Self {
        Self { function, alpha: 0.0, beta: 0.0 }
    }
}

/// Launches on a stream.
pub struct Kit<'a> {
    /// Where work goes.
    pub stream: &'a Stream,
    /// Where values of the host are uploaded; not the one that is captured.
    pub setup: &'a Stream,
    /// What was uploaded, which has to stay as long as the work.
    pub uploads: Vec<Arc<Words>>,
    /// Launches so far.
    pub launches: usize,
    /// How numbers of `f32` are multiplied.
    pub arithmetic: Arithmetic,
    /// Kernels that were written.
    pub shelf: &'a Shelf,
    /// Values that were not computed when they were made.
    pub values: usize,
    /// The node that is being lowered.
    pub origin: Arc<str>,
    /// What written kernels of the launches so far compute.
    pub written: Vec<StepReport>,
}

impl<'a> Kit<'a> {
    /// Launches on a stream, of which there are none yet.
    pub fn new([stream, setup]: [&'a Stream; 2], arithmetic: Arithmetic, shelf: &'a Shelf) -> Self {
        Self {
            stream,
            setup,
            uploads: Vec::new(),
            launches: 0,
            arithmetic,
            shelf,
            values: 0,
            origin: "".into(),
            written: Vec::new(),
        }
    }
}

impl Kit<'_> {
    pub fn upload(&mut self, tensor: &Tensor) -> Result<Dense, Failure> {
        let Some(mut words) = to_words(tensor) else {
            return Err(Failure::why(format!("{} elements have no kernel", tensor.dtype())));
        };
        Dims::new(&[tensor.len()])?;
        let (shape, dtype) = (tensor.shape().to_vec(), tensor.dtype());
        if let (1, Some(scalar)) = (tensor.len(), scalar(dtype)) {
            return Ok(self.lazy_number(words[0], &shape, dtype, scalar));
        }
        if words.is_empty() {
            words.push(0);
        }
        let words = Arc::new(self.setup.upload(&words)?);
        self.wait_for_setup()?;
        self.uploads.push(words.clone());
        Ok(Dense { shape, dtype, content: Content::Placed(words) })
    }

    /// An input's elements in memory that other runs write to.
    pub fn upload_input(&mut self, tensor: &Tensor) -> Result<Dense, Failure> {
        let mut dense = self.upload(tensor)?;
        let words = self.words(&dense)?;
        dense.content = Content::Placed(words);
        Ok(dense)
    }

    /// A number as an operand.
    pub fn number(&mut self, value: f64, dtype: DType) -> Result<Dense, Failure> {
        self.upload(&Tensor::computed(&[], dtype, vec![value])?)
    }

    fn made(&mut self, shape: &[usize], dtype: DType, words: Words) -> Dense {
        self.launches += 1;
        Dense { shape: shape.to_vec(), dtype, content: Content::Placed(Arc::new(words)) }
    }

    /// A function of operands with strides along `shape`, computed in `class`; later, if
    /// written kernels have it.
    pub fn function(
        &mut self,
        formula: Formula,
        class: Class,
        (shape, dtype): (&[usize], DType),
        operands: &[Strided<'_>],
    ) -> Result<Dense, Failure> {
        let is_unsigned = is_unsigned(operands[operands.len() - 1].dense.dtype);
        let of = (formula, class, is_unsigned);
        if let Some(lazy) = self.lazy_function(of, (shape, dtype), operands)? {
            return Ok(lazy);
        }
        let references: Vec<_> = operands.iter().collect();
        let (dims, strides) = merged(shape, &references);
        let dims = match shape.contains(&0) {
            true => Dims::new(&[0])?,
            false => Dims::new(&dims)?,
        };
        let view = |at: usize| {
            let at = at.min(operands.len() - 1);
            let strides: &[i64] = if dims.len == 0 { &[] } else { &strides[at] };
            View::new(operands[at].dense.scalar(), operands[at].offset, strides)
        };
        let mut words = Vec::new();
        for operand in operands {
            words.push(self.words(operand.dense)?);
        }
        let words = |at: usize| words[at.min(operands.len() - 1)].as_slice();
        let to = scalar(dtype).ok_or_else(|| Failure::why(format!("{dtype} has no kernel")))?;
        let Formula { function, alpha, beta } = formula;
        let operation = Operation {
            alpha,
            beta,
            function: function.code(),
            is_unsigned: u32::from(is_unsigned),
            scalar: to.code(),
            padding: 0,
        };
        let (views, inputs) = ([view(0), view(1), view(2)], [words(0), words(1), words(2)]);
        let out = dense::pointwise(self.stream, class, (operation, to), dims, views, inputs)?;
        Ok(self.made(shape, dtype, out))
    }

    /// A function of operands that broadcast; all of one class.
    pub fn map(
        &mut self,
        formula: impl Into<Formula>,
        operands: &[&Dense],
        dtype: DType,
    ) -> Result<Dense, Failure> {
        let class = operands[operands.len() - 1].class();
        self.map_in(class, formula, operands, dtype)
    }

    /// As [`Self::map`], computed in a class.
    pub fn map_in(
        &mut self,
        class: Class,
        formula: impl Into<Formula>,
        operands: &[&Dense],
        dtype: DType,
    ) -> Result<Dense, Failure> {
        let mut shape = operands[0].shape.clone();
        for operand in &operands[1..] {
            shape = shape::broadcast(&shape, &operand.shape)?;
        }
        let operands: Vec<_> =
            operands.iter().map(|operand| Strided::broadcast(operand, &shape)).collect();
        self.function(formula.into(), class, (&shape, dtype), &operands)
    }

    /// Another element type; numbers are rounded or cut.
    pub fn cast(&mut self, x: &Dense, dtype: DType) -> Result<Dense, Failure> {
        if x.dtype == dtype {
            return Ok(x.clone());
        }
        let class = match (class(x.dtype), class(dtype)) {
            (Class::I64, to) => to,
            (Class::F32, Class::F32) => Class::F32,
            _ => Class::F64,
        };
        self.map_in(class, Function::Copy, &[x], dtype)
    }

    /// Elements as they are, with other strides.
    pub fn moved(
        &mut self,
        x: &Dense,
        shape: &[usize],
        offset: i64,
        strides: Vec<i64>,
    ) -> Result<Dense, Failure> {
        let raw = [Strided { dense: x, offset, strides }];
        self.function(Function::Copy.into(), Class::I64, (shape, x.dtype), &raw)
    }

    pub fn transposed(&mut self, x: &Dense, order: &[usize]) -> Result<Dense, Failure> {
        let (base, offset, own) = x.lying();
        let shape: Vec<_> = order.iter().map(|&axis| x.shape[axis]).collect();
        self.moved(&base, &shape, offset, order.iter().map(|&axis| own[axis]).collect())
    }

    pub fn expanded(&mut self, x: &Dense, shape: &[usize]) -> Result<Dense, Failure> {
        if x.shape == shape {
            return Ok(x.clone());
        }
        let strides = Strided::broadcast(x, shape).strides;
        self.moved(x, shape, 0, strides)
    }

    /// A contiguous part along one axis.
    pub fn part(
        &mut self,
        x: &Dense,
        axis: usize,
        start: usize,
        len: usize,
    ) -> Result<Dense, Failure> {
        let ((base, offset, strides), mut shape) = (x.lying(), x.shape.clone());
        shape[axis] = len;
        self.moved(&base, &shape, offset + start as i64 * strides[axis], strides)
    }

    /// Places values in a value that is filled with `fill`, or with zeros.
    pub fn assembled(
        &mut self,
        (shape, dtype): (&[usize], DType),
        fill: Option<&Dense>,
        parts: &[(&Dense, Vec<i64>)],
    ) -> Result<Dense, Failure> {
        let dims = Dims::new(shape)?;
        let to = scalar(dtype).ok_or_else(|| Failure::why(format!("{dtype} has no kernel")))?;
        let mut out = dense::blank(self.stream, to, dims)?;
        let mut put = |kit: &mut Self,
                       dense: &Dense,
                       begins: &[i64],
                       lens: &[usize],
                       strides: &[i64]| {
            let words = kit.words(dense)?;
            let all = View::new(to, 0, begins).strides;
            let lens: Vec<_> = lens.iter().map(|&len| len as i64).collect();
            let mut region =
                Region { begins: all, lens: [1; 8], source: View::new(to, 0, strides) };
            let own = View::new(to, 0, &lens).strides;
            let first = own.len() - lens.len();
            region.lens[first..].copy_from_slice(&own[first..]);
            Ok::<_, Failure>(dense::place(kit.stream, dims, region, words.as_slice(), &mut out)?)
        };
        if let Some(fill) = fill {
            put(self, fill, &vec![0; shape.len()], shape, &vec![0; shape.len()])?;
        }
        for (part, begins) in parts {
            put(self, part, begins, &part.shape, &part.strides())?;
        }
        Ok(self.made(shape, dtype, out))
    }

    pub fn concatenated(&mut self, parts: &[&Dense], axis: usize) -> Result<Dense, Failure> {
        let mut shape = parts[0].shape.clone();
        let mut placed = Vec::new();
        let mut at = 0;
        for part in parts {
            let is_fit = part.rank() == shape.len()
                && (0..shape.len()).all(|d| d == axis || part.shape[d] == shape[d]);
            if !is_fit || part.dtype != parts[0].dtype {
                let why = format!("cannot join {:?} and {:?}", parts[0].shape, part.shape);
                return Err(Failure::why(why));
            }
            let mut begins = vec![0; shape.len()];
            begins[axis] = at as i64;
            at += part.shape[axis];
            placed.push((*part, begins));
        }
        shape[axis] = at;
        self.assembled((&shape, parts[0].dtype), None, &placed)
    }

    /// Notes a launch that was made elsewhere.
    pub fn launched(&mut self, shape: Vec<usize>, dtype: DType, words: Words) -> Dense {
        self.made(&shape, dtype, words)
    }
}
