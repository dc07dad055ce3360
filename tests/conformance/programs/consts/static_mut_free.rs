//! A large constant table with computed contents is read at random places.
//! run: threads = 64

const fn table() -> [u16; 1024] {
    let mut table = [0; 1024];
    let mut state = 1u32;
    let mut i = 0;
    while i < 1024 {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        table[i] = (state >> 16) as u16;
        i += 1;
    }
    table
}

static TABLE: [u16; 1024] = table();

pub fn program(thread: u32) -> (u16, u32) {
    let mut at = thread as usize;
    let mut sum = 0;
    for _ in 0..20 {
        let value = TABLE[at % 1024];
        sum += u32::from(value);
        at = usize::from(value);
    }
    (TABLE[thread as usize * 16], sum)
}

// expect: 16838,643223 57857,678334 61162,744724 58330,1100266 18670,1252630 25343,605159
// expect: 58282,706333 39241,654722
// hash: 0x5090cdf3b3a69439 of 64 answers
