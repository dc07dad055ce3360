//! Protobuf's text format, as much of it as model configurations use: fields,
//! messages, lists, strings with escapes, numbers, names of enums, comments.
//!
//! Read into JSON values; a field that occurs several times becomes a list.

use serde_json::{Map, Number, Value};

/// Deepest nesting of messages.
const DEPTH_MAX: usize = 32;

/// Reads a text; errors name the line.
pub fn parse(source: &str) -> Result<Value, String> {
    let mut parser = Parser { rest: source, line: 1 };
    let fields = parser.fields(None, 0);
    fields.map_err(|why| format!("line {}: {why}", parser.line))
}

struct Parser<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Parser<'a> {
    /// Fields up to `end`, or to the end of the text.
    fn fields(&mut self, end: Option<char>, depth: usize) -> Result<Value, String> {
        if depth > DEPTH_MAX {
            return Err(format!("messages are nested deeper than {DEPTH_MAX}"));
        }
        let mut fields = Map::new();
        loop {
            self.skip_space();
            match (self.rest.chars().next(), end) {
                (None, None) => return Ok(Value::Object(fields)),
                (None, Some(end)) => return Err(format!("`{end}` is missing at the end")),
                (found, Some(_)) if found == end => {
                    self.bump();
                    return Ok(Value::Object(fields));
                }
                (Some(';' | ','), _) => self.bump(),
                _ => {
                    let name = self.word()?.to_owned();
                    self.skip_space();
                    let value = match self.rest.chars().next() {
                        Some(':') => {
                            self.bump();
                            self.value(depth)?
                        }
                        Some('{' | '<' | '[') => self.value(depth)?,
                        _ => return Err(format!("expected `:` or `{{` after {name}")),
                    };
                    insert(&mut fields, name, value);
                }
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        self.skip_space();
        match self.rest.chars().next() {
            Some('{') => {
                self.bump();
                self.fields(Some('}'), depth + 1)
            }
            Some('<') => {
                self.bump();
                self.fields(Some('>'), depth + 1)
            }
            Some('[') => {
                self.bump();
                self.list(depth)
            }
            Some('"' | '\'') => self.strings(),
            Some(_) => self.scalar(),
            None => Err("expected a value at the end".into()),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEPTH_MAX {
            return Err(format!("lists are nested deeper than {DEPTH_MAX}"));
        }
        let mut values = Vec::new();
        loop {
            self.skip_space();
            match self.rest.chars().next() {
                Some(']') => {
                    self.bump();
                    return Ok(Value::Array(values));
                }
                Some(',') => self.bump(),
                Some(_) => values.push(self.value(depth + 1)?),
                None => return Err("`]` is missing at the end".into()),
            }
        }
    }

    /// Strings beside each other are one.
    fn strings(&mut self) -> Result<Value, String> {
        let mut bytes = Vec::new();
        while let Some(quote @ ('"' | '\'')) = self.rest.chars().next() {
            self.bump();
            self.string(quote, &mut bytes)?;
            self.skip_space();
        }
        let text = String::from_utf8(bytes).map_err(|_| "a string is not UTF-8")?;
        Ok(Value::String(text))
    }

    fn string(&mut self, quote: char, bytes: &mut Vec<u8>) -> Result<(), String> {
        loop {
            let c = self.rest.chars().next().ok_or("a string has no end")?;
            self.bump();
            match c {
                _ if c == quote => return Ok(()),
                '\n' => return Err("a string goes beyond its line".into()),
                '\\' => self.escape(bytes)?,
                _ => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), String> {
        let c = self.rest.chars().next().ok_or("a string has no end")?;
        let radix = match c {
            'x' | 'X' => 16,
            '0'..='7' => 8,
            _ => {
                self.bump();
                let plain = match c {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    '\\' | '"' | '\'' | '?' => c,
                    _ => return Err(format!("escape \\{c} is not known")),
                };
                bytes.push(plain as u8);
                return Ok(());
            }
        };
        if radix == 16 {
            self.bump();
        }
        let most = if radix == 16 { 2 } else { 3 };
        let digits = self.rest.chars().take(most).take_while(|c| c.is_digit(radix)).count();
        let (number, rest) = self.rest.split_at(digits);
        let number = u8::from_str_radix(number, radix);
        bytes.push(number.map_err(|_| "an escape in a string is no byte")?);
        self.rest = rest;
        Ok(())
    }

    fn scalar(&mut self) -> Result<Value, String> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '.');
        let word = self.take_while(is_part);
        let number = word.trim_end_matches(['f', 'F']);
        Ok(match word {
            "" => {
                let found = self.rest.chars().next().unwrap_or(' ');
                return Err(format!("expected a value, found `{found}`"));
            }
            "true" => true.into(),
            "false" => false.into(),
            _ => {
                let whole = word.parse::<i64>().map(Number::from);
                let whole = whole.or_else(|_| word.parse::<u64>().map(Number::from)).ok();
                let real = || number.parse::<f64>().ok().and_then(Number::from_f64);
                whole.or_else(real).map_or_else(|| word.into(), Value::Number)
            }
        })
    }

    fn word(&mut self) -> Result<&'a str, String> {
        let word = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
        match word {
            "" => {
                let found = self.rest.chars().next().unwrap_or(' ');
                Err(format!("expected the name of a field, found `{found}`"))
            }
            word => Ok(word),
        }
    }

    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn skip_space(&mut self) {
        while let Some(c) = self.rest.chars().next() {
            match c {
                '#' => {
                    self.take_while(|c| c != '\n');
                }
                _ if c.is_whitespace() => self.bump(),
                _ => return,
            }
        }
    }

    /// Goes past one character.
    fn bump(&mut self) {
        let mut chars = self.rest.chars();
        if chars.next() == Some('\n') {
            self.line += 1;
        }
        self.rest = chars.as_str();
    }
}

/// A field that occurs again makes a list.
fn insert(fields: &mut Map<String, Value>, name: String, value: Value) {
    match fields.get_mut(&name) {
        None => {
            fields.insert(name, value);
        }
        Some(Value::Array(list)) => match value {
            Value::Array(more) => list.extend(more),
            single => list.push(single),
        },
        Some(first) => {
            let mut list = vec![first.take()];
            match value {
                Value::Array(more) => list.extend(more),
                single => list.push(single),
            }
            *first = Value::Array(list);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn configurations_are_read() {
        let source = "# a model\nname: \"a\" 'b\\x41\\n'\ninput [ { dims: [ -1, 3 ] } ]\ninput { dims: 4 }\n\
                      x < y: 1.5f, z: KIND_GPU; > on: true list: 1 list: [2, 3]";
        let expected = json!({
            "name": "abA\n", "input": [{ "dims": [-1, 3] }, { "dims": 4 }],
            "x": { "y": 1.5, "z": "KIND_GPU" }, "on": true, "list": [1, 2, 3],
        });
        assert_eq!(parse(source), Ok(expected));
    }

    #[test]
    fn errors_name_the_line() {
        let error = |source: &str| parse(source).unwrap_err();
        assert_eq!(error("a: 1\nb 2"), "line 2: expected `:` or `{` after b");
        assert_eq!(error("a {\n"), "line 2: `}` is missing at the end");
        assert_eq!(error("a: \"x\ny\""), "line 2: a string goes beyond its line");
        assert_eq!(error("}"), "line 1: expected the name of a field, found `}`");
        assert_eq!(error("a: [1"), "line 1: `]` is missing at the end");
        assert!(error(&"a{".repeat(100)).contains("nested deeper"));
        assert!(error(&format!("a: {}", "[".repeat(100_000))).contains("nested deeper"));
        assert!(error("a: '\\x'").contains("no byte"));
    }
}
