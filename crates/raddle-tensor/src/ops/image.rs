//! Operations of vision models: blocks to channels and back, cropping, choice
//! of boxes.

use super::elementwise::unsupported;
use crate::Kind::{Int, Ints, String as Text};
use crate::convert::Compute;
use crate::infer::rules;
use crate::movement::{View, gather_view, transpose};
use crate::shape::{axes, dims, element_count, strides};
use crate::{
    DType, DTypeRule, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("DepthToSpace", 1..=LATEST)
        .attributes(&[("blocksize", Int), ("mode", Text)])
        .result(DTypeRule::Like(0), ShapeRule::Computed)
        .dims(rules::blocks)
        .run(depth_to_space),
    op("SpaceToDepth", 1..=LATEST)
        .attributes(&[("blocksize", Int)])
        .result(DTypeRule::Like(0), ShapeRule::Computed)
        .dims(rules::blocks)
        .run(space_to_depth),
    op("CenterCropPad", 18..=LATEST)
        .inputs(2, 2)
        .attributes(&[("axes", Ints)])
        .result(DTypeRule::Like(0), ShapeRule::Computed)
        .dims(rules::center_crop_pad)
        .run(center_crop_pad),
    op("NonMaxSuppression", 10..=LATEST)
        .inputs(2, 5)
        .attributes(&[("center_point_box", Int)])
        .result(DTypeRule::Is(DType::I64), ShapeRule::Computed)
        .dims(rules::kept_boxes)
        .run(non_max_suppression),
];

fn image_and_block(ctx: &OpContext<'_>) -> Result<([usize; 4], usize)> {
    let x = ctx.tensor(0)?;
    let block = usize::try_from(ctx.int("blocksize", 0)?).ok().filter(|&b| b > 0);
    let block = block.ok_or_else(|| ctx.bad_attribute("blocksize", "must be positive"))?;
    let image = x.shape().try_into();
    let image =
        image.map_err(|_| Error::invalid(format!("expected rank 4, found {:?}", x.shape())));
    Ok((image?, block))
}

fn depth_to_space(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let ([n, c, h, w], b) = image_and_block(ctx)?;
    let square = b.checked_mul(b).filter(|&square| c.is_multiple_of(square));
    let depth = square.map(|square| c / square).ok_or_else(|| {
        Error::invalid(format!("{c} channels do not divide into blocks of {b} x {b}"))
    })?;
    let (parts, order) = match ctx.text("mode", "DCR")? {
        "DCR" => ([n, b, b, depth, h, w], [0, 3, 4, 1, 5, 2]),
        "CRD" => ([n, depth, b, b, h, w], [0, 1, 4, 2, 5, 3]),
        other => return Err(ctx.bad_attribute("mode", format!("is {other:?}"))),
    };
    let moved = transpose(&ctx.tensor(0)?.clone().reshape(&parts)?, &order)?;
    one(moved.reshape(&[n, depth, h * b, w * b]))
}

fn space_to_depth(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let ([n, c, h, w], b) = image_and_block(ctx)?;
    if !h.is_multiple_of(b) || !w.is_multiple_of(b) {
        return Err(Error::invalid(format!("{h} x {w} does not divide into blocks of {b} x {b}")));
    }
    let parts = ctx.tensor(0)?.clone().reshape(&[n, c, h / b, b, w / b, b])?;
    one(transpose(&parts, &[0, 3, 5, 1, 2, 4])?.reshape(&[n, c * b * b, h / b, w / b]))
}

/// Cuts off or adds zeros on both sides; the odd element is at the end.
fn center_crop_pad(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let target = dims(&ctx.i64s(1)?)?;
    let which = match ctx.ints("axes")? {
        Some(list) => axes(list, x.rank())?,
        None => (0..x.rank()).collect(),
    };
    if which.len() != target.len() {
        let (expected, found) = (which.len(), target.len());
        return Err(Error::invalid(format!(
            "expected a shape of {expected} numbers, found {found}"
        )));
    }
    let mut view = View::of(x.shape());
    let mut out_shape = x.shape().to_vec();
    let mut begins = vec![0; x.rank()];
    for (&axis, &len) in which.iter().zip(&target) {
        let own = x.shape()[axis];
        out_shape[axis] = len;
        if len < own {
            view.offset += ((own - len) / 2) as isize * view.strides[axis];
            view.shape[axis] = len;
        } else {
            begins[axis] = (len - own) / 2;
        }
    }
    let cropped = gather_view(x, &view)?;
    if cropped.shape() == out_shape {
        return Ok(vec![cropped.into()]);
    }
    let out_strides = strides(&out_shape);
    let mut places = vec![None; element_count(&out_shape, x.dtype())?];
    for from in 0..cropped.len() {
        let at = super::window::coordinates(from, cropped.shape());
        let to: usize =
            (0..at.len()).map(|axis| (at[axis] + begins[axis]) * out_strides[axis]).sum();
        places[to] = Some(from);
    }
    let zero = Tensor::zeros(&[1], x.dtype())?;
    one(crate::movement::gather_indices(&cropped, &out_shape, &places, Some(&zero)))
}

