//! `&mut dyn Trait` passed to a function that is not inlined.
//! run: threads = 64

trait Sink {
    fn put(&mut self, value: u32);
}

struct Sum(u32);
struct Last {
    value: u32,
    count: u8,
}

impl Sink for Sum {
    fn put(&mut self, value: u32) {
        self.0 += value;
    }
}

impl Sink for Last {
    fn put(&mut self, value: u32) {
        self.value = value;
        self.count += 1;
    }
}

#[inline(never)]
fn feed(sink: &mut dyn Sink, thread: u32) {
    for i in 0..thread % 7 {
        sink.put(i * thread);
    }
}

pub fn program(thread: u32) -> (u32, u32, u8) {
    let (mut sum, mut last) = (Sum(0), Last { value: 0, count: 0 });
    feed(&mut sum, thread);
    feed(if thread % 2 == 0 { &mut last } else { &mut sum }, thread + 1);
    (sum.0, last.value, last.count)
}

// expect: 0,0,1 2,0,0 2,6,3 33,0,0 24,20,5 140,0,0 90,0,0 0,0,0
// hash: 0x8b7509e0bdb88bd7 of 64 answers
