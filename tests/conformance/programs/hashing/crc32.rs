//! CRC-32 by a table made at compile time; of "123456789" it is 0xcbf43926.
//! run: threads = 64

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| TABLE[(crc as u8 ^ byte) as usize] ^ crc >> 8)
}

pub fn program(thread: u32) -> (u32, bool) {
    let bytes: [u8; 9] = core::array::from_fn(|i| (thread as usize + i * 3) as u8);
    (crc(&bytes), crc(b"123456789") == 0xcbf4_3926)
}

// expect: 0x8ab183b4,1 0xdf1e80ef,1 0x6d6c7433,1 0x91629caf,1 0x1c28454d,1 0xfcf22d3,1
// expect: 0x8041c9d0,1 0x5b132bb2,1
// hash: 0x9280cc826a08f576 of 64 answers
