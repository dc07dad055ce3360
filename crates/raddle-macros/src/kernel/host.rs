//! The host side: the launch function, the images that the index names, and the
//! function itself behind a thunk for the CPU device.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Attribute, Error, GenericParam, Lifetime, Visibility, parse_quote};

use super::instances::Instance;
use super::{Kernel, Scope};
use crate::index::{CubinRecord, ImageRecord, Index, Records};

/// What the message of an index with a `rustc` record begins with.
const REFUSED: &str = "rustc accepts this crate for the host but not for the device";

/// Launch function, kernel tables, and what there is to report.
pub fn expand(kernel: &Kernel, index: &Index, first_report: &AtomicBool) -> TokenStream {
    let cfgs = &kernel.cfgs;
    let launch = launch_function(kernel);
    let body = body(kernel);
    let instances = kernel.instances.iter().map(|instance| instance_impl(kernel, instance, index));
    let reports = reports(kernel, index, first_report);
    quote! {
        #launch
        #(#cfgs)*
        #[cfg(not(raddle_device))]
        const _: () = {
            #body
            #(#instances)*
            #(#reports)*
        };
    }
}

/// Two traits of `Kernel`, for the hidden module. The first has the kernel's name,
/// because rustc prints it when an instance is missing, and exists for the
/// compiled instances only. The second holds what an instance takes from the
/// generic kernel: it is the one bound on an instance, so that an unfit instance
/// is one error.
pub fn instance_traits(kernel: &Kernel) -> TokenStream {
    let (Kernel { name, names, facts, .. }, private) = (kernel, &kernel.inner.private);
    let mut bare = kernel.generics.clone();
    bare.where_clause = None;
    bare.type_params_mut().for_each(|param| param.bounds = parse_quote!(?::core::marker::Sized));
    let texts: Vec<String> = names.iter().map(|name| format!("{{{name}}}")).collect();
    let message = format!("kernel `{name}` was not compiled for `{}`", texts.join(", "));
    let label = "add it to `#[kernel(instances(..))]`";
    // A second implementation, so that rustc does not infer the only instance
    // where the arguments say another.
    let decoy = kernel.generics.type_params().next().map(|_| {
        let consts = kernel.generics.const_params();
        let arguments = kernel.generics.params.iter().map(|param| match param {
            GenericParam::Const(param) => param.ident.to_token_stream(),
            _ => quote!(__RaddleNoType),
        });
        quote! {
            #[cfg(not(raddle_device))]
            pub enum __RaddleNoType {}
            #[cfg(not(raddle_device))] #[diagnostic::do_not_recommend]
            impl<#(#consts),*> #name<#(#arguments),*> for #private::Kernel {
                fn kernel() -> &'static Self { ::core::unreachable!() }
            }
        }
    });
    quote! {
        #[cfg(not(raddle_device))]
        #[diagnostic::on_unimplemented(message = #message, label = #label)]
        pub trait #name #bare { fn kernel() -> &'static Self; }
        #decoy
        #[cfg(not(raddle_device))]
        pub trait #facts #bare {
            const META: #private::KernelMeta;
            const RULES: #private::ParamRules;
            const BODY: unsafe fn(*const u8);
        }
    }
}

/// The function that binds arguments and gives the call.
fn launch_function(kernel: &Kernel) -> TokenStream {
    let Kernel { function, name, names, module, arguments, fields, .. } = kernel;
    let Scope { private, types, generics, .. } = &kernel.outer;
    let (vis, unsafety) = (&function.vis, &function.sig.unsafety);
    let attributes = function.attrs.iter().filter(|attr| is_for_launch(attr));
    let params = &generics.params;
    let predicates = generics.where_clause.iter().flat_map(|clause| &clause.predicates);
    let life = Lifetime::new("'k", Span::mixed_site());
    let binder = Ident::new("binder", Span::mixed_site());
    let phantom = (!names.is_empty()).then(|| quote!(generics: ::core::marker::PhantomData,));
    quote! {
        #[cfg(not(raddle_device))]
        #[allow(trivial_bounds, clippy::all, clippy::pedantic, clippy::undocumented_unsafe_blocks)]
        #(#attributes)*
        #vis #unsafety fn #name<#life, #params>(
            #(#arguments: impl #private::KernelArg<#life, #types>),*
        ) -> #private::KernelCall<#life, #module::__RaddleParams<#(#names),*>>
        where
            #(#predicates,)*
            #private::Kernel: #module::#name<#(#names),*>,
        {
            let mut #binder = #private::Binder::new(
                <#private::Kernel as #module::#name<#(#names),*>>::kernel(),
            );
            let params = #module::__RaddleParams {
                #(#fields: <_ as #private::KernelArg<#life, #types>>::bind(#arguments, &mut #binder),)*
                #phantom
            };
            // SAFETY: `params` holds what the arguments bound to this binder gave.
            unsafe { #binder.finish(params) }
        }
    }
}

