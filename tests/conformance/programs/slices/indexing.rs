//! Ranges of every kind index slices.
//! run: threads = 64
//! input: u8 x 64

pub fn program(thread: u32, input: &[u8]) -> [u32; 6] {
    let n = thread as usize / 2;
    let sum = |slice: &[u8]| slice.iter().map(|&x| u32::from(x)).sum();
    [
        sum(&input[n..]),
        sum(&input[..n]),
        sum(&input[n..n + 9]),
        sum(&input[n..=n + 9]),
        sum(&input[..=n]),
        sum(input.get(n + 20..n + 50).unwrap_or(&[1, 2])),
    ]
}

// expect: 7882,0,1603,1769,175,3392 7882,0,1603,1769,175,3392 7707,175,1594,1603,419,3354
// expect: 7707,175,1594,1603,419,3354 7463,419,1359,1605,498,3427 7463,419,1359,1605,498,3427
// expect: 7384,498,1526,1649,734,3440 7384,498,1526,1649,734,3440
// hash: 0x3e9d897590339935 of 64 answers
