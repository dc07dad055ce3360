//! Wrong kernels: the message, and the token that it points at.

use std::sync::atomic::AtomicBool;

use super::{errors_in, index, tokens};

/// Each row: options, item, and what is reported, the place before the message.
type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

#[track_caller]
fn check(rows: &[Row]) {
    for (options, item, wanted) in rows {
        let index = index(&["image kernels::k sm_80 k k.ptx 0"]);
        let expansion =
            crate::kernel::expand(tokens(options), tokens(item), &index, &AtomicBool::new(true));
        let found = errors_in(expansion);
        let found: Vec<(&str, &str)> =
            found.iter().map(|(at, message)| (at.as_str(), message.as_str())).collect();
        assert_eq!(found, *wanted, "#[kernel({options})] {item}");
    }
}

#[test]
fn signatures() {
    check(&[
        (
            "",
            "fn k(&self, x: f32) {}",
            &[(
                "&self",
                "a kernel is a free function: pass what it needs from `self` as parameters",
            )],
        ),
        (
            "",
            "async fn k() {}",
            &[("async", "a kernel cannot be `async`: launching it is already asynchronous")],
        ),
        ("", "const fn k() {}", &[("const", "a kernel cannot be `const`: it runs on a device")]),
        (
            "",
            "extern \"C\" fn k() {}",
            &[("extern \"C\"", "a kernel is an ordinary Rust function: remove the `extern`")],
        ),
        (
            "",
            "fn k(x: f32) -> f32 { x }",
            &[(
                "f32",
                "a kernel returns nothing: write results to an output such as `PerThread<T>`",
            )],
        ),
        (
            "",
            "fn k() -> ! { loop {} }",
            &[("!", "a kernel returns nothing: write results to an output such as `PerThread<T>`")],
        ),
        (
            "",
            "fn k(f: impl Fn(f32) -> f32) {}",
            &[(
                "impl Fn(f32) -> f32",
                "a kernel is compiled for known types: make this a type parameter and list its \
                 types in `#[kernel(instances(..))]`",
            )],
        ),
        (
            "",
            "fn k((a, b): (f32, f32)) {}",
            &[("(a, b)", "a kernel parameter needs a name: take it apart in the body")],
        ),
        (
            "",
            "fn k(_: f32) {}",
            &[("_", "a kernel parameter needs a name: take it apart in the body")],
        ),
        (
            "",
            "fn k(ref x: f32) {}",
            &[("ref x", "a kernel parameter needs a name: take it apart in the body")],
        ),
        (
            "",
            "fn k(x: &mut [f32]) {}",
            &[(
                "mut",
                "every thread would hold this `&mut`: take an output that gives each its part, \
                 such as `PerThread<T>`",
            )],
        ),
        (
            "",
            "fn k(x: &'static [f32]) {}",
            &[(
                "'static",
                "a kernel's inputs are borrowed for the launch only: leave out `'static`",
            )],
        ),
        (
            "",
            "#[raddle::kernel] fn k() {}",
            &[("#[raddle::kernel]", "this function is already marked as a kernel")],
        ),
        ("", "fn a__i__b() {}", &[("a__i__b", "this name is kept for what `#[kernel]` makes")]),
        ("", "struct K;", &[("struct K;", "`#[kernel]` stands on a function")]),
        ("", "fn k(x f32) {}", &[("f32", "expected `:`")]),
    ]);
}

#[test]
fn all_errors_of_a_signature_appear_at_once() {
    check(&[(
        "",
        "async fn k(_: f32, x: &mut [f32]) -> u32 { 0 }",
        &[
            ("async", "a kernel cannot be `async`: launching it is already asynchronous"),
            ("u32", "a kernel returns nothing: write results to an output such as `PerThread<T>`"),
            ("_", "a kernel parameter needs a name: take it apart in the body"),
            (
                "mut",
                "every thread would hold this `&mut`: take an output that gives each its part, \
                 such as `PerThread<T>`",
            ),
        ],
    )]);
}

