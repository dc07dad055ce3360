//! A local array of two kilobytes, cleared and filled.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32) {
    let mut table = [0u32; 512];
    let mut x = thread;
    for i in 0..512 {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        table[(x >> 23) as usize] += i;
    }
    let copy = table;
    table.fill(1);
    (copy.iter().fold(0, |h, v| h ^ v.rotate_left(h & 31)), table.iter().sum())
}

// expect: 0x1f4000e,512 0xa380b12,512 0x40019f86,512 0x75400335,512 0x1c0020e,512 0xaea00534,512
// expect: 195465,512 0x3d200f1,512
// hash: 0xa25899510b284b76 of 64 answers
