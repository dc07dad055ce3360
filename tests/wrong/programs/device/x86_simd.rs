//! A SIMD instruction of the host's processor.
//! expect: it uses the host processor's SIMD instruction
use std::arch::x86_64::{_mm_cvtsi128_si32, _mm_sad_epu8, _mm_set1_epi8};

use raddle::prelude::*;

#[kernel]
pub fn x86_simd(mut out: PerThread<i32>) {
    if let Some((i, out)) = out.mine() {
        // SAFETY: every x86-64 processor has SSE2.
        *out = unsafe {
            _mm_cvtsi128_si32(_mm_sad_epu8(_mm_set1_epi8(i as i8), _mm_set1_epi8(3))) //~ HERE
        };
    }
}
