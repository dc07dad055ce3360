//! PyTorch's times for the same work, from `baseline.py` in a process of its own.

use std::io::Write;
use std::process::{Command, Stdio};

/// What the baseline reached, by benchmark and shape.
#[derive(Default)]
pub struct Baseline {
    /// Name and version.
    pub by: String,
    /// Benchmark, shape, value in the benchmark's unit.
    values: Vec<(String, String, f64)>,
}

impl Baseline {
    /// The value for a benchmark and shape, if the baseline has them.
    pub fn value(&self, bench: &str, shape: &str) -> Option<f64> {
        self.values.iter().find(|(b, s, _)| b == bench && s == shape).map(|(_, _, value)| *value)
    }
}

/// Runs the baseline for these benchmarks. Its lines are tab-separated: name and
/// version, benchmark, shape, value.
pub fn run(names: &[&str]) -> Baseline {
    let baseline = match output(names) {
        Ok(text) => parse(&text),
        Err(reason) => {
            eprintln!("no baseline: {reason}");
            return Baseline::default();
        }
    };
    eprintln!("baseline: {} results of {}", baseline.values.len(), baseline.by);
    baseline
}

fn output(names: &[&str]) -> Result<String, String> {
    let mut child = Command::new("python3")
        .arg("-")
        .args(names)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("python3 did not start: {error}"))?;
    let script = include_bytes!("../baseline.py");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(script).map_err(|error| format!("python3 reads no script: {error}"))?;
    drop(stdin);
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("python3 with PyTorch is needed; it ended with {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| "its output is no text".to_owned())
}

fn parse(text: &str) -> Baseline {
    let mut baseline = Baseline::default();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        if let [by, bench, shape, value] = fields[..]
            && let Ok(value) = value.parse()
        {
            baseline.by = by.to_owned();
            baseline.values.push((bench.to_owned(), shape.to_owned(), value));
        }
    }
    baseline
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn lines_become_values() {
        let baseline = parse("torch 2\tadd\tf32 2^28\t4.25\nnoise\ntorch 2\tsum\tf32 2^28\t?\n");
        assert_eq!(baseline.by, "torch 2");
        assert_eq!(baseline.value("add", "f32 2^28"), Some(4.25));
        assert_eq!(baseline.value("sum", "f32 2^28"), None);
    }
}
