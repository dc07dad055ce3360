//! The length of Collatz sequences.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32) {
    let mut n = thread + 1;
    let (mut steps, mut top) = (0, n);
    while n != 1 {
        n = if n % 2 == 0 { n / 2 } else { 3 * n + 1 };
        top = top.max(n);
        steps += 1;
    }
    (steps, top)
}

// expect: 0,1 1,2 7,16 2,4 5,16 8,16 16,52 3,8
// hash: 0xea98aeb7ecb86452 of 64 answers