/// Documentation and conditions belong to the launch function; the rest to the
/// function itself.
fn is_for_launch(attribute: &Attribute) -> bool {
    ["doc", "cfg", "deprecated", "allow"].iter().any(|name| attribute.path().is_ident(name))
}

/// The function, the thunk that calls it with a parameter block, and the facts.
fn body(kernel: &Kernel) -> TokenStream {
    let Kernel { name, names, module, facts, fields, .. } = kernel;
    let Scope { private, generics, .. } = &kernel.outer;
    let mut function = kernel.function.clone();
    function.vis = Visibility::Inherited;
    function.attrs.retain(|attr| !(attr.path().is_ident("cfg") || attr.path().is_ident("doc")));
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let call = kernel.outer.call(&quote!(#name::<#(#names),*>), fields);
    quote! {
        #function
        #[allow(trivial_bounds, clippy::all, clippy::undocumented_unsafe_blocks)]
        unsafe fn __raddle_thunk #impl_generics (params: *const u8) #where_clause {
            let params = params.cast::<#module::__RaddleParams #type_generics>();
            #call
        }
        #[allow(non_local_definitions, trivial_bounds, clippy::all)]
        impl #impl_generics #module::#facts<#(#names),*> for #private::Kernel #where_clause {
            const META: #private::KernelMeta = #module::__RaddleParams::<#(#names),*>::META;
            const RULES: #private::ParamRules = #module::__RaddleParams::<#(#names),*>::RULES;
            const BODY: unsafe fn(*const u8) = __raddle_thunk::<#(#names),*>;
        }
    }
}

/// One compiled form with the files that hold it.
fn image(private: &TokenStream, record: &ImageRecord) -> TokenStream {
    let ImageRecord { path, target, entry, file, synchronizes, cubins } = record;
    let cubins = cubins.iter().map(|CubinRecord { architecture, cuda: (major, minor), file }| {
        quote!(#private::Cubin {
            architecture: #architecture, cuda: (#major, #minor),
            bytes: &#private::Aligned(*::core::include_bytes!(#file)).0,
        })
    });
    quote!(#private::Image {
        path: #path, target: #target, entry: #entry,
        ptx: ::core::include_str!(#file), synchronizes: #synchronizes, cubins: &[#(#cubins),*],
    })
}

