//! Gray codes of neighbours differ in one bit.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32, u32) {
    let gray = thread ^ thread >> 1;
    let next = (thread + 1) ^ (thread + 1) >> 1;
    let mut back = gray;
    for shift in [1, 2, 4, 8, 16] {
        back ^= back >> shift;
    }
    (gray, back, (gray ^ next).count_ones())
}

// expect: 0,0,1 1,1,1 3,2,1 2,3,1 6,4,1 7,5,1 5,6,1 4,7,1
// hash: 0x03fc09c510d11925 of 64 answers
