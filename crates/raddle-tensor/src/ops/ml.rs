//! Classical machine learning (`ai.onnx.ml`): labels, trees, features.

use std::collections::HashMap;

use super::elementwise::unsupported;
use crate::Kind::{Float, Floats, Int, Ints, String as Text, Strings, Tensor as TensorKind};
use crate::convert::Compute;
use crate::infer::rules;
use crate::shape::element_count;
use crate::{
    Class, DType, DTypeRule, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, one,
    op, parallel, shape,
};

const DOMAIN: &str = "ai.onnx.ml";

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("ArrayFeatureExtractor", 1..=LATEST)
        .domain(DOMAIN)
        .inputs(2, 2)
        .result(DTypeRule::Like(0), ShapeRule::Computed)
        .dims(rules::extract_features)
        .run(extract_features),
    op("Binarizer", 1..=LATEST)
        .domain(DOMAIN)
        .attributes(&[("threshold", Float)])
        .result(DTypeRule::Like(0), ShapeRule::Like(0))
        .run(binarize),
    op("LabelEncoder", 2..=LATEST)
        .domain(DOMAIN)
        .attributes(&[
            ("default_float", Float),
            ("default_int64", Int),
            ("default_string", Text),
            ("default_tensor", TensorKind),
            ("keys_floats", Floats),
            ("keys_int64s", Ints),
            ("keys_strings", Strings),
            ("keys_tensor", TensorKind),
            ("values_floats", Floats),
            ("values_int64s", Ints),
            ("values_strings", Strings),
            ("values_tensor", TensorKind),
        ])
        .result(DTypeRule::Computed, ShapeRule::Like(0))
        .infer(rules::encode_labels)
        .run(encode_labels),
    op("TreeEnsemble", 5..=LATEST)
        .domain(DOMAIN)
        .attributes(&[
            ("aggregate_function", Int),
            ("leaf_targetids", Ints),
            ("leaf_weights", TensorKind),
            ("membership_values", TensorKind),
            ("n_targets", Int),
            ("nodes_falseleafs", Ints),
            ("nodes_falsenodeids", Ints),
            ("nodes_featureids", Ints),
            ("nodes_hitrates", TensorKind),
            ("nodes_missing_value_tracks_true", Ints),
            ("nodes_modes", TensorKind),
            ("nodes_splits", TensorKind),
            ("nodes_trueleafs", Ints),
            ("nodes_truenodeids", Ints),
            ("post_transform", Int),
            ("tree_roots", Ints),
        ])
        .result(DTypeRule::Like(0), ShapeRule::Computed)
        .dims(rules::tree_ensemble)
        .run(tree_ensemble),
];

/// Elements of the last dimension by index.
fn extract_features(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (x, indices) = (ctx.tensor(0)?, ctx.i64s(1)?);
    let Some((&columns, outer)) = x.shape().split_last() else {
        return Err(Error::invalid("input 0 must have at least one dimension"));
    };
    let indices =
        indices.iter().map(|&at| shape::index(at, columns)).collect::<Result<Vec<_>>>()?;
    let rows: usize = outer.iter().product();
    let out_shape = match outer {
        [] => vec![1, indices.len()],
        outer => outer.iter().copied().chain([indices.len()]).collect(),
    };
    element_count(&out_shape, x.dtype())?;
    let starts: Vec<usize> = (0..rows)
        .flat_map(|row| indices.iter().map(move |&column| row * columns + column))
        .collect();
    one(crate::movement::gather_runs(x, &out_shape, &starts, 1))
}

fn binarize(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    if !x.dtype().is_number() {
        return Err(unsupported(0, x.dtype(), "a number"));
    }
    let threshold = f64::from(ctx.float("threshold", 0.0)?);
    let above = f64::widen(x)?.iter().map(|&x| f64::from(u8::from(x > threshold))).collect();
    one(Tensor::computed::<f64>(x.shape(), x.dtype(), above))
}

/// A label in a form that can be looked up; floats by their bits, with one NaN
/// and one zero.
#[derive(PartialEq, Eq, Hash, Clone)]
enum Label {
    Text(String),
    Int(i64),
    Float(u64),
}

