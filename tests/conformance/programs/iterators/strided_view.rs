//! A strided column view built from adapters.
//! run: threads = 64
//! input: f32 x 256

fn column(matrix: &[f32], columns: usize, at: usize) -> impl Iterator<Item = f32> + '_ {
    matrix.chunks_exact(columns).map(move |row| row[at])
}

pub fn program(thread: u32, input: &[f32]) -> (f32, f32) {
    let at = thread as usize % 16;
    let sum = column(input, 16, at).sum();
    let top = column(input, 16, at).zip(column(input, 16, (at + 1) % 16));
    (sum, top.map(|(a, b)| a.max(b)).fold(f32::NEG_INFINITY, f32::max))
}

// expect: 0.6184082,7.857422 17.81372,7.319336 -11.566162,7.6777344 20.408691,7.6777344
// expect: -23.345947,6.217285 -10.008545,6.9084473 10.012451,6.9084473 7.459717,6.9902344
// hash: 0x010c1aad0883b025 of 64 answers
