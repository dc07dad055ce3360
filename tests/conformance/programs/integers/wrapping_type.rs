//! `Wrapping` and `Saturating` carry the overflow rule in the type.
//! run: threads = 64

use core::num::{Saturating, Wrapping};

pub fn program(thread: u32) -> (u32, u8, i8) {
    let mut hash = Wrapping(5381u32);
    for i in 0..thread {
        hash = hash * Wrapping(33) + Wrapping(i);
    }
    let mut level = Saturating(250u8);
    level += thread as u8;
    let mut low = Saturating(-100i8);
    low -= thread as i8;
    (hash.0, level.0, low.0)
}

// expect: 5381,250,-100 177573,251,-101 5859910,252,-102 0xb86b308,253,-103 0x7c5d140b,254,-104
// expect: 0x7ff956f,255,-105 0x7f24354,255,-106 0x63aadda,255,-107
// hash: 0x3490a1e51e9e0ade of 64 answers
