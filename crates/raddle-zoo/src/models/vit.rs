//! Transformers: a vision transformer and a text encoder, both with normalisation
//! before each part. *Source*: Dosovitskiy et al., "An image is worth 16x16 words",
//! 2020; the sizes of `vit_tiny` are those of Touvron et al. 2020 (DeiT-Ti).

use raddle_tensor::DType;

use super::{BATCH, CLASSES, PICTURE, logits, picture};
use crate::Result;
use crate::builder::{Attribute, Builder, Dim, Value};
use crate::head::OwnHead;
use crate::layers::Conv;
use crate::parameters::Init;

/// Sizes of a transformer.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    /// Values for each token.
    width: usize,
    heads: usize,
    depth: usize,
    /// Values between the two layers after attention.
    hidden: usize,
}

/// Side of a patch in pixels.
const PATCH: usize = 16;
/// Deviation of weights; torchvision and timm truncate at two deviations, which
/// changes none of what these models are for.
const WEIGHT: Init = Init::Normal(0.02);
const ZERO: Init = Init::Constant(0.0);

pub fn vit_tiny(builder: &mut Builder<'_>) -> Result<()> {
    let sizes = Sizes { width: 192, heads: 3, depth: 12, hidden: 768 };
    let patches = (PICTURE / PATCH) * (PICTURE / PATCH);
    let width = sizes.width as i64;
    let x = picture(builder);
    let conv = Conv { padding: 0, ..Conv::same(3, sizes.width, PATCH, PATCH) };
    // [n, 192, 14, 14] to [n, 196, 192]
    let x = builder.conv("patch_embed.proj", &x, conv, true)?;
    let shape = builder.ints("patch_embed.shape", &[0, width, patches as i64]);
    let x = builder.node("Reshape", "patch_embed.flat", &[&x, &shape], &[]);
    let perm = [("perm", Attribute::Ints(&[0, 2, 1]))];
    let x = builder.node("Transpose", "patch_embed.tokens", &[&x], &perm);
    // One more token for the class, the same for every picture of the batch.
    let class = builder.parameter("cls_token", &[1, 1, sizes.width], WEIGHT)?;
    let shape = builder.node("Shape", "batch.shape", &[&x], &[("end", Attribute::Int(1))]);
    let rest = builder.ints("batch.rest", &[1, width]);
    let axis = |axis| [("axis", Attribute::Int(axis))];
    let shape = builder.node("Concat", "batch.class_shape", &[&shape, &rest], &axis(0));
    let class = builder.node("Expand", "class", &[&class, &shape], &[]);
    let x = builder.node("Concat", "tokens", &[&class, &x], &axis(1));
    let position = builder.parameter("pos_embed", &[1, patches + 1, sizes.width], WEIGHT)?;
    let x = builder.node("Add", "embedded", &[&x, &position], &[]);
    let x = layers(builder, x, sizes)?;
    let first = first_token(builder, &x);
    let init = [WEIGHT, ZERO];
    let own = OwnHead { module: "head", linear: "head", classes: CLASSES, init };
    let (x, classes) = builder.classifier(&first, sizes.width, own)?;
    logits(builder, &x, classes);
    Ok(())
}

/// A text encoder: tokens `[n, t]` of at most 512 to one vector for each text.
pub fn encoder(builder: &mut Builder<'_>) -> Result<()> {
    const VOCABULARY: usize = 8_192;
    const LENGTH_MAX: usize = 512;
    let sizes = Sizes { width: 256, heads: 4, depth: 4, hidden: 1_024 };
    let tokens = builder.input("tokens", DType::I64, &[BATCH, Dim::Free("t")]);
    let table = builder.parameter("embedding.weight", &[VOCABULARY, sizes.width], WEIGHT)?;
    let x = builder.node("Gather", "embedding", &[&table, &tokens], &[]);
    // The first t rows of the positions.
    let positions = builder.parameter("positions", &[LENGTH_MAX, sizes.width], WEIGHT)?;
    let shape = [("start", Attribute::Int(1)), ("end", Attribute::Int(2))];
    let length = builder.node("Shape", "length", &[&tokens], &shape);
    let zero = builder.ints("zero", &[0]);
    let positions = builder.node("Slice", "position", &[&positions, &zero, &length, &zero], &[]);
    let x = builder.node("Add", "embedded", &[&x, &positions], &[]);
    let x = layers(builder, x, sizes)?;
    // [n, t, 256] to [n, 256]
    let mean = [("axes", Attribute::Ints(&[1])), ("keepdims", Attribute::Int(0))];
    let x = builder.node("ReduceMean", "pooled", &[&x], &mean);
    builder.output("text", &x, DType::F32, &[BATCH, Dim::Fixed(sizes.width)]);
    Ok(())
}

