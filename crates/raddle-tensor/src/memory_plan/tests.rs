//! Random blocks against what a placement must keep, and small graphs.

use super::*;
use crate::graph::Attribute;
use crate::ops;

/// Numbers that are the same everywhere.
fn numbers(mut state: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    }
}

/// No two that are alive together overlap, all are aligned, and the peak is what they reach.
fn check(requests: &[Request], alignment: usize) -> MemoryPlan {
    let found = plan(requests, alignment);
    let (blocks, block_of) = blocks(requests, alignment);
    let mut end = 0;
    for (at, request) in requests.iter().enumerate() {
        assert_eq!(found.offsets[at] % alignment, 0);
        end = end.max(found.offsets[at] + request.bytes.next_multiple_of(alignment));
        for other in 0..at {
            let (a, b) = (blocks[block_of[at]], blocks[block_of[other]]);
            if block_of[at] == block_of[other] {
                assert_eq!(found.offsets[at], found.offsets[other]);
            } else if a.meets(&b) && a.bytes > 0 && b.bytes > 0 {
                let (x, y) = (found.offsets[at], found.offsets[other]);
                assert!(x + a.bytes <= y || y + b.bytes <= x, "{at} and {other} overlap");
            }
        }
    }
    assert!(found.peak_bytes >= found.bound_bytes && found.peak_bytes <= end.max(found.peak_bytes));
    found
}

#[test]
fn blocks_that_live_together_lie_apart() {
    for seed in 0..40 {
        let mut number = numbers(seed);
        let count = 1 + number(60);
        let requests: Vec<Request> = (0..count)
            .map(|at| {
                let first = number(30);
                let shares = (at > 0 && number(5) == 0).then(|| number(at));
                Request { bytes: number(5_000), first, last: first + number(8), shares }
            })
            .collect();
        check(&requests, [1, 64, 256][number(3)]);
    }
}

#[test]
fn a_chain_needs_two_places_and_a_residual_three() {
    let block = |first, last| Request { bytes: 1_000, first, last, shares: None };
    let chain: Vec<_> = (0..20).map(|step| block(step, step + 1)).collect();
    assert_eq!(check(&chain, 8).peak_bytes, 2_000);
    let mut residual = chain;
    residual[3].last = 6;
    let found = check(&residual, 8);
    assert_eq!((found.peak_bytes, found.bound_bytes), (3_000, 3_000));
    assert_eq!(check(&[], 64).peak_bytes, 0);
}

fn node(graph: &mut Graph, name: &str, inputs: &[ValueId]) -> ValueId {
    let output = graph.add_value(format!("{name}{}", graph.values.len()), None);
    let axis = ("axis".to_owned(), Attribute::Int(1));
    let node = Node {
        name: String::new(),
        op: ops::find("", name, 17).expect("in the table"),
        inputs: inputs.iter().copied().map(Some).collect(),
        outputs: vec![Some(output)],
        attributes: if name == "Flatten" { vec![axis] } else { Vec::new() },
        opset: 17,
    };
    graph.add_node(node).expect("fits its row");
    output
}

#[test]
fn results_lie_over_operands_that_nobody_needs() {
    let mut graph = Graph::default();
    let x = graph.add_value("x", None);
    graph.inputs = vec![x];
    let a = node(&mut graph, "Exp", &[x]); // a place of its own: the input is the caller's
    let b = node(&mut graph, "Relu", &[a]); // over a
    let c = node(&mut graph, "Flatten", &[b]); // a view of b
    let d = node(&mut graph, "Add", &[b, c]); // one place twice: neither
    let e = node(&mut graph, "Mul", &[d, b]); // over d, for b is read again
    let f = node(&mut graph, "Add", &[e, b]); // over e
    graph.outputs = vec![f];
    let found = requests(&graph, |_| Some(400)).expect("a sound graph");
    assert_eq!(found.values, [a, b, c, d, e, f]);
    let shares: Vec<_> = found.requests.iter().map(|it| it.shares).collect();
    assert_eq!(shares, [None, Some(0), Some(1), None, Some(3), Some(4)]);
    let plan = check(&found.requests, 256);
    assert_eq!((plan.peak_bytes, plan.bound_bytes), (1_024, 1_024));
    let open = requests(&graph, |id| (id != b).then_some(4)).expect("a sound graph");
    assert_eq!((open.open, open.requests.len()), (vec![b], 5));
}
