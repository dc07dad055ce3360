//! Einstein sums as matrix products, and determinants.
//!
//! Operands are joined from left to right. Of two operands, a label that both
//! have is a batch dimension if someone needs it later and summed over if not;
//! so every step is one batched matrix product.

use super::elementwise::unsupported;
use super::linear::matmul_tensors;
use super::real::Real;
use crate::DTypeRule::Like;
use crate::Kind::String as Text;
use crate::convert::Compute;
use crate::infer::rules;
use crate::infer::{Dims, Expr, InferContext};
use crate::movement::{View, gather_view, transpose};
use crate::{
    Class, DType, Error, LATEST, MANY, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op,
    parallel,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("Einsum", 12..=LATEST)
        .inputs(1, MANY)
        .attributes(&[("equation", Text)])
        .result(Like(0), ShapeRule::Computed)
        .dims(result_dims)
        .run(einsum),
    op("Det", 11..=LATEST).result(Like(0), ShapeRule::Computed).dims(rules::det).run(det),
];

/// A dimension's name: a letter, or a place within the ellipsis counted from
/// its end, so that ellipses of different lengths broadcast.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Label {
    Ellipsis(std::cmp::Reverse<usize>),
    Letter(char),
}

/// A tensor whose dimensions have names.
#[derive(Clone)]
struct Term {
    labels: Vec<Label>,
    tensor: Tensor,
}

fn einsum(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let bad = |why: String| Error::Attribute { name: "equation".into(), why };
    let equation: String = ctx.text("equation", "")?.chars().filter(|c| *c != ' ').collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (&equation[..], None),
    };
    let tensors = ctx.tensors()?;
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != tensors.len() {
        return Err(bad(format!("has {} terms for {} inputs", terms.len(), tensors.len())));
    }
    let dtype = tensors[0].dtype();
    let wide = match dtype.class() {
        Class::F32 => DType::F32,
        Class::F64 => DType::F64,
        Class::I64 => DType::I64,
        Class::U64 => DType::U64,
        _ => return Err(unsupported(0, dtype, "a number")),
    };
    let mut operands = Vec::with_capacity(terms.len());
    for (index, (&term, tensor)) in terms.iter().zip(&tensors).enumerate() {
        if tensor.dtype() != dtype {
            return Err(unsupported(index, tensor.dtype(), dtype.name()));
        }
        let labels = labels(term, Some(tensor.rank())).map_err(&bad)?;
        operands.push(diagonal(&labels, &convert(tensor, wide)?)?);
    }
    let ellipsis_len = operands
        .iter()
        .flat_map(|term| &term.labels)
        .filter_map(|label| if let Label::Ellipsis(at) = label { Some(at.0 + 1) } else { None });
    let ellipsis_len = ellipsis_len.max().unwrap_or(0);
    let output = match right {
        Some(text) => {
            let letters = text.replace("...", "").chars().count();
            let rank = letters + if text.contains("...") { ellipsis_len } else { 0 };
            labels(text, Some(rank)).map_err(&bad)?
        }
        None => implicit_output(&terms, ellipsis_len),
    };
    for (at, label) in output.iter().enumerate() {
        if output[..at].contains(label) || !operands.iter().any(|it| it.labels.contains(label)) {
            return Err(bad(format!("has {label:?} twice or in no input, but in the output")));
        }
    }
    let joined = join_all(operands, &output)?;
    one(convert(&joined, dtype))
}

