//! Arithmetic of 8- and 16-bit numbers is done at their own width.
//! run: threads = 64

pub fn program(thread: u32) -> (u8, u8, i8, u16, bool) {
    let a = (thread as u8).wrapping_mul(3);
    let b = 250u8.wrapping_add(a) / 2;
    let c = (a as i8).wrapping_sub(127) >> 1;
    let d = u16::from(a) * 255 / 3;
    (b, !a >> 3, c, d, a.wrapping_sub(b) > a)
}

// expect: 125,31,-64,0,1 126,31,-62,255,1 0,31,-61,510,0 1,30,-59,765,0 3,30,-58,1020,0
// expect: 4,30,-56,1275,0 6,29,-55,1530,0 7,29,-53,1785,0
// hash: 0x838f7f6ea6890f9f of 64 answers
