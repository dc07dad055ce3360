//! `zip` stops at the shorter side.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32) {
    let a = [1, 2, 3, 4, 5, 6, 7, 8];
    let n = thread as usize % 9;
    let dot = a[..n].iter().zip(thread..).map(|(x, y)| x * y).sum();
    let triple =
        a.iter().zip(a.iter().skip(1)).zip(a[n..].iter()).map(|((x, y), z)| x * y + z).sum();
    (dot, triple)
}

// expect: 0,196 1,203 8,145 26,100 60,66 115,41 196,23 308,10
// hash: 0x176cdfdbe1e096aa of 64 answers
