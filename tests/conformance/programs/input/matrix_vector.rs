//! A row of a matrix times a vector, both in memory.
//! run: threads = 16, block = 16
//! input: f64 x 272

pub fn program(thread: u32, input: &[f64]) -> f64 {
    let (matrix, vector) = input.split_at(256);
    let row = matrix.chunks_exact(16).nth(thread as usize).unwrap_or(&[]);
    row.iter().zip(vector).map(|(a, x)| a * x).sum()
}

// expect: 97.18789819671301 -50.16684683708832 97.82766232029019 25.66382659863009
// expect: -16.623994442826312 102.60756318190849 -116.68724056566606 -77.95882624024304
// hash: 0x36ed7ad208881dee of 16 answers
