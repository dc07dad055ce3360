//! `panic!` with a pretty-printed nested value.
//! run: threads = 64
//! panics

#[allow(dead_code, reason = "only messages show the fields")]
#[derive(Debug)]
struct Inner {
    values: [i64; 2],
    text: &'static str,
}

#[allow(dead_code, reason = "only messages show the fields")]
#[derive(Debug)]
struct Outer {
    inner: Option<Inner>,
    pair: (f32, Unit),
}

#[derive(Debug)]
struct Unit;

pub fn program(thread: u32) -> u32 {
    if thread == 25 {
        let inner = Inner { values: [-1, i64::from(thread)], text: "two\nlines" };
        panic!("{:#?}", Outer { inner: Some(inner), pair: (0.1, Unit) }); //~ PANIC
    }
    thread
}

// panic: thread 25: Outer {\n    inner: Some(\n        Inner {\n            values: [\n                -1,\n                25,\n            ],\n            text: "two\nlines",\n        },\n    ),\n    pair: (\n        0.1,\n        Unit,\n    ),\n}
