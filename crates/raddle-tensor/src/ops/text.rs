//! Operations on text: joining, splitting, cleaning, matching, counting n-grams.

use std::collections::HashMap;

use super::elementwise::unsupported;
use crate::Kind::{Floats, Int, Ints, String as Text, Strings};
use crate::infer::rules;
use crate::movement::expand;
use crate::shape::{broadcast, element_count};
use crate::{
    Class, DType, DTypeRule, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, one,
    op,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("StringConcat", 20..=LATEST)
        .inputs(2, 2)
        .result(DTypeRule::Is(DType::String), ShapeRule::Broadcast)
        .run(string_concat),
    op("StringSplit", 20..=LATEST)
        .outputs(1, 2)
        .attributes(&[("delimiter", Text), ("maxsplit", Int)])
        .result(DTypeRule::Is(DType::String), ShapeRule::Computed)
        .infer(rules::string_split)
        .run(string_split),
    op("StringNormalizer", 10..=LATEST)
        .attributes(&[
            ("case_change_action", Text),
            ("is_case_sensitive", Int),
            ("locale", Text),
            ("stopwords", Strings),
        ])
        .result(DTypeRule::Is(DType::String), ShapeRule::Computed)
        .dims(rules::string_normalizer)
        .run(normalize),
    op("RegexFullMatch", 20..=LATEST)
        .attributes(&[("pattern", Text)])
        .result(DTypeRule::Is(DType::Bool), ShapeRule::Like(0))
        .run(regex_full_match),
    op("TfIdfVectorizer", 9..=LATEST)
        .attributes(&[
            ("max_gram_length", Int),
            ("max_skip_count", Int),
            ("min_gram_length", Int),
            ("mode", Text),
            ("ngram_counts", Ints),
            ("ngram_indexes", Ints),
            ("pool_int64s", Ints),
            ("pool_strings", Strings),
            ("weights", Floats),
        ])
        .result(DTypeRule::Is(DType::F32), ShapeRule::Computed)
        .dims(rules::tf_idf)
        .run(tf_idf),
];

fn string_concat(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (left, right) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let shape = broadcast(left.shape(), right.shape())?;
    let (left, right) = (expand(left, &shape)?, expand(right, &shape)?);
    let pairs = left.elements::<String>()?.iter().zip(right.elements::<String>()?);
    one(Tensor::new(&shape, pairs.map(|(left, right)| format!("{left}{right}")).collect()))
}

/// Pieces of each text along a new last dimension, padded with empty ones, and
/// how many there are.
fn string_split(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let delimiter = ctx.text("delimiter", "")?;
    let splits_max = match ctx.optional_int("maxsplit")? {
        Some(count) => usize::try_from(count).unwrap_or(usize::MAX),
        None => usize::MAX,
    };
    let texts = x.elements::<String>()?;
    let pieces: Vec<Vec<&str>> =
        texts.iter().map(|text| split(text, delimiter, splits_max)).collect();
    let columns = pieces.iter().map(Vec::len).max().unwrap_or(0);
    let mut shape = x.shape().to_vec();
    shape.push(columns);
    let mut out = vec![String::new(); element_count(&shape, DType::String)?];
    if columns > 0 {
        for (row, pieces) in out.chunks_mut(columns).zip(&pieces) {
            row.iter_mut().zip(pieces).for_each(|(out, piece)| (*piece).clone_into(out));
        }
    }
    let counts = pieces.iter().map(|pieces| pieces.len() as i64).collect();
    Ok(vec![Tensor::new(&shape, out)?.into(), Tensor::new(x.shape(), counts)?.into()])
}

/// At a delimiter, or at runs of white space if it is empty.
fn split<'t>(text: &'t str, delimiter: &str, splits_max: usize) -> Vec<&'t str> {
    if !delimiter.is_empty() {
        return text.splitn(splits_max.saturating_add(1), delimiter).collect();
    }
    let mut pieces = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = match pieces.len() < splits_max {
            true => rest.find(char::is_whitespace).unwrap_or(rest.len()),
            false => rest.len(),
        };
        pieces.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    pieces
}

