//! What cargo and rustc report, read from `--message-format=json`.

use std::collections::HashSet;

use serde_json::Value as Json;

/// An error of a program.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// Cargo's target: the program's binary, or the library of `device`.
    pub target: String,
    /// File name without `.rs` of the first primary place.
    pub file: String,
    /// Its line; 0 if the error has no place.
    pub line: usize,
    /// The message, without notes.
    pub message: String,
    /// Message, places, notes and help as a terminal shows them.
    pub rendered: String,
}

/// The errors in cargo's output as a terminal shows them: without rustc's closing
/// words, and what is the same to the letter only once.
#[must_use]
pub fn errors(output: &str) -> Vec<Diagnostic> {
    let mut shown = HashSet::new();
    let messages = output.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
    messages
        .filter(|message| message["reason"] == "compiler-message")
        .filter(|message| message["message"]["level"] == "error")
        .map(|message| diagnostic(&message))
        .filter(|error| !error.message.starts_with("aborting due to"))
        .filter(|error| shown.insert((error.target.clone(), error.rendered.clone())))
        .collect()
}

fn diagnostic(cargo: &Json) -> Diagnostic {
    let message = &cargo["message"];
    let spans = message["spans"].as_array().map(Vec::as_slice).unwrap_or_default();
    let primary = spans.iter().find(|span| span["is_primary"] == true).map(in_source);
    let path = primary.and_then(|span| span["file_name"].as_str()).unwrap_or_default();
    let file = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    Diagnostic {
        target: text(&cargo["target"]["name"]),
        file: file.to_owned(),
        line: primary.and_then(|span| span["line_start"].as_u64()).unwrap_or(0) as usize,
        message: text(&message["message"]),
        rendered: text(&message["rendered"]),
    }
}

/// The place itself, or for code that a macro of another crate wrote, where in the
/// program that macro stands.
fn in_source(span: &Json) -> &Json {
    let is_program = |span: &Json| {
        span["file_name"].as_str().is_some_and(|name| {
            ["src/kernels/", "/programs/"].iter().any(|folder| name.contains(folder))
        })
    };
    let mut span = span;
    while !is_program(span) && span["expansion"]["span"].is_object() {
        span = &span["expansion"]["span"];
    }
    span
}
