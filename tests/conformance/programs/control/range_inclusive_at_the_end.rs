//! An inclusive range up to the type's last value ends.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32, i32) {
    let start = 255 - (thread % 10) as u8;
    let mut count = 0;
    for byte in start..=u8::MAX {
        count += u32::from(byte);
    }
    let turns = (u32::MAX - thread..=u32::MAX).count() as u32;
    let signed = (i8::MIN..=i8::MIN + thread as i8).map(i32::from).sum();
    (count, turns, signed)
}

// expect: 255,1,-128 509,2,-255 762,3,-381 1014,4,-506 1265,5,-630 1515,6,-753 1764,7,-875
// expect: 2012,8,-996
// hash: 0x8e713f4b1df35529 of 64 answers
