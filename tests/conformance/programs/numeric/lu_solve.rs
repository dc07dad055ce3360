//! Gaussian elimination with pivoting solves a 4x4 system.
//! run: threads = 64

fn solve<const N: usize>(mut a: [[f64; N]; N], mut b: [f64; N]) -> Option<[f64; N]> {
    for i in 0..N {
        let pivot = (i..N).max_by(|&r, &s| a[r][i].abs().total_cmp(&a[s][i].abs()))?;
        if a[pivot][i].abs() < 1e-12 {
            return None;
        }
        a.swap(i, pivot);
        b.swap(i, pivot);
        for r in i + 1..N {
            let factor = a[r][i] / a[i][i];
            for c in i..N {
                a[r][c] -= factor * a[i][c];
            }
            b[r] -= factor * b[i];
        }
    }
    let mut x = [0.0; N];
    for i in (0..N).rev() {
        let known: f64 = (i + 1..N).map(|c| a[i][c] * x[c]).sum();
        x[i] = (b[i] - known) / a[i][i];
    }
    Some(x)
}

pub fn program(thread: u32) -> Option<[f64; 4]> {
    let t = f64::from(thread);
    let a = [
        [t - 8.0, 2.0, 0.0, 1.0],
        [2.0, 5.0, t, 0.0],
        [0.0, 1.0, -3.0, 4.0],
        [t - 8.0, 2.0, 0.0, (thread % 5) as f64],
    ];
    solve(a, [1.0, t, 2.0, 3.0])
}

// expect: 1,-0.34090909090909094,0.13636363636363635,-3.2878787878787876,-2.0 0,0.0,0.0,0.0,0.0
// expect: 1,0.04385964912280708,-0.36842105263157887,1.8771929824561402,2.0
// expect: 1,0.05882352941176468,0.14705882352941171,0.715686274509804,1.0
// expect: 1,0.14015151515151514,0.4469696969696971,0.3712121212121211,0.6666666666666666
// expect: 1,0.9722222222222223,2.9583333333333335,-2.3472222222222223,-2.0 0,0.0,0.0,0.0,0.0
// expect: 1,-0.5882352941176467,-0.7941176470588237,1.7352941176470589,2.0
// hash: 0x55c1cb1f7ce0850f of 64 answers
