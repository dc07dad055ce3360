//! The integer square root of a 128-bit number.
//! run: threads = 64

pub fn program(thread: u32) -> (u128, bool) {
    let x = u128::MAX / (u128::from(thread) * u128::from(thread) + 1);
    let root = x.isqrt();
    (root, root * root <= x && (root + 1).checked_pow(2).is_none_or(|square| square > x))
}

// expect: 0,0xffffffffffffffff,1 0,0xb504f333f9de6484,1 0,0x727c9716ffb764d5,1
// expect: 0,0x50f44d8921243b6c,1 0,0x3e16d091a55e3851,1 0,0x3234aac2a2ec3717,1
// expect: 0,0x2a160d51f8d6dfd1,1 0,0x243430a3fec6141a,1
// hash: 0xfdefe3f76b6358bc of 64 answers
