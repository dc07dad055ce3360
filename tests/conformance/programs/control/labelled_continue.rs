//! Labelled `continue` skips to the next turn of the outer loop.
//! run: threads = 64

pub fn program(thread: u32) -> u32 {
    let mut count = 0;
    'rows: for row in 0..thread {
        for column in 1..=row {
            if row % column == 3 {
                continue 'rows;
            }
            if column > 9 {
                break;
            }
        }
        count += row;
    }
    count
}

// expect: 0 0 1 3 6 10 15 21
// hash: 0xfe68c295127fbdda of 64 answers
