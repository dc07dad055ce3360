//! Associated constants of types, traits and generic impls.
//! run: threads = 64

trait Format {
    const BITS: u32;
    const MASK: u64 = if Self::BITS == 64 { u64::MAX } else { (1 << Self::BITS) - 1 };
}

struct Byte;
struct Word;
struct Twice<F>(core::marker::PhantomData<F>);

impl Format for Byte {
    const BITS: u32 = 8;
}

impl Format for Word {
    const BITS: u32 = 32;
}

impl<F: Format> Format for Twice<F> {
    const BITS: u32 = 2 * F::BITS;
}

fn cut<F: Format>(x: u64) -> u64 {
    (x & F::MASK) + u64::from(F::BITS)
}

pub fn program(thread: u32) -> (u64, u64, u64) {
    let x = u64::from(thread).wrapping_mul(0x0123_4567_89ab_cdef) >> 1;
    (cut::<Byte>(x), cut::<Twice<Byte>>(x), cut::<Twice<Word>>(x))
}

// expect: 8,16,64 255,59143,0x91a2b3c4d5e737 247,52735,0x123456789abce2f
// expect: 238,46326,0x1b4e81b4e81b526 230,39918,0x2468acf13579c1e 221,33509,0x2d82d82d82d8315
// expect: 213,27101,0x369d0369d036a0d 204,20692,0x3fb72ea61d95104
// hash: 0xe719ab5ca8d20b0b of 64 answers
