//! What cargo and rustc report, read from `--message-format=json`.

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

/// The errors in cargo's output, without rustc's closing words.
#[must_use]
pub fn errors(output: &str) -> Vec<Diagnostic> {
    let messages = output.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
    messages
        .filter(|message| message["reason"] == "compiler-message")
        .filter(|message| message["message"]["level"] == "error")
        .map(|message| diagnostic(&message))
        .filter(|error| !error.message.starts_with("aborting due to"))
        .collect()
}

fn diagnostic(cargo: &Json) -> Diagnostic {
    let message = &cargo["message"];
    let spans = message["spans"].as_array().map(Vec::as_slice).unwrap_or_default();
    let primary = spans.iter().find(|span| span["is_primary"] == true).map(outermost);
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

/// Where in the source the macro stands that a place comes from.
fn outermost(span: &Json) -> &Json {
    let mut span = span;
    while span["expansion"]["span"].is_object() {
        span = &span["expansion"]["span"];
    }
    span
}
