//! SipHash-1-3 through the `Hasher` trait written by hand.
//! run: threads = 64

use core::hash::{Hash, Hasher};

struct Sip([u64; 4]);

impl Sip {
    fn new(k0: u64, k1: u64) -> Self {
        Sip([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ])
    }
    fn round(&mut self) {
        let [a, b, c, d] = &mut self.0;
        *a = a.wrapping_add(*b);
        *b = b.rotate_left(13) ^ *a;
        *a = a.rotate_left(32);
        *c = c.wrapping_add(*d);
        *d = d.rotate_left(16) ^ *c;
        *a = a.wrapping_add(*d);
        *d = d.rotate_left(21) ^ *a;
        *c = c.wrapping_add(*b);
        *b = b.rotate_left(17) ^ *c;
        *c = c.rotate_left(32);
    }
}

impl Hasher for Sip {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0[3] ^= u64::from(byte);
            self.round();
            self.0[0] ^= u64::from(byte);
        }
    }
    fn finish(&self) -> u64 {
        let mut last = Sip(self.0);
        last.0[2] ^= 0xff;
        (0..3).for_each(|_| last.round());
        last.0.iter().fold(0, |h, v| h ^ v)
    }
}

#[derive(Hash)]
struct Key {
    id: u32,
    tags: [u8; 3],
    kind: Option<bool>,
}

pub fn program(thread: u32) -> u64 {
    let mut sip = Sip::new(1, u64::from(thread));
    Key { id: thread, tags: [1, 2, 3], kind: Some(thread % 2 == 0) }.hash(&mut sip);
    ("key", -5i16).hash(&mut sip);
    sip.finish()
}

// expect: 0xdc53fc8f977f4abd 0xdde93dca9941ecc1 0x39e8a42362b19337 0x1b3ba927e3f478c8
// expect: 0xd533eaa57ed05f25 0x16dd89f01af9aae6 0xd6212dc600f03c20 0x8b52978243267fec
// hash: 0xc25b18d3f600f97c of 64 answers
