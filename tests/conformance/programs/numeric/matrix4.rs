//! 4x4 matrices: product, transpose and determinant of small integers are exact.
//! run: threads = 64

type Matrix = [[f32; 4]; 4];

fn times(a: &Matrix, b: &Matrix) -> Matrix {
    core::array::from_fn(|i| core::array::from_fn(|j| (0..4).map(|k| a[i][k] * b[k][j]).sum()))
}

fn transpose(a: &Matrix) -> Matrix {
    core::array::from_fn(|i| core::array::from_fn(|j| a[j][i]))
}

fn determinant(mut a: Matrix) -> f32 {
    let mut product = 1.0;
    for i in 0..4 {
        let pivot = (i..4).max_by(|&r, &s| a[r][i].abs().total_cmp(&a[s][i].abs())).unwrap_or(i);
        if a[pivot][i] == 0.0 {
            return 0.0;
        }
        if pivot != i {
            a.swap(pivot, i);
            product = -product;
        }
        product *= a[i][i];
        let row = a[i];
        for below in &mut a[i + 1..] {
            let factor = below[i] / row[i];
            for (x, y) in below.iter_mut().zip(row) {
                *x -= factor * y;
            }
        }
    }
    product
}

pub fn program(thread: u32) -> (f32, f32, f32) {
    let a: Matrix = core::array::from_fn(|i| {
        core::array::from_fn(|j| ((thread as usize + i * 5 + j * 3) % 7) as f32 - 3.0)
    });
    let b = times(&a, &transpose(&a));
    (b[0][3], b.as_flattened().iter().sum(), determinant(a))
}

// expect: -3.0,17.0,-98.00001 10.0,15.0,48.999996 10.0,15.0,49.000004 -3.0,17.0,-98.0
// expect: -1.0,14.0,49.000004 16.0,20.0,0.0 -1.0,14.0,49.000004 -3.0,17.0,-98.00001
// hash: 0x6ce92c55666bf2cc of 64 answers
