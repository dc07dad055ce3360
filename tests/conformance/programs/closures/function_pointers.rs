//! Function pointers in a table, chosen at run time.
//! run: threads = 64

fn double(x: i32) -> i32 {
    x * 2
}

fn square(x: i32) -> i32 {
    x * x
}

pub fn program(thread: u32) -> (i32, i32) {
    let table: [fn(i32) -> i32; 4] = [double, square, |x| x - 7, i32::abs];
    let x = thread as i32 - 30;
    let chosen = table[thread as usize % 4];
    (chosen(x), table.iter().fold(x % 4, |x, f| f(x)))
}

// expect: -60,9 841,3 -35,7 27,29 -52,9 625,3 -31,7 23,29
// hash: 0x8e34d450533ed17f of 64 answers
