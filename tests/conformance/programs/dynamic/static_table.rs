//! A static table of trait objects and function pointers.
//! run: threads = 64

trait Rule: Sync {
    fn apply(&self, x: i32) -> i32;
}

struct Add(i32);
struct Wrap;

impl Rule for Add {
    fn apply(&self, x: i32) -> i32 {
        x + self.0
    }
}

impl Rule for Wrap {
    fn apply(&self, x: i32) -> i32 {
        x.rem_euclid(10)
    }
}

static RULES: [&dyn Rule; 4] = [&Add(7), &Wrap, &Add(-12), &Wrap];
static STEPS: [fn(i32, i32) -> i32; 3] = [i32::wrapping_add, i32::wrapping_mul, |a, b| a - b];

pub fn program(thread: u32) -> (i32, i32) {
    let t = thread as i32;
    let by_rules =
        RULES.iter().cycle().skip(thread as usize % 4).take(5).fold(t, |x, rule| rule.apply(x));
    (by_rules, STEPS[thread as usize % 3](t, by_rules))
}

// expect: 12,12 6,6 -5,7 8,11 16,64 0,5 -11,-5 2,14
// hash: 0x9a8729849ccc402b of 64 answers
