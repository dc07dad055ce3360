//! Jacobi rotations find the eigenvalues of a symmetric 3x3 matrix.
//! run: threads = 64

pub fn program(thread: u32) -> (f64, f64, f64) {
    let t = f64::from(thread) * 0.1;
    let mut a = [[2.0, t, 0.5], [t, 3.0, -1.0], [0.5, -1.0, t - 4.0]];
    for _ in 0..6 {
        for (p, q) in [(0, 1), (0, 2), (1, 2)] {
            if a[p][q] == 0.0 {
                continue;
            }
            let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
            let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
            let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
            let sine = tangent * cosine;
            for k in 0..3 {
                (a[k][p], a[k][q]) =
                    (cosine * a[k][p] - sine * a[k][q], sine * a[k][p] + cosine * a[k][q]);
            }
            for k in 0..3 {
                (a[p][k], a[q][k]) =
                    (cosine * a[p][k] - sine * a[q][k], sine * a[p][k] + cosine * a[q][k]);
            }
        }
    }
    (a[0][0], a[1][1], a[2][2])
}

// expect: 2.0353506944480877,3.144385003204567,-4.179735697652654
// expect: 2.041851374028036,3.142749793781163,-4.084601167809199
// expect: 2.0314202736843687,3.158342313522629,-3.989762587206997
// expect: 2.005274274314841,3.1899727188502887,-3.895246993165131
// expect: 1.96567466594547,3.2354100427680543,-3.801084708713524
// expect: 1.915245195730278,3.292064642013845,-3.707309837744121
// expect: 1.8564495705020492,3.3575112776973315,-3.6139608481993806
// expect: 1.7913514012342724,3.4297298597486088,-3.521081260982881
// hash: 0xc582cde787a26d12 of 64 answers
