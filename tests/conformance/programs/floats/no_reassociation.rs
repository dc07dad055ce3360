//! Sums are added in the order of the source.
//! run: threads = 64

pub fn program(thread: u32) -> (f32, f32, f32) {
    let terms = [1e8f32, thread as f32 * 0.5, -1e8, 0.25, 3.0e7, -3.0e7];
    let left = terms.iter().fold(0.0, |sum, x| sum + x);
    let right = terms.iter().rev().fold(0.0, |sum, x| sum + x);
    let pairs = (terms[0] + terms[2]) + (terms[1] + terms[3]) + (terms[4] + terms[5]);
    (left, right, pairs)
}

// expect: 0.0,0.0,0.25 0.0,0.0,0.75 0.0,0.0,1.25 0.0,0.0,1.75 0.0,0.0,2.25 0.0,0.0,2.75
// expect: 0.0,0.0,3.25 0.0,0.0,3.75
// hash: 0xe87d8adf1df77782 of 64 answers
