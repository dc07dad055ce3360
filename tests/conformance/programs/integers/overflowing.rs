//! Overflowing operations return the wrapped value and whether it wrapped.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, bool, i16, bool, u64, bool) {
    let (sum, carry) = thread.wrapping_mul(0x0800_0000).overflowing_add(0x9000_0000);
    let (product, over) = (thread as i16 * 37).overflowing_mul(29);
    let (difference, borrow) = u64::from(thread).overflowing_sub(33);
    (sum, carry, product, over, difference, borrow)
}

// expect: 0x90000000,0,0,0,0xffffffffffffffdf,1 0x98000000,0,1073,0,0xffffffffffffffe0,1
// expect: 0xa0000000,0,2146,0,0xffffffffffffffe1,1 0xa8000000,0,3219,0,0xffffffffffffffe2,1
// expect: 0xb0000000,0,4292,0,0xffffffffffffffe3,1 0xb8000000,0,5365,0,0xffffffffffffffe4,1
// expect: 0xc0000000,0,6438,0,0xffffffffffffffe5,1 0xc8000000,0,7511,0,0xffffffffffffffe6,1
// hash: 0x63e71f089ce1c504 of 64 answers