/// Removes stop words, changes case. One text at least stays, an empty one.
fn normalize(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let texts = x.elements::<String>()?;
    if !matches!(x.shape(), [_] | [1, _]) {
        let found = x.shape();
        return Err(Error::invalid(format!("expected shape [n] or [1, n], found {found:?}")));
    }
    let change: fn(&str) -> String = match ctx.text("case_change_action", "NONE")? {
        "NONE" => str::to_owned,
        "LOWER" => str::to_lowercase,
        "UPPER" => str::to_uppercase,
        other => return Err(ctx.bad_attribute("case_change_action", format!("is {other:?}"))),
    };
    let is_exact = ctx.flag("is_case_sensitive", false)?;
    let key = |text: &str| if is_exact { text.to_owned() } else { text.to_lowercase() };
    let stop_words: Vec<String> =
        ctx.texts("stopwords")?.unwrap_or_default().iter().map(|word| key(word)).collect();
    let mut kept: Vec<String> = texts
        .iter()
        .filter(|text| !stop_words.contains(&key(text)))
        .map(|text| change(text))
        .collect();
    if kept.is_empty() {
        kept.push(String::new());
    }
    let mut shape = x.shape().to_vec();
    *shape.last_mut().expect("rank 1 or 2") = kept.len();
    one(Tensor::new(&shape, kept))
}

/// Patterns in RE2's syntax, which the `regex` crate shares: linear time, no
/// look-around.
fn regex_full_match(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let pattern = ctx.text("pattern", "")?;
    let regex = regex::Regex::new(&format!("^(?:{pattern})$"))
        .map_err(|error| ctx.bad_attribute("pattern", format!("is not valid: {error}")))?;
    let texts = x.elements::<String>()?;
    one(Tensor::new(x.shape(), texts.iter().map(|text| regex.is_match(text)).collect()))
}

/// How the counts of n-grams become numbers.
enum Weighting {
    Counts,
    Presence,
    CountsTimesWeights,
}

fn tf_idf(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    match x.dtype().class() {
        Class::String => {
            let pool = ctx.texts("pool_strings")?;
            let pool = pool.ok_or_else(|| ctx.bad_attribute("pool_strings", "is required"))?;
            count_grams(ctx, x, x.elements::<String>()?, pool)
        }
        Class::I64 => {
            let pool = ctx.ints("pool_int64s")?;
            let pool = pool.ok_or_else(|| ctx.bad_attribute("pool_int64s", "is required"))?;
            count_grams(ctx, x, &x.to_i64s()?, pool)
        }
        _ => Err(unsupported(0, x.dtype(), "string, int32 or int64")),
    }
}