fn labels(tensor: &Tensor) -> Result<Vec<Label>> {
    let float = |x: f64| {
        let x = if x.is_nan() { f64::NAN } else { x + 0.0 };
        Label::Float(x.to_bits())
    };
    Ok(match tensor.dtype().class() {
        Class::String => tensor.elements::<String>()?.iter().cloned().map(Label::Text).collect(),
        Class::F32 | Class::F64 => f64::widen(tensor)?.iter().map(|&x| float(x)).collect(),
        _ => i64::widen(tensor)?.iter().map(|&x| Label::Int(x)).collect(),
    })
}

/// The list that one of several attributes holds.
fn list_of(ctx: &OpContext<'_>, what: &str) -> Result<Tensor> {
    let name = |suffix: &str| format!("{what}_{suffix}");
    if let Some(tensor) = ctx.tensor_attribute(&name("tensor"))? {
        return Ok(tensor.clone());
    }
    if let Some(list) = ctx.floats(&name("floats"))?.filter(|list| !list.is_empty()) {
        return Ok(Tensor::vector(list.to_vec()));
    }
    if let Some(list) = ctx.ints(&name("int64s"))?.filter(|list| !list.is_empty()) {
        return Ok(Tensor::vector(list.to_vec()));
    }
    match ctx.texts(&name("strings"))? {
        Some(list) => Ok(Tensor::vector(list.to_vec())),
        None => Err(ctx.bad_attribute(&name("tensor"), "or another form of it is required")),
    }
}

fn encode_labels(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let (keys, values) = (list_of(ctx, "keys")?, list_of(ctx, "values")?);
    if keys.len() != values.len() {
        return Err(Error::invalid(format!(
            "there are {} keys but {} values",
            keys.len(),
            values.len()
        )));
    }
    let default = match ctx.tensor_attribute("default_tensor")? {
        Some(tensor) => tensor.clone(),
        None => match values.dtype().class() {
            Class::String => Tensor::scalar(ctx.text("default_string", "_Unused")?.to_owned()),
            Class::F32 | Class::F64 => Tensor::scalar(ctx.float("default_float", -0.0)?),
            _ => Tensor::scalar(ctx.int("default_int64", -1)?),
        },
    };
    // The default lies behind the values, so that one copy serves both.
    let default = match default.dtype() == values.dtype() && default.len() == 1 {
        true => default.reshape(&[1])?,
        false => return Err(ctx.bad_attribute("default_tensor", "must be one value of their type")),
    };
    let table = crate::movement::concat(&[&values.clone().reshape(&[values.len()])?, &default], 0)?;
    let mut places: HashMap<Label, usize> = HashMap::new();
    for (at, label) in labels(&keys)?.into_iter().enumerate() {
        places.entry(label).or_insert(at);
    }
    let starts: Vec<usize> =
        labels(x)?.iter().map(|label| places.get(label).copied().unwrap_or(values.len())).collect();
    one(crate::movement::gather_runs(&table, x.shape(), &starts, 1))
}

/// How a node chooses a branch.
#[derive(Clone)]
enum Test {
    AtMost(f64),
    Below(f64),
    AtLeast(f64),
    Above(f64),
    Equal(f64),
    Other(f64),
    Member(Vec<f64>),
}

impl Test {
    fn holds(&self, x: f64) -> bool {
        match self {
            Self::AtMost(split) => x <= *split,
            Self::Below(split) => x < *split,
            Self::AtLeast(split) => x >= *split,
            Self::Above(split) => x > *split,
            Self::Equal(split) => x == *split,
            Self::Other(split) => x != *split,
            Self::Member(set) => set.contains(&x),
        }
    }
}

/// Where a branch leads.
#[derive(Clone, Copy)]
enum Branch {
    Node(usize),
    Leaf(usize),
}

struct TreeNode {
    test: Test,
    feature: usize,
    is_true_if_missing: bool,
    /// For false and true.
    branches: [Branch; 2],
}

struct Forest {
    nodes: Vec<TreeNode>,
    roots: Vec<usize>,
    targets: Vec<usize>,
    weights: Vec<f64>,
    target_count: usize,
}

