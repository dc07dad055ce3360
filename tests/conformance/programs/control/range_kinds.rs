//! Exclusive, inclusive, reversed, stepped and open ranges.
//! run: threads = 64

pub fn program(thread: u32) -> [u32; 6] {
    let n = thread % 20;
    [
        (0..n).sum(),
        (0..=n).sum(),
        (0..n).rev().fold(0, |hash, i| hash * 3 % 1009 + i),
        (0..=n).step_by(3).sum(),
        (n..).take(5).sum(),
        (n..5).count() as u32,
    ]
}

// expect: 0,0,0,0,10,5 0,1,0,0,15,4 1,3,3,0,20,3 3,6,21,3,25,2 6,10,102,3,30,1 10,15,426,3,35,0
// expect: 15,21,632,9,40,0 21,28,970,9,45,0
// hash: 0xfd85628280aeeaf9 of 64 answers
