//! Large structs are passed and returned by value.
//! run: threads = 64

#[derive(Clone, Copy)]
struct Big {
    words: [u32; 20],
    tag: u8,
}

#[inline(never)]
fn change(mut big: Big, at: usize) -> Big {
    big.words[at] += u32::from(big.tag);
    big.tag ^= 0x0f;
    big
}

#[inline(never)]
fn split(big: &Big) -> ([u32; 10], [u32; 10]) {
    (core::array::from_fn(|i| big.words[i]), core::array::from_fn(|i| big.words[i + 10]))
}

pub fn program(thread: u32) -> (u32, u32, u8) {
    let start = Big { words: [thread; 20], tag: 200 };
    let end = (0..20).fold(start, |big, i| if i % 3 == 0 { change(big, i) } else { big });
    let (low, high) = split(&end);
    (low.iter().sum(), high.iter().sum(), end.tag)
}

// expect: 798,599,199 808,609,199 818,619,199 828,629,199 838,639,199 848,649,199 858,659,199
// expect: 868,669,199
// hash: 0x016d25d700da380d of 64 answers
