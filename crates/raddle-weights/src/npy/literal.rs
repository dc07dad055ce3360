//! The Python literals that a `.npy` header is made of: dicts with text as keys,
//! tuples, lists, text, integers, `True`, `False` and `None`. Read, not evaluated.

use crate::Result;
use crate::cursor::Cursor;

/// One literal.
#[derive(Debug, PartialEq)]
pub enum Literal {
    Dict(Vec<(String, Literal)>),
    Tuple(Vec<Literal>),
    List(Vec<Literal>),
    Text(String),
    Int(i64),
    Bool(bool),
    None,
}

/// Most nesting of a header; a description of nested records has some.
const DEPTH_MAX: u32 = 16;

/// Reads the one literal that the bytes hold, with white space around it.
pub fn parse(cursor: &mut Cursor<'_>) -> Result<Literal> {
    let literal = value(cursor, 0)?;
    skip_space(cursor)?;
    match cursor.rest() {
        [] => Ok(literal),
        _ => Err(cursor.malformed(cursor.position(), "more text after the header's literal")),
    }
}

fn value(cursor: &mut Cursor<'_>, depth: u32) -> Result<Literal> {
    skip_space(cursor)?;
    let at = cursor.position();
    if depth > DEPTH_MAX {
        return Err(cursor.malformed(at, "a header nested too deeply"));
    }
    match cursor.u8()? {
        b'{' => dict(cursor, depth),
        b'(' => items(cursor, depth, b')').map(|(items, has_comma)| match has_comma {
            // Brackets around one value without a comma mean that value.
            false if items.len() == 1 => items.into_iter().next().unwrap_or(Literal::None),
            _ => Literal::Tuple(items),
        }),
        b'[' => items(cursor, depth, b']').map(|(items, _)| Literal::List(items)),
        quote @ (b'\'' | b'"') => text(cursor, quote).map(Literal::Text),
        first if first == b'-' || first.is_ascii_digit() => int(cursor, at, first),
        first if first.is_ascii_alphabetic() => {
            let mut word = vec![first];
            while let Some(byte) = cursor.rest().first().filter(|byte| byte.is_ascii_alphabetic()) {
                word.push(*byte);
                cursor.u8()?;
            }
            match &word[..] {
                b"True" => Ok(Literal::Bool(true)),
                b"False" => Ok(Literal::Bool(false)),
                b"None" => Ok(Literal::None),
                _ => Err(cursor.malformed(at, "a word that is no literal")),
            }
        }
        other => Err(cursor.malformed(at, format!("{:?} begins no literal", char::from(other)))),
    }
}

fn dict(cursor: &mut Cursor<'_>, depth: u32) -> Result<Literal> {
    let mut entries = Vec::new();
    loop {
        skip_space(cursor)?;
        if cursor.rest().first() == Some(&b'}') {
            cursor.u8()?;
            return Ok(Literal::Dict(entries));
        }
        let at = cursor.position();
        let Literal::Text(key) = value(cursor, depth + 1)? else {
            return Err(cursor.malformed(at, "a key that is not text"));
        };
        skip_space(cursor)?;
        expect(cursor, b":")?;
        entries.push((key, value(cursor, depth + 1)?));
        skip_space(cursor)?;
        if cursor.rest().first() != Some(&b'}') {
            expect(cursor, b",")?;
        }
    }
}

/// Values up to the closing bracket, and whether a comma stood among them.
fn items(cursor: &mut Cursor<'_>, depth: u32, end: u8) -> Result<(Vec<Literal>, bool)> {
    let mut items = Vec::new();
    let mut has_comma = false;
    loop {
        skip_space(cursor)?;
        if cursor.rest().first() == Some(&end) {
            cursor.u8()?;
            return Ok((items, has_comma));
        }
        items.push(value(cursor, depth + 1)?);
        skip_space(cursor)?;
        if cursor.rest().first() != Some(&end) {
            expect(cursor, b",")?;
            has_comma = true;
        }
    }
}

fn text(cursor: &mut Cursor<'_>, quote: u8) -> Result<String> {
    let start = cursor.position();
    let mut bytes = Vec::new();
    loop {
        match cursor.u8()? {
            byte if byte == quote => break,
            b'\\' => bytes.push(cursor.u8()?),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| cursor.malformed(start, "text that is not UTF-8"))
}

fn int(cursor: &mut Cursor<'_>, at: usize, first: u8) -> Result<Literal> {
    let mut digits = String::from(char::from(first));
    while let Some(digit) = cursor.rest().first().filter(|byte| byte.is_ascii_digit()) {
        digits.push(char::from(*digit));
        cursor.u8()?;
    }
    // Python 2 wrote long integers with this letter.
    if cursor.rest().first() == Some(&b'L') {
        cursor.u8()?;
    }
    digits
        .parse()
        .map(Literal::Int)
        .map_err(|_| cursor.malformed(at, format!("{digits:?} is no number of 64 bits")))
}

fn expect(cursor: &mut Cursor<'_>, expected: &[u8; 1]) -> Result<()> {
    let at = cursor.position();
    match cursor.take(1)? == expected {
        true => Ok(()),
        false => {
            let expected = char::from(expected[0]);
            Err(cursor.malformed(at, format!("{expected:?} expected in the header")))
        }
    }
}

fn skip_space(cursor: &mut Cursor<'_>) -> Result<()> {
    let rest = cursor.rest();
    let count = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    cursor.take(count).map(|_| ())
}
