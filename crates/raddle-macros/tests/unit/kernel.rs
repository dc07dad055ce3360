//! What `#[kernel]` makes.

use std::sync::atomic::AtomicBool;

use super::{
    Functions, assert_contains, assert_lacks, errors_in, expand, expand_with, functions, index,
    items, named, squeeze, tokens,
};
use crate::index::Index;

const SAXPY: &str = "#[doc = \"Adds.\"] #[inline] #[allow(unused)] \
    pub fn saxpy(a: f32, x: &[f32], mut y: PerThread<f32>) where f32: Copy { body(a, x, &mut y); }";

#[test]
fn the_device_sees_the_function_as_it_was_written() {
    let file = expand("", SAXPY);
    let Functions { device, launch, body } = &functions(&file, "saxpy");
    assert_eq!(squeeze(device), squeeze(&format!("#[cfg(raddle_device)] {SAXPY}")));
    assert_contains(
        body,
        "#[inline] #[allow(unused)] fn saxpy(a: f32, x: &[f32], mut y: PerThread<f32>) \
         where f32: Copy { body(a, x, &mut y); }",
    );
    assert_lacks(body, "Adds");
    assert_contains(launch, "#[doc = \"Adds.\"]");
    assert_lacks(launch, "#[inline]");
    assert_contains(
        launch,
        "(a: impl ::raddle::__private::KernelArg<'k, f32>, \
          x: impl ::raddle::__private::KernelArg<'k, &'static [f32]>, \
          y: impl ::raddle::__private::KernelArg<'k, PerThread<f32>>) \
          -> ::raddle::__private::KernelCall<'k, __raddle_saxpy::__RaddleParams<>>",
    );
}

#[test]
fn the_hidden_module_follows_the_contract() {
    let file = expand("", SAXPY);
    assert_contains(&named(&file, "__raddle_saxpy")[0], "pub mod __raddle_saxpy { use super::*;");
    assert_contains(
        &named(&file, "__RaddleParams")[0],
        "pub(super) p0: <f32 as ::raddle::__private::KernelParam>::Raw, \
         pub(super) p1: <&'static [f32] as ::raddle::__private::KernelParam>::Raw, \
         pub(super) p2: <PerThread<f32> as ::raddle::__private::KernelParam>::Raw,",
    );
    assert_contains(&named(&file, "__RaddleParams")[0], "#[repr(C)]");
    assert_contains(
        &named(&file, "__raddle_meta__saxpy")[0],
        "#[cfg(raddle_device)] #[used] pub static __raddle_meta__saxpy: \
         ::raddle::__private::KernelMeta = __RaddleParams::<>::META;",
    );
    assert_contains(
        &named(&file, "__raddle_kernel__saxpy")[0],
        "pub unsafe extern \"C\" fn __raddle_kernel__saxpy(params: *const __RaddleParams::<>, \
         record: u64, tag: u64)",
    );
    assert_eq!(named(&file, "__raddle_keep__saxpy").len(), 1);
}

#[test]
fn every_instance_has_an_entry_a_meta_and_a_host_kernel() {
    let file = expand(
        "instances((f32, 4), (half::f16, { 4 + 4 }), (Complex<f64>, -1))",
        "fn dot<T: DeviceType, const N: isize>(x: &[T], y: [T; 3]) {}",
    );
    for tag in ["f32_4", "half_f16_4_4", "Complex_f64_minus_1"] {
        assert_eq!(named(&file, &format!("__raddle_kernel__dot__i__{tag}")).len(), 1, "{tag}");
        assert_eq!(named(&file, &format!("__raddle_meta__dot__i__{tag}")).len(), 1, "{tag}");
        let segment = format!("\"dot.{tag}\"");
        let paths = named(&file, "PATH");
        assert!(paths.iter().any(|path| path.contains(&segment)), "{segment} in {paths:?}");
    }
    let launch = &functions(&file, "dot").launch;
    assert_contains(launch, "fn dot<'k, T: DeviceType, const N: isize>(");
    assert_contains(launch, "::raddle::__private::Kernel: __raddle_dot::dot<T, N>,");
    assert_contains(
        &named(&file, "dot")[0],
        "#[diagnostic::on_unimplemented(\
            message = \"kernel `dot` was not compiled for `{T}, {N}`\", \
            label = \"add it to `#[kernel(instances(..))]`\")] \
         pub trait dot<T: ?::core::marker::Sized, const N: isize>",
    );
}

