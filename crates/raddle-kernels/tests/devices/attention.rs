//! Attention by each kernel against sums in double precision.

use raddle::device::{bf16, f16};
use raddle::prelude::*;
use raddle_kernels::Error;
use raddle_kernels::attention::{self, Attention, Element, Layout, Mask, Method};

use crate::{Random, devices};

/// A mask for `[image, head, query, key]` with some dimensions of 1.
#[derive(Clone, Copy, Debug)]
enum Kind {
    None,
    Bool([bool; 4]),
    Added([bool; 4]),
}

/// An element type with its rounding.
trait Real: Element + Copy {
    const NAME: &'static str;
    /// Largest error of rounding to the type, relative.
    const ROUNDING: f64;
    fn of(x: f32) -> Self;
    fn wide(self) -> f64;
}

macro_rules! reals {
    ($($ty:ident $rounding:expr, $of:expr, $wide:expr;)*) => { $(
        impl Real for $ty {
            const NAME: &'static str = stringify!($ty);
            const ROUNDING: f64 = $rounding;
            fn of(x: f32) -> Self {
                $of(x)
            }
            fn wide(self) -> f64 {
                f64::from($wide(self))
            }
        }
    )* };
}
reals! {
    f16 1.0 / 2048.0, f16::from_f32, f16::to_f32;
    bf16 1.0 / 256.0, bf16::from_f32, bf16::to_f32;
    f32 1.0 / 1024.0, |x| x, |x| x;
}

/// The numbers of a case on the host.
struct Numbers {
    operands: [Vec<f32>; 3],
    mask: Vec<f32>,
    /// Lengths of the mask.
    mask_dims: [usize; 4],
}

fn elements(random: &mut Random, len: usize) -> Vec<f32> {
    random.elements(len).into_iter().map(|x| 2.0 * x).collect()
}

fn numbers(of: &Attention, kind: Kind, random: &mut Random) -> Numbers {
    let [heads, cache_heads] = of.heads;
    let [queries, keys] = of.lens;
    let (heads_of, rows) = ([heads, cache_heads, cache_heads], [queries, keys, keys]);
    let sizes = [of.sizes[0], of.sizes[0], of.sizes[1]];
    let operands = [0, 1, 2].map(|i| {
        let last = [of.images - 1, heads_of[i] - 1, rows[i] - 1];
        elements(random, at(of.layouts[i], [heads_of[i], rows[i], sizes[i]], last) + sizes[i])
    });
    let whole = [of.images, heads, queries, keys];
    let kept = match kind {
        Kind::None => [false; 4],
        Kind::Bool(kept) | Kind::Added(kept) => kept,
    };
    let mask_dims = [0, 1, 2, 3].map(|i| if kept[i] { whole[i] } else { 1 });
    let mask = (0..mask_dims.iter().product()).map(|_| match kind {
        Kind::Added(_) if random.next().is_multiple_of(7) => f32::NEG_INFINITY,
        Kind::Added(_) => 2.0 * random.element(),
        _ => f32::from(u8::from(!random.next().is_multiple_of(3))),
    });
    Numbers { mask: mask.collect(), operands, mask_dims }
}

/// Where an element lies.
fn at(layout: Layout, [heads, rows, size]: [usize; 3], [image, head, row]: [usize; 3]) -> usize {
    match layout {
        Layout::Heads => ((image * heads + head) * rows + row) * size,
        Layout::Rows => ((image * rows + row) * heads + head) * size,
        Layout::Steps(steps) => image * steps[0] + head * steps[1] + row * steps[2],
    }
}

