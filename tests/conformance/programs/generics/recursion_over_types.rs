//! Nested types compute by recursion over the types.
//! run: threads = 64

struct Nil;
struct Cons<H, T>(H, T);

trait Fold {
    const LEN: u32;
    fn fold(&self, sum: i64) -> i64;
}

impl Fold for Nil {
    const LEN: u32 = 0;
    fn fold(&self, sum: i64) -> i64 {
        sum
    }
}

impl<H: Copy + Into<i64>, T: Fold> Fold for Cons<H, T> {
    const LEN: u32 = 1 + T::LEN;
    fn fold(&self, sum: i64) -> i64 {
        self.1.fold(sum * 10 + self.0.into())
    }
}

fn len<T: Fold>(_: &T) -> u32 {
    T::LEN
}

pub fn program(thread: u32) -> (i64, u32) {
    let list = Cons(thread, Cons(-3i8, Cons((thread % 7) as u16, Cons(i64::from(thread), Nil))));
    (list.fold(0), len(&list))
}

// expect: -300,4 711,4 1722,4 2733,4 3744,4 4755,4 5766,4 6707,4
// hash: 0x686f7655aaa7f25e of 64 answers
