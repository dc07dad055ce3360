//! Adler-32 with a late reduction; of "Wikipedia" it is 0x11e60398.
//! run: threads = 64

fn adler(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    for block in bytes.chunks(32) {
        for &byte in block {
            a += u32::from(byte);
            b += a;
        }
        a %= 65_521;
        b %= 65_521;
    }
    b << 16 | a
}

pub fn program(thread: u32) -> (u32, bool) {
    let bytes = [thread as u8; 70];
    (adler(&bytes[..thread as usize]), adler(b"Wikipedia") == 0x11e6_0398)
}

// expect: 1,1 131074,1 524293,1 1376266,1 2883601,1 5242906,1 8650789,1 0xcb0032,1
// hash: 0xd055ca96609270fa of 64 answers
