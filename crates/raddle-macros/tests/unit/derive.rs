//! What the derives make and refuse.

use proc_macro2::TokenStream;

use super::{assert_contains, errors_in, tokens};

fn device_type(item: &str) -> TokenStream {
    crate::derive::expand(tokens(item), crate::derive::device_type)
}

fn zeroable(item: &str) -> TokenStream {
    crate::derive::expand(tokens(item), crate::derive::zeroable)
}

#[test]
fn structs_check_every_field() {
    let found =
        device_type("#[repr(C, align(16))] struct S<T, const N: usize> { a: [T; N], b: u8 }")
            .to_string();
    assert_contains(
        &found,
        "unsafe impl<T: ::raddle::__private::DeviceType, const N: usize> \
         ::raddle::__private::DeviceType for S<T, N> {}",
    );
    assert_contains(&found, "has_trait::<[T; N]>();");
    assert_contains(&found, "has_trait::<u8>();");
}

#[test]
fn representations_that_fix_the_layout() {
    for item in [
        "#[repr(transparent)] struct S(f32);",
        "#[repr(C, packed(4))] struct S(f32, u8);",
        "#[repr(C)] #[repr(align(8))] struct S;",
        "#[repr(u8)] enum E { A, B = 7 }",
        "#[repr(isize)] enum E { A }",
    ] {
        assert_eq!(errors_in(device_type(item)), [], "{item}");
    }
}

#[test]
fn the_crate_may_have_another_name() {
    let found = device_type("#[raddle(crate = gpu::api)] #[repr(C)] struct S;").to_string();
    assert_contains(&found, "unsafe impl gpu::api::__private::DeviceType for S {}");
}

#[test]
fn zeroable_enums_are_checked_by_their_values() {
    let found = zeroable("#[repr(u8)] enum E { A = 1, B = X }").to_string();
    assert_contains(&found, "E::A as i128 == 0 || E::B as i128 == 0");
    assert_contains(&found, "\"all-zero bytes are no value of `E`: none of its variants is 0\"");
}

#[test]
fn wrong_types() {
    const PAYLOAD: &str = "a variant with fields has no fixed layout on the device: use a struct \
        that holds a field-less enum and the fields; inside kernels such enums are welcome";
    const UNION: &str = "which field of a union is valid is not known on the device: use a \
        struct, or plain bits with `to_bits` and `from_bits`";
    for (item, at, message) in [
        ("struct S { a: f32 }", "S", "the layout of `S` is not fixed: add `#[repr(C)]`"),
        ("#[repr(align(8))] struct S;", "S", "the layout of `S` is not fixed: add `#[repr(C)]`"),
        ("enum E { A }", "E", "the layout of `E` is not fixed: add `#[repr(u32)]`"),
        ("#[repr(C)] enum E { A }", "E", "the layout of `E` is not fixed: add `#[repr(u32)]`"),
        ("#[repr(u8)] enum E {}", "E", "`E` has no variants, so no values"),
        ("#[repr(u8)] enum E { A, B(f32) }", "B(f32)", PAYLOAD),
        ("#[repr(C)] union U { a: f32 }", "union", UNION),
        (
            "#[raddle(krate = x)] #[repr(C)] struct S;",
            "krate",
            "there is no such option: a derive has `crate = path`",
        ),
    ] {
        let found = errors_in(device_type(item));
        assert_eq!(found, [(at.to_owned(), message.to_owned())], "{item}");
    }
    for (item, at, message) in
        [("union U { a: f32 }", "union", UNION), ("enum E { A(u8) }", "A(u8)", PAYLOAD)]
    {
        let found = errors_in(zeroable(item));
        assert_eq!(found, [(at.to_owned(), message.to_owned())], "{item}");
    }
}
