//! Supertraits and fully qualified calls of methods with one name.
//! run: threads = 64

trait Named {
    fn code(&self) -> u32;
}

trait Priced: Named {
    fn code(&self) -> u32;
    fn total(&self) -> u32 {
        Named::code(self) * 1000 + Priced::code(self)
    }
}

struct Item(u32);

impl Named for Item {
    fn code(&self) -> u32 {
        self.0 + 1
    }
}

impl Priced for Item {
    fn code(&self) -> u32 {
        self.0 * 2
    }
}

fn both<T: Priced>(item: T) -> u32 {
    item.total() - <T as Named>::code(&item)
}

pub fn program(thread: u32) -> u32 {
    both(Item(thread))
}

// expect: 999 2000 3001 4002 5003 6004 7005 8006
// hash: 0x98ccc83078743466 of 64 answers
