//! Options and enums with niches, matched through their layouts.
//! run: threads = 64

#[derive(Clone, Copy)]
enum Inner {
    Yes(bool),
    No(u8),
}

#[derive(Clone, Copy)]
enum Outer {
    Wrapped(Inner),
    Char(char),
    Reference(Option<&'static u32>),
}

static NUMBERS: [u32; 3] = [11, 22, 33];

pub fn program(thread: u32) -> (u32, u32) {
    let values = [
        Outer::Wrapped(Inner::Yes(thread % 2 == 0)),
        Outer::Wrapped(Inner::No(thread as u8)),
        Outer::Char(char::from(thread as u8)),
        Outer::Reference(NUMBERS.get(thread as usize / 16)),
    ];
    let score = match values[thread as usize % 4] {
        Outer::Wrapped(Inner::Yes(true)) => 1,
        Outer::Wrapped(Inner::Yes(false)) => 2,
        Outer::Wrapped(Inner::No(n)) => 100 + u32::from(n),
        Outer::Char(c) => u32::from(c) * 2,
        Outer::Reference(Some(n)) => *n,
        Outer::Reference(None) => 9,
    };
    (score, size_of::<Option<bool>>() as u32 + size_of::<Option<char>>() as u32 * 10)
}

// expect: 1,41 101,41 4,41 11,41 1,41 105,41 12,41 11,41
// hash: 0x64b5d9e1053f7665 of 64 answers
