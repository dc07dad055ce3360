//! What `ptx!` makes and refuses.

use super::{assert_contains, assert_lacks, errors_in, tokens};

fn expand(input: &str) -> String {
    crate::ptx::expand(tokens(input)).to_string()
}

/// The link name that the device side declares.
#[track_caller]
fn link_name(input: &str) -> String {
    let found = expand(input);
    let (_, tail) = found.split_once("link_name = ").unwrap_or_else(|| panic!("{found}"));
    let literal = tail.split_once("] fn ptx").expect("the declaration follows").0;
    syn::parse_str::<syn::LitStr>(literal).expect("a string").value()
}

#[test]
fn operands_become_constraints_and_registers() {
    assert_eq!(
        link_name(
            r#""add.u32 {sum}, {a}, {b};", a = in(reg32) x, b = in(reg32) 7,
               sum = out(reg32) y, options(pure, nomem)"#
        ),
        "raddle.asm:=r,r,r:add.u32 $0, $1, $2;"
    );
    assert_eq!(
        link_name(r#""fma {d}, {a}, {n};", d = inout(f32) x, a = in(f64) y, n = const 3"#),
        "raddle.asm.v:+f,d,n,~{memory}:fma $0, $1, $2;"
    );
    assert_eq!(
        link_name(
            r#""{h} {l} {q} {p}", h = in(reg16) a, l = in(reg64) b, q = in(reg128) c, p = in(ptr) d, options(nomem)"#
        ),
        "raddle.asm.v:h,l,q,l:$0 $1 $2 $3"
    );
}

#[test]
fn arrays_are_lists_of_registers() {
    assert_eq!(
        link_name(
            r#""mma {{{d}}}, {{{a}}}, {a[1]}, {last};", last = in(reg32) z,
               a = in([reg32; 2]) x, d = inout([f32; 4]) y"#
        ),
        "raddle.asm.v:+f*4,r,r*2,~{memory}:mma {$0, $1, $2, $3}, {$5, $6}, $6, $4;"
    );
}

#[test]
fn text_is_joined_and_escaped() {
    assert_eq!(
        link_name(r#""{{ .reg .pred p;", "$x: bra $x; }}", options(nomem)"#),
        "raddle.asm.v::{ .reg .pred p;\n$$x: bra $$x; }"
    );
}

#[test]
fn what_waits_for_other_threads_is_convergent() {
    assert_eq!(link_name(r#""bar.sync 0;""#), "raddle.asm.c.v:~{memory}:bar.sync 0;");
    assert_eq!(
        link_name(r#""vote.sync.any.pred;", options(nomem, volatile)"#),
        "raddle.asm.c.v::vote.sync.any.pred;"
    );
    assert_eq!(
        link_name(r#""activemask.b32 {x};", x = out(reg32) x, options(pure, nomem, convergent)"#),
        "raddle.asm.c:=r:activemask.b32 $0;"
    );
}

#[test]
fn the_device_side_passes_outputs_by_pointer() {
    let found = expand(
        r#""x {a} {b} {c} {p}", a = out(reg32) x.y, b = inout(f32) z[0], c = in([reg16; 3]) w, p = in(ptr) q"#,
    );
    assert_contains(&found, "fn ptx(a0: *mut u32, a1: *mut f32, a2: *const [u16; 3], a3: u64);");
    assert_contains(&found, "let mut a = ::core::mem::MaybeUninit::<u32>::uninit();");
    assert_contains(&found, "x.y = a.assume_init();");
    assert_contains(&found, "&raw mut z[0]");
    assert_lacks(&found, "unsafe {");
}

#[test]
fn the_host_side_is_the_host_block() {
    let found = expand(
        r#""x {a} {b} {c}", a = out(reg32) x, b = inout(f32) z, c = in(reg16) w, host = { a = 1; b += 1.0; }"#,
    );
    assert_contains(&found, "let (mut b, c,) =");
    assert_contains(&found, "let a: u32;");
    assert_contains(&found, "{ a = 1; b += 1.0; }");
    assert_contains(&found, "(a, b,)");
    assert_contains(&found, "x = r0;");
    assert_contains(&found, "z = r1;");
    assert_lacks(&found, "no_cpu_body()");
}

#[test]
fn without_a_host_block_the_host_side_panics() {
    let found = expand(r#""x {a}", a = out(reg32) x"#);
    assert_contains(&found, "let a: u32 = no_cpu_body();");
    assert_contains(&found, "\"this `ptx!` has no CPU body: add `host = {{ .. }}`, or use a GPU\"");
}

#[test]
fn wrong_uses() {
    for (input, at, message) in [
        ("", "", "`ptx!` begins with PTX text as string literals"),
        ("x = in(reg32) y", "x", "`ptx!` begins with PTX text as string literals"),
        (r#""{x}", in(reg32) y"#, "in", "name the operand, as in `x = in(..) ..`"),
        (
            r#""{x}", x = reg32 y"#,
            "reg32",
            "an operand is `in(..)`, `out(..)`, `inout(..)` or `const`",
        ),
        (
            r#""{x}", x = in(r32) y"#,
            "r32",
            "the register classes are `reg16`, `reg32`, `reg64`, `reg128`, `f32`, `f64` and `ptr`",
        ),
        (
            r#""{x}", x = out(pred) y"#,
            "pred",
            "a predicate lives inside the PTX: declare it in a `{{ .. }}` scope and hand out a \
             number with `selp`",
        ),
        (r#""{x}", x = out(ptr) y"#, "ptr", "a pointer is an input: use `reg64` and a cast"),
        (r#""{x}", x = in(reg32) y, x = in(reg32) z"#, "x", "`x` is given twice"),
        (r#""{y}", x = in(reg32) y"#, r#""{y}""#, "there is no operand `y`"),
        (r#""{x[2]}", x = in([f32; 2]) y"#, r#""{x[2]}""#, "there is no operand `x[2]`"),
        (r#""mov", x = in(reg32) y"#, "x", "this operand is not used in the PTX"),
        (r#""{ mov }""#, r#""{ mov }""#, "there is no operand ` mov `"),
        (r#""mov }""#, r#""mov }""#, "write `{{` and `}}` for braces of the PTX"),
        (r#""{ mov""#, r#""{ mov""#, "write `{{` and `}}` for braces of the PTX"),
        (
            r#""x", options(readonly)"#,
            "readonly",
            "the options are `pure`, `nomem`, `convergent` and `volatile`",
        ),
        (
            r#""x", options(pure, nomem)"#,
            "pure",
            "`pure` needs an output and `nomem` beside it, and not `volatile`",
        ),
        (
            r#""{x}", x = out(f32) y, options(pure)"#,
            "pure",
            "`pure` needs an output and `nomem` beside it, and not `volatile`",
        ),
    ] {
        let found = errors_in(crate::ptx::expand(tokens(input)));
        assert_eq!(found, [(at.to_owned(), message.to_owned())], "ptx!({input})");
    }
}
