//! A report as text and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::fused::{ALIGNMENT, Arena, Fused};
use super::launches::Launches;
use super::report::Report;
use super::structure::Node;

/// As text.
pub fn text(report: &Report, with_nodes: bool) -> String {
    let mut text = String::new();
    head(report, &mut text).expect("text takes all");
    if with_nodes {
        nodes(report, &mut text).expect("text takes all");
    }
    launches(report, &mut text).expect("text takes all");
    text
}

/// What the nodes become on a device.
fn launches(report: &Report, text: &mut String) -> std::fmt::Result {
    let launches = match &report.launches {
        None => return Ok(()),
        Some(Err(reason)) => return writeln!(text, "\nlaunches    none: {reason}"),
        Some(Ok(launches)) => launches,
    };
    let Launches { device, dtype, steps } = launches;
    writeln!(text, "\n{:<52}nodes, on {device} in {dtype}", "launch")?;
    for step in steps {
        writeln!(text, "{:<52}{}", step.kernel, step.nodes)?;
    }
    Ok(())
}

fn head(report: &Report, text: &mut String) -> std::fmt::Result {
    let structure = &report.structure;
    let opsets: Vec<String> = structure
        .opsets
        .iter()
        .map(|(name, version)| match name.as_str() {
            "" => format!("opset {version}"),
            name => format!("{name} {version}"),
        })
        .collect();
    writeln!(text, "model       {}: {}", report.model, opsets.join(", "))?;
    if !structure.producer.is_empty() {
        writeln!(text, "written by  {}", structure.producer)?;
    }
    for (label, list) in [("input", &structure.inputs), ("output", &structure.outputs)] {
        for (name, declared) in list {
            writeln!(text, "{label:<12}{name}: {declared}")?;
        }
    }
    let (len, bytes) = report.weights();
    let count = structure.constants.len();
    writeln!(text, "weights     {} values in {count} arrays, {}", grouped(len), size(bytes))?;
    match &report.cost {
        Ok(cost) => {
            if !cost.dims.is_empty() {
                let dims = cost.dims.iter().map(|(name, len)| format!("{name} = {len}"));
                writeln!(text, "dimensions  {}", dims.collect::<Vec<_>>().join(", "))?;
            }
            let flops: u64 = report.ops.iter().map(|row| row.flops).sum();
            writeln!(text, "compute     {:.3} GFLOP", flops as f64 / 1e9)?;
        }
        Err(reason) => writeln!(text, "shapes      unknown: {reason}")?,
    }
    let folded = structure.nodes.len() - report.live_nodes().len();
    writeln!(text, "nodes       {}, {folded} of them constants", structure.nodes.len())?;
    fused(report, text)?;
    support(report, text)?;
    writeln!(text, "\n{:<28}{:>7}{:>14}{:>14}", "operation", "nodes", "weights", "MFLOP")?;
    for row in &report.ops {
        let mark = if row.is_supported { "" } else { "  not supported" };
        let flops = row.flops as f64 / 1e6;
        let weights = grouped(row.parameters);
        writeln!(text, "{:<28}{:>7}{weights:>14}{flops:>14.2}{mark}", row.op, row.nodes)?;
    }
    Ok(())
}

/// What the passes did, and the memory of what is left.
fn fused(report: &Report, text: &mut String) -> std::fmt::Result {
    let fused = match &report.fused {
        Ok(fused) => fused,
        Err(reason) => return writeln!(text, "fused       unknown: {reason}"),
    };
    let (before, after) = (report.structure.nodes.len(), fused.nodes.len());
    writeln!(text, "fused       {before} nodes become {after}")?;
    for (recipe, count) in fused.recipes() {
        writeln!(text, "            {count} of {recipe}")?;
    }
    if let Some(plan) = &fused.memory.plan {
        let all: usize = fused.memory.requests.iter().map(|request| request.bytes).sum();
        writeln!(
            text,
            "memory      an arena of {} for {} values of {}; what lives at once needs {}",
            size(plan.peak_bytes as u64),
            fused.memory.requests.len(),
            size(all as u64),
            size(plan.bound_bytes as u64)
        )?;
    }
    if !fused.memory.open.is_empty() {
        let open = fused.memory.open.join(", ");
        writeln!(text, "            sizes that depend on data: {open}")?;
    }
    Ok(())
}

fn support(report: &Report, text: &mut String) -> std::fmt::Result {
    match &report.load_error {
        None => {
            writeln!(
                text,
                "support     all nodes run on the CPU; `raddle run --device gpu` names what a GPU \
                 lacks"
            )?;
            match &report.half {
                Ok(route) => writeln!(text, "gpu in f16  {route}"),
                Err(reason) => writeln!(text, "gpu in f16  unknown: {reason}"),
            }
        }
        Some(error) => {
            writeln!(text, "support     the model does not load: {error}")?;
            for (node, reason) in report.problems() {
                writeln!(text, "            node {} ({}): {reason}", node.title(), node.op)?;
            }
            Ok(())
        }
    }
}

