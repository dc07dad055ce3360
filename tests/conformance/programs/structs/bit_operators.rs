//! Overloaded `& | ^ ! << >>` on a bit set.
//! run: threads = 64

use core::ops::{BitAnd, BitOr, BitXor, Not, Shl, ShrAssign};

#[derive(Clone, Copy, PartialEq, Eq)]
struct Set(u64);

impl BitAnd for Set {
    type Output = Set;
    fn bitand(self, other: Set) -> Set {
        Set(self.0 & other.0)
    }
}

impl BitOr for Set {
    type Output = Set;
    fn bitor(self, other: Set) -> Set {
        Set(self.0 | other.0)
    }
}

impl BitXor for Set {
    type Output = Set;
    fn bitxor(self, other: Set) -> Set {
        (self | other) & !(self & other)
    }
}

impl Not for Set {
    type Output = Set;
    fn not(self) -> Set {
        Set(!self.0)
    }
}

impl Shl<u32> for Set {
    type Output = Set;
    fn shl(self, by: u32) -> Set {
        Set(self.0 << by)
    }
}

impl ShrAssign<u32> for Set {
    fn shr_assign(&mut self, by: u32) {
        self.0 >>= by;
    }
}

impl FromIterator<u32> for Set {
    fn from_iter<I: IntoIterator<Item = u32>>(members: I) -> Set {
        members.into_iter().fold(Set(0), |set, member| set | Set(1) << member)
    }
}

pub fn program(thread: u32) -> (u64, u64, bool) {
    let a: Set = (0..thread % 20).map(|x| x * 3).collect();
    let b: Set = (0..30).filter(|x| x % 4 == thread % 4).collect();
    let mut c = a ^ b;
    c >>= 2;
    (c.0, (a & !b).0, a | b == c)
}

// expect: 0x4444444,0,0 0x8888888,1,0 0x1111113,9,0 0x2222230,65,0 0x44444d6,584,0
// expect: 0x8888c1a,4169,0 0x1113583,37385,0 0x22306b0,266817,0
// hash: 0x4f458cb93a014bad of 64 answers
