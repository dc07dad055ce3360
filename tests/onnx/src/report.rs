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
    let typed = cases.iter().filter(|case| case.types.is_ok()).count();
    let _ = writeln!(text, "{:<32} {typed:>6} {:>5}", "types known before the run", cases.len());
    for (name, Count { passed, all }) in [("plain tensors", plain), ("all cases", all)] {
        let _ = writeln!(text, "{name:<32} {passed:>6} {all:>5}");
    }
    text
}

/// What a list of gaps is about.
#[derive(Clone, Copy)]
pub struct List {
    /// What the first line says.
    pub title: &'static str,
    /// The result of a case that the list is about.
    pub of: fn(&Case) -> &Result<(), String>,
}

/// Cases that fail.
pub const GAPS: List = List {
    title: "Node tests that fail on the CPU, each with the reason",
    of: |case| &case.outcome,
};

/// Cases that the kernels for GPUs do not run.
pub const GPU_GAPS: List = List {
    title: "Node tests that fail with the kernels for GPUs, each with the reason",
    of: |case| &case.outcome,
};

/// Cases whose types are not all inferred.
pub const UNTYPED: List = List {
    title: "Node tests of which inference does not know all types, each with the first one",
    of: |case| &case.types,
};

impl List {
    /// One line for each failing case, `name: reason`.
    pub fn text(&self, cases: &[Case]) -> String {
        let mut text = format!(
            "# {}. `BLESS=1 cargo test -p raddle-onnx-tests` rewrites this list.\n",
            self.title
        );
        for case in cases {
            if let Err(why) = (self.of)(case) {
                let first: String =
                    why.lines().next().unwrap_or_default().chars().take(160).collect();
                let _ = writeln!(text, "{}: {first}", case.name);
            }
        }
        text
    }

    /// Where results and the list disagree, one sentence each.
    pub fn surprises(&self, cases: &[Case], list: &str) -> Vec<String> {
        let known: BTreeMap<&str, &str> = list
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(": "))
            .collect();
        let mut found = Vec::new();
        for case in cases {
            match ((self.of)(case), known.get(case.name.as_str())) {
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
}