impl Forest {
    fn read(ctx: &OpContext<'_>, features: usize) -> Result<Self> {
        let ints = |name: &str| -> Result<&[i64]> {
            ctx.ints(name)?.ok_or_else(|| ctx.bad_attribute(name, "is required"))
        };
        let numbers = |name: &str| -> Result<Vec<f64>> {
            let tensor = ctx.tensor_attribute(name)?;
            let tensor = tensor.ok_or_else(|| ctx.bad_attribute(name, "is required"))?;
            super::control::numbers(tensor)
        };
        let count = usize::try_from(ctx.int("n_targets", 1)?).unwrap_or(0);
        let weights = numbers("leaf_weights")?;
        let index = |name: &str, at: i64, len: usize| {
            shape::index(at, len).ok().filter(|_| at >= 0).ok_or_else(|| {
                ctx.bad_attribute(name, format!("holds {at}, which must be below {len}"))
            })
        };
        let targets = ints("leaf_targetids")?
            .iter()
            .map(|&at| index("leaf_targetids", at, count))
            .collect::<Result<Vec<_>>>()?;
        let feature_ids = ints("nodes_featureids")?;
        let (splits, modes) = (numbers("nodes_splits")?, numbers("nodes_modes")?);
        let columns =
            [("nodes_falsenodeids", "nodes_falseleafs"), ("nodes_truenodeids", "nodes_trueleafs")];
        let columns = columns.map(|(ids, leafs)| Ok((ints(ids)?, ints(leafs)?)));
        let [falses, trues] = columns;
        let columns: [(&[i64], &[i64]); 2] = [falses?, trues?];
        let len = feature_ids.len();
        let lens = [splits.len(), modes.len(), columns[0].0.len(), columns[0].1.len()];
        let more = [columns[1].0.len(), columns[1].1.len()];
        if lens.iter().chain(&more).any(|&other| other != len) || targets.len() != weights.len() {
            return Err(Error::invalid("the lists of nodes or of leaves differ in length"));
        }
        let missing = ctx.ints("nodes_missing_value_tracks_true")?.unwrap_or_default();
        let members = ctx.tensor_attribute("membership_values")?;
        let members = members.map(super::control::numbers).transpose()?.unwrap_or_default();
        let mut members = members.split(|x| x.is_nan());
        let mut nodes = Vec::with_capacity(len);
        for at in 0..len {
            let split = splits[at];
            let test = match modes[at] as i64 {
                0 => Test::AtMost(split),
                1 => Test::Below(split),
                2 => Test::AtLeast(split),
                3 => Test::Above(split),
                4 => Test::Equal(split),
                5 => Test::Other(split),
                6 => Test::Member(members.next().unwrap_or_default().to_vec()),
                other => return Err(ctx.bad_attribute("nodes_modes", format!("holds {other}"))),
            };
            let mut branches = [Branch::Leaf(0); 2];
            for (branch, (ids, leafs)) in branches.iter_mut().zip(columns) {
                *branch = match leafs[at] {
                    0 => Branch::Node(index("nodes_truenodeids", ids[at], len)?),
                    _ => Branch::Leaf(index("nodes_truenodeids", ids[at], weights.len())?),
                };
            }
            let feature = index("nodes_featureids", feature_ids[at], features)?;
            let is_true_if_missing = missing.get(at).is_some_and(|&it| it != 0);
            nodes.push(TreeNode { test, feature, is_true_if_missing, branches });
        }
        let roots = ints("tree_roots")?
            .iter()
            .map(|&at| index("tree_roots", at, len))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { nodes, roots, targets, weights, target_count: count })
    }

    /// The leaf that a row ends at; `None` in a tree that leads in a circle.
    fn leaf(&self, root: usize, row: &[f64]) -> Option<usize> {
        let mut at = root;
        for _ in 0..=self.nodes.len() {
            let node = &self.nodes[at];
            // A tree of a leaf alone is a node with twice the same leaf.
            let x = row[node.feature];
            let is_true = node.test.holds(x) || (x.is_nan() && node.is_true_if_missing);
            match node.branches[usize::from(is_true)] {
                Branch::Node(next) => at = next,
                Branch::Leaf(leaf) => return Some(leaf),
            }
        }
        None
    }
}

