//! The longest common subsequence over a full table.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32) {
    let a: [u32; 14] = core::array::from_fn(|i| (i as u32 * 5 + thread) % 6);
    let b: [u32; 14] = core::array::from_fn(|i| (i as u32 * i as u32 + thread / 3) % 6);
    let mut table = [[0u32; 15]; 15];
    for i in 0..14 {
        for j in 0..14 {
            table[i + 1][j + 1] =
                if a[i] == b[j] { table[i][j] + 1 } else { table[i][j + 1].max(table[i + 1][j]) };
        }
    }
    let (mut i, mut j, mut hash) = (14, 14, 0);
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            hash = (hash * 7 + a[i - 1]) % 10_007;
            i -= 1;
            j -= 1;
        } else if table[i - 1][j] >= table[i][j - 1] {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    (table[14][14], hash)
}

// expect: 9,3368 9,3369 8,3369 8,3497 7,2537 8,7757 8,3480 8,3480
// hash: 0x1d53599e4af061eb of 64 answers
