//! `unwrap` on `Err` of an enum with a derived `Debug`.
//! run: threads = 64
//! panics

#[allow(dead_code, reason = "only messages show the fields")]
#[derive(Debug)]
enum Problem {
    TooLarge { value: u64, limit: u64 },
    Odd(u64),
}

fn halve(value: u64) -> Result<u64, Problem> {
    match value {
        _ if value >= 20 => Err(Problem::TooLarge { value, limit: 20 }),
        _ if value % 2 == 1 => Err(Problem::Odd(value)),
        _ => Ok(value / 2),
    }
}

pub fn program(thread: u32) -> u64 {
    let value = if thread == 20 { 20 } else { u64::from(thread % 10 * 2) };
    halve(value).unwrap() //~ PANIC
}

// panic: thread 20: called `Result::unwrap()` on an `Err` value: TooLarge { value: 20, limit: 20 }
