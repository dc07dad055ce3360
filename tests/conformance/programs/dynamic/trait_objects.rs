//! `&dyn Trait` with a known set of implementations.
//! run: threads = 64

trait Animal {
    fn legs(&self) -> u32;
    fn speed(&self, tired: u32) -> u32 {
        100 / (self.legs() + tired + 1)
    }
}

struct Bird;
struct Dog {
    age: u32,
}

impl Animal for Bird {
    fn legs(&self) -> u32 {
        2
    }
    fn speed(&self, _tired: u32) -> u32 {
        300
    }
}

impl Animal for Dog {
    fn legs(&self) -> u32 {
        4 + self.age / 50
    }
}

pub fn program(thread: u32) -> (u32, u32) {
    let dog = Dog { age: thread };
    let animals: [&dyn Animal; 3] = [&Bird, &dog, &Dog { age: 1 }];
    let chosen = animals[thread as usize % 3];
    (chosen.speed(thread), animals.iter().map(|animal| animal.legs()).sum())
}

// expect: 300,10 16,10 14,10 300,10 11,10 10,10 300,10 8,10
// hash: 0x437cfab1f4ae2038 of 64 answers
