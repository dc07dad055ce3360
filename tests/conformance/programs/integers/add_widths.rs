//! Wrapping addition at each width keeps only that width's bits.
//! run: threads = 64

pub fn program(thread: u32) -> (u8, u16, u32, u64, i8, i16) {
    let t = thread.wrapping_mul(0x0101_0107);
    (
        (t as u8).wrapping_add(200),
        (t as u16).wrapping_add(65_000),
        t.wrapping_add(u32::MAX - 5),
        u64::from(t).wrapping_add(u64::MAX),
        (t as i8).wrapping_add(100),
        (t as i16).wrapping_add(32_000),
    )
}

// expect: 200,65000,0xfffffffa,0xffffffffffffffff,100,32000
// expect: 207,65263,0x1010101,0x1010106,107,32263 214,65526,0x2020208,0x202020d,114,32526
// expect: 221,253,0x303030f,0x3030314,121,-32747 228,516,0x4040416,0x404041b,-128,-32484
// expect: 235,779,0x505051d,0x5050522,-121,-32221 242,1042,0x6060624,0x6060629,-114,-31958
// expect: 249,1305,0x707072b,0x7070730,-107,-31695
// hash: 0xf474c444c13daa4c of 64 answers
