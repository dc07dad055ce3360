//! The table of results and the list of known gaps.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::corpus::Case;

/// Passed and all cases of one kind.
#[derive(Default)]
struct Count {
    passed: usize,
    all: usize,
}

impl Count {
    fn add(&mut self, case: &Case) {
        self.passed += usize::from(case.outcome.is_ok());
        self.all += 1;
    }
}

/// The table by operation and by element type, and the totals.
pub fn table(cases: &[Case]) -> String {
    let mut by_op: BTreeMap<&str, Count> = BTreeMap::new();
    let mut by_dtype: BTreeMap<&str, Count> = BTreeMap::new();
    let (mut plain, mut all) = (Count::default(), Count::default());
    for case in cases {
        by_op.entry(&case.op).or_default().add(case);
        by_dtype.entry(case.dtype.map_or("none", |dtype| dtype.name())).or_default().add(case);
        all.add(case);
        if case.is_plain {
            plain.add(case);
        }
    }
    let mut text = String::new();
    for (title, counts) in [("op", by_op), ("element type", by_dtype)] {
        let _ = writeln!(text, "{title:<32} passed    of");
        for (name, Count { passed, all }) in counts {
            let _ = writeln!(text, "{name:<32} {passed:>6} {all:>5}");
        }
    }
    for (name, Count { passed, all }) in [("plain tensors", plain), ("all cases", all)] {
        let _ = writeln!(text, "{name:<32} {passed:>6} {all:>5}");
    }
    text
}

/// The list of gaps: one line for each failing case, `name: reason`.
pub fn gaps(cases: &[Case]) -> String {
    let mut text = String::from(
        "# Node tests that fail on the CPU, each with the reason. `BLESS=1 cargo test -p raddle-onnx-tests` rewrites this list.\n",
    );
    for case in cases {
        if let Err(why) = &case.outcome {
            let first: String = why.lines().next().unwrap_or_default().chars().take(160).collect();
            let _ = writeln!(text, "{}: {first}", case.name);
        }
    }
    text
}

/// Where results and the list of gaps disagree, one sentence each.
pub fn surprises(cases: &[Case], gaps: &str) -> Vec<String> {
    let known: BTreeMap<&str, &str> = gaps
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(": "))
        .collect();
    let mut found = Vec::new();
    for case in cases {
        match (&case.outcome, known.get(case.name.as_str())) {
            (Ok(()), Some(_)) => {
                found.push(format!("{} passes, but is listed as a gap", case.name))
            }
            (Err(why), None) => found.push(format!("{} fails: {why}", case.name)),
            _ => {}
        }
    }
    for name in known.keys() {
        if !cases.iter().any(|case| case.name == *name) {
            found.push(format!("{name} is listed as a gap, but there is no such case"));
        }
    }
    found
}
