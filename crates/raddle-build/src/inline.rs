//! Kernels in a module of a program's own file, so that an example is one page:
//!
//! ```text
//! mod kernels { use raddle::prelude::*; #[kernel] pub fn saxpy(…) {…} }
//! fn main() {…}
//! ```
//!
//! The device build sees the same file with everything outside such modules
//! blanked, so that lines and columns stay as they are.

/// The file with all but its top-level modules that hold kernels replaced by
/// blanks; `None` if there is no such module.
pub fn kernel_modules(source: &str) -> Option<String> {
    let modules: Vec<_> = top_level_modules(source)
        .into_iter()
        .filter(|&(start, end)| holds_kernel(&source[start..end]))
        .collect();
    if modules.is_empty() {
        return None;
    }
    let mut text = String::with_capacity(source.len());
    for (at, c) in source.char_indices() {
        let is_kept = modules.iter().any(|&(start, end)| (start..end).contains(&at));
        text.push(if is_kept || c == '\n' { c } else { ' ' });
    }
    Some(text)
}

fn holds_kernel(module: &str) -> bool {
    module.contains("#[kernel") || module.contains("#[raddle::kernel")
}

/// Byte ranges of `mod NAME { … }` outside any braces.
fn top_level_modules(source: &str) -> Vec<(usize, usize)> {
    let bytes = source.as_bytes();
    let mut modules = Vec::new();
    let mut at = 0;
    let mut depth = 0usize;
    // Start of a top-level `mod NAME` whose brace is expected next.
    let mut pending = None;
    let mut open = None;
    while at < bytes.len() {
        let next = skip_trivia(bytes, at);
        if next > at {
            at = next;
            continue;
        }
        match bytes[at] {
            b'{' => {
                if depth == 0 {
                    open = pending.take();
                }
                depth += 1;
            }
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0
                    && let Some(start) = open.take()
                {
                    modules.push((start, at + 1));
                }
            }
            c if is_word(c) => {
                let end = word_end(bytes, at);
                if depth == 0 && &source[at..end] == "mod" {
                    pending = Some(at);
                }
                at = end;
                continue;
            }
            b';' => pending = None,
            _ => {}
        }
        at += 1;
    }
    modules
}

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_' || c >= 0x80
}

fn word_end(bytes: &[u8], start: usize) -> usize {
    start + bytes[start..].iter().take_while(|&&c| is_word(c)).count()
}

/// The end of the comment, string or character literal at `at`, or `at` itself.
fn skip_trivia(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let until = |end: &[u8], from: usize| {
        rest[from..]
            .windows(end.len())
            .position(|w| w == end)
            .map_or(bytes.len(), |i| at + from + i + end.len())
    };
    if rest.starts_with(b"//") {
        return until(b"\n", 2);
    }
    if rest.starts_with(b"/*") {
        return block_comment_end(bytes, at);
    }
    if rest[0] == b'"' {
        return string_end(bytes, at);
    }
    if rest[0] == b'r' && (at == 0 || !is_word(bytes[at - 1])) {
        let hashes = rest[1..].iter().take_while(|&&c| c == b'#').count();
        if rest.get(1 + hashes) == Some(&b'"') {
            let mut end = vec![b'"'];
            end.extend(std::iter::repeat_n(b'#', hashes));
            return until(&end, 2 + hashes);
        }
    }
    if rest[0] == b'\'' {
        return character_end(bytes, at);
    }
    at
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0usize;
    let mut at = start;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `'x'`, `'\n'`, `'\u{1F600}'`, but not the lifetime `'a`.
fn character_end(bytes: &[u8], start: usize) -> usize {
    if bytes.get(start + 1) == Some(&b'\\') {
        let close = bytes[start + 3..].iter().position(|&c| c == b'\'');
        return close.map_or(bytes.len(), |i| start + 3 + i + 1);
    }
    // One character, of one to four bytes, then a quote.
    let close = bytes[start + 1..].iter().take(5).skip(1).position(|&c| c == b'\'');
    match close {
        Some(i) if i == 0 || bytes[start + 1] >= 0x80 => start + 1 + i + 2,
        _ => start + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_modules_with_kernels_stay_and_nothing_moves() {
        let source = "// mod x {\nfn main() { let s = \"mod y { #[kernel\"; }\nmod a { fn f() {} }\n\
                      mod kernels {\n    #[kernel]\n    pub fn k<'a>() { let c = '{'; let r = r#\"}\"#; }\n}\n";
        let text = kernel_modules(source).expect("a kernel module");
        assert_eq!(text.len(), source.len());
        assert_eq!(
            text.trim_start(),
            source[source.find("mod kernels").expect("it is there")..].to_owned()
        );
        assert_eq!(text.lines().count(), source.lines().count());
    }

    #[test]
    fn files_without_such_modules_are_left_alone() {
        assert_eq!(kernel_modules("#[kernel] fn k() {}\nmod a { fn f() {} }"), None);
        assert_eq!(kernel_modules("fn f<'a>(x: &'a str) -> char { '\\'' } mod b;"), None);
    }
}