/// The `Kernel` of one instance.
fn instance_impl(kernel: &Kernel, instance: &Instance, index: &Index) -> TokenStream {
    let (Kernel { name, module, facts, .. }, Scope { private, bounds, .. }) =
        (kernel, &kernel.outer);
    let (arguments, segment) = (&instance.arguments, &instance.segment);
    // The bounds of a generic kernel are about its parameters, not its instances.
    let where_clause = if kernel.generics.params.is_empty() {
        quote!(where #(#bounds),*)
    } else {
        let (first, last) = instance.ends;
        let bound = super::respan(quote!(#private::Kernel: #module::#facts <), first);
        let close = quote_spanned!(last=> >);
        quote!(where #bound #(#arguments),* #close)
    };
    let records: Vec<&ImageRecord> = match index {
        Index::Built(records) => records.images_of(segment).collect(),
        _ => Vec::new(),
    };
    let images = records.iter().map(|record| image(private, record));
    let left_out = left_out(kernel, index, !records.is_empty());
    quote! {
        #[allow(non_local_definitions, trivial_bounds, clippy::all)]
        impl #module::#name<#(#arguments),*> for #private::Kernel #where_clause {
            #[inline(never)]
            fn kernel() -> &'static #private::Kernel {
                const PATH: &str = ::core::concat!(::core::module_path!(), "::", #segment);
                const ALL: &[#private::Image] = &[#(#images),*];
                const COUNT: usize = #private::count_images(ALL, PATH);
                static IMAGES: [#private::Image; COUNT] = #private::select_images(ALL, PATH);
                #left_out
                const {
                    &#private::Kernel {
                        name: PATH, images: &IMAGES, file: ::core::file!(), line: ::core::line!(),
                        meta: <Self as #module::#facts<#(#arguments),*>>::META,
                        rules: <Self as #module::#facts<#(#arguments),*>>::RULES,
                        body: <Self as #module::#facts<#(#arguments),*>>::BODY,
                    }
                }
            }
        }
    }
}

/// The check that some image belongs to the kernel's module; `reports` says what is
/// wrong where there are no candidates at all, or after a refused device build
/// (where a constant that fails would only add noise to rustc's own errors).
fn left_out(kernel: &Kernel, index: &Index, has_candidates: bool) -> Option<TokenStream> {
    let Index::Built(records) = index else { return None };
    if records.refused_program(&crate_name()).is_some() {
        return None;
    }
    let span = kernel.name.span();
    let message = not_compiled(kernel);
    has_candidates
        .then(|| quote_spanned!(span=> const _: () = ::core::assert!(COUNT > 0, #message);))
}

/// What the index has to say about this kernel, as items.
fn reports(kernel: &Kernel, index: &Index, first_report: &AtomicBool) -> Vec<TokenStream> {
    let span = kernel.name.span();
    let error = |message: &str| Error::new(span, message).to_compile_error();
    let about_crate = match index {
        Index::Missing => error(&format!(
            "kernels are compiled by a build script, and this crate has none that did: put \
             `raddle_build::compile(\"{}\")` into the `main` of build.rs, and raddle-build under \
             [build-dependencies]",
            source_file(span)
        )),
        Index::Unreadable(problem) => {
            error(&format!("the index of compiled kernels is unusable: {problem}"))
        }
        Index::Built(records) => match reason_of_refusal(kernel, records) {
            Some(reason) => refused(span, reason),
            None => return reports_of(kernel, records),
        },
    };
    first_report.swap(false, Relaxed).then_some(about_crate).into_iter().collect()
}

/// What rustc said about the device crate that the kernel lies in, if it refused that:
/// the crate of this program, or that of the package's files, from which come the
/// kernels that the index does not know.
fn reason_of_refusal<'r>(kernel: &Kernel, records: &'r Records) -> Option<&'r str> {
    let of_files = || records.refused_files().filter(|_| !is_known(kernel, records));
    records.refused_program(&crate_name()).or_else(of_files)
}

/// The crate that rustc is compiling, as cargo tells it.
fn crate_name() -> String {
    std::env::var("CARGO_CRATE_NAME").unwrap_or_default()
}

/// Whether the index has records that may be this kernel's, for each instance.
fn is_known(kernel: &Kernel, records: &Records) -> bool {
    kernel.instances.iter().all(|one| {
        records.images_of(&one.segment).next().is_some()
            || records.errors_of(&one.segment).next().is_some()
    })
}

fn reports_of(kernel: &Kernel, records: &Records) -> Vec<TokenStream> {
    let error = |message: &str| Error::new(kernel.name.span(), message).to_compile_error();
    let (mut reports, mut shown) = (Vec::new(), Vec::new());
    for segment in kernel.instances.iter().map(|instance| &instance.segment) {
        let errors = || records.errors_of(segment);
        for (path, message) in errors() {
            if errors().any(|(other, _)| other != path) {
                reports.push(error_of_path(kernel, segment, path, message));
            } else if !shown.contains(&message) {
                shown.push(message);
                reports.push(error(message));
            }
        }
    }
    if !records.is_off && !is_known(kernel, records) {
        reports.push(error(&not_compiled(kernel)));
    }
    reports
}

/// An error that belongs to this kernel if its path is `path`: several kernels of
/// the crate have this name.
fn error_of_path(kernel: &Kernel, segment: &str, path: &str, message: &str) -> TokenStream {
    let private = &kernel.outer.private;
    quote_spanned! {kernel.name.span()=>
        const _: () = {
            use #private::{Image, count_images};
            const PATH: &str = ::core::concat!(::core::module_path!(), "::", #segment);
            let image = Image { path: #path, ..Image::EMPTY };
            ::core::assert!(count_images(&[image], PATH) == 0, "{}", #message)
        };
    }
}

/// A report that must not appear beside rustc's own errors, which it would only
/// repeat. Constants are evaluated whatever else is wrong, lints only run on a
/// crate without errors: so the report is the reason of a denied lint.
fn refused(span: Span, message: &str) -> TokenStream {
    let reason = format!("{REFUSED}:\n{message}");
    quote_spanned! {span=>
        const _: () = {
            struct DeviceBuildError;
            #[allow(dead_code)]
            #[deny(unused_results, reason = #reason)]
            fn device_build(run: fn() -> DeviceBuildError) { run(); }
        };
    }
}

fn not_compiled(kernel: &Kernel) -> String {
    format!(
        "kernel `{}` was not compiled for the GPU: build.rs must call \
         `raddle_build::compile(\"{}\")`, or with the file of a module above it",
        kernel.name,
        source_file(kernel.name.span())
    )
}

/// The file of `span` as a build script would name it: from `src` on.
fn source_file(span: Span) -> String {
    let file = if proc_macro::is_available() { span.unwrap().file() } else { String::new() };
    let file = file.replace('\\', "/");
    match file.rfind("/src/") {
        Some(at) => file[at + 1..].to_owned(),
        None if file.is_empty() => "src/kernels.rs".to_owned(),
        None => file,
    }
}