fn count_grams<T: Clone + Eq + std::hash::Hash>(
    ctx: &OpContext<'_>,
    x: &Tensor,
    elements: &[T],
    pool: &[T],
) -> Result<Vec<Value>> {
    let count = |name: &str, least: i64| -> Result<usize> {
        let value = ctx.int(name, least)?;
        usize::try_from(value)
            .ok()
            .filter(|&value| value as i64 >= least)
            .ok_or_else(|| ctx.bad_attribute(name, format!("must be {least} or more")))
    };
    let lengths = count("min_gram_length", 1)?..=count("max_gram_length", 1)?;
    let skips = count("max_skip_count", 0)?;
    let columns = ctx.ints("ngram_indexes")?.unwrap_or_default();
    let columns = columns.iter().map(|&at| usize::try_from(at).ok()).collect::<Option<Vec<_>>>();
    let columns = columns.ok_or_else(|| ctx.bad_attribute("ngram_indexes", "are negative"))?;
    let grams = pool_grams(ctx, pool)?;
    if grams.len() != columns.len() {
        let why = format!("must have {} numbers, one for each n-gram", grams.len());
        return Err(ctx.bad_attribute("ngram_indexes", why));
    }
    let width = columns.iter().max().map_or(0, |last| last + 1);
    let by_gram: HashMap<&[T], usize> = grams
        .iter()
        .zip(&columns)
        .filter(|(gram, _)| lengths.contains(&gram.len()))
        .map(|(gram, &column)| (*gram, column))
        .collect();
    let (rows, row_len, shape) = match *x.shape() {
        [] => (1, 1, vec![width]),
        [len] => (1, len, vec![width]),
        [rows, len] => (rows, len, vec![rows, width]),
        _ => return Err(Error::invalid(format!("expected rank 0 to 2, found {:?}", x.shape()))),
    };
    let mut counts = vec![0f32; element_count(&shape, DType::F32)?];
    for row in 0..rows {
        let texts = &elements[row * row_len..(row + 1) * row_len];
        let counts = &mut counts[row * width..(row + 1) * width];
        for (length, step) in steps(lengths.clone(), skips) {
            let reach = (length - 1) * step;
            for start in 0..row_len.saturating_sub(reach) {
                let gram: Vec<T> =
                    texts[start..=start + reach].iter().step_by(step).cloned().collect();
                if let Some(&column) = by_gram.get(&gram[..]) {
                    counts[column] += 1.0;
                }
            }
        }
    }
    weigh(ctx, &mut counts, width)?;
    one(Tensor::new(&shape, counts))
}

/// Lengths of n-grams with the distances between their elements; a single
/// element has no distance, so that it is counted once.
fn steps(
    lengths: std::ops::RangeInclusive<usize>,
    skips: usize,
) -> impl Iterator<Item = (usize, usize)> {
    lengths.flat_map(move |length| {
        let last = if length == 1 { 1 } else { skips + 1 };
        (1..=last).map(move |step| (length, step))
    })
}

/// The n-grams of the pool, shortest first: `ngram_counts[n - 1]` is where those
/// of length `n` begin.
fn pool_grams<'p, T>(ctx: &OpContext<'_>, pool: &'p [T]) -> Result<Vec<&'p [T]>> {
    let starts = ctx.ints("ngram_counts")?.unwrap_or_default();
    let mut grams = Vec::new();
    for (at, &start) in starts.iter().enumerate() {
        let end = starts.get(at + 1).copied().unwrap_or(pool.len() as i64);
        let part = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let part = part.and_then(|(start, end)| pool.get(start..end));
        let part = part.ok_or_else(|| ctx.bad_attribute("ngram_counts", "lie outside the pool"))?;
        if !part.len().is_multiple_of(at + 1) {
            let why = format!("leave {} elements for n-grams of length {}", part.len(), at + 1);
            return Err(ctx.bad_attribute("ngram_counts", why));
        }
        grams.extend(part.chunks(at + 1));
    }
    Ok(grams)
}

fn weigh(ctx: &OpContext<'_>, counts: &mut [f32], width: usize) -> Result<()> {
    let weighting = match ctx.text("mode", "")? {
        "TF" => Weighting::Counts,
        "IDF" => Weighting::Presence,
        "TFIDF" => Weighting::CountsTimesWeights,
        other => {
            let why = format!("must be TF, IDF or TFIDF, found {other:?}");
            return Err(ctx.bad_attribute("mode", why));
        }
    };
    let weights = ctx.floats("weights")?;
    if weights.is_some_and(|weights| weights.len() != width) {
        return Err(ctx.bad_attribute("weights", format!("must have {width} numbers")));
    }
    for (at, count) in counts.iter_mut().enumerate() {
        let weight = weights.map_or(1.0, |weights| weights[at % width]);
        *count = match weighting {
            Weighting::Counts => *count,
            Weighting::Presence => {
                if *count > 0.0 {
                    weight
                } else {
                    0.0
                }
            }
            Weighting::CountsTimesWeights => *count * weight,
        };
    }
    Ok(())
}
