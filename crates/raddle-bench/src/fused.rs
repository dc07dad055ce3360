//! Benchmarks of what a session fuses: chains of operations on elements, reductions of rows
//! with what is around them, and a layer of a transformer.

use raddle_models::gpu::GpuSession;
use raddle_models::{Model, Options, Precision};
use raddle_tensor::convert::Compute;
use raddle_tensor::graph::{Attribute, Dim, Graph, Node, ValueId, ValueType};
use raddle_tensor::{DType, Tensor, Value, ops};

use crate::Outcome;
use crate::measure::{Bench, Time, Unit};

const OPSET: u32 = 20;
const WARM_UP: usize = 50;
const REPLAYS: usize = 200;

/// A graph in one type that is built node by node.
struct Builder {
    graph: Graph,
    dtype: DType,
    seed: u64,
}

impl Builder {
    fn new(dtype: DType) -> Self {
        Self { graph: Graph::default(), dtype, seed: 0x9e37_79b9 }
    }

    /// An input whose first dimension is open.
    fn input(&mut self, name: &str, dims: &[usize]) -> ValueId {
        let dims = dims.iter().map(|&n| Dim::Fixed(n));
        let dims = std::iter::once(Dim::Symbol("n".into())).chain(dims).collect();
        let id = self.graph.add_value(name, Some(ValueType::Tensor(self.dtype, Some(dims))));
        self.graph.inputs.push(id);
        id
    }

    fn constant(&mut self, tensor: Tensor) -> ValueId {
        let name = format!("w{}", self.graph.values.len());
        self.graph.add_constant(name, tensor)
    }

    /// Random elements of a size that keeps sums of a layer near one.
    fn weights(&mut self, shape: &[usize]) -> Outcome<ValueId> {
        let scale = 1.0 / (shape[0] as f32).sqrt();
        let mut element = || {
            self.seed ^= self.seed << 13;
            self.seed ^= self.seed >> 7;
            self.seed ^= self.seed << 17;
            ((self.seed >> 40) as f32 / (1 << 23) as f32 - 1.0) * scale
        };
        let elements: Vec<f32> = (0..shape.iter().product()).map(|_| element()).collect();
        Ok(self.constant(Tensor::computed(shape, self.dtype, elements)?))
    }

    fn number(&mut self, number: f32) -> Outcome<ValueId> {
        Ok(self.constant(Tensor::computed(&[], self.dtype, vec![number])?))
    }

    fn node(
        &mut self,
        op: &str,
        inputs: &[ValueId],
        attributes: &[(&str, Attribute)],
    ) -> Outcome<ValueId> {
        let output = self.graph.add_value(format!("v{}", self.graph.values.len()), None);
        let named = |(name, it): &(&str, Attribute)| ((*name).to_owned(), it.clone());
        self.graph.add_node(Node {
            name: String::new(),
            op: ops::find("", op, OPSET)?,
            inputs: inputs.iter().copied().map(Some).collect(),
            outputs: vec![Some(output)],
            attributes: attributes.iter().map(named).collect(),
            opset: OPSET,
        })?;
        Ok(output)
    }

    fn two(&mut self, op: &str, x: ValueId, y: ValueId) -> Outcome<ValueId> {
        self.node(op, &[x, y], &[])
    }

    /// A layer norm as older exporters write it, operation by operation.
    fn norm(&mut self, x: ValueId, width: usize) -> Outcome<ValueId> {
        let last = self.constant(Tensor::vector(vec![-1i64]));
        let mean = self.two("ReduceMean", x, last)?;
        let low = self.two("Sub", x, mean)?;
        let two = self.number(2.0)?;
        let squares = self.two("Pow", low, two)?;
        let variance = self.two("ReduceMean", squares, last)?;
        let epsilon = self.number(1e-5)?;
        let moved = self.two("Add", variance, epsilon)?;
        let root = self.node("Sqrt", &[moved], &[])?;
        let normal = self.two("Div", low, root)?;
        let (weights, bias) = (self.weights(&[width])?, self.weights(&[width])?);
        let scaled = self.two("Mul", normal, weights)?;
        self.two("Add", scaled, bias)
    }

    fn linear(&mut self, x: ValueId, [from, to]: [usize; 2]) -> Outcome<ValueId> {
        let (weights, bias) = (self.weights(&[from, to])?, self.weights(&[to])?);
        let product = self.two("MatMul", x, weights)?;
        self.two("Add", product, bias)
    }

