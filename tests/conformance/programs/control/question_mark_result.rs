//! `?` on `Result` converts the error with `From`.
//! run: threads = 64

enum Cause {
    Odd(u32),
    Large,
}

struct Code(u32);

impl From<Cause> for Code {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Odd(n) => Code(1000 + n),
            Cause::Large => Code(2000),
        }
    }
}

fn halve(n: u32) -> Result<u32, Cause> {
    if n % 2 == 1 { Err(Cause::Odd(n)) } else { Ok(n / 2) }
}

fn limit(n: u32) -> Result<u32, Cause> {
    if n > 20 { Err(Cause::Large) } else { Ok(n) }
}

fn run(n: u32) -> Result<u32, Code> {
    let half = halve(n)?;
    let quarter = halve(limit(half)?)?;
    Ok(quarter + 5)
}

pub fn program(thread: u32) -> (bool, u32) {
    match run(thread) {
        Ok(value) => (true, value),
        Err(Code(code)) => (false, code),
    }
}

// expect: 1,5 0,1001 0,1001 0,1003 1,6 0,1005 0,1003 0,1007
// hash: 0x2612653716ee15db of 64 answers
