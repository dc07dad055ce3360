//! A Rust source file as a table of lines, each split into code and comment,
//! with the text of strings blanked out and test code marked.
//!
//! This is a scanner, not a parser: it knows strings, characters, comments and
//! braces, which is what the rules in `tidy` need. It relies on `rustfmt` for
//! the rest.

/// One line of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// What the compiler sees; the contents of literals are replaced by blanks.
    pub code: String,
    /// The text of comments, without the slashes.
    pub comment: String,
    /// Whether the line belongs to an item marked `#[cfg(test)]` or `#[test]`.
    pub is_test: bool,
}

impl Line {
    /// Whether the line counts against a crate's budget.
    pub fn is_counted(&self) -> bool {
        !self.is_test && !self.code.trim().is_empty()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Code,
    LineComment,
    BlockComment(u32),
    String,
    RawString(usize),
}

/// Splits `text` into lines.
pub fn scan(text: &str) -> Vec<Line> {
    let chars: Vec<char> = text.chars().collect();
    let mut lines = vec![Line::default()];
    let mut state = State::Code;
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        if c == '\n' {
            if state == State::LineComment {
                state = State::Code;
            }
            lines.push(Line::default());
            at += 1;
            continue;
        }
        let line = lines.last_mut().expect("there is always a line");
        let used;
        (state, used) = match state {
            State::Code => scan_code(&chars[at..], chars[..at].last().copied(), line),
            State::LineComment => {
                line.comment.push(c);
                (state, 1)
            }
            State::BlockComment(depth) => scan_block_comment(&chars[at..], depth, line),
            State::String => match c {
                '\\' if chars.get(at + 1) != Some(&'\n') => (state, 2),
                '"' => {
                    line.code.push('"');
                    (State::Code, 1)
                }
                _ => (state, 1),
            },
            State::RawString(hashes) => {
                let is_end = c == '"' && chars[at + 1..].iter().take(hashes).all(|c| *c == '#');
                match is_end && chars.len() > at + hashes {
                    true => {
                        line.code.push('"');
                        (State::Code, 1 + hashes)
                    }
                    false => (state, 1),
                }
            }
        };
        at += used;
    }
    mark_tests(&mut lines);
    lines
}

/// One step in code: the next state and how many characters were used.
fn scan_code(rest: &[char], before: Option<char>, line: &mut Line) -> (State, usize) {
    match *rest {
        ['/', '/', ..] => (State::LineComment, 2),
        ['/', '*', ..] => (State::BlockComment(1), 2),
        ['"', ..] => {
            line.code.push('"');
            (State::String, 1)
        }
        ['r', '"' | '#', ..] if !before.is_some_and(is_word) || before == Some('b') => {
            let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
            if rest.get(1 + hashes) == Some(&'"') {
                line.code.push('"');
                (State::RawString(hashes), 2 + hashes)
            } else {
                line.code.push('r');
                (State::Code, 1)
            }
        }
        ['\'', '\\', ..] => {
            // An escaped character: up to the closing quote.
            let end = rest.iter().skip(3).position(|c| *c == '\'').map_or(rest.len(), |n| n + 4);
            line.code.push_str("' '");
            (State::Code, end)
        }
        ['\'', _, '\'', ..] => {
            line.code.push_str("' '");
            (State::Code, 3)
        }
        [c, ..] => {
            line.code.push(c);
            (State::Code, 1)
        }
        [] => (State::Code, 1),
    }
}

fn scan_block_comment(rest: &[char], depth: u32, line: &mut Line) -> (State, usize) {
    match *rest {
        ['*', '/', ..] if depth == 1 => (State::Code, 2),
        ['*', '/', ..] => (State::BlockComment(depth - 1), 2),
        ['/', '*', ..] => (State::BlockComment(depth + 1), 2),
        [c, ..] => {
            line.comment.push(c);
            (State::BlockComment(depth), 1)
        }
        [] => (State::Code, 1),
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Marks the lines from a test attribute to the end of the item below it.
fn mark_tests(lines: &mut [Line]) {
    let mut at = 0;
    while at < lines.len() {
        let code = lines[at].code.trim();
        let is_attribute = code.starts_with("#[cfg(test)]")
            || code.starts_with("#[cfg(all(test")
            || code.starts_with("#[test]");
        if !is_attribute {
            at += 1;
            continue;
        }
        let mut depth = 0_i32;
        while at < lines.len() {
            lines[at].is_test = true;
            let code = lines[at].code.trim().to_owned();
            for c in code.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
            }
            at += 1;
            if depth <= 0 && (code.ends_with('}') || code.ends_with(';')) {
                break;
            }
        }
    }
}

/// Whether `code` holds `word` as a whole word.
pub fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Vec<String> {
        scan(text).into_iter().map(|line| line.code.trim().to_owned()).collect()
    }

    #[test]
    fn literals_and_comments_are_not_code() {
        assert_eq!(code("let a = \"unsafe { // no\"; // unsafe"), ["let a = \"\";"]);
        assert_eq!(code("let a = r#\"un\"safe\"#;"), ["let a = \"\";"]);
        assert_eq!(code("let a = br\"unsafe\";"), ["let a = b\"\";"]);
        assert_eq!(code("f('\"', '\\'', '\\u{41}', 'x')"), ["f(' ', ' ', ' ', ' ')"]);
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), ["fn f<'a>(x: &'a str) {}"]);
        assert_eq!(code("a /* b /* c */ d */ e"), ["a  e"]);
        assert_eq!(code("let a = \"x\\\n  y\";\nb"), ["let a = \"", "\";", "b"]);
        assert_eq!(code("let r#type = 1;"), ["let r#type = 1;"]);
    }

    #[test]
    fn comments_are_kept() {
        let lines = scan("x // SAFETY: in bounds\n/* two\nlines */");
        assert_eq!(lines[0].comment.trim(), "SAFETY: in bounds");
        assert_eq!(lines[1].comment.trim(), "two");
        assert_eq!(lines[2].comment.trim(), "lines");
    }

    #[test]
    fn test_items_are_marked_to_their_end() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {\n    }\n}\nfn c() {}\n\
                    #[cfg(test)]\nmod more;\nfn d() {}";
        let marks: Vec<bool> = scan(text).iter().map(|line| line.is_test).collect();
        assert_eq!(marks, [false, true, true, true, true, true, false, true, true, false]);
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("let x = unsafe {", "unsafe"));
        assert!(!has_word("forbid(unsafe_code)", "unsafe"));
    }
}
