//! `map`, `map_err`, `and_then`, `unwrap_or_else`, `ok`, `err` on `Result`.
//! run: threads = 64

fn parse(n: u32) -> Result<u32, (u32, &'static str)> {
    match n % 4 {
        0 => Err((n, "zero")),
        1 if n > 30 => Err((n, "too large")),
        rest => Ok(n * 10 + rest),
    }
}

pub fn program(thread: u32) -> (u32, Option<usize>, bool, u32) {
    let result = parse(thread);
    let length = result.map_err(|(_, why)| why.len()).err();
    let chained = parse(thread).and_then(|x| parse(x / 3)).map(|x| x + 1);
    (
        result.unwrap_or_else(|(n, why)| n + why.len() as u32 * 1000),
        length,
        chained.is_ok_and(|x| x % 2 == 0),
        parse(thread + 1).ok().unwrap_or(4),
    )
}

// expect: 4000,1,4,0,11 11,0,0,1,22 22,0,0,1,33 33,0,0,1,4 4004,1,4,0,51 51,0,0,1,62 62,0,0,0,73
// expect: 73,0,0,0,4
// hash: 0x4b8ca35b5c392649 of 64 answers
