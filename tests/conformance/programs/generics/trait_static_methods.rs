//! Monoids: an identity, an operation, and a fold over both.
//! run: threads = 64

trait Monoid: Copy {
    const EMPTY: Self;
    fn combine(self, other: Self) -> Self;
    fn concat(items: &[Self]) -> Self {
        items.iter().fold(Self::EMPTY, |all, item| all.combine(*item))
    }
}

#[derive(Clone, Copy)]
struct Max(i32);
#[derive(Clone, Copy)]
struct Affine(u32, u32);

impl Monoid for Max {
    const EMPTY: Self = Max(i32::MIN);
    fn combine(self, other: Self) -> Self {
        Max(self.0.max(other.0))
    }
}

impl Monoid for Affine {
    const EMPTY: Self = Affine(1, 0);
    fn combine(self, other: Self) -> Self {
        let scale = self.0.wrapping_mul(other.0);
        Affine(scale, other.0.wrapping_mul(self.1).wrapping_add(other.1))
    }
}

impl<A: Monoid, B: Monoid> Monoid for (A, B) {
    const EMPTY: Self = (A::EMPTY, B::EMPTY);
    fn combine(self, other: Self) -> Self {
        (self.0.combine(other.0), self.1.combine(other.1))
    }
}

pub fn program(thread: u32) -> (i32, u32, u32) {
    let items: [(Max, Affine); 6] = core::array::from_fn(|i| {
        (Max((thread as i32 * 37 + i as i32 * 91) % 100), Affine(i as u32 + 3, thread))
    });
    let (Max(top), Affine(scale, offset)) = Monoid::concat(&items[..thread as usize % 7]);
    (top, scale, offset)
}

// expect: -2147483648,1,0 37,3,1 74,12,10 93,60,78 48,360,628 85,2520,5500 95,20160,52806
// expect: -2147483648,1,0
// hash: 0x58236ca7840ad47b of 64 answers
