//! Dot products of slices with `chunks_exact` and four accumulators.
//! run: threads = 64
//! input: f32 x 320

pub fn program(thread: u32, input: &[f32]) -> (f32, f32) {
    let (a, b) = (&input[thread as usize..][..64], &input[256..]);
    let lanes = a.chunks_exact(4).zip(b.chunks_exact(4)).fold([0f32; 4], |mut sums, (a, b)| {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
        sums
    });
    (lanes.iter().sum(), a.iter().zip(b).map(|(a, b)| a * b).sum())
}

// expect: 238.45366,238.45364 227.92,227.92003 235.05142,235.05142 115.88025,115.88027
// expect: 276.09113,276.09116 187.93979,187.93979 -184.58325,-184.58325 -70.52224,-70.52225
// hash: 0x578cc55878395e06 of 64 answers
