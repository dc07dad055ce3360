//! The towers of Hanoi with state in a struct.
//! run: threads = 64

struct Towers {
    pegs: [u32; 3],
    moves: u32,
    hash: u32,
}

fn shift(towers: &mut Towers, disks: u32, from: usize, to: usize) {
    if disks == 0 {
        return;
    }
    let spare = 3 - from - to;
    shift(towers, disks - 1, from, spare);
    towers.pegs[from] -= 1;
    towers.pegs[to] += 1;
    towers.moves += 1;
    towers.hash = (towers.hash * 9 + (from * 3 + to) as u32) % 100_003;
    shift(towers, disks - 1, spare, to);
}

pub fn program(thread: u32) -> (u32, u32, [u32; 3]) {
    let disks = thread % 8;
    let mut towers = Towers { pegs: [disks, 0, 0], moves: 0, hash: 0 };
    shift(&mut towers, disks, 0, 2);
    (towers.moves, towers.hash, towers.pegs)
}

// expect: 0,0,0,0,0 1,2,0,0,1 3,104,0,0,2 7,69573,0,0,3 15,87845,0,0,4 31,80491,0,0,5
// expect: 63,31429,0,0,6 127,12964,0,0,7
// hash: 0x7efd7026b8c78045 of 64 answers