/// `x: [rows, features]` to `[rows, targets]`.
fn tree_ensemble(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let &[rows, features] = x.shape() else {
        return Err(Error::invalid(format!("expected rank 2, found {:?}", x.shape())));
    };
    if !x.dtype().is_float() {
        return Err(unsupported(0, x.dtype(), "a float"));
    }
    let forest = Forest::read(ctx, features)?;
    let aggregate = ctx.int("aggregate_function", 1)?;
    let (mut start, combine): (f64, fn(f64, f64) -> f64) = match aggregate {
        0 | 1 => (0.0, |a, b| a + b),
        2 => (f64::INFINITY, f64::min),
        3 => (f64::NEG_INFINITY, f64::max),
        other => return Err(ctx.bad_attribute("aggregate_function", format!("is {other}"))),
    };
    let transform = ctx.int("post_transform", 0)?;
    if !(0..=4).contains(&transform) {
        return Err(ctx.bad_attribute("post_transform", format!("is {transform}")));
    }
    if forest.roots.is_empty() {
        start = 0.0;
    }
    let elements = f64::widen(x)?;
    let columns = forest.target_count;
    let mut out = vec![start; element_count(&[rows, columns], DType::F64)?];
    let is_circular = std::sync::atomic::AtomicBool::new(false);
    parallel::rows(&mut out, columns.max(1), &|row, column, out| {
        let x = &elements[row * features..(row + 1) * features];
        for &root in &forest.roots {
            let Some(leaf) = forest.leaf(root, x) else {
                is_circular.store(true, std::sync::atomic::Ordering::Relaxed);
                continue;
            };
            let at = forest.targets[leaf].checked_sub(column).filter(|&at| at < out.len());
            if let Some(at) = at {
                out[at] = combine(out[at], forest.weights[leaf]);
            }
        }
        for out in out {
            *out = match aggregate {
                0 => *out / forest.roots.len().max(1) as f64,
                _ if out.is_infinite() => 0.0,
                _ => *out,
            };
        }
    });
    if is_circular.into_inner() {
        return Err(Error::invalid("a tree leads back to one of its own nodes"));
    }
    for row in out.chunks_mut(columns.max(1)) {
        post_transform(row, transform);
    }
    one(Tensor::computed(&[rows, columns], x.dtype(), out))
}

/// What turns scores into probabilities: nothing, softmax, logistic, softmax of
/// scores that are not zero, probit.
fn post_transform(row: &mut [f64], transform: i64) {
    match transform {
        1 | 3 => {
            let counts = |x: &&mut f64| transform == 1 || **x != 0.0;
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let mut sum = 0.0;
            for x in row.iter_mut().filter(counts) {
                *x = (*x - largest).exp();
                sum += *x;
            }
            row.iter_mut().filter(counts).for_each(|x| *x /= sum);
        }
        2 => row.iter_mut().for_each(|x| *x = 1.0 / (1.0 + (-*x).exp())),
        4 => row.iter_mut().for_each(|x| *x = probit(*x)),
        _ => {}
    }
}

/// The quantile of the normal distribution (P. Acklam's approximation, relative
/// error below 1.2e-9).
fn probit(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969683028665376e1,
        2.209460984245205e2,
        -2.759285104469687e2,
        1.38357751867269e2,
        -3.066479806614716e1,
        2.506628277459239,
    ];
    const B: [f64; 6] = [
        -5.447609879822406e1,
        1.615858368580409e2,
        -1.556989798598866e2,
        6.680131188771972e1,
        -1.328068155288572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784894002430293e-3,
        -3.223964580411365e-1,
        -2.400758277161838,
        -2.549732539343734,
        4.374664141464968,
        2.938163982698783,
    ];
    const D: [f64; 5] =
        [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416, 1.0];
    let horner = |list: &[f64], x: f64| list.iter().fold(0.0, |sum, c| sum * x + c);
    let tail = |p: f64| {
        if p == 0.0 {
            return f64::NEG_INFINITY;
        }
        let q = (-2.0 * p.ln()).sqrt();
        horner(&C, q) / horner(&D, q)
    };
    if !(0.0..=1.0).contains(&p) {
        f64::NAN
    } else if p < 0.02425 {
        tail(p)
    } else if p > 1.0 - 0.02425 {
        -tail(1.0 - p)
    } else {
        let q = p - 0.5;
        q * horner(&A, q * q) / horner(&B, q * q)
    }
}

#[cfg(test)]
mod tests {
    use super::probit;

    #[test]
    fn probit_inverts_the_normal_distribution() {
        for (p, x) in [(0.5, 0.0), (0.975, 1.959963984540054), (0.001, -3.090232306167814)] {
            assert!((probit(p) - x).abs() < 1e-8, "{p}");
        }
        assert!(probit(-0.1).is_nan() && probit(0.0) == f64::NEG_INFINITY);
    }
}
