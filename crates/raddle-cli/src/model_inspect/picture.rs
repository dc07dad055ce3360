//! A report as a picture of the graph, alone (SVG) or on a page (HTML).

use std::collections::HashMap;
use std::fmt::Write;

use super::layout::{self, Box, Layout};
use super::report::Report;
use super::show::{grouped, shape, text};
use super::structure::Node;

/// Height of a box, and of a layer with the space below.
const BOX_HEIGHT: f64 = 36.0;
const LAYER_HEIGHT: f64 = 62.0;
/// Space around the picture.
const MARGIN: f64 = 16.0;
/// Width of a character, and of the smallest box.
const CHARACTER: f64 = 6.4;
const BOX_WIDTH_MIN: f64 = 72.0;

/// What stands in a box.
struct Label {
    title: String,
    detail: String,
    tooltip: String,
    colour: &'static str,
}

/// The graph as SVG. Nodes that only make constants are left out.
pub fn svg(report: &Report) -> String {
    let (labels, boxes) = boxes(report);
    let layout = layout::place(&boxes);
    let width = layout.width + 2.0 * MARGIN;
    let height = layout.layers as f64 * LAYER_HEIGHT + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\" font-size=\"11\" \
         text-anchor=\"middle\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    draw_edges(&layout, &mut svg);
    for ((label, node), (x, layer)) in labels.iter().zip(&boxes).zip(&layout.places) {
        let (x, y) = (x + MARGIN, top(*layer));
        writeln!(
            svg,
            "<g><title>{}</title><rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" \
             height=\"{BOX_HEIGHT}\" rx=\"6\" fill=\"{}\"/><text x=\"{x:.1}\" y=\"{:.1}\" \
             font-weight=\"bold\">{}</text><text x=\"{x:.1}\" y=\"{:.1}\" fill=\"#444\">{}</text></g>",
            escape(&label.tooltip),
            x - node.width / 2.0,
            node.width,
            label.colour,
            y + 15.0,
            escape(&label.title),
            y + 29.0,
            escape(&label.detail),
        )
        .expect("text takes all");
    }
    svg.push_str("</svg>\n");
    svg
}

/// A page with the picture and the report.
pub fn html(report: &Report) -> String {
    let name = escape(&report.model);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{name}</title>\n\
         <style>body{{font-family:sans-serif;margin:1.5em}}pre{{overflow-x:auto}}\
         .graph{{overflow:auto;max-height:90vh;border:1px solid #ccc}}</style></head>\n\
         <body><h1>{name}</h1>\n<div class=\"graph\">\n{}</div>\n<pre>{}</pre></body></html>\n",
        svg(report),
        escape(&text(report, true)),
    )
}

fn top(layer: usize) -> f64 {
    MARGIN + layer as f64 * LAYER_HEIGHT
}

/// Inputs, nodes and outputs as boxes.
fn boxes(report: &Report) -> (Vec<Label>, Vec<Box>) {
    let structure = &report.structure;
    let mut labels = Vec::new();
    let mut boxes: Vec<Box> = Vec::new();
    // The box that makes each value.
    let mut makers: HashMap<&str, usize> = HashMap::new();
    let edge = |name: &str, declared: &str, colour| Label {
        title: name.to_owned(),
        detail: declared.to_owned(),
        tooltip: format!("{name}: {declared}"),
        colour,
    };
    for (name, declared) in &structure.inputs {
        makers.insert(name, boxes.len());
        boxes.push(Box { width: 0.0, reads: Vec::new() });
        labels.push(edge(name, declared, "#d5e8d4"));
    }
    for at in report.live_nodes() {
        let node = &structure.nodes[at];
        let mut reads: Vec<usize> =
            node.inputs.iter().filter_map(|name| makers.get(name.as_str()).copied()).collect();
        reads.sort_unstable();
        reads.dedup();
        makers.extend(node.outputs.iter().map(|name| (name.as_str(), boxes.len())));
        boxes.push(Box { width: 0.0, reads });
        labels.push(node_label(report, node));
    }
    for (name, declared) in &structure.outputs {
        let reads = makers.get(name.as_str()).copied().into_iter().collect();
        boxes.push(Box { width: 0.0, reads });
        labels.push(edge(name, declared, "#d5e8d4"));
    }
    for (label, node) in labels.iter().zip(&mut boxes) {
        let longest = label.title.chars().count().max(label.detail.chars().count());
        node.width = (longest as f64 * CHARACTER + 12.0).max(BOX_WIDTH_MIN);
    }
    (labels, boxes)
}

fn node_label(report: &Report, node: &Node) -> Label {
    let detail = shape(report, node);
    let mut tooltip = format!("{} ({})", node.title(), node.op);
    let (flops, parameters) = (report.flops(node), report.parameters(node));
    for line in [
        format!("output {detail}"),
        format!("{} weights", grouped(parameters)),
        format!("{:.2} MFLOP", flops as f64 / 1e6),
    ] {
        tooltip.push('\n');
        tooltip.push_str(&line);
    }
    for problem in &node.problems {
        tooltip.push_str("\ncannot run: ");
        tooltip.push_str(problem);
    }
    let colour = if node.problems.is_empty() { colour(&node.op) } else { "#ff8a80" };
    Label { title: node.op.clone(), detail, tooltip, colour }
}

/// A colour for each family of operations.
fn colour(op: &str) -> &'static str {
    match op {
        "Conv" | "ConvTranspose" | "Gemm" | "MatMul" | "LSTM" | "GRU" | "RNN" | "Einsum" => {
            "#dae8fc"
        }
        _ if op.ends_with("Normalization") => "#e1d5e7",
        _ if op.contains("Pool") || op.starts_with("Reduce") => "#ffe6cc",
        "Reshape" | "Transpose" | "Concat" | "Slice" | "Gather" | "Flatten" | "Squeeze"
        | "Unsqueeze" | "Split" | "Shape" | "Expand" | "Pad" | "Cast" | "Identity" => "#f5f5f5",
        _ => "#fff2cc",
    }
}

fn draw_edges(layout: &Layout, svg: &mut String) {
    svg.push_str("<g fill=\"none\" stroke=\"#888\">\n");
    for edge in &layout.edges {
        let ((from, first), (to, last)) = (layout.places[edge.from], layout.places[edge.to]);
        let mut path = format!("M{:.1} {:.1}", from + MARGIN, top(first) + BOX_HEIGHT);
        let mut x_before = from + MARGIN;
        let mut y_before = top(first) + BOX_HEIGHT;
        let points = edge.between.iter().enumerate().map(|(at, x)| (*x, first + 1 + at));
        for (x, layer) in points.chain([(to, last)]) {
            let (x, y) = (x + MARGIN, top(layer));
            let middle = (y_before + y) / 2.0;
            write!(path, "C{x_before:.1} {middle:.1} {x:.1} {middle:.1} {x:.1} {y:.1}")
                .expect("text takes all");
            (x_before, y_before) = (x, y);
            if layer != last {
                // Straight past the boxes of the layer.
                y_before += BOX_HEIGHT;
                write!(path, "V{y_before:.1}").expect("text takes all");
            }
        }
        writeln!(svg, "<path d=\"{path}\"/>").expect("text takes all");
    }
    svg.push_str("</g>\n");
}

/// Text for XML; names in a model may be anything.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML has no way to say these.
            c if c.is_control() && c != '\n' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_the_picture() {
        assert_eq!(escape("a<script>&\"\u{1}"), "a&lt;script&gt;&amp;&quot;\u{fffd}");
    }
}