#[test]
fn options() {
    let k = "fn k() {}";
    check(&[
        (
            "blok = 1",
            k,
            &[(
                "blok",
                "there is no option `blok`: a kernel has `block`, `max_threads`, `min_blocks`, \
                 `max_registers`, `cluster`, `arch`, `instances` and `crate`",
            )],
        ),
        ("block = 1, block = 2", k, &[("block", "`block` is given twice")]),
        ("block", k, &[("block", "`block` takes a value: `block = ..`")]),
        ("block = 0", k, &[("0", "a block has 1 to 1024 threads, found 0")]),
        ("block = (64, 32)", k, &[("64", "a block has 1 to 1024 threads, found 2048")]),
        (
            "block = (4294967295, 4294967295, 4294967295)",
            k,
            &[("4294967295", "a block has 1 to 1024 threads, found 79228162458924105385300197375")],
        ),
        ("block = ()", k, &[("()", "`block` is one to three extents, found 0")]),
        (
            "block = (1, 1, 1, 1)",
            k,
            &[("(1, 1, 1, 1)", "`block` is one to three extents, found 4")],
        ),
        ("max_threads = (1, 2)", k, &[("(1, 2)", "`max_threads` is one number, found 2")]),
        ("max_threads = 1025", k, &[("1025", "a block has 1 to 1024 threads, found 1025")]),
        ("max_registers = 256", k, &[("256", "a thread has 1 to 255 registers, found 256")]),
        (
            "block = 32, max_threads = 64",
            k,
            &[("max_threads", "`block` already fixes the number of threads")],
        ),
        (
            "min_blocks = 2",
            k,
            &[("min_blocks", "`min_blocks` needs `block` or `max_threads` beside it")],
        ),
        ("cluster = 32", k, &[("32", "a cluster has 1 to 16 blocks, found 32")]),
        (
            "arch = 9",
            k,
            &[("9", "an architecture is a number as in `sm_NN`, such as 80 or 90, found 9")],
        ),
        (
            "arch = (80, 86)",
            k,
            &[(
                "86",
                "the second variant of a kernel is the one with Hopper's own instructions, 90, \
                 found 86",
            )],
        ),
        (
            "arch = (90, 90)",
            k,
            &[("90", "the first variant of a kernel is the portable one, such as 80, found 90")],
        ),
        (
            "arch = (80, 90, 100)",
            k,
            &[("(80, 90, 100)", "`arch` is one number, or two as in `arch = (80, 90)`, found 3")],
        ),
    ]);
}

#[test]
fn instances() {
    check(&[
        (
            "",
            "fn k<T: DeviceType>(x: T) {}",
            &[(
                "T: DeviceType",
                "a generic kernel names what it is compiled for: add `#[kernel(instances(f32))]`",
            )],
        ),
        (
            "",
            "fn k<'a, T, const N: usize>(x: &'a [T]) {}",
            &[(
                "T, const N: usize",
                "a generic kernel names what it is compiled for: add \
                 `#[kernel(instances((f32, 4)))]`",
            )],
        ),
        (
            "instances(f32)",
            "fn k() {}",
            &[("instances", "kernel `k` has no type or const parameters, so it has one form only")],
        ),
        ("instances()", "fn k<T>() {}", &[("instances", "list at least one instance")]),
        (
            "instances(f32)",
            "fn k<T, const N: usize>() {}",
            &[("f32", "an instance of `k` has 2 arguments: write `(T, N)`")],
        ),
        (
            "instances((f32))",
            "fn k<T, const N: usize>() {}",
            &[("(f32)", "an instance of `k` has 2 arguments: write `(T, N)`")],
        ),
        (
            "instances((f32, 4, 8))",
            "fn k<T, const N: usize>() {}",
            &[("(f32, 4, 8)", "an instance of `k` has 2 arguments: write `(T, N)`")],
        ),
        ("instances(f32, 4)", "fn k<T>() {}", &[("4", "`T` is a type")]),
        ("instances((4, f32))", "fn k<T, const N: usize>() {}", &[("4", "`T` is a type")]),
        ("instances(f32, f64, f32)", "fn k<T>() {}", &[("f32", "`f32` is listed twice")]),
        (
            "instances(a::B, a_B)",
            "fn k<T>() {}",
            &[("a_B", "`a::B` and `a_B` would both be named `k.a_B`: use a type alias")],
        ),
    ]);
}

#[test]
fn a_wrong_kernel_keeps_its_function() {
    let expansion = crate::kernel::expand(
        tokens("blok = 1"),
        tokens("fn k() { body(); }"),
        &index(&[]),
        &AtomicBool::new(true),
    );
    assert!(expansion.to_string().ends_with("fn k () { body () ; }"));
}
