//! `Cell` and `RefCell` change values behind shared references.
//! run: threads = 64

use core::cell::{Cell, RefCell};

struct Machine {
    ticks: Cell<u32>,
    log: RefCell<[u32; 4]>,
}

impl Machine {
    fn tick(&self, value: u32) {
        let at = self.ticks.replace(self.ticks.get() + 1) as usize;
        self.log.borrow_mut()[at % 4] += value;
    }
}

pub fn program(thread: u32) -> (u32, [u32; 4], bool) {
    let machine = Machine { ticks: Cell::new(0), log: RefCell::new([0; 4]) };
    for i in 0..thread % 9 {
        machine.tick(i * thread);
    }
    let held = machine.log.borrow();
    (machine.ticks.get(), *held, machine.log.try_borrow_mut().is_err())
}

// expect: 0,0,0,0,0,1 1,0,0,0,0,1 2,0,2,0,0,1 3,0,3,6,0,1 4,0,4,8,12,1 5,20,5,10,15,1
// expect: 6,24,36,12,18,1 7,28,42,56,21,1
// hash: 0x06c2234bb1141fe0 of 64 answers
