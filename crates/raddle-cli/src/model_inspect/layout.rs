//! Places for the nodes of a graph: layers from top to bottom, each node below
//! all that it reads, neighbours near each other.
//!
//! *Source*: Sugiyama, Tagawa and Toda 1981: longest-path layers, points on edges
//! that cross layers, order by barycentres; places then settle near the mean of
//! their neighbours'.

/// A node to be placed.
#[derive(Debug, Clone)]
pub struct Box {
    pub width: f64,
    /// Indices of the nodes that it reads, all smaller than its own.
    pub reads: Vec<usize>,
}

/// Where everything is.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// Centre and layer of each node.
    pub places: Vec<(f64, usize)>,
    /// For each edge, the node that is read, the one that reads, and the centre of
    /// the edge in each layer between them.
    pub edges: Vec<Edge>,
    /// From the leftmost to the rightmost point.
    pub width: f64,
    pub layers: usize,
}

/// An edge of the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    pub between: Vec<f64>,
}

/// Space between neighbours.
const GAP: f64 = 24.0;
/// Width of a point on an edge.
const POINT: f64 = 8.0;
/// Points on edges beyond which edges are drawn straight.
const POINTS_MAX: usize = 20_000;
const SWEEPS: usize = 8;

/// Something in a layer: a node or a point on an edge.
struct Item {
    layer: usize,
    width: f64,
    x: f64,
    above: Vec<usize>,
    below: Vec<usize>,
}

/// Places nodes.
pub fn place(boxes: &[Box]) -> Layout {
    let mut layer_of: Vec<usize> = Vec::with_capacity(boxes.len());
    for node in boxes {
        let above = node.reads.iter().map(|&read| layer_of[read] + 1).max();
        layer_of.push(above.unwrap_or(0));
    }
    let item = |(node, &layer): (&Box, &usize)| Item {
        layer,
        width: node.width,
        x: 0.0,
        above: Vec::new(),
        below: Vec::new(),
    };
    let mut items: Vec<Item> = boxes.iter().zip(&layer_of).map(item).collect();
    let chains = connect(boxes, &layer_of, &mut items);
    let count = layer_of.iter().max().map_or(0, |layer| layer + 1);
    let mut layers = vec![Vec::new(); count];
    for (at, item) in items.iter().enumerate() {
        layers[item.layer].push(at);
    }
    settle(&mut items, &mut layers);
    let left = items.iter().map(|item| item.x - item.width / 2.0).fold(f64::INFINITY, f64::min);
    let right = items.iter().map(|item| item.x + item.width / 2.0).fold(0.0, f64::max);
    let left = if left.is_finite() { left } else { 0.0 };
    let edges = chains.into_iter().map(|(from, to, points)| Edge {
        from,
        to,
        between: points.iter().map(|&point| items[point].x - left).collect(),
    });
    Layout {
        edges: edges.collect(),
        places: items[..boxes.len()].iter().map(|item| (item.x - left, item.layer)).collect(),
        width: right - left,
        layers: count,
    }
}

/// Connects items, with a point in every layer that an edge crosses.
fn connect(
    boxes: &[Box],
    layer_of: &[usize],
    items: &mut Vec<Item>,
) -> Vec<(usize, usize, Vec<usize>)> {
    let spans = boxes.iter().enumerate().flat_map(|(to, node)| {
        node.reads.iter().map(move |&from| layer_of[to] - layer_of[from] - 1)
    });
    let has_points = spans.sum::<usize>() <= POINTS_MAX;
    let mut chains = Vec::new();
    for (to, node) in boxes.iter().enumerate() {
        for &from in &node.reads {
            let mut points = Vec::new();
            let mut last = from;
            let between = if has_points { layer_of[from] + 1..layer_of[to] } else { 0..0 };
            for layer in between {
                let point = items.len();
                let item =
                    Item { layer, width: POINT, x: 0.0, above: vec![last], below: Vec::new() };
                items.push(item);
                items[last].below.push(point);
                points.push(point);
                last = point;
            }
            items[last].below.push(to);
            items[to].above.push(last);
            chains.push((from, to, points));
        }
    }
    chains
}

/// Orders every layer by its neighbours' places, then moves items towards them.
fn settle(items: &mut [Item], layers: &mut [Vec<usize>]) {
    for layer in layers.iter() {
        spread(items, layer);
    }
    for sweep in 0..SWEEPS {
        let is_down = sweep % 2 == 0;
        let order: Vec<usize> = match is_down {
            true => (0..layers.len()).collect(),
            false => (0..layers.len()).rev().collect(),
        };
        for at in order {
            let wanted = |item: usize| {
                let near = if is_down { &items[item].above } else { &items[item].below };
                let sum: f64 = near.iter().map(|&other| items[other].x).sum();
                if near.is_empty() { items[item].x } else { sum / near.len() as f64 }
            };
            let mut places: Vec<(f64, usize)> =
                layers[at].iter().map(|&item| (wanted(item), item)).collect();
            places.sort_by(|a, b| a.0.total_cmp(&b.0));
            layers[at] = places.iter().map(|&(_, item)| item).collect();
            for (x, item) in places {
                items[item].x = x;
            }
            separate(items, &layers[at]);
        }
    }
}

/// Items beside each other.
fn spread(items: &mut [Item], layer: &[usize]) {
    let mut x = 0.0;
    for &item in layer {
        items[item].x = x + items[item].width / 2.0;
        x += items[item].width + GAP;
    }
}

/// Moves items of a layer apart, to both sides alike.
fn separate(items: &mut [Item], layer: &[usize]) {
    let space = |items: &[Item], a: usize, b: usize| (items[a].width + items[b].width) / 2.0 + GAP;
    let mut right: Vec<f64> = layer.iter().map(|&item| items[item].x).collect();
    let mut left = right.clone();
    for at in 1..layer.len() {
        right[at] = right[at].max(right[at - 1] + space(items, layer[at - 1], layer[at]));
    }
    for at in (1..layer.len()).rev() {
        left[at - 1] = left[at - 1].min(left[at] - space(items, layer[at - 1], layer[at]));
    }
    for (at, &item) in layer.iter().enumerate() {
        // The mean of two arrangements without overlap has none either.
        items[item].x = (left[at] + right[at]) / 2.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(reads: &[usize]) -> Box {
        Box { width: 40.0, reads: reads.to_vec() }
    }

    #[test]
    fn nodes_stand_below_what_they_read_and_apart() {
        // A diamond with a long edge past it.
        let boxes = [node(&[]), node(&[0]), node(&[0]), node(&[1, 2]), node(&[0, 3])];
        let layout = place(&boxes);
        let layers: Vec<usize> = layout.places.iter().map(|(_, layer)| *layer).collect();
        assert_eq!((layers, layout.layers), (vec![0, 1, 1, 2, 3], 4));
        assert!((layout.places[1].0 - layout.places[2].0).abs() >= 40.0 + GAP - 1e-9);
        let long = layout.edges.iter().find(|edge| (edge.from, edge.to) == (0, 4)).unwrap();
        assert_eq!(long.between.len(), 2);
        for (x, _) in &layout.places {
            assert!(*x >= 20.0 - 1e-9 && *x <= layout.width - 20.0 + 1e-9);
        }
        assert_eq!(place(&[]).layers, 0);
    }
}
