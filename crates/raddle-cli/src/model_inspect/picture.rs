//! A report as a picture of the graph before and after passes, alone (SVG) or on a page (HTML).

use std::collections::HashMap;
use std::fmt::Write;

use super::fused::{Fused, FusedNode};
use super::layout::{self, Box, Layout};
use super::report::Report;
use super::show::{grouped, shape, text};
use super::structure::Node;

/// Height of a box, and of a layer with the space below.
const BOX_HEIGHT: f64 = 36.0;
const LAYER_HEIGHT: f64 = 62.0;
/// Space around the picture.
const MARGIN: f64 = 16.0;
/// Room for a title.
const TITLE_WIDTH: f64 = 120.0;
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

/// Both graphs side by side as SVG, the one as it is written on the left. Nodes
/// that only make constants are left out.
pub fn svg(report: &Report) -> String {
    let written = Drawing::of(written_boxes(report));
    let runs = report.fused.as_ref().ok().map(|fused| Drawing::of(running_boxes(report, fused)));
    let width = written.width() + runs.as_ref().map_or(0.0, Drawing::width);
    let height = runs.iter().map(Drawing::height).fold(written.height(), f64::max);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\" font-size=\"11\" \
         text-anchor=\"middle\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    written.draw("as it is written", 0.0, &mut svg);
    if let Some(runs) = &runs {
        runs.draw("as it runs", written.width(), &mut svg);
    }
    svg.push_str("</svg>\n");
    svg
}

/// A graph with places for its boxes.
struct Drawing {
    labels: Vec<Label>,
    boxes: Vec<Box>,
    layout: Layout,
}

impl Drawing {
    fn of((labels, boxes): (Vec<Label>, Vec<Box>)) -> Self {
        let layout = layout::place(&boxes);
        Self { labels, boxes, layout }
    }

    fn width(&self) -> f64 {
        self.layout.width.max(TITLE_WIDTH) + 2.0 * MARGIN
    }

    fn height(&self) -> f64 {
        top(self.layout.layers) + MARGIN
    }

    /// Draws everything `x` to the right.
    fn draw(&self, title: &str, x: f64, svg: &mut String) {
        let middle = self.width() / 2.0;
        writeln!(
            svg,
            "<g transform=\"translate({x:.1} 0)\"><text x=\"{middle:.1}\" y=\"{MARGIN}\" \
             font-size=\"13\">{title}</text>"
        )
        .expect("text takes all");
        draw_edges(&self.layout, svg);
        let places = self.labels.iter().zip(&self.boxes).zip(&self.layout.places);
        for ((label, node), (x, layer)) in places {
            draw_box(label, node.width, (x + MARGIN, top(*layer)), svg);
        }
        svg.push_str("</g>\n");
    }
}

fn draw_box(label: &Label, width: f64, (x, y): (f64, f64), svg: &mut String) {
    writeln!(
        svg,
        "<g><title>{}</title><rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" \
         height=\"{BOX_HEIGHT}\" rx=\"6\" fill=\"{}\"/><text x=\"{x:.1}\" y=\"{:.1}\" \
         font-weight=\"bold\">{}</text><text x=\"{x:.1}\" y=\"{:.1}\" fill=\"#444\">{}</text></g>",
        escape(&label.tooltip),
        x - width / 2.0,
        width,
        label.colour,
        y + 15.0,
        escape(&label.title),
        y + 29.0,
        escape(&label.detail),
    )
    .expect("text takes all");
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
    1.5 * MARGIN + layer as f64 * LAYER_HEIGHT
}

/// A node for a picture: what it reads and makes, and its box.
struct Drawn<'r> {
    reads: Vec<&'r str>,
    makes: Vec<&'r str>,
    label: Label,
}

/// The graph as it is written.
fn written_boxes(report: &Report) -> (Vec<Label>, Vec<Box>) {
    let node = |at: usize| {
        let node = &report.structure.nodes[at];
        Drawn {
            reads: node.inputs.iter().map(String::as_str).collect(),
            makes: node.outputs.iter().map(String::as_str).collect(),
            label: node_label(report, node),
        }
    };
    boxes(report, report.live_nodes().into_iter().map(node))
}

/// The graph after all passes.
fn running_boxes(report: &Report, fused: &Fused) -> (Vec<Label>, Vec<Box>) {
    let node = |node: &'_ FusedNode| {
        let mut tooltip = format!("{}\noutput {}", node.op, node.output_type);
        for (op, name) in &node.made_of {
            tooltip.push_str(&format!("\n{op}: {name}"));
        }
        let title = if node.made_of.len() > 1 { node.recipe() } else { node.op.clone() };
        let first = node.made_of.first().map_or(node.op.as_str(), |(op, _)| op);
        let colour = colour(first);
        Label { title, detail: node.output_type.clone(), tooltip, colour }
    };
    let drawn = fused.nodes.iter().map(|fused| Drawn {
        reads: fused.inputs.iter().map(String::as_str).collect(),
        makes: fused.outputs.iter().map(String::as_str).collect(),
        label: node(fused),
    });
    boxes(report, drawn)
}

/// Inputs, nodes and outputs as boxes.
fn boxes<'r>(report: &'r Report, nodes: impl Iterator<Item = Drawn<'r>>) -> (Vec<Label>, Vec<Box>) {
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
    for node in nodes {
        let mut reads: Vec<usize> =
            node.reads.iter().filter_map(|name| makers.get(name).copied()).collect();
        reads.sort_unstable();
        reads.dedup();
        makers.extend(node.makes.iter().map(|name| (*name, boxes.len())));
        boxes.push(Box { width: 0.0, reads });
        labels.push(node.label);
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
