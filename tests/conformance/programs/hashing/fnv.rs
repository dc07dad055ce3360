//! FNV-1a; the hash of "a" is 0xaf63dc4c8601ec8c.
//! run: threads = 64

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

pub fn program(thread: u32) -> (u64, bool) {
    (fnv(&thread.to_le_bytes()), fnv(b"a") == 0xaf63_dc4c_8601_ec8c)
}

// expect: 0x4d25767f9dce13f5,1 0xad2aca7747985764,1 0x8d1ace904a398d17,1 0xed202287f403d086,1
// expect: 0xcd3ac65e44f721b1,1 0x2d401a55eec16520,1 0xd301e6ef1629ad3,1 0x6d3572669b2cde42,1
// hash: 0x1bd13bd6bd78b228 of 64 answers