/// The dimensions of the result, by the same labels.
fn result_dims(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let bad = |why: String| Error::Attribute { name: "equation".into(), why };
    let equation = ctx.node.text("equation", "")?.replace(' ', "");
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (&equation[..], None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    let mut lens: Vec<(Label, Expr)> = Vec::new();
    let mut ellipsis_len = 0;
    for (at, term) in terms.iter().enumerate() {
        let Some(dims) = ctx.dims(at) else { return Ok(None) };
        let labels = labels(term, Some(dims.len())).map_err(bad)?;
        for (label, dim) in labels.into_iter().zip(dims) {
            if let Label::Ellipsis(at) = label {
                ellipsis_len = ellipsis_len.max(at.0 + 1);
            }
            match lens.iter_mut().find(|(own, _)| *own == label) {
                Some((_, len)) => *len = len.broadcast(dim).unwrap_or_else(|| dim.clone()),
                None => lens.push((label, dim.clone())),
            }
        }
    }
    let output = match right {
        Some(text) => {
            let letters = text.replace("...", "").chars().count();
            let rank = letters + if text.contains("...") { ellipsis_len } else { 0 };
            labels(text, Some(rank)).map_err(bad)?
        }
        None => implicit_output(&terms, ellipsis_len),
    };
    let len = |label| Some(lens.iter().find(|(own, _)| *own == label)?.1.clone());
    Ok(output.into_iter().map(len).collect())
}

/// The tensor as elements of `dtype`.
fn convert(x: &Tensor, dtype: DType) -> Result<Tensor> {
    if x.dtype() == dtype {
        return Ok(x.clone());
    }
    match dtype.class() {
        Class::F32 => Tensor::computed(x.shape(), dtype, f32::widen(x)?.into_owned()),
        Class::F64 => Tensor::computed(x.shape(), dtype, f64::widen(x)?.into_owned()),
        _ => Tensor::computed(x.shape(), dtype, i64::widen(x)?.into_owned()),
    }
}

/// The labels of a term for a tensor of a rank.
fn labels(term: &str, rank: Option<usize>) -> Result<Vec<Label>, String> {
    let (before, after) = match term.split_once("...") {
        Some((before, after)) => (before, Some(after)),
        None => (term, None),
    };
    let letters = |text: &str| -> Result<Vec<Label>, String> {
        let label = |c: char| match c.is_ascii_alphabetic() {
            true => Ok(Label::Letter(c)),
            false => Err(format!("holds {c:?} where a letter should be")),
        };
        text.chars().map(label).collect()
    };
    let mut labels = letters(before)?;
    let after_labels = after.map(&letters).transpose()?;
    let named = labels.len() + after_labels.as_ref().map_or(0, Vec::len);
    let rank = rank.unwrap_or(named);
    match after_labels {
        Some(after) if named <= rank => {
            labels.extend((0..rank - named).rev().map(|at| Label::Ellipsis(std::cmp::Reverse(at))));
            labels.extend(after);
            Ok(labels)
        }
        None if named == rank => Ok(labels),
        _ => Err(format!("names {named} dimensions by {term:?} of a tensor of rank {rank}")),
    }
}

/// Without `->`: the ellipsis, then the letters that occur once, sorted.
fn implicit_output(terms: &[&str], ellipsis_len: usize) -> Vec<Label> {
    let mut letters: Vec<char> = terms.concat().chars().filter(|c| *c != '.').collect();
    letters.sort_unstable();
    let once = letters.chunk_by(|a, b| a == b).filter(|group| group.len() == 1);
    let ellipsis = (0..ellipsis_len).rev().map(|at| Label::Ellipsis(std::cmp::Reverse(at)));
    ellipsis.chain(once.map(|group| Label::Letter(group[0]))).collect()
}

/// A term with each label once: of repeated ones only the diagonal.
fn diagonal(labels: &[Label], tensor: &Tensor) -> Result<Term> {
    let whole = View::of(tensor.shape());
    let mut own: Vec<Label> = Vec::new();
    let mut view = View { offset: 0, shape: Vec::new(), strides: Vec::new() };
    for (axis, label) in labels.iter().enumerate() {
        match own.iter().position(|known| known == label) {
            None => {
                own.push(*label);
                view.shape.push(whole.shape[axis]);
                view.strides.push(whole.strides[axis]);
            }
            Some(at) if view.shape[at] == whole.shape[axis] => {
                view.strides[at] += whole.strides[axis];
            }
            Some(at) => {
                return Err(unequal(*label, view.shape[at], whole.shape[axis]));
            }
        }
    }
    let tensor =
        if own.len() == labels.len() { tensor.clone() } else { gather_view(tensor, &view)? };
    Ok(Term { labels: own, tensor })
}

fn unequal(label: Label, left: usize, right: usize) -> Error {
    Error::invalid(format!("{label:?} of the equation stands for both {left} and {right}"))
}

fn join_all(operands: Vec<Term>, output: &[Label]) -> Result<Tensor> {
    let mut rest = operands.into_iter();
    let mut joined = rest.next().expect("there is at least one input");
    while let Some(next) = rest.next() {
        let is_needed = |label: &Label| {
            output.contains(label) || rest.as_slice().iter().any(|it| it.labels.contains(label))
        };
        joined = join(joined, next, &is_needed)?;
    }
    let joined = sum_out(joined, &|label| output.contains(label))?;
    let order: Vec<usize> = output
        .iter()
        .map(|label| joined.labels.iter().position(|own| own == label).expect("it is kept"))
        .collect();
    transpose(&joined.tensor, &order)
}

impl Term {
    fn len_of(&self, label: Label) -> Option<usize> {
        self.labels.iter().position(|own| *own == label).map(|axis| self.tensor.shape()[axis])
    }

    /// Without the dimensions of length 1 that the other has longer.
    fn without_repeats(self, other: &Self) -> Result<Self> {
        let is_kept = |label: &Label| {
            self.len_of(*label) != Some(1) || other.len_of(*label).is_none_or(|len| len == 1)
        };
        let labels: Vec<Label> = self.labels.iter().copied().filter(is_kept).collect();
        let shape: Vec<usize> = labels.iter().filter_map(|label| self.len_of(*label)).collect();
        Ok(Self { labels, tensor: self.tensor.reshape(&shape)? })
    }

    /// With dimensions in groups, each group as one dimension.
    fn grouped(&self, groups: &[&[Label]; 3]) -> Result<Tensor> {
        let axis = |label| self.labels.iter().position(|own| own == label).expect("it has it");
        let order: Vec<usize> = groups.iter().copied().flatten().map(axis).collect();
        let ordered = transpose(&self.tensor, &order)?;
        let lens =
            groups.map(|group| group.iter().filter_map(|label| self.len_of(*label)).product());
        ordered.reshape(&lens)
    }
}

/// The product of two terms, summed over what nobody needs.
fn join(left: Term, right: Term, is_needed: &dyn Fn(&Label) -> bool) -> Result<Term> {
    let (left, right) = {
        let (l, r) = (left.clone(), right.clone());
        (left.without_repeats(&r)?, right.without_repeats(&l)?)
    };
    let left = sum_out(left, &|label| is_needed(label) || right.labels.contains(label))?;
    let right = sum_out(right, &|label| is_needed(label) || left.labels.contains(label))?;
    let (mut batch, mut summed) = (Vec::new(), Vec::new());
    for &label in left.labels.iter().filter(|label| right.labels.contains(label)) {
        match (left.len_of(label), right.len_of(label)) {
            (a, b) if a == b => {}
            (a, b) => return Err(unequal(label, a.unwrap_or(0), b.unwrap_or(0))),
        }
        if is_needed(&label) { batch.push(label) } else { summed.push(label) }
    }
    let only = |term: &Term, other: &Term| -> Vec<Label> {
        term.labels.iter().copied().filter(|label| !other.labels.contains(label)).collect()
    };
    let (rows, columns) = (only(&left, &right), only(&right, &left));
    let product = matmul_tensors(
        &left.grouped(&[&batch, &rows, &summed])?,
        &right.grouped(&[&batch, &summed, &columns])?,
    )?;
    let labels = [batch, rows, columns].concat();
    let len = |label: &Label| left.len_of(*label).or_else(|| right.len_of(*label));
    let shape: Vec<usize> = labels.iter().filter_map(len).collect();
    Ok(Term { labels, tensor: product.reshape(&shape)? })
}

/// Sums over the labels that are not kept.
fn sum_out(term: Term, is_kept: &dyn Fn(&Label) -> bool) -> Result<Term> {
    let (kept, summed): (Vec<Label>, Vec<Label>) = term.labels.iter().partition(|it| is_kept(it));
    if summed.is_empty() {
        return Ok(term);
    }
    let grouped = term.grouped(&[&kept, &[], &summed])?;
    let dtype = grouped.dtype();
    let len = grouped.shape()[2];
    let ones = Tensor::computed(&[len, 1], dtype, vec![1u64; len])?;
    let sums = matmul_tensors(&grouped, &ones)?;
    let shape: Vec<usize> = kept.iter().filter_map(|label| term.len_of(*label)).collect();
    Ok(Term { labels: kept, tensor: sums.reshape(&shape)? })
}

/// Determinants of the square matrices in the last two dimensions.
fn det(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let (outer, size) = match x.shape() {
        [outer @ .., rows, columns] if rows == columns => (outer, *rows),
        other => {
            return Err(Error::invalid(format!(
                "input 0 must hold square matrices, found {other:?}"
            )));
        }
    };
    one(match x.dtype().class() {
        Class::F32 => determinants::<f32>(x, outer, size),
        Class::F64 => determinants::<f64>(x, outer, size),
        _ => Err(unsupported(0, x.dtype(), "a float")),
    })
}

fn determinants<T: Real>(x: &Tensor, outer: &[usize], size: usize) -> Result<Tensor> {
    let elements = T::widen(x)?;
    let mut out = vec![T::of(1.0); crate::shape::element_count(outer, x.dtype())?];
    if size > 0 {
        parallel::parts(&mut out, 1, &|at, out| {
            let matrix = &elements[at * size * size..(at + 1) * size * size];
            let mut wide: Vec<f64> = matrix.iter().map(|x| x.wide()).collect();
            out[0] = T::of(determinant(&mut wide, size));
        });
    }
    Tensor::computed(outer, x.dtype(), out)
}

/// By elimination with the largest pivot of each column.
fn determinant(matrix: &mut [f64], size: usize) -> f64 {
    let mut product = 1.0;
    for column in 0..size {
        let magnitude = |row: usize, matrix: &[f64]| matrix[row * size + column].abs();
        let pivot = (column..size)
            .max_by(|&a, &b| magnitude(a, matrix).total_cmp(&magnitude(b, matrix)))
            .expect("a column has a row");
        if pivot != column {
            for at in 0..size {
                matrix.swap(pivot * size + at, column * size + at);
            }
            product = -product;
        }
        let value = matrix[column * size + column];
        product *= value;
        if value == 0.0 {
            return product;
        }
        let (above, below) = matrix.split_at_mut((column + 1) * size);
        let own = &above[column * size..];
        for row in below.chunks_mut(size) {
            let factor = row[column] / value;
            row[column..].iter_mut().zip(&own[column..]).for_each(|(x, y)| *x -= factor * y);
        }
    }
    product
}
