//! The little of TOML that profiles are written in: booleans and strings by their
//! path, in tables, dotted keys and inline tables. Other values are kept as text
//! that nobody asks for.
//!
//! Cargo has read the same files before and refused what is not TOML, so nothing
//! is checked here.

/// Values by path.
pub type Entries = Vec<(Vec<String>, String)>;

/// The value at `path`, without quotes.
pub fn get(entries: &Entries, path: &[&str]) -> Option<String> {
    entries.iter().find(|(own, _)| own.iter().eq(path.iter())).map(|(_, value)| value.clone())
}

/// All values of a file.
pub fn entries(text: &str) -> Entries {
    let mut entries = Vec::new();
    let mut table = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = without_comment(line).trim();
        if let Some(header) = line.strip_prefix('[') {
            table = path(header.trim_matches(['[', ']']));
        } else if let Some((key, value)) = split_outside_quotes(line, '=') {
            let mut value = value.trim().to_owned();
            // Arrays and long strings go on until their end.
            let long = ["\"\"\"", "'''"].into_iter().find(|quotes| value.starts_with(quotes));
            let is_open = |value: &str| match long {
                Some(quotes) => value.matches(quotes).count() < 2,
                None => value.starts_with('[') && !value.ends_with(']'),
            };
            while is_open(&value) {
                let Some(next) = lines.next() else { break };
                value.push_str(if long.is_some() { next } else { without_comment(next).trim() });
            }
            add(&mut entries, table.iter().cloned().chain(path(key)).collect(), &value);
        }
    }
    entries
}

fn add(entries: &mut Entries, path_of_value: Vec<String>, value: &str) {
    let inline = value.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let Some(mut rest) = inline else {
        entries.push((path_of_value, unquote(value)));
        return;
    };
    while !rest.trim().is_empty() {
        let (item, after) = split_outside_quotes(rest, ',').unwrap_or((rest, ""));
        if let Some((key, value)) = split_outside_quotes(item, '=') {
            add(entries, path_of_value.iter().cloned().chain(path(key)).collect(), value.trim());
        }
        rest = after;
    }
}

/// The segments of `a."b.c".d`.
fn path(text: &str) -> Vec<String> {
    let mut segments = Vec::new();
    let mut rest = text;
    loop {
        let (segment, after) = split_outside_quotes(rest, '.').unwrap_or((rest, ""));
        segments.push(unquote(segment.trim()));
        if after.is_empty() {
            return segments;
        }
        rest = after;
    }
}

fn unquote(text: &str) -> String {
    let text = text.trim();
    let inner = |quote| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(text).to_owned()
}

fn without_comment(line: &str) -> &str {
    split_outside_quotes(line, '#').map_or(line, |(code, _)| code)
}

/// Splits at the first `wanted` outside of quotes, brackets and braces.
fn split_outside_quotes(text: &str, wanted: char) -> Option<(&str, &str)> {
    let (mut quote, mut depth) = (None, 0u32);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, _) if c == wanted && depth == 0 => {
                return Some((&text[..at], &text[at + c.len_utf8()..]));
            }
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_dotted_keys_and_inline_tables_are_one() {
        let text = "a = 1\n[p.dev] # x\nb = true\nc.\"d.e\" = 'f#g'\nlist = [\n  \"b = false\",\n]\n[p]\nrel = { b = false, q = { r = \"s\" } }\n\
                    text = \"\"\"\n[p.dev]\nb = false\n\"\"\"\n[p.\"x y\".z]\nw = true\n";
        let entries = entries(text);
        assert_eq!(get(&entries, &["a"]).as_deref(), Some("1"));
        assert_eq!(get(&entries, &["p", "dev", "b"]).as_deref(), Some("true"));
        assert_eq!(get(&entries, &["p", "dev", "c", "d.e"]).as_deref(), Some("f#g"));
        assert_eq!(get(&entries, &["p", "rel", "b"]).as_deref(), Some("false"));
        assert_eq!(get(&entries, &["p", "rel", "q", "r"]).as_deref(), Some("s"));
        assert_eq!(get(&entries, &["p", "x y", "z", "w"]).as_deref(), Some("true"));
        assert_eq!(get(&entries, &["b"]), None);
    }
}