/// The layers and the last normalisation. `[n, t, width]` throughout.
fn layers(builder: &mut Builder<'_>, mut x: Value, sizes: Sizes) -> Result<Value> {
    let Sizes { width, hidden, .. } = sizes;
    for layer in 0..sizes.depth {
        let at = |part: &str| format!("blocks.{layer}.{part}");
        let normed = builder.layer_norm(&at("norm1"), &x, width)?;
        let attended = attention(builder, &at("attn"), &normed, sizes)?;
        x = builder.node("Add", &at("add1"), &[&x, &attended], &[]);
        let normed = builder.layer_norm(&at("norm2"), &x, width)?;
        let wide = builder.linear_3d(&at("mlp.fc1"), &normed, [width, hidden], [WEIGHT, ZERO])?;
        let wide = builder.gelu(&at("mlp.act"), &wide);
        let narrow = builder.linear_3d(&at("mlp.fc2"), &wide, [hidden, width], [WEIGHT, ZERO])?;
        x = builder.node("Add", &at("add2"), &[&x, &narrow], &[]);
    }
    builder.layer_norm("norm", &x, width)
}

/// Attention of every token to every token.
fn attention(builder: &mut Builder<'_>, name: &str, x: &Value, sizes: Sizes) -> Result<Value> {
    let at = |part: &str| format!("{name}.{part}");
    let Sizes { width, heads, .. } = sizes;
    let head_width = width / heads;
    let first_axis = [("axis", Attribute::Int(0))];
    // [n, t, 3 width] to [3, n, heads, t, head width]
    let qkv = builder.linear_3d(&at("qkv"), x, [width, 3 * width], [WEIGHT, ZERO])?;
    let shape = builder.ints(&at("split"), &[0, 0, 3, heads as i64, head_width as i64]);
    let qkv = builder.node("Reshape", &at("qkv_split"), &[&qkv, &shape], &[]);
    let perm = [("perm", Attribute::Ints(&[2, 0, 3, 1, 4]))];
    let qkv = builder.node("Transpose", &at("qkv_heads"), &[&qkv], &perm);
    let part = |builder: &mut Builder<'_>, which: &str, index: i64| {
        let index = builder.ints(&at(&format!("{which}_index")), &[index]);
        let part =
            builder.node("Gather", &at(&format!("{which}_row")), &[&qkv, &index], &first_axis);
        let axes = builder.ints(&at(&format!("{which}_axes")), &[0]);
        builder.node("Squeeze", &at(which), &[&part, &axes], &[])
    };
    let q = part(builder, "q", 0);
    let k = part(builder, "k", 1);
    let v = part(builder, "v", 2);
    // [n, heads, t, t]
    let perm = [("perm", Attribute::Ints(&[0, 1, 3, 2]))];
    let k = builder.node("Transpose", &at("k_t"), &[&k], &perm);
    let scores = builder.node("MatMul", &at("scores"), &[&q, &k], &[]);
    let scale = builder.scalar(&at("scale"), 1.0 / (head_width as f32).sqrt());
    let scores = builder.node("Mul", &at("scaled"), &[&scores, &scale], &[]);
    let softmax = [("axis", Attribute::Int(-1))];
    let weights = builder.node("Softmax", &at("softmax"), &[&scores], &softmax);
    // [n, heads, t, head width] to [n, t, width]
    let mixed = builder.node("MatMul", &at("mixed"), &[&weights, &v], &[]);
    let perm = [("perm", Attribute::Ints(&[0, 2, 1, 3]))];
    let mixed = builder.node("Transpose", &at("mixed_t"), &[&mixed], &perm);
    let shape = builder.ints(&at("join"), &[0, 0, width as i64]);
    let joined = builder.node("Reshape", &at("joined"), &[&mixed, &shape], &[]);
    builder.linear_3d(&at("proj"), &joined, [width, width], [WEIGHT, ZERO])
}

/// The first token. `[n, t, width]` to `[n, width]`.
fn first_token(builder: &mut Builder<'_>, x: &Value) -> Value {
    let index = builder.ints("first.index", &[0]);
    let axis = [("axis", Attribute::Int(1))];
    let first = builder.node("Gather", "first.row", &[x, &index], &axis);
    let axes = builder.ints("first.axes", &[1]);
    builder.node("Squeeze", "first", &[&first, &axes], &[])
}
