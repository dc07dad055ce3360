//! The edit distance of two words, row by row.
//! run: threads = 64

fn distance(a: &[u8], b: &[u8]) -> u32 {
    let mut row: [u32; 16] = core::array::from_fn(|i| i as u32);
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i as u32 + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + u32::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

const WORDS: [&[u8]; 8] =
    [b"kitten", b"sitting", b"", b"weaving", b"warp", b"wrap", b"threads", b"thread block"];

pub fn program(thread: u32) -> u32 {
    distance(WORDS[thread as usize / 8], WORDS[thread as usize % 8])
}

// expect: 0 3 6 6 6 6 7 12
// hash: 0x3e1a8dbd4d07a025 of 64 answers