#[test]
fn lifetimes_become_static_outside_the_function() {
    let item = "fn k<'a, T: Bound<'a> + 'a>(x: &'a [T], y: View<'_, &u8>, f: fn(&u8), \
                g: for<'b> fn(&'b u8)) where 'a: 'a, T: Other<'a> {}";
    let file = expand("instances(f32)", item);
    let params = &named(&file, "__RaddleParams")[0];
    assert_contains(params, "<T: Bound<'static> + 'static>");
    assert_contains(params, "p0: <&'static [T] as");
    assert_contains(params, "p1: <View<'static, &'static u8> as");
    assert_contains(params, "p2: <fn(&u8) as");
    assert_contains(params, "p3: <for<'b> fn(&'b u8) as");
    assert_contains(params, "where T: Other<'static>");
    assert_lacks(params, "'a");
    assert_contains(&functions(&file, "k").device, item);
    assert_contains(&functions(&file, "k").body, item);
}

#[test]
fn paths_are_right_inside_the_hidden_module() {
    let file = expand(
        "block = self::BLOCK, instances(super::Real)",
        "pub(super) fn k<T: self::Bound>(x: super::View<self::Item>, y: crate::Z, z: T) {}",
    );
    let params = &named(&file, "__RaddleParams")[0];
    assert_contains(params, "<super::super::View<super::Item> as");
    assert_contains(params, "<crate::Z as");
    assert_contains(params, "T: super::Bound");
    let module = &named(&file, "__raddle_k")[0];
    assert_contains(module, "(super::BLOCK) as i128");
    assert_contains(module, "__RaddleParams::<super::super::Real>::META");
    assert_contains(module, "pub(super) mod __raddle_k");
    let launch = &functions(&file, "k").launch;
    assert_contains(launch, "KernelArg<'k, super::View<self::Item>>");
}

#[test]
fn options_become_meta_fields() {
    let file = expand(
        "block = (16, N), max_registers = 64, min_blocks = 2, cluster = 2, arch = 90, \
         crate = gpu::api",
        "fn k() {}",
    );
    let module = &named(&file, "__raddle_k")[0];
    for field in ["block", "max_registers", "min_blocks", "cluster", "architecture"] {
        assert_contains(module, &format!("{field}: {{"));
    }
    assert_contains(module, "let shape: [u32; 3]");
    let both = expand("arch = (80, 90)", "fn k() {}");
    for field in ["architecture", "variant"] {
        assert_contains(&named(&both, "__raddle_k")[0], &format!("{field}: {{"));
    }
    assert_contains(module, "..gpu::api::__private::KernelMeta::NONE");
    assert!(items(&file).iter().all(|(_, text)| !text.contains(":: raddle")));
}

#[test]
fn conditions_hold_for_everything() {
    let expansion = expand("", "#[cfg(feature = \"x\")] fn k(a: f32) {}");
    assert_eq!(expansion.items.len(), 4);
    for item in &expansion.items {
        let text = quote::ToTokens::to_token_stream(item).to_string();
        assert_contains(&text, "#[cfg(feature = \"x\")]");
    }
}

#[test]
fn an_unsafe_kernel_has_an_unsafe_launch_function() {
    let file = expand("", "pub unsafe fn k(p: *mut f32) {}");
    let launch = &functions(&file, "k").launch;
    assert_contains(launch, "pub unsafe fn k<'k,>(");
}