    /// `[n, length, width]` as `[n, heads, length, size]`, or its other dimensions' order.
    fn heads(
        &mut self,
        x: ValueId,
        [length, heads, size]: [i64; 3],
        order: [i64; 4],
    ) -> Outcome<ValueId> {
        let shape = self.constant(Tensor::vector(vec![-1, length, heads, size]));
        let split = self.two("Reshape", x, shape)?;
        self.node("Transpose", &[split], &[("perm", Attribute::Ints(order.to_vec()))])
    }

    fn finish(mut self, output: ValueId) -> Graph {
        self.graph.outputs.push(output);
        self.graph
    }
}

/// `residual + gelu(x + bias) * 0.5`.
fn gelu(dtype: DType, width: usize) -> Outcome<Graph> {
    let mut b = Builder::new(dtype);
    let (x, residual) = (b.input("x", &[width]), b.input("residual", &[width]));
    let (bias, half) = (b.weights(&[width])?, b.number(0.5)?);
    let sum = b.two("Add", x, bias)?;
    let gated = b.node("Gelu", &[sum], &[])?;
    let scaled = b.two("Mul", gated, half)?;
    let y = b.two("Add", residual, scaled)?;
    Ok(b.finish(y))
}

/// `softmax(x * scale + mask)`.
fn softmax(dtype: DType, width: usize) -> Outcome<Graph> {
    let mut b = Builder::new(dtype);
    let x = b.input("x", &[width]);
    let (mask, scale) = (b.weights(&[width])?, b.number(0.125)?);
    let scaled = b.two("Mul", x, scale)?;
    let masked = b.two("Add", scaled, mask)?;
    let y = b.node("Softmax", &[masked], &[])?;
    Ok(b.finish(y))
}

/// The layer norm of `x + residual`.
fn norm(dtype: DType, width: usize) -> Outcome<Graph> {
    let mut b = Builder::new(dtype);
    let (x, residual) = (b.input("x", &[width]), b.input("residual", &[width]));
    let sum = b.two("Add", x, residual)?;
    let y = b.norm(sum, width)?;
    Ok(b.finish(y))
}

type Make = fn(DType, usize) -> Outcome<Graph>;

/// Chains, with how often they read or write their elements.
const CHAINS: [(&str, Make, usize, usize); 3] =
    [("gelu", gelu, 4096, 3), ("softmax", softmax, 1024, 2), ("norm", norm, 1024, 3)];
const ROWS: usize = 16_384;

pub fn fused(bench: &Bench) -> Outcome {
    for (name, make, width, passes) in CHAINS {
        for (dtype, bytes) in [(DType::F32, 4), (DType::F16, 2)] {
            let graph = make(dtype, width)?;
            let inputs = graph.inputs.len();
            let model = Model::from_graph(graph)?;
            let session = GpuSession::new(model.graph(), bench.stream.device(), Precision::F32)?;
            check(&model, &session, &[3, width], if bytes == 4 { 1e-5 } else { 4e-3 })?;
            let shapes = vec![vec![ROWS, width]; inputs];
            let steps = session.prepare(&shapes)?;
            if steps.len() != 1 {
                return Err(format!("{name} is not one launch: {steps:?}").into());
            }
            let mut times = session.time_replays(&shapes, WARM_UP, REPLAYS)?;
            times.sort_by(f64::total_cmp);
            let (median_ms, p95_ms) = (times[REPLAYS / 2] * 1e3, times[REPLAYS * 95 / 100] * 1e3);
            let kind = if bytes == 4 { "f32" } else { "f16" };
            let shape = format!("{name} {kind} {ROWS}x{width}");
            let amount = (passes * bytes * ROWS * width) as f64;
            bench.report("fused", &shape, Time { median_ms, p95_ms }, amount, Unit::TbPerS);
        }
    }
    Ok(())
}

const LENGTH: usize = 128;
const WIDTH: usize = 768;
const HEADS: usize = 12;
const INNER: usize = 3072;

