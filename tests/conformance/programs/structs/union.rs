//! A `repr(C)` union reads the bytes of another field.
//! run: threads = 64

#[repr(C)]
union Bits {
    float: f32,
    word: u32,
    bytes: [u8; 4],
}

pub fn program(thread: u32) -> (u32, u8, f32) {
    let mut bits = Bits { float: thread as f32 + 0.5 };
    // SAFETY: every bit pattern is valid for all fields.
    unsafe {
        let word = bits.word;
        let high = bits.bytes[3];
        bits.bytes[3] ^= 0x80;
        (word, high, bits.float)
    }
}

// expect: 0x3f000000,63,-0.5 0x3fc00000,63,-1.5 0x40200000,64,-2.5 0x40600000,64,-3.5
// expect: 0x40900000,64,-4.5 0x40b00000,64,-5.5 0x40d00000,64,-6.5 0x40f00000,64,-7.5
// hash: 0x0931c24a4125cae5 of 64 answers
