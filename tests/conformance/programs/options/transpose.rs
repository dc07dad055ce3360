//! `transpose`, `flatten` and nested options.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, Option<u32>, u32) {
    let nested: Option<Option<u32>> = match thread % 3 {
        0 => None,
        1 => Some(None),
        _ => Some(Some(thread)),
    };
    let result: Option<Result<u32, u8>> = nested.map(|inner| inner.ok_or(7));
    let code = match result.transpose() {
        Ok(None) => 1,
        Ok(Some(x)) => 100 + x,
        Err(e) => u32::from(e),
    };
    (code, nested.flatten(), nested.map_or(0, |inner| inner.map_or(1, |_| 2)))
}

// expect: 1,0,0,0 7,0,0,1 102,1,2,2 1,0,0,0 7,0,0,1 105,1,5,2 1,0,0,0 7,0,0,1
// hash: 0x8242e181fe7213d4 of 64 answers