#[test]
fn images_of_the_same_name_are_candidates() {
    let index = index(&[
        "image a::k sm_80 a__k a.ptx 0",
        "image b::k sm_90a b__k b.ptx 1",
        "cubin b::k sm_90a sm_90a 13.0 b.cubin",
        "image a::kk sm_80 a__kk c.ptx 0",
        "image a::k.f32 sm_80 a__k_f32 d.ptx 0",
    ]);
    let file = expand_with("", "fn k() {}", &index);
    let all = &named(&file, "ALL")[0];
    assert_eq!(all.matches("include_str").count(), 2);
    assert_contains(
        all,
        "path: \"b::k\", target: \"sm_90a\", entry: \"b__k\", \
         ptx: ::core::include_str!(\"/out/raddle/b.ptx\"), synchronizes: true, \
         cubins: &[::raddle::__private::Cubin",
    );
    assert_contains(all, "include_bytes!(\"/out/raddle/b.cubin\")");
    assert_eq!(all.matches("include_bytes").count(), 1);
    let checks = named(&file, "_");
    assert!(checks.iter().any(|check| check.contains("COUNT > 0")), "{checks:?}");
}

fn reports(item: &str, index: &Index, first: &AtomicBool) -> Vec<(String, String)> {
    errors_in(crate::kernel::expand(tokens(""), tokens(item), index, first))
}

#[test]
fn a_kernel_that_the_index_lacks_is_an_error_at_its_name() {
    let found =
        reports("fn k() {}", &index(&["image a::l sm_80 l l.ptx 0"]), &AtomicBool::new(true));
    assert_eq!(
        found,
        [(
            "k".to_owned(),
            "kernel `k` was not compiled for the GPU: build.rs must call \
             `raddle_build::compile(\"src/kernels.rs\")`, or with the file of a module above it"
                .to_owned()
        )]
    );
}

#[test]
fn an_error_record_is_an_error_at_the_name_once() {
    let index = index(&["error a::k.f32 opens~a~file", "error a::k.f64 opens~a~file"]);
    let found = errors_in(crate::kernel::expand(
        tokens("instances(f32, f64)"),
        tokens("fn k<T>() {}"),
        &index,
        &AtomicBool::new(true),
    ));
    assert_eq!(found, [("k".to_owned(), "opens a file".to_owned())]);
}

#[test]
fn errors_of_kernels_with_one_name_are_told_apart_by_rustc() {
    let index = index(&["error a::k opens~a~file", "error b::k starts~a~thread"]);
    assert_eq!(reports("fn k() {}", &index, &AtomicBool::new(true)), []);
    let file = expand_with("", "fn k() {}", &index);
    let checks = named(&file, "_");
    for (path, message) in [("a::k", "opens a file"), ("b::k", "starts a thread")] {
        assert!(
            checks.iter().any(|check| check.contains(&format!("\"{path}\""))
                && check.contains(message)
                && check.contains("count_images")),
            "{checks:?}"
        );
    }
}

#[test]
fn reports_about_the_crate_are_made_once() {
    let first = AtomicBool::new(true);
    let found = reports("fn k() {}", &Index::Missing, &first);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "k");
    assert!(found[0].1.contains("raddle_build::compile(\"src/kernels.rs\")"), "{}", found[0].1);
    assert_eq!(reports("fn l() {}", &Index::Missing, &first), []);

    let unreadable = Index::Unreadable("index.tsv: line 1".to_owned());
    let found = reports("fn k() {}", &unreadable, &AtomicBool::new(true));
    assert_eq!(found[0].1, "the index of compiled kernels is unusable: index.tsv: line 1");
}

#[test]
fn a_refused_device_build_is_a_denied_lint() {
    let index = index(&["rustc  error[E0000]:~no"]);
    let first = AtomicBool::new(true);
    assert_eq!(reports("fn k() {}", &index, &first), []);
    let file = expand_with("", "fn k() {}", &index);
    assert_contains(
        &named(&file, "device_build")[0],
        "#[deny(unused_results, reason = \"rustc accepts this crate for the host but not for \
         the device:\\nerror[E0000]: no\")]",
    );
}
