//! `fold`, `reduce`, `try_fold` and `rfold`.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, Option<u32>, Option<u8>, u32) {
    let values: [u8; 6] = core::array::from_fn(|i| (thread as u8).wrapping_mul(i as u8 + 1) % 90);
    let fold = values.iter().fold(7u32, |h, &x| h.wrapping_mul(33) + u32::from(x));
    let reduce = values.iter().map(|&x| u32::from(x)).reduce(|a, b| a * 2 + b);
    let sum = values.iter().try_fold(0u8, |sum, &x| sum.checked_add(x));
    let back = values.iter().rfold(0, |h, &x| h * 10 % 1009 + u32::from(x));
    (fold, reduce, sum, back)
}

// expect: 0x1ad7a947,1,0,1,0,0 0x1d52b9bc,1,120,1,21,489 0x1fcdca31,1,240,1,42,978
// expect: 0x2248daa6,1,360,1,63,458 0x24c3eb1b,1,480,1,84,947 0x273efb90,1,600,1,105,427
// expect: 0x29ba0c05,1,720,1,126,916 0x2c351c7a,1,840,1,147,396
// hash: 0x71edffc4d86208fd of 64 answers
