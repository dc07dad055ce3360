//! Destructors run in reverse order of declaration, and early on `drop`.
//! run: threads = 64

struct Note<'a>(&'a core::cell::Cell<u32>, u32);

impl Drop for Note<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() * 10 + self.1);
    }
}

fn run(log: &core::cell::Cell<u32>, thread: u32) -> Option<u32> {
    let _first = Note(log, 1);
    let second = Note(log, 2);
    if thread % 3 == 0 {
        drop(second);
    }
    let _third = Note(log, 3);
    let value = thread.checked_sub(20)?;
    let _fourth = Note(log, 4);
    Some(value)
}

pub fn program(thread: u32) -> (u32, Option<u32>) {
    let log = core::cell::Cell::new(0);
    let value = run(&log, thread);
    (log.get(), value)
}

// expect: 231,0,0 321,0,0 321,0,0 231,0,0 321,0,0 321,0,0 231,0,0 321,0,0
// hash: 0x10cd4f98804e57bd of 64 answers