/// A box by its corners.
#[derive(Clone, Copy)]
struct Corners {
    low: [f64; 2],
    high: [f64; 2],
}

impl Corners {
    fn new(numbers: &[f64], is_centred: bool) -> Self {
        let &[a, b, c, d] = numbers else { unreachable!("boxes have four numbers") };
        match is_centred {
            // x, y, width, height.
            true => Self { low: [b - d / 2.0, a - c / 2.0], high: [b + d / 2.0, a + c / 2.0] },
            false => Self { low: [a.min(c), b.min(d)], high: [a.max(c), b.max(d)] },
        }
    }

    fn area(self) -> f64 {
        (self.high[0] - self.low[0]) * (self.high[1] - self.low[1])
    }

    /// Area of the intersection over area of the union; 0 for empty boxes.
    fn overlap(self, other: Self) -> f64 {
        let sides: [f64; 2] = std::array::from_fn(|axis| {
            (self.high[axis].min(other.high[axis]) - self.low[axis].max(other.low[axis])).max(0.0)
        });
        let intersection = sides[0] * sides[1];
        let union = self.area() + other.area() - intersection;
        if self.area() > 0.0 && other.area() > 0.0 && union > 0.0 {
            intersection / union
        } else {
            0.0
        }
    }
}

/// `boxes: [n, boxes, 4]`, `scores: [n, classes, boxes]`; rows of the result are
/// (image, class, box), best first within a class.
fn non_max_suppression(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (boxes, scores) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let (&[images, count, 4], &[score_images, classes, score_count]) =
        (boxes.shape(), scores.shape())
    else {
        return Err(unfit(boxes, scores));
    };
    if score_images != images || score_count != count {
        return Err(unfit(boxes, scores));
    }
    if !boxes.dtype().is_float() || !scores.dtype().is_float() {
        return Err(unsupported(0, boxes.dtype(), "a float"));
    }
    let number = |index: usize| -> Result<Option<f64>> {
        let tensor = ctx.optional_tensor(index)?;
        Ok(tensor.map(super::control::numbers).transpose()?.and_then(|list| list.first().copied()))
    };
    let count_max = number(2)?.map_or(0, |count| count.max(0.0) as usize);
    let (overlap_max, score_min) = (number(3)?.unwrap_or(0.0), number(4)?);
    let is_centred = ctx.flag("center_point_box", false)?;
    let (boxes, scores) = (f64::widen(boxes)?, f64::widen(scores)?);
    let mut chosen = Vec::new();
    for (class, scores) in scores.chunks(count.max(1)).enumerate() {
        let (image, class) = (class / classes, class % classes);
        let corners = |at: usize| Corners::new(&boxes[(image * count + at) * 4..][..4], is_centred);
        let mut order: Vec<usize> =
            (0..count).filter(|&at| score_min.is_none_or(|min| scores[at] > min)).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
        let mut kept: Vec<usize> = Vec::new();
        for at in order {
            if kept.len() >= count_max {
                break;
            }
            if kept.iter().all(|&other| corners(at).overlap(corners(other)) <= overlap_max) {
                kept.push(at);
            }
        }
        chosen.extend(kept.into_iter().flat_map(|at| [image as i64, class as i64, at as i64]));
    }
    one(Tensor::new(&[chosen.len() / 3, 3], chosen))
}

fn unfit(boxes: &Tensor, scores: &Tensor) -> Error {
    Error::ShapeMismatch {
        left: boxes.shape().to_vec(),
        right: scores.shape().to_vec(),
        why: "expected [images, boxes, 4] and [images, classes, boxes]",
    }
}
