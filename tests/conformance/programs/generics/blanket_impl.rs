//! Blanket implementations and extension traits.
//! run: threads = 64

trait Describe {
    fn weight(&self) -> u32;
}

trait DescribeTwice: Describe {
    fn twice(&self) -> u32 {
        self.weight() * 2
    }
}

impl<T: Describe + ?Sized> DescribeTwice for T {}

impl Describe for u32 {
    fn weight(&self) -> u32 {
        self.count_ones()
    }
}

impl<T: Describe> Describe for [T] {
    fn weight(&self) -> u32 {
        self.iter().map(|item| item.twice()).sum()
    }
}

impl<A: Describe, B: Describe> Describe for (A, B) {
    fn weight(&self) -> u32 {
        self.0.weight() * 100 + self.1.weight()
    }
}

pub fn program(thread: u32) -> (u32, u32, u32) {
    let list = [thread, thread + 1, thread * 3];
    (list[..].twice(), (thread, (thread + 7, 1u32)).twice(), list[..2].weight())
}

// expect: 4,602,2 16,402,4 20,602,6 20,802,6 20,802,6 32,802,8 28,1002,10 28,1202,8
// hash: 0xce17538a7aac0d7a of 64 answers
