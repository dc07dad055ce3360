//! All shortest paths by Floyd and Warshall.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32) {
    const FAR: u32 = 1_000_000;
    let mut d = [[FAR; 8]; 8];
    for i in 0..8 {
        d[i][i] = 0;
        d[i][(i + 1) % 8] = (thread + i as u32 * 3) % 17 + 1;
        d[i][(i * 3 + 2) % 8] = d[i][(i * 3 + 2) % 8].min((thread * 5 + i as u32) % 23 + 2);
    }
    for k in 0..8 {
        for i in 0..8 {
            for j in 0..8 {
                d[i][j] = d[i][j].min(d[i][k] + d[k][j]);
            }
        }
    }
    (d[thread as usize / 8][thread as usize % 8], *d.as_flattened().iter().max().expect("64 cells"))
}

// expect: 0,25 2,38 9,48 21,55 36,45 11,37 22,48 38,57
// hash: 0xd8c4477e92f0d08e of 64 answers
