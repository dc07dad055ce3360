//! One model for `side_by_side.py`: runs it on given inputs, writes what it
//! gives, then measures on demand, so that two programs can take turns on a busy
//! machine.
//!
//! `side_by_side MODEL INPUTS.npz OUTPUTS.npz [zoo]`; then each line `N` on
//! standard input makes N runs and prints the shortest in nanoseconds. With
//! `zoo` the model is first written to MODEL by the network of its file name.

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use raddle_onnx::{Model, Tensor, Value};
use raddle_weights::{Array, Weights, npz};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, inputs, outputs, more @ ..] = &arguments[..] else {
        return Err("usage: side_by_side MODEL INPUTS.npz OUTPUTS.npz [zoo]".into());
    };
    if !more.is_empty() {
        let name = Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let bytes = raddle_zoo::find(name)?.build(raddle_zoo::Source::Seed(0))?;
        return Ok(std::fs::write(path, bytes)?);
    }
    let model = Model::load(path)?;
    let named = named(npz::read(inputs)?);
    let found = model.run(named.clone())?;
    write(outputs, &found)?;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let count: u32 = line?.trim().parse()?;
        println!("{}", shortest(&model, &named, count)?);
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn named(weights: Weights) -> Vec<(String, Value)> {
    let tensor = |(name, array)| (name, Value::from(Tensor::from(array)));
    weights.arrays.into_iter().map(tensor).collect()
}

/// Outputs that are tensors, under their numbers: names may be anything.
fn write(path: &str, found: &[(String, Value)]) -> Outcome<()> {
    let mut arrays = Vec::new();
    for (at, (_, value)) in found.iter().enumerate() {
        if let Some(tensor) = value.as_tensor() {
            arrays.push((at.to_string(), Array::try_from(tensor)?));
        }
    }
    let arrays = arrays.iter().map(|(name, array)| (name.as_str(), array));
    Ok(npz::write(path, arrays, npz::Compression::Stored)?)
}

/// Nanoseconds of the shortest of some runs.
fn shortest(model: &Model, named: &[(String, Value)], count: u32) -> Outcome<u128> {
    let mut least = u128::MAX;
    for _ in 0..count {
        let inputs = named.to_vec();
        let start = Instant::now();
        model.run(inputs)?;
        least = least.min(start.elapsed().as_nanos());
    }
    Ok(least)
}