/// Results with the most by which each may be off.
fn expected<T: Real>(of: &Attention, kind: Kind, numbers: &Numbers) -> Vec<(f64, f64)> {
    let [heads, cache_heads] = of.heads;
    let [queries, keys] = of.lens;
    let [size, value_size] = of.sizes;
    let [q, k, v] =
        [0, 1, 2].map(|i| numbers.operands[i].iter().map(|&x| T::of(x).wide()).collect::<Vec<_>>());
    let mut all = vec![(0.0, 0.0); of.images * heads * queries * value_size];
    for place in 0..of.images * heads * queries {
        let (image, head, query) =
            (place / queries / heads, place / queries % heads, place % queries);
        let cache = head / (heads / cache_heads);
        let own = at(of.layouts[0], [heads, queries, size], [image, head, query]);
        let mut bound: f64 = 0.0;
        let scores: Vec<f64> = (0..keys)
            .map(|key| {
                let line = at(of.layouts[1], [cache_heads, keys, size], [image, cache, key]);
                let term = |i: usize| q[own + i] * k[line + i];
                let score: f64 = (0..size).map(term).sum::<f64>() * f64::from(of.scale);
                let sizes: f64 = (0..size).map(|i| term(i).abs()).sum();
                // Scores are sums in f32 of exact products, or of factors rounded to tf32.
                let rounding = if T::NAME == "f32" { 1.0 / 1024.0 } else { 1e-6 };
                bound = bound.max(sizes * f64::from(of.scale) * rounding);
                let index = [image, head, query, key];
                let place = index
                    .iter()
                    .zip(numbers.mask_dims)
                    .fold(0, |place, (&i, dim)| place * dim + if dim == 1 { 0 } else { i });
                let masked = match kind {
                    Kind::None => score,
                    Kind::Bool(_) if numbers.mask[place] == 0.0 => f64::NEG_INFINITY,
                    Kind::Bool(_) => score,
                    Kind::Added(_) => score + T::of(numbers.mask[place]).wide(),
                };
                if of.is_causal && key > of.past + query { f64::NEG_INFINITY } else { masked }
            })
            .collect();
        let max = scores.iter().fold(f64::NEG_INFINITY, |max, &x| max.max(x));
        let powers: Vec<f64> = scores.iter().map(|x| (x - max).exp()).collect();
        let sum: f64 = powers.iter().sum();
        let to = at(of.layouts[3], [heads, queries, value_size], [image, head, query]);
        for i in 0..value_size {
            let (mut result, mut sizes) = (0.0, 0.0);
            for (key, power) in powers.iter().enumerate() {
                let line = at(of.layouts[2], [cache_heads, keys, value_size], [image, cache, key]);
                let term = power / sum * v[line + i];
                result += term;
                sizes += term.abs();
            }
            // Powers, values and the result are rounded; an error of scores is one of powers.
            all[to + i] = (result, sizes * (3.0 * T::ROUNDING + 2.0 * bound + 1e-5) + 1e-6);
        }
    }
    all
}

fn run<T: Real>(
    device: &Device,
    method: Method,
    of: &Attention,
    kind: Kind,
    numbers: &Numbers,
) -> Result<Vec<f64>, Error> {
    let stream = device.stream()?;
    let upload = |list: &[f32]| stream.upload(&list.iter().map(|&x| T::of(x)).collect::<Vec<_>>());
    let [q, k, v] = [0, 1, 2].map(|i| upload(&numbers.operands[i]).unwrap());
    let dims = numbers.mask_dims;
    let mut step = 1;
    let mut steps = [0; 4];
    for i in (0..4).rev() {
        steps[i] = if dims[i] == 1 { 0 } else { step };
        step *= dims[i];
    }
    let bytes: Vec<u8> = numbers.mask.iter().map(|&x| x as u8).collect();
    let (bytes, added) = (stream.upload(&bytes)?, upload(&numbers.mask)?);
    let mask = match kind {
        Kind::None => None,
        Kind::Bool(_) => Some(Mask::Bool(bytes.as_slice(), steps)),
        Kind::Added(_) => Some(Mask::Added(added.as_slice(), steps)),
    };
    let len = of.images * of.heads[0] * of.lens[0] * of.sizes[1];
    let mut out = stream.upload(&vec![T::of(7.0); len])?;
    let operands = [q.as_slice(), k.as_slice(), v.as_slice()];
    attention::attend_by(method, &stream, of, operands, mask, out.as_slice_mut())?;
    Ok(stream.to_vec(&out)?.into_iter().map(T::wide).collect())
}

fn check<T: Real>(method: Method, of: &Attention, kind: Kind, seed: u64) {
    let numbers = numbers(of, kind, &mut Random(seed));
    let expected = expected::<T>(of, kind, &numbers);
    for device in devices() {
        let found = match run::<T>(&device, method, of, kind, &numbers) {
            Ok(found) => found,
            Err(Error::Capability { .. }) => {
                println!("SKIPPED on {device}: it has other instructions");
                continue;
            }
            Err(error) => panic!("{device} {} {method:?} {of:?} {kind:?}: {error}", T::NAME),
        };
        assert_eq!(found.len(), expected.len());
        for (place, (found, (expected, bound))) in found.iter().zip(&expected).enumerate() {
            let is_right =
                (found - expected).abs() <= *bound || found.is_nan() && expected.is_nan();
            assert!(
                is_right,
                "{device} {} {method:?} {of:?} {kind:?} at {place}: {found}, expected {expected} \
                 within {bound}",
                T::NAME
            );
        }
    }
}

