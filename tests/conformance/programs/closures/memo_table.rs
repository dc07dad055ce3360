//! A closure fills a table by callbacks.
//! run: threads = 64

fn tabulate<const N: usize>(mut f: impl FnMut(usize, &[u32]) -> u32) -> [u32; N] {
    let mut table = [0; N];
    for i in 0..N {
        let (done, _) = table.split_at(i);
        table[i] = f(i, done);
    }
    table
}

pub fn program(thread: u32) -> (u32, u32) {
    let mut calls = 0;
    let table: [u32; 12] = tabulate(|i, done| {
        calls += 1;
        if i < 2 { thread + i as u32 } else { (done[i - 1] + done[i - 2]) % 1000 }
    });
    (table[11], calls)
}

// expect: 89,12 233,12 377,12 521,12 665,12 809,12 953,12 97,12
// hash: 0x56443012ac1ff9fb of 64 answers
