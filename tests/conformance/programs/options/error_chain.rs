//! An error enum with context, passed through three levels by `?`.
//! run: threads = 64

#[derive(Clone, Copy, PartialEq)]
enum Error {
    Missing { key: u8 },
    Range { value: i64, max: i64 },
    Nested(Depth, Code),
}

type Code = u16;
#[derive(Clone, Copy, PartialEq)]
struct Depth(u8);

fn lookup(table: &[(u8, i64)], key: u8) -> Result<i64, Error> {
    table.iter().find(|(k, _)| *k == key).map(|(_, v)| *v).ok_or(Error::Missing { key })
}

fn bounded(table: &[(u8, i64)], key: u8) -> Result<i64, Error> {
    match lookup(table, key)? {
        value if value > 50 => Err(Error::Range { value, max: 50 }),
        value => Ok(value),
    }
}

fn deep(table: &[(u8, i64)], key: u8) -> Result<i64, Error> {
    let first = bounded(table, key)?;
    bounded(table, first as u8).map_err(|_| Error::Nested(Depth(2), first as Code))
}

pub fn program(thread: u32) -> i64 {
    let table = [(1, 5), (2, 60), (3, 1), (5, i64::from(thread)), (7, 9)];
    match deep(&table, thread as u8 % 9) {
        Ok(value) => value,
        Err(Error::Missing { key }) => -100 - i64::from(key),
        Err(Error::Range { value, max }) => -(value * 1000 + max),
        Err(Error::Nested(Depth(depth), code)) => -i64::from(depth) * 10_000 - i64::from(code),
    }
}

// expect: -100 1 -60050 5 -104 5 -106 -20009
// hash: 0x39b858aab8b9291c of 64 answers
