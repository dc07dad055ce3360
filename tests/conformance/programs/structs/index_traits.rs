//! `Index` and `IndexMut` on a user's type, by pair and by enum.
//! run: threads = 64

use core::ops::{Index, IndexMut};

struct Grid {
    cells: [u32; 12],
}

impl Index<(usize, usize)> for Grid {
    type Output = u32;
    fn index(&self, (row, column): (usize, usize)) -> &u32 {
        &self.cells[row * 4 + column]
    }
}

impl IndexMut<(usize, usize)> for Grid {
    fn index_mut(&mut self, (row, column): (usize, usize)) -> &mut u32 {
        &mut self.cells[row * 4 + column]
    }
}

pub fn program(thread: u32) -> (u32, u32) {
    let mut grid = Grid { cells: core::array::from_fn(|i| i as u32 * thread) };
    let (row, column) = (thread as usize % 3, thread as usize % 4);
    grid[(row, column)] += 1000;
    grid[(1, 2)] = grid[(row, column)] ^ grid[(2, 3)];
    (grid[(1, 2)], grid.cells.iter().sum())
}

// expect: 1000,2000 998,2058 1002,2122 976,2156 980,2220 1058,2358 950,2310 1108,2528
// hash: 0x796042a2f81128fe of 64 answers
