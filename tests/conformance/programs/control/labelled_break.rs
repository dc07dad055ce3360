//! Labelled breaks leave nested loops.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32, u32) {
    let mut visits = 0;
    let found = 'outer: loop {
        for a in 0..20 {
            for b in 0..20 {
                visits += 1;
                if a * b == thread {
                    break 'outer Some((a, b));
                }
            }
        }
        break None;
    };
    let (a, b) = found.unwrap_or((99, 99));
    (a, b, visits)
}

// expect: 0,0,1 1,1,22 1,2,23 1,3,24 1,4,25 1,5,26 1,6,27 1,7,28
// hash: 0x03e16912f90768be of 64 answers
