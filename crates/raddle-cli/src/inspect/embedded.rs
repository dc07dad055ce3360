//! Finds the PTX texts that a built program carries among its read-only data.
//!
//! They are found by their form: a `.version` line followed by `.target`, then
//! lines of PTX until one that is none. A binary of any platform and of any
//! compiler version can thus be read, stripped or not.

/// A PTX text inside a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embedded {
    /// PTX target.
    pub target: String,
    /// Name of the first visible entry.
    pub entry: String,
    /// The text.
    pub ptx: String,
}

const VERSION: &[u8] = b".version ";

/// Finds all PTX texts with an entry in the bytes of a program. The same text
/// is given once.
#[must_use]
pub fn find(program: &[u8]) -> Vec<Embedded> {
    let mut found: Vec<Embedded> = Vec::new();
    let mut at = 0;
    while let Some(offset) = position(&program[at..], VERSION) {
        let start = at + offset;
        let text = ptx_at(&program[start..]);
        at = start + text.len().max(VERSION.len());
        if let Some(embedded) = describe(text)
            && !found.contains(&embedded)
        {
            found.push(embedded);
        }
    }
    found
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The longest PTX text at the beginning of `bytes`.
fn ptx_at(bytes: &[u8]) -> &str {
    let is_text = |byte: &u8| matches!(byte, b'\t' | b'\n' | b' '..=b'~');
    let len = bytes.iter().position(|byte| !is_text(byte)).unwrap_or(bytes.len());
    let text = std::str::from_utf8(&bytes[..len]).unwrap_or_default();
    let (mut end, mut depth) = (0, 0_i64);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let is_ptx = depth > 0 || number == 0 || is_outer_line(line);
        if !is_ptx || !line.ends_with('\n') {
            break;
        }
        // Braces in comments and names of files do not count.
        let code = line.split("//").next().unwrap_or_default().split('"').next();
        for c in code.unwrap_or_default().chars() {
            depth += i64::from(c == '{') - i64::from(c == '}');
        }
        end += line.len();
    }
    &text[..end]
}

/// Whether a line can stand outside of all braces: a directive other than
/// `.version`, with which the next text begins, or a part of one.
fn is_outer_line(line: &str) -> bool {
    match *line.as_bytes() {
        [b'.', second, ..] => second.is_ascii_lowercase() && !line.starts_with(".version "),
        [b'/', second, ..] => second == b'/',
        [first, ..] => matches!(first, b'\n' | b'\t' | b' ' | b'(' | b')' | b'{' | b'}' | b';'),
        [] => false,
    }
}

/// Target and entry of a PTX text; `None` if it has no entry.
fn describe(text: &str) -> Option<Embedded> {
    let value = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    let target = value(".target ")?.split([',', ' ']).next()?.to_owned();
    let entry = value(".visible .entry ")?.split(['(', ' ']).next()?.to_owned();
    Some(Embedded { target, entry, ptx: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PTX: &str = ".version 8.0\n.target sm_80\n.address_size 64\n\n\
        .visible .entry axpy(\n\t.param .b64 p\n)\n.reqntid 128, 1, 1\n{\n\tret; // }\n$L__BB0_1:\n}\n\
        \t.file\t1 \"src/{kernels}.rs\"\n";

    #[test]
    fn texts_end_where_other_data_begins() {
        let other = PTX.replace("axpy", "dot").replace("sm_80", "sm_90a");
        for tail in ["called `unwrap`", "\0\u{1}\n", "", "\u{7f}ELF"] {
            let program = format!("\0junk .version 1\0{PTX}{other}{PTX}{tail}");
            let found = find(program.as_bytes());
            assert_eq!(found.len(), 2, "{tail:?}");
            assert_eq!((&*found[0].entry, &*found[0].target), ("axpy", "sm_80"));
            assert_eq!(found[0].ptx, PTX);
            assert_eq!((&*found[1].entry, &*found[1].target), ("dot", "sm_90a"));
            assert_eq!(found[1].ptx, other);
        }
    }

    #[test]
    fn words_about_ptx_are_not_ptx() {
        assert!(find(b".version 8.0\n.target sm_80\nno entry here").is_empty());
        assert!(find(b"").is_empty());
    }
}
