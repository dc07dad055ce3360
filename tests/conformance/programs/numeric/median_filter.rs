//! A median of nine by a sorting network of minima and maxima.
//! run: threads = 64
//! input: f32 x 80

pub fn program(thread: u32, input: &[f32]) -> f32 {
    let mut v: [f32; 9] = core::array::from_fn(|i| input[thread as usize + i]);
    let mut order = |i: usize, j: usize| {
        let (low, high) = (v[i].min(v[j]), v[i].max(v[j]));
        v[i] = low;
        v[j] = high;
    };
    for (i, j) in [
        (1, 2),
        (4, 5),
        (7, 8),
        (0, 1),
        (3, 4),
        (6, 7),
        (1, 2),
        (4, 5),
        (7, 8),
        (0, 3),
        (5, 8),
        (4, 7),
        (3, 6),
        (1, 4),
        (2, 5),
        (4, 7),
        (4, 2),
        (6, 4),
        (4, 2),
    ] {
        order(i, j);
    }
    v[4]
}

// expect: -2.7629395 -2.7629395 -2.7629395 -1.6567383 -1.6567383 0.38305664 0.88256836 0.88256836
// hash: 0xaf3e3e66bc25b84e of 64 answers