fn nodes(report: &Report, text: &mut String) -> std::fmt::Result {
    writeln!(
        text,
        "\n{:<40}{:<22}{:<28}{:>12}{:>12}",
        "node", "operation", "output", "weights", "MFLOP"
    )?;
    for node in &report.structure.nodes {
        let flops = report.flops(node) as f64 / 1e6;
        let (title, shape, weights) = (node.title(), shape(report, node), report.parameters(node));
        writeln!(text, "{title:<40}{:<22}{shape:<28}{weights:>12}{flops:>12.2}", node.op)?;
    }
    let Ok(fused) = &report.fused else { return Ok(()) };
    writeln!(text, "\n{:<40}{:<22}{:<28}made of", "runs as", "operation", "output")?;
    for node in &fused.nodes {
        let title = node.outputs.first().map_or("", String::as_str);
        writeln!(text, "{title:<40}{:<22}{:<28}{}", node.op, node.output_type, node.recipe())?;
    }
    Ok(())
}

/// Type and shape of a node's first output: `float[n, 64, 112, 112]`.
pub fn shape(report: &Report, node: &Node) -> String {
    let types = node.outputs.iter().map(|output| report.symbolic(output));
    types.into_iter().find(|text| !text.is_empty()).unwrap_or_default().to_owned()
}

/// A number with a comma at every third digit.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in a unit that suits.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// As JSON.
pub fn json(report: &Report) -> Value {
    let structure = &report.structure;
    let edges = |list: &[(String, String)]| -> Vec<Value> {
        list.iter().map(|(name, declared)| json!({ "name": name, "type": declared })).collect()
    };
    let (parameters, parameter_bytes) = report.weights();
    let ops = report.ops.iter().map(|row| {
        json!({
            "op": row.op, "nodes": row.nodes, "parameters": row.parameters, "flops": row.flops,
            "supported": row.is_supported,
        })
    });
    let nodes = structure.nodes.iter().map(|node| {
        let outputs = node.outputs.iter().map(|name| {
            let kind = report.kind(name);
            json!({
                "name": name, "dtype": kind.map(|kind| kind.dtype.name()),
                "shape": kind.map(|kind| &kind.shape), "type": report.symbolic(name),
            })
        });
        json!({
            "name": node.name, "op": node.op, "inputs": node.inputs,
            "outputs": outputs.collect::<Vec<_>>(), "parameters": report.parameters(node),
            "flops": report.flops(node), "problems": node.problems,
        })
    });
    let opsets = structure
        .opsets
        .iter()
        .map(|(domain, version)| json!({ "domain": domain, "version": version }));
    let is_measured = report.cost.is_ok();
    json!({
        "model": report.model,
        "ir_version": structure.ir_version,
        "producer": structure.producer,
        "opsets": opsets.collect::<Vec<_>>(),
        "inputs": edges(&structure.inputs),
        "outputs": edges(&structure.outputs),
        "parameters": parameters,
        "parameter_bytes": parameter_bytes,
        "dims": report.cost.as_ref().map(|cost| cost.dims.clone()).unwrap_or_default(),
        "flops": is_measured.then(|| report.ops.iter().map(|row| row.flops).sum::<u64>()),
        "runs_as": report.fused.as_ref().ok().map(runs_as),
        "memory_plan": report.fused.as_ref().ok().map(|fused| memory_plan(&fused.memory)),
        "gpu_f16": report.half.as_ref().ok().map(ToString::to_string),
        "launches": report.launches.as_ref().and_then(|it| it.as_ref().ok()).map(launches_json),
        "launches_error": report.launches.as_ref().and_then(|it| it.as_ref().err()),
        "load_error": report.load_error,
        "shape_error": report.cost.as_ref().err(),
        "ops": ops.collect::<Vec<_>>(),
        "nodes": nodes.collect::<Vec<_>>(),
    })
}

fn launches_json(launches: &Launches) -> Value {
    let steps = launches.steps.iter();
    let steps = steps.map(|step| json!({ "kernel": step.kernel, "nodes": step.nodes }));
    json!({
        "device": launches.device, "dtype": launches.dtype, "steps": steps.collect::<Vec<_>>(),
    })
}

/// The graph after all passes.
fn runs_as(fused: &Fused) -> Value {
    let passes = fused.passes.iter().map(
        |(name, summary, changes)| json!({ "name": name, "summary": summary, "changes": changes }),
    );
    let nodes = fused.nodes.iter().map(|node| {
        let made_of = node.made_of.iter().map(|(op, name)| json!({ "op": op, "name": name }));
        json!({
            "op": node.op, "inputs": node.inputs, "outputs": node.outputs,
            "type": node.output_type, "made_of": made_of.collect::<Vec<_>>(),
        })
    });
    json!({ "passes": passes.collect::<Vec<_>>(), "nodes": nodes.collect::<Vec<_>>() })
}

fn memory_plan(arena: &Arena) -> Value {
    let plan = arena.plan.as_ref();
    let offsets = plan.map_or(&[][..], |plan| &plan.offsets);
    let values = arena.names.iter().zip(&arena.requests).zip(offsets);
    let values = values.map(|((name, request), offset)| {
        json!({
            "name": name, "bytes": request.bytes, "offset": offset,
            "first_step": request.first, "last_step": request.last,
            "shares": request.shares.map(|other| &arena.names[other]),
        })
    });
    json!({
        "peak_bytes": plan.map(|plan| plan.peak_bytes),
        "bound_bytes": plan.map(|plan| plan.bound_bytes),
        "alignment": ALIGNMENT, "values": values.collect::<Vec<_>>(), "open": arena.open,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1_000, 11_689_512].map(grouped), ["0", "999", "1,000", "11,689,512"]);
        assert_eq!([9_999, 10_000, 46_760_000].map(size), ["9999 bytes", "10.0 kB", "46.8 MB"]);
    }
}
