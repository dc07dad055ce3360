//! A classifier of token sequences: embedding, two recurrent layers, one fully
//! connected one. *Source*: Hochreiter and Schmidhuber 1997; ONNX, `LSTM`.

use raddle_tensor::DType;

use super::{BATCH, logits};
use crate::Result;
use crate::builder::{Attribute, Builder, Dim, Value};
use crate::parameters::Init;

/// Tokens that are known.
const VOCABULARY: usize = 1_000;
/// Values for a token.
const EMBEDDING: usize = 64;
/// Values of a layer's state.
const HIDDEN: usize = 128;
/// Recurrent layers.
const LAYERS: usize = 2;
/// Classes.
const CLASSES: usize = 10;

pub fn lstm(builder: &mut Builder<'_>) -> Result<()> {
    let tokens = builder.input("tokens", DType::I64, &[BATCH, Dim::Free("t")]);
    let table =
        builder.parameter("embedding.weight", &[VOCABULARY, EMBEDDING], Init::Normal(1.0))?;
    let x = builder.node("Gather", "embedding", &[&table, &tokens], &[]);
    // [n, t, 64] to [t, n, 64]
    let perm = [("perm", Attribute::Ints(&[1, 0, 2]))];
    let mut x = builder.node("Transpose", "time_first", &[&x], &perm);
    for layer in 0..LAYERS {
        x = recurrent(builder, layer, &x)?;
    }
    let axes = builder.ints("last.axes", &[0]);
    let x = builder.node("Squeeze", "last", &[&x, &axes], &[]);
    let init = Init::default_of(HIDDEN);
    let x = builder.linear("fc", &x, [HIDDEN, CLASSES], [init, init])?;
    logits(builder, &x, CLASSES);
    Ok(())
}

/// One layer. `[t, n, inputs]` to all its states `[t, n, 128]`, and for the last
/// layer to the final state `[1, n, 128]`.
fn recurrent(builder: &mut Builder<'_>, layer: usize, x: &Value) -> Result<Value> {
    let inputs = if layer == 0 { EMBEDDING } else { HIDDEN };
    let init = Init::default_of(HIDDEN);
    let at = |part: &str| format!("lstm.{part}_l{layer}");
    let w = builder.parameter(&at("weight_ih"), &[1, 4 * HIDDEN, inputs], init)?;
    let r = builder.parameter(&at("weight_hh"), &[1, 4 * HIDDEN, HIDDEN], init)?;
    let b = builder.parameter(&at("bias"), &[1, 8 * HIDDEN], init)?;
    let attributes = [("hidden_size", Attribute::Int(HIDDEN as i64))];
    let inputs = [Some(x), Some(&w), Some(&r), Some(&b)];
    if layer + 1 == LAYERS {
        return Ok(builder.node_with_gaps("LSTM", &at("state"), &inputs, 1, &attributes));
    }
    // [t, directions, n, 128]
    let states = builder.node_with_gaps("LSTM", &at("states"), &inputs, 0, &attributes);
    let axes = builder.ints(&at("axes"), &[1]);
    Ok(builder.node("Squeeze", &at("output"), &[&states, &axes], &[]))
}
