//! Parsing decimal digits by hand, with overflow and syntax errors.
//! run: threads = 64

fn parse(text: &[u8]) -> Result<u16, u8> {
    let mut value = 0u16;
    if text.is_empty() {
        return Err(0);
    }
    for &byte in text {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'_' => continue,
            _ => return Err(byte),
        };
        value = value.checked_mul(10).and_then(|v| v.checked_add(digit.into())).ok_or(1)?;
    }
    Ok(value)
}

const TEXTS: [&str; 8] = ["0", "65535", "65536", "12_345", "", "9x", "007", "99999999999"];

pub fn program(thread: u32) -> (bool, u16) {
    let text = TEXTS[thread as usize % 8].as_bytes();
    match parse(&text[..text.len().min(thread as usize / 8 + 1)]) {
        Ok(value) => (true, value),
        Err(code) => (false, code.into()),
    }
}

// expect: 1,0 1,6 1,6 1,1 0,0 1,9 1,0 1,9
// hash: 0x03bb59d31fff687e of 64 answers
