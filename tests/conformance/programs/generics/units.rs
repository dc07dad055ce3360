//! Units of measure checked by types and erased at run time.
//! run: threads = 64

use core::marker::PhantomData;
use core::ops::{Div, Mul};

#[derive(Clone, Copy)]
struct Measure<L, T>(f64, PhantomData<(L, T)>);
#[derive(Clone, Copy)]
struct P<const N: i32>;

type Length = Measure<P<1>, P<0>>;
type Time = Measure<P<0>, P<1>>;
type Speed = Measure<P<1>, P<-1>>;

impl Div<Time> for Length {
    type Output = Speed;
    fn div(self, time: Time) -> Speed {
        Measure(self.0 / time.0, PhantomData)
    }
}

impl Mul<Time> for Speed {
    type Output = Length;
    fn mul(self, time: Time) -> Length {
        Measure(self.0 * time.0, PhantomData)
    }
}

pub fn program(thread: u32) -> (f64, f64) {
    let length: Length = Measure(f64::from(thread) * 1.5, PhantomData);
    let time: Time = Measure(8.0, PhantomData);
    let speed = length / time;
    (speed.0, (speed * Measure(2.0, PhantomData)).0)
}

// expect: 0.0,0.0 0.1875,0.375 0.375,0.75 0.5625,1.125 0.75,1.5 0.9375,1.875 1.125,2.25
// expect: 1.3125,2.625
// hash: 0x80628155b03e159c of 64 answers
