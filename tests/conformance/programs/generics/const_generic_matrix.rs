//! A matrix product whose shapes are checked by the compiler.
//! run: threads = 64

#[derive(Clone, Copy)]
struct Matrix<const R: usize, const C: usize>([[i32; C]; R]);

impl<const R: usize, const K: usize> Matrix<R, K> {
    fn times<const C: usize>(self, other: Matrix<K, C>) -> Matrix<R, C> {
        Matrix(core::array::from_fn(|i| {
            core::array::from_fn(|j| (0..K).map(|k| self.0[i][k] * other.0[k][j]).sum())
        }))
    }
}

pub fn program(thread: u32) -> [i32; 6] {
    let t = thread as i32;
    let a = Matrix([[t, 1, -2], [0, t - 5, 3]]);
    let b = Matrix([[1, 2, 3], [t, 0, 1], [4, -t, 2]]);
    let [first, second] = a.times(b).0;
    [first[0], first[1], first[2], second[0], second[1], second[2]]
}

// expect: -8,0,-3,12,0,1 -6,4,0,8,-3,2 -4,8,3,6,-6,3 -2,12,6,6,-9,4 0,16,9,8,-12,5
// expect: 2,20,12,12,-15,6 4,24,15,18,-18,7 6,28,18,26,-21,8
// hash: 0xdda3103aa8304060 of 64 answers
