//! Conway's game of life on an 8 by 8 torus of bits.
//! run: threads = 64

fn step(board: u64) -> u64 {
    let cell = |row: u32, column: u32| board >> (row % 8 * 8 + column % 8) & 1;
    let mut next = 0;
    for row in 0..8 {
        for column in 0..8 {
            let mut neighbours = 0;
            for (r, c) in [(7, 7), (7, 0), (7, 1), (0, 7), (0, 1), (1, 7), (1, 0), (1, 1)] {
                neighbours += cell(row + r, column + c);
            }
            let lives = neighbours == 3 || neighbours == 2 && cell(row, column) == 1;
            next |= u64::from(lives) << (row * 8 + column);
        }
    }
    next
}

pub fn program(thread: u32) -> (u64, u32) {
    let glider = 0x0000_0007_0402_u64;
    let board = (0..thread % 9).fold(glider.rotate_left(thread), |board, _| step(board));
    (board, board.count_ones())
}

// expect: 459778,5 0x40c0a00,5 0x18141000,5 0x30601000,5 0xe0804000,5 0x8081410000,5
// expect: 0x8284840300,8 0x3820100,5
// hash: 0x058a0f632763c361 of 64 answers