fn shape(heads: [usize; 2], lens: [usize; 2], sizes: [usize; 2]) -> Attention {
    let scale = 1.0 / (sizes[0] as f32).sqrt();
    let layouts = [Layout::Heads; 4];
    Attention { images: 1, heads, lens, sizes, layouts, scale, is_causal: false, past: 0 }
}

/// One case of each kind, for a type by a kernel.
fn check_all<T: Real>(method: Method) {
    let plain = shape([1, 1], [70, 150], [64, 64]);
    check::<T>(method, &plain, Kind::None, 1);
    check::<T>(method, &Attention { is_causal: true, ..plain }, Kind::None, 2);
    let large = shape([2, 1], [33, 130], [128, 96]);
    check::<T>(method, &large, Kind::Bool([false, false, true, true]), 3);
    let layouts = [Layout::Rows, Layout::Heads, Layout::Rows, Layout::Rows];
    let grouped = Attention { images: 2, layouts, ..shape([4, 2], [9, 40], [40, 48]) };
    check::<T>(method, &grouped, Kind::Added([true, false, false, true]), 4);
    // As parts of `[image, row, 3, head, element]`, and with gaps behind rows.
    let part = Layout::Steps([35 * 3 * 2 * 32, 32, 3 * 2 * 32]);
    let gaps = Layout::Steps([2 * 35 * 40, 35 * 40, 40]);
    let cut = Attention { images: 2, layouts: [part, part, gaps, Layout::Rows], ..plain };
    let cut = Attention { heads: [2, 2], lens: [35, 35], sizes: [32, 32], ..cut };
    check::<T>(method, &cut, Kind::None, 7);
    let masked = Attention { is_causal: true, ..shape([2, 2], [140, 67], [16, 8]) };
    check::<T>(method, &masked, Kind::Added([false, true, true, true]), 5);
    let wide = Attention { is_causal: true, scale: 0.7, ..shape([1, 1], [5, 300], [72, 128]) };
    check::<T>(method, &wide, Kind::None, 6);
}

#[test]
fn attention_by_warps_is_right() {
    check_all::<f16>(Method::Warps);
    check_all::<bf16>(Method::Warps);
}

#[test]
fn attention_of_f32_is_right() {
    check_all::<f32>(Method::Warps);
}

#[test]
fn attention_by_groups_is_right() {
    check_all::<f16>(Method::Groups);
    check_all::<bf16>(Method::Groups);
}

/// Shapes and masks at random.
#[test]
fn attention_of_random_shapes_is_right() {
    let mut random = Random(77);
    for round in 0..24u64 {
        let mut below = |n: usize| random.next() as usize % n;
        let cache_heads = 1 + below(2);
        let size = |eights: usize| 8 * (1 + eights);
        let of = Attention {
            images: 1 + below(2),
            heads: [cache_heads * (1 + below(3)), cache_heads],
            lens: [1 + below(90), 1 + below(160)],
            sizes: [size(below(12)), size(below(12))],
            layouts: [0; 4].map(|_| [Layout::Heads, Layout::Rows][below(2)]),
            scale: 0.1 + below(10) as f32 / 10.0,
            is_causal: below(2) == 0,
            past: below(2) * below(70),
        };
        let kept = [0; 4].map(|_| below(2) == 0);
        let kind = [Kind::None, Kind::Bool(kept), Kind::Added(kept)][below(3)];
        match round % 3 {
            0 => check::<f16>(Method::Warps, &of, kind, round + 1),
            1 => check::<f16>(Method::Groups, &of, kind, round + 1),
            _ => check::<f32>(Method::Warps, &of, kind, round + 1),
        }
    }
}

