//! Gauss-Jordan elimination inverts a diagonally dominant matrix.
//! run: threads = 64

pub fn program(thread: u32) -> (f64, f64, bool) {
    const N: usize = 5;
    let original: [[f64; N]; N] = core::array::from_fn(|i| {
        core::array::from_fn(|j| {
            if i == j { 20.0 } else { ((thread as usize * 3 + i * j) % 9) as f64 - 4.0 }
        })
    });
    let mut a = original;
    let mut inverse = [[0.0; N]; N];
    for i in 0..N {
        inverse[i][i] = 1.0;
    }
    for i in 0..N {
        let scale = 1.0 / a[i][i];
        for j in 0..N {
            a[i][j] *= scale;
            inverse[i][j] *= scale;
        }
        for r in (0..N).filter(|r| *r != i) {
            let factor = a[r][i];
            for j in 0..N {
                a[r][j] -= factor * a[i][j];
                inverse[r][j] -= factor * inverse[i][j];
            }
        }
    }
    let check: f64 = (0..N).map(|k| original[1][k] * inverse[k][1]).sum();
    (inverse[0][0], inverse[4][2], (check - 1.0).abs() < 1e-12)
}

// expect: 0.059159241880228225,-0.009185204886111064,1 0.05050185287775728,0.005041090983309521,1
// expect: 0.052765941155973085,-0.0038392844586327634,1
// expect: 0.059159241880228225,-0.009185204886111064,1 0.05050185287775728,0.005041090983309521,1
// expect: 0.052765941155973085,-0.0038392844586327634,1
// expect: 0.059159241880228225,-0.009185204886111064,1 0.05050185287775728,0.005041090983309521,1
// hash: 0x7194366f074364cf of 64 answers
