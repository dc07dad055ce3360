//! Nested modules, re-exports, and items used before they are defined.
//! run: threads = 64

use geometry::{Point, shapes::*};

mod geometry {
    pub mod shapes {
        use super::Point;
        pub struct Segment(pub Point, pub Point);
        impl Segment {
            pub fn length_squared(&self) -> i64 {
                let Segment(a, b) = self;
                super::square(a.x - b.x) + super::square(a.y - b.y)
            }
        }
    }
    #[derive(Clone, Copy)]
    pub struct Point {
        pub(super) x: i32,
        pub(crate) y: i32,
    }
    fn square(x: i32) -> i64 {
        i64::from(x) * i64::from(x)
    }
}

pub fn program(thread: u32) -> i64 {
    Segment(Point { x: thread as i32, y: LIMIT }, Point { x: -5, y: 2 }).length_squared()
}

const LIMIT: i32 = 12;

// expect: 125 136 149 164 181 200 221 244
// hash: 0x0626c07dd5448d70 of 64 answers
