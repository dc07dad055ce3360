//! Environment variables: each one that a source file reads is described in
//! `docs/environment.md`, and that page describes no others.

use std::collections::BTreeSet;

/// Names that begin with `RADDLE_` in `text`, each right after `before`: a quote
/// in Rust, a brace in `${NAME:-default}` of a shell script.
pub fn names(text: &str, before: char) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    text.match_indices("RADDLE_")
        .filter(|(at, _)| text[..*at].ends_with(before))
        .map(|(at, _)| text[at..].chars().take_while(|c| is_part(*c)).collect())
        .filter(|name: &String| name != "RADDLE_")
        .collect()
}

/// What is read and not described, or described and not read.
pub fn check(read: &BTreeSet<String>, page: &str) -> Vec<String> {
    let described = names(page, '`');
    let missing = read
        .difference(&described)
        .map(|name| format!("docs/environment.md: {name} is read and not described"));
    let stale = described
        .difference(read)
        .map(|name| format!("docs/environment.md: {name} is described and not read"));
    missing.chain(stale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_and_sources_agree() {
        let read = names("var(\"RADDLE_A\") // RADDLE_NOTE\nvar(\"RADDLE_B_2\")", '"');
        assert_eq!(read.iter().collect::<Vec<_>>(), ["RADDLE_A", "RADDLE_B_2"]);
        assert!(check(&read, "`RADDLE_A` and `RADDLE_B_2`").is_empty());
        assert_eq!(check(&read, "`RADDLE_A`").len(), 1);
        assert_eq!(check(&read, "`RADDLE_A` `RADDLE_B_2` `RADDLE_C`").len(), 1);
    }
}
