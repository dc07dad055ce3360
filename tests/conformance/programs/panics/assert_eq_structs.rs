//! `assert_eq!` of structs with a derived `Debug`.
//! run: threads = 64
//! panics

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Point,
    Circle { radius: f32 },
    Box(i16, u8),
}

#[derive(Debug, PartialEq)]
struct Body {
    shape: Shape,
    parts: [Shape; 2],
    name: &'static str,
    last: Option<char>,
}

pub fn program(thread: u32) -> u32 {
    let body = |radius| Body {
        shape: Shape::Circle { radius },
        parts: [Shape::Box(-5, 6), Shape::Point],
        name: "a \"b\"",
        last: Some('\n'),
    };
    let radius = if thread == 11 { 0.5 } else { 1e20 };
    assert_eq!(body(radius), body(1e20)); //~ PANIC
    thread
}

// panic: thread 11: assertion `left == right` failed\n  left: Body { shape: Circle { radius: 0.5 }, parts: [Box(-5, 6), Point], name: "a \"b\"", last: Some('\n') }\n right: Body { shape: Circle { radius: 1e20 }, parts: [Box(-5, 6), Point], name: "a \"b\"", last: Some('\n') }
