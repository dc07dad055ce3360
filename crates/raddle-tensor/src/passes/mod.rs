//! Passes over a graph, in the order in which they run. Each has a name, changes
//! nothing that a user can observe but time and memory, and can run alone. Those that
//! change results are a list of their own.

mod activations;
mod attention;
mod blocks;
mod convolutions;
mod dead;
mod fold;
mod gelu;
mod half;
mod identities;
mod layout;
mod products;
mod recurrent;

pub use half::to_half;

use std::collections::HashMap;

use crate::graph::{Graph, Node, ValueId};
use crate::{Result, Tensor};

/// A pass.
pub struct Pass {
    /// Name, as reports show it.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Whether it gains on the CPU; one that does not is for sessions on GPUs.
    pub on_cpu: bool,
    /// Runs it; returns how many nodes it changed or removed.
    pub run: fn(&mut Graph) -> Result<usize>,
}

/// All passes in order.
pub const PASSES: [Pass; 11] = [
    Pass {
        name: "fold-constants",
        summary: "computes what depends on constants only",
        on_cpu: true,
        run: fold::fold_constants,
    },
    Pass {
        name: "fold-batch-norm",
        summary: "multiplies batch normalisation into the weights of the convolution before it",
        on_cpu: true,
        run: fold::fold_batch_norm,
    },
    Pass {
        name: "skip-identities",
        summary: "reads what operations that change nothing read",
        on_cpu: true,
        run: identities::skip,
    },
    Pass {
        name: "fuse-gelu",
        summary: "makes one operation of the activation that older models spell out",
        on_cpu: true,
        run: gelu::fuse,
    },
    Pass {
        name: "fuse-attention",
        summary: "makes one operation of the attention that older models spell out, for GPUs",
        on_cpu: false,
        run: attention::fuse,
    },
    Pass {
        name: "transpose-weights",
        summary: "stores weights the way round that their product reads them",
        on_cpu: true,
        run: layout::transpose_weights,
    },
    Pass {
        name: "pack-convolutions",
        summary: "packs weights of convolutions, takes an addition and an activation into them",
        on_cpu: true,
        run: convolutions::pack,
    },
    Pass {
        name: "keep-blocks",
        summary: "moves what lies between convolutions into their layout of channels in blocks",
        on_cpu: true,
        run: blocks::keep,
    },
    Pass {
        name: "pack-products",
        summary: "packs constant matrices of products, takes the addition of a row into them",
        on_cpu: true,
        run: products::pack,
    },
    Pass {
        name: "pack-recurrent",
        summary: "packs constant weights of recurrent layers",
        on_cpu: true,
        run: recurrent::pack,
    },
    Pass {
        name: "remove-dead",
        summary: "removes nodes and constants that nothing needs",
        on_cpu: true,
        run: dead::remove,
    },
];

/// Passes that run where they are asked for only: they change results within the
/// precision of the type that they are named after.
pub const ON_REQUEST: [Pass; 2] = [
    Pass {
        name: "to-half-f16",
        summary: "computes in f16 what keeps its range and digits there",
        on_cpu: true,
        run: half::to_f16,
    },
    Pass {
        name: "to-half-bf16",
        summary: "computes in bf16 what keeps its digits there",
        on_cpu: true,
        run: half::to_bf16,
    },
];

/// Runs the passes that gain on the CPU; returns the name of each pass with the number of its
/// changes, which is none for the others.
///
/// ## Errors
/// Those of the passes; the graph is then not to be used.
pub fn optimise(graph: &mut Graph) -> Result<Vec<(&'static str, usize)>> {
    let run = |pass: &Pass| Ok((pass.name, if pass.on_cpu { (pass.run)(graph)? } else { 0 }));
    PASSES.iter().map(run).collect()
}

/// Who makes and who reads each value, and which values are constants.
struct Uses {
    /// Nodes that read a value, once for each read.
    readers: Vec<Vec<usize>>,
    producers: Vec<Option<usize>>,
    is_output: Vec<bool>,
}

impl Uses {
    fn of(graph: &Graph) -> Self {
        let mut readers = vec![Vec::new(); graph.values.len()];
        let mut producers = vec![None; graph.values.len()];
        let mut is_output = vec![false; graph.values.len()];
        for (at, node) in graph.nodes.iter().enumerate() {
            node.reads().for_each(|id| readers[id.index()].push(at));
            node.outputs.iter().flatten().for_each(|id| producers[id.index()] = Some(at));
        }
        graph.outputs.iter().for_each(|id| is_output[id.index()] = true);
        Self { readers, producers, is_output }
    }

    /// The one node that reads a value which nothing else sees.
    fn only_reader(&self, value: ValueId) -> Option<usize> {
        match self.readers[value.index()][..] {
            [reader] if !self.is_output[value.index()] => Some(reader),
            _ => None,
        }
    }

    fn producer(&self, value: ValueId) -> Option<usize> {
        self.producers[value.index()]
    }
}

/// Constants by value. Those that are defaults of inputs are not among them:
/// a run may replace them.
fn constants(graph: &Graph) -> HashMap<ValueId, Tensor> {
    let is_fixed = |id: &ValueId| !graph.inputs.contains(id);
    graph.constants.iter().filter(|(id, _)| is_fixed(id)).cloned().collect()
}

/// An input of a node, if it is a constant.
fn constant_input<'c>(
    constants: &'c HashMap<ValueId, Tensor>,
    node: &Node,
    index: usize,
) -> Option<&'c Tensor> {
    constants.get(&node.inputs.get(index).copied().flatten()?)
}

/// The only output of a node, if it has one.
fn only_output(node: &Node) -> Option<ValueId> {
    let mut wanted = node.outputs.iter().flatten();
    match (wanted.next(), wanted.next()) {
        (Some(&output), None) if node.outputs.first() == Some(&Some(output)) => Some(output),
        _ => None,
    }
}

/// Whether a node is ONNX's own operation of this name.
fn is(node: &Node, name: &str) -> bool {
    node.op.domain.is_empty() && node.op.name == name
}

/// Removes the nodes that are marked.
fn remove_nodes(graph: &mut Graph, is_gone: &[bool]) {
    let mut at = 0;
    graph.nodes.retain(|_| {
        at += 1;
        !is_gone[at - 1]
    });
}

#[cfg(test)]
mod tests;
