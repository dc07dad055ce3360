//! Recursion through a generic function with a closure by reference.
//! run: threads = 64

fn fold_tree<T: Copy>(values: &[T], combine: &impl Fn(T, T) -> T) -> Option<T> {
    match values {
        [] => None,
        [one] => Some(*one),
        _ => {
            let (left, right) = values.split_at(values.len() / 2);
            Some(combine(fold_tree(left, combine)?, fold_tree(right, combine)?))
        }
    }
}

pub fn program(thread: u32) -> (Option<f32>, Option<u32>) {
    let floats: [f32; 13] = core::array::from_fn(|i| 0.1 + (thread as usize * i) as f32 * 1e-3);
    let words: [u32; 9] = core::array::from_fn(|i| thread + i as u32);
    let n = thread as usize % 14;
    (fold_tree(&floats[..n], &|a, b| a + b), fold_tree(&words, &|a, b| a.wrapping_mul(3) ^ b))
}

// expect: 0,0.0,1,6 1,0.1,1,53 1,0.20199999,1,36 1,0.309,1,211 1,0.424,1,42 1,0.5500001,1,41
// expect: 1,0.69,1,184 1,0.847,1,87
// hash: 0x376f0b5438a81297 of 64 answers