/// Numbers that are none: results are what a softmax makes of them.
#[test]
fn rows_without_keys_and_infinite_masks_become_nan() {
    let of = shape([1, 1], [3, 70], [16, 16]);
    let mut numbers = numbers(&of, Kind::Added([false, false, true, true]), &mut Random(9));
    numbers.mask[..70].fill(f32::NEG_INFINITY);
    numbers.mask[70..140].fill(0.0);
    numbers.mask[140..].fill(0.0);
    numbers.mask[140 + 66] = f32::INFINITY;
    let kind = Kind::Added([false, false, true, true]);
    for device in devices() {
        for method in [Method::Warps, Method::Groups] {
            let found = match run::<f16>(&device, method, &of, kind, &numbers) {
                Ok(found) => found,
                Err(Error::Capability { .. }) => continue,
                Err(error) => panic!("{device} {method:?}: {error}"),
            };
            assert!(found[..16].iter().all(|x| x.is_nan()), "{device} {method:?}");
            assert!(found[16..32].iter().all(|x| x.is_finite()), "{device} {method:?}");
            assert!(found[32..].iter().all(|x| x.is_nan()), "{device} {method:?}");
        }
    }
}

/// The lowest number is what many models mask with.
#[test]
fn rows_of_lowest_numbers_have_means() {
    let of = shape([1, 1], [2, 70], [16, 16]);
    let kind = Kind::Added([false, false, true, true]);
    let mut numbers = numbers(&of, kind, &mut Random(10));
    numbers.mask[70..].fill(0.0);
    let values = numbers.operands[2].clone();
    let means: Vec<f32> =
        (0..16).map(|i| (0..70).map(|key| values[16 * key + i]).sum::<f32>() / 70.0).collect();
    for device in devices() {
        numbers.mask[..70].fill(f32::MIN);
        let singles = run::<f32>(&device, Method::Warps, &of, kind, &numbers).unwrap();
        numbers.mask[..70].fill(-bf16::MAX.to_f32());
        let halves = run::<bf16>(&device, Method::Warps, &of, kind, &numbers).unwrap();
        for (i, mean) in means.iter().enumerate() {
            assert!((singles[i] - f64::from(*mean)).abs() < 1e-3, "{device} {i}: {}", singles[i]);
            assert!((halves[i] - f64::from(*mean)).abs() < 1e-2, "{device} {i}: {}", halves[i]);
        }
        assert!(singles[16..].iter().chain(&halves[16..]).all(|x| x.is_finite()), "{device}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let stream = Device::cpu().stream().unwrap();
    let elements = stream.upload(&vec![f16::from_f32(0.0); 4096]).unwrap();
    let of = shape([2, 1], [4, 8], [32, 32]);
    let attend = |of: &Attention, lens: [usize; 4], mask: Option<Mask<'_, f16>>| {
        let mut out = stream.upload(&vec![f16::from_f32(0.0); lens[3]]).unwrap();
        let operands = [0, 1, 2].map(|i| elements.slice(..lens[i]).unwrap());
        attention::attend(&stream, of, operands, mask, out.as_slice_mut())
    };
    let lens = [256, 256, 256, 256];
    attend(&of, lens, None).unwrap();
    for i in 0..4 {
        let mut short = lens;
        short[i] -= 8;
        assert!(matches!(attend(&of, short, None), Err(Error::Length { .. })), "{i}");
    }
    let bytes = stream.upload(&[1u8; 8]).unwrap();
    attend(&of, lens, Some(Mask::Bool(bytes.as_slice(), [0, 0, 0, 1]))).unwrap();
    let long = Mask::Bool(bytes.as_slice(), [0, 0, 8, 1]);
    assert!(matches!(attend(&of, lens, Some(long)), Err(Error::Length { .. })));
    let steps = |operand: usize, steps: [usize; 3]| {
        let mut layouts = of.layouts;
        layouts[operand] = Layout::Steps(steps);
        layouts
    };
    for unfit in [
        Attention { heads: [3, 2], ..of },
        Attention { sizes: [36, 32], ..of },
        Attention { sizes: [32, 136], ..of },
        Attention { lens: [4, 0], ..of },
        Attention { scale: 0.0, ..of },
        Attention { scale: f32::NAN, ..of },
        Attention { images: usize::MAX / 4, ..of },
        Attention { layouts: steps(0, [256, 32, 36]), ..of },
        Attention { layouts: steps(1, [256, 0, 32]), ..of },
        Attention { layouts: steps(2, [256, 32, usize::MAX & !7]), ..of },
        Attention { layouts: steps(3, [256, 128, 32]), ..of },
    ] {
        assert!(matches!(attend(&unfit, lens, None), Err(Error::Shape { .. })), "{unfit:?}");
        assert_eq!(unfit.method::<f16>(&stream), None);
    }
}
