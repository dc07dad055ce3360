//! Type-level states: only a closed builder can be read.
//! run: threads = 64

use core::marker::PhantomData;

struct Open;
struct Closed;

struct Tally<State> {
    sum: u64,
    count: u32,
    state: PhantomData<State>,
}

impl Tally<Open> {
    fn new() -> Self {
        Tally { sum: 0, count: 0, state: PhantomData }
    }
    fn add(mut self, value: u32) -> Self {
        self.sum += u64::from(value);
        self.count += 1;
        self
    }
    fn close(self) -> Tally<Closed> {
        Tally { sum: self.sum, count: self.count, state: PhantomData }
    }
}

impl Tally<Closed> {
    fn mean(&self) -> u64 {
        self.sum / u64::from(self.count)
    }
}

pub fn program(thread: u32) -> (u64, u32) {
    let tally = (0..=thread % 9).fold(Tally::new(), |tally, i| tally.add(i * thread)).close();
    (tally.mean(), size_of::<Tally<Open>>() as u32)
}

// expect: 0,16 0,16 2,16 4,16 8,16 12,16 18,16 24,16
// hash: 0xe747c93a1b22252d of 64 answers
