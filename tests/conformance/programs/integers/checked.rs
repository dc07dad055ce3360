//! Checked operations give `None` on overflow and on division by zero.
//! run: threads = 64

pub fn program(thread: u32) -> (Option<u8>, Option<i32>, u32) {
    let t = thread as u8;
    let product = t.checked_mul(9);
    let quotient = (100 - thread as i32).checked_div(thread as i32 - 7);
    let mut failures = 0;
    failures += u32::from(t.checked_add(220).is_none());
    failures += u32::from(t.checked_sub(20).is_none()) * 2;
    failures += u32::from(thread.checked_shl(thread).is_none()) * 4;
    failures += u32::from((i32::MIN + thread as i32).checked_neg().is_none()) * 8;
    failures += u32::from((i32::MIN + thread as i32).checked_abs().is_none()) * 16;
    failures += u32::from(2u32.checked_pow(thread).is_none()) * 32;
    failures += u32::from(thread.checked_rem(thread % 3).is_none()) * 64;
    (product, quotient, failures)
}

// expect: 1,0,1,-14,90 1,9,1,-16,2 1,18,1,-19,2 1,27,1,-24,66 1,36,1,-32,2 1,45,1,-47,2
// expect: 1,54,1,-94,66 1,63,0,0,2
// hash: 0xf1dc73ae5ee39d12 of 64 answers
