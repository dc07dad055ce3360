//! Arrays of arrays, flattened and back.
//! run: threads = 64

pub fn program(thread: u32) -> (i32, i32, i32) {
    let mut grid = [[0i32; 4]; 3];
    for (i, row) in grid.iter_mut().enumerate() {
        for (j, cell) in row.iter_mut().enumerate() {
            *cell = (i as i32 - 1) * (j as i32) * thread as i32 + j as i32;
        }
    }
    let transposed: [[i32; 3]; 4] = core::array::from_fn(|j| core::array::from_fn(|i| grid[i][j]));
    let flat = grid.as_flattened();
    (flat[thread as usize % 12], transposed[3].iter().sum(), transposed.as_flattened()[4])
}

// expect: 0,9,1 0,9,1 -2,9,1 -6,9,1 0,9,1 1,9,1 2,9,1 3,9,1
// hash: 0x18e807b62332502a of 64 answers
