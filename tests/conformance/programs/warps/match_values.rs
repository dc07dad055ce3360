//! Lanes with equal values find each other.
//! run: threads = 64
//! device

use raddle::device::Lanes;

pub fn program(thread: u32) -> (u32, Option<u32>, u32) {
    (
        Lanes::ALL.match_any(thread % 5),
        Lanes::ALL.match_all(thread / 32),
        Lanes::ALL.match_any(u64::from(thread % 3) << 40),
    )
}

// expect: 0x42108421,1,0xffffffff,0x49249249 0x84210842,1,0xffffffff,0x92492492
// expect: 0x8421084,1,0xffffffff,0x24924924 0x10842108,1,0xffffffff,0x49249249
// expect: 0x21084210,1,0xffffffff,0x92492492 0x42108421,1,0xffffffff,0x24924924
// expect: 0x84210842,1,0xffffffff,0x49249249 0x8421084,1,0xffffffff,0x92492492
// hash: 0x346c8ca69c8ba8ad of 64 answers
