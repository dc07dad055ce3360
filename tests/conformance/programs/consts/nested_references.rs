//! Statics that point at other statics.
//! run: threads = 64

static LEAVES: [u32; 4] = [3, 1, 4, 1];
static BRANCH: (&[u32; 4], &u32) = (&LEAVES, &LEAVES[2]);
static TREE: [&(&[u32; 4], &u32); 2] = [&BRANCH, &(&[5, 9, 2, 6], &7)];

pub fn program(thread: u32) -> u32 {
    let (leaves, chosen) = TREE[thread as usize % 2];
    leaves[thread as usize / 2 % 4] * 10 + **chosen
}

// expect: 34 57 14 97 44 27 14 67
// hash: 0x471401f90dec0325 of 64 answers
