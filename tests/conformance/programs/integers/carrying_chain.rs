//! A 256-bit addition with carries passed along limbs.
//! run: threads = 64

pub fn program(thread: u32) -> [u64; 5] {
    let a = [u64::MAX - u64::from(thread), u64::MAX, u64::MAX - 1, 7];
    let b = [u64::from(thread) * 2, 0, u64::from(thread % 2), u64::MAX];
    let mut sum = [0; 5];
    let mut carry = false;
    for i in 0..4 {
        let (partial, first) = a[i].overflowing_add(b[i]);
        let (total, second) = partial.overflowing_add(u64::from(carry));
        sum[i] = total;
        carry = first | second;
    }
    sum[4] = u64::from(carry);
    sum
}

// expect: 0xffffffffffffffff,0xffffffffffffffff,0xfffffffffffffffe,6,1 0,0,0,7,1
// expect: 1,0,0xffffffffffffffff,6,1 2,0,0,7,1 3,0,0xffffffffffffffff,6,1 4,0,0,7,1
// expect: 5,0,0xffffffffffffffff,6,1 6,0,0,7,1
// hash: 0x2ccb4a2157dddc6b of 64 answers
