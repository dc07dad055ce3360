//! Flood fill on a bit board by recursion.
//! run: threads = 64

fn fill(walls: u32, seen: &mut u32, row: i32, column: i32) -> u32 {
    if !(0..5).contains(&row) || !(0..5).contains(&column) {
        return 0;
    }
    let bit = 1 << (row * 5 + column);
    if (walls | *seen) & bit != 0 {
        return 0;
    }
    *seen |= bit;
    1 + fill(walls, seen, row - 1, column)
        + fill(walls, seen, row + 1, column)
        + fill(walls, seen, row, column - 1)
        + fill(walls, seen, row, column + 1)
}

pub fn program(thread: u32) -> (u32, u32) {
    let walls = thread.wrapping_mul(0x0123_8d51) & 0x1ff_ffff;
    let mut seen = 0;
    let size = fill(walls, &mut seen, thread as i32 % 5, thread as i32 / 13);
    (size, seen)
}

// expect: 25,0x1ffffff 1,32 4,3179520 0,0 6,7440384 0,0 0,0 0,0
// hash: 0x7da26ac4a78a7bb4 of 64 answers