/// A layer of BERT: attention, then two products, each with a residual and a norm.
fn layer() -> Outcome<Graph> {
    let mut b = Builder::new(DType::F32);
    let x = b.input("x", &[LENGTH, WIDTH]);
    let split = [LENGTH as i64, HEADS as i64, (WIDTH / HEADS) as i64];
    let mut parts = Vec::new();
    for order in [[0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]] {
        let projected = b.linear(x, [WIDTH, WIDTH])?;
        parts.push(b.heads(projected, split, order)?);
    }
    let scores = b.two("MatMul", parts[0], parts[1])?;
    let root = b.number(((WIDTH / HEADS) as f32).sqrt())?;
    let scaled = b.two("Div", scores, root)?;
    let probabilities = b.node("Softmax", &[scaled], &[])?;
    let mixed = b.two("MatMul", probabilities, parts[2])?;
    let turned = b.node("Transpose", &[mixed], &[("perm", Attribute::Ints(vec![0, 2, 1, 3]))])?;
    let flat = b.constant(Tensor::vector(vec![-1, LENGTH as i64, WIDTH as i64]));
    let joined = b.two("Reshape", turned, flat)?;
    let out = b.linear(joined, [WIDTH, WIDTH])?;
    let sum = b.two("Add", x, out)?;
    let x = b.norm(sum, WIDTH)?;
    let inner = b.linear(x, [WIDTH, INNER])?;
    let gated = b.node("Gelu", &[inner], &[])?;
    let out = b.linear(gated, [INNER, WIDTH])?;
    let sum = b.two("Add", x, out)?;
    let y = b.norm(sum, WIDTH)?;
    Ok(b.finish(y))
}

pub fn transformer(bench: &Bench) -> Outcome {
    let model = Model::from_graph(layer()?)?;
    for (name, precision, bound) in [("f32", Precision::F32, 1e-4), ("tf32", Precision::TF32, 1e-2)]
    {
        let session = GpuSession::new(model.graph(), bench.stream.device(), precision)?;
        check(&model, &session, &[2, LENGTH, WIDTH], bound)?;
        for batch in [1usize, 32] {
            let shapes = [vec![batch, LENGTH, WIDTH]];
            session.time_back_to_back(&shapes, WARM_UP)?;
            let mean_ms = session.time_back_to_back(&shapes, REPLAYS)? * 1e3;
            for step in session.prepare(&shapes)?.iter().filter(|_| batch == 1) {
                eprintln!("  {:44} {}", step.kernel, step.nodes);
            }
            let shape = format!("{name} {batch}x{LENGTH}x{WIDTH}");
            let products = 2 * batch * LENGTH * WIDTH * (4 * WIDTH + 2 * INNER);
            let flops = products + 4 * batch * LENGTH * LENGTH * WIDTH;
            let time = Time { median_ms: mean_ms, p95_ms: mean_ms };
            bench.report("transformer", &shape, time, flops as f64, Unit::Tflops);
        }
    }
    Ok(())
}

/// Holds a small run against the CPU's.
fn check(model: &Model, session: &GpuSession, shape: &[usize], bound: f32) -> Outcome {
    let graph = model.graph();
    let len: usize = shape.iter().product();
    let mut inputs = Vec::new();
    for (at, &id) in graph.inputs.iter().enumerate() {
        let Some(ValueType::Tensor(dtype, _)) = graph.values[id.index()].declared else {
            return Err("an input has no type".into());
        };
        let element = |i: usize| (((i + 3 * at) * 7919) % 511) as f32 / 128.0 - 2.0;
        let tensor = Tensor::computed(shape, dtype, (0..len).map(element).collect::<Vec<_>>())?;
        inputs.push((graph.name_of(id).to_owned(), Value::Tensor(tensor)));
    }
    let reference = model.on(&raddle::Device::cpu(), Options::default())?;
    let elements = |outputs: Vec<(String, Value)>| -> Outcome<Vec<f32>> {
        let tensor = outputs.into_iter().next().and_then(|(_, value)| value.into_tensor());
        let tensor = tensor.ok_or("the output is no tensor")?;
        Ok(f32::widen(&tensor)?.into_owned())
    };
    let (expected, found) =
        (elements(reference.run(inputs.clone())?)?, elements(session.run(inputs)?)?);
    let scale = expected.iter().fold(0f32, |max, x| max.max(x.abs()));
    let worst = expected.iter().zip(&found).fold(0f32, |max, (a, b)| max.max((a - b).abs()));
    match expected.len() == found.len() && worst <= bound * scale {
        true => Ok(()),
        false => Err(format!("off by {worst} of {scale}").into()),
    }
}
