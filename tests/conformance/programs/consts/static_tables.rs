//! Static tables of numbers, structs and slices of different length.
//! run: threads = 64

struct Row {
    name: &'static str,
    factors: &'static [f32],
    limit: Option<u8>,
}

static ROWS: [Row; 3] = [
    Row { name: "warp", factors: &[1.0, 0.5], limit: Some(32) },
    Row { name: "block", factors: &[], limit: None },
    Row { name: "grid", factors: &[0.25, 4.0, -1.5], limit: Some(0) },
];

pub fn program(thread: u32) -> (f32, usize, Option<u8>) {
    let row = &ROWS[thread as usize % 3];
    let value = row.factors.iter().fold(thread as f32, |value, factor| value * factor + 1.0);
    (value, row.name.len(), row.limit)
}

// expect: 1.5,4,1,32 1.0,5,0,0 -9.5,4,1,0 3.0,4,1,32 4.0,5,0,0 -14.0,4,1,0 4.5,4,1,32 7.0,5,0,0
// hash: 0xc5d57bb7fc51e704 of 64 answers
