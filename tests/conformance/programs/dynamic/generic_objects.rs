//! Trait objects of a generic trait, and upcasting to a supertrait.
//! run: threads = 64

trait Base {
    fn id(&self) -> u32;
}

trait Source<T>: Base {
    fn get(&self, at: usize) -> Option<T>;
}

struct List<'a>(&'a [i64]);
struct Constant(i64);

impl Base for List<'_> {
    fn id(&self) -> u32 {
        self.0.len() as u32
    }
}

impl Source<i64> for List<'_> {
    fn get(&self, at: usize) -> Option<i64> {
        self.0.get(at).copied()
    }
}

impl Base for Constant {
    fn id(&self) -> u32 {
        1000
    }
}

impl Source<i64> for Constant {
    fn get(&self, _at: usize) -> Option<i64> {
        (self.0 > 5).then_some(self.0)
    }
}

fn identify(base: &dyn Base) -> u32 {
    base.id()
}

pub fn program(thread: u32) -> (i64, u32) {
    let values = [5, -2, i64::from(thread)];
    let (list, constant) = (List(&values), Constant(i64::from(thread / 4)));
    let sources: [&dyn Source<i64>; 2] = [&list, &constant];
    let sum = sources.iter().filter_map(|source| source.get(thread as usize % 4)).sum();
    (sum, identify(sources[thread as usize % 2]))
}

// expect: 5,3 -2,1000 2,3 0,1000 5,3 -2,1000 6,3 0,1000
// hash: 0x4f3f8beb0284de2b of 64 answers
