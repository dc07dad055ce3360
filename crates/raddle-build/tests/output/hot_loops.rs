//! Loops of PTX in a form in which two compilations of one computation are equal.
//!
//! An instruction stands for the tree of computations that it ends: its operation,
//! its constants, and the trees of its operands, where a register that comes from
//! outside the loop or from the previous round is a leaf. So neither the names of
//! registers matter nor the order of instructions that do not depend on each other;
//! one more test, conversion or addition does.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The innermost loops of a kernel, in the order of their beginnings.
pub fn innermost_loops(ptx: &str) -> Vec<Loop> {
    let (instructions, labels) = body(ptx);
    let target = |at: usize| {
        let (_, label) = instructions[at].split_once("bra")?;
        let label = label.trim_start_matches(".uni").trim().trim_end_matches(';');
        labels.get(label).copied().filter(|&start| start <= at)
    };
    let loops: Vec<(usize, usize)> =
        (0..instructions.len()).filter_map(|end| Some((target(end)?, end))).collect();
    let holds_another = |outer: &(usize, usize)| {
        loops.iter().any(|inner| inner != outer && inner.0 >= outer.0 && inner.1 <= outer.1)
    };
    let mut inner: Vec<(usize, usize)> =
        loops.iter().filter(|one| !holds_another(one)).copied().collect();
    inner.sort_unstable();
    inner.into_iter().map(|(start, end)| Loop::new(&instructions[start..=end])).collect()
}

/// The instructions of the kernel's entry, and where its labels stand among them.
fn body(ptx: &str) -> (Vec<&str>, HashMap<&str, usize>) {
    let entry = ptx.find(".entry").expect("an image has an entry");
    let start = entry + ptx[entry..].find("\n{").expect("an entry has a body");
    let end = start + ptx[start..].find("\n}").expect("a body ends");
    let (mut instructions, mut labels) = (Vec::new(), HashMap::new());
    for line in ptx[start + 2..end].lines().map(str::trim) {
        if let Some(label) = line.strip_suffix(':') {
            labels.insert(label, instructions.len());
        } else if !line.is_empty() && !line.starts_with(['.', '/', '{', '}']) {
            instructions.push(line);
        }
    }
    (instructions, labels)
}

/// A loop's instructions.
pub struct Loop {
    /// As they stand in the PTX.
    pub text: Vec<String>,
    /// What each computes, in no order.
    trees: Vec<u64>,
}

impl PartialEq for Loop {
    fn eq(&self, other: &Self) -> bool {
        self.trees == other.trees
    }
}

impl Loop {
    fn new(instructions: &[&str]) -> Self {
        let nearest = nearest_places(instructions);
        let mut known: HashMap<String, u64> = HashMap::new();
        let mut trees = Vec::new();
        for instruction in instructions {
            let (operation, operands) =
                instruction.split_once(char::is_whitespace).unwrap_or((instruction, ""));
            let is_guarded = operation.starts_with('@');
            let writes = !(is_guarded || operation.starts_with("st.") || operation.contains("bra"));
            let words = words(operands, &nearest);
            let (results, rest) = words.split_at(if writes { results(operands) } else { 0 });
            let mut hasher = DefaultHasher::new();
            let name = if is_guarded { "@" } else { operation };
            name.hash(&mut hasher);
            for word in rest.iter().filter(|word| !word.starts_with('$')) {
                match word.starts_with('%') {
                    true => known.get(word).copied().unwrap_or_default().hash(&mut hasher),
                    false => word.hash(&mut hasher),
                }
            }
            let tree = hasher.finish();
            trees.push(tree);
            for (number, register) in results.iter().enumerate() {
                known.insert(register.clone(), tree.wrapping_add(number as u64));
            }
        }
        trees.sort_unstable();
        Self { text: instructions.iter().map(|&text| text.to_owned()).collect(), trees }
    }
}

/// How many registers an instruction writes: a vector load several.
fn results(operands: &str) -> usize {
    match operands.trim_start().strip_prefix('{') {
        Some(vector) => vector.split('}').next().map_or(1, |list| list.split(',').count()),
        None => 1,
    }
}

/// Registers, constants and labels among operands. Places in memory are told by their
/// distance from the nearest one with the same base, since where a base register
/// points to is a matter of taste.
fn words(operands: &str, nearest: &HashMap<String, i64>) -> Vec<String> {
    let mut words = Vec::new();
    for part in operands.split([',', '{', '}', ';', ' ', '\t']).filter(|part| !part.is_empty()) {
        match part.strip_prefix('[') {
            None => words.push(part.to_owned()),
            Some(place) => {
                let (base, offset) = base_and_offset(place);
                words.push(base.to_owned());
                words.push((offset - nearest.get(base).copied().unwrap_or(0)).to_string());
            }
        }
    }
    words
}

fn nearest_places(instructions: &[&str]) -> HashMap<String, i64> {
    let mut nearest: HashMap<String, i64> = HashMap::new();
    for instruction in instructions {
        if let Some((_, place)) = instruction.split_once('[') {
            let (base, offset) = base_and_offset(place);
            let entry = nearest.entry(base.to_owned()).or_insert(offset);
            *entry = offset.min(*entry);
        }
    }
    nearest
}

/// `%rd3+-8];`
fn base_and_offset(place: &str) -> (&str, i64) {
    let place = place.split(']').next().unwrap_or(place);
    let (base, offset) = place.split_once('+').unwrap_or((place, "0"));
    (base, offset.parse().unwrap_or(0))
}
