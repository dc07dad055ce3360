//! The host side: the launch function, the images that the index names, and the
//! function itself behind a thunk for the CPU device.

use std::path::{Path, PathBuf};

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Attribute, Error, GenericParam, Lifetime, Visibility};

use super::instances::Instance;
use super::{Kernel, Scope};
use crate::FirstReport;
use crate::index::{ImageRecord, Index, Records};

/// Launch function, kernel tables, and what there is to report.
pub fn expand(kernel: &Kernel, index: &Index, first_report: &FirstReport) -> TokenStream {
    let cfgs = kernel.cfgs();
    let launch = launch_function(kernel);
    let body = body(kernel);
    let instances = kernel.instances.iter().map(|instance| instance_impl(kernel, instance, index));
    let reports = reports(kernel, index, first_report);
    let tracked = match index {
        Index::Built(records) => records.file.to_str(),
        _ => None,
    };
    let tracked = tracked.map(|file| {
        quote!(
            const _: &[u8] = ::core::include_bytes!(#file);
        )
    });
    quote! {
        #launch
        #(#cfgs)*
        #[cfg(not(raddle_device))]
        const _: () = {
            #body
            #(#instances)*
            #(#reports)*
            #tracked
        };
    }
}

/// The trait that `Kernel` implements for the compiled instances only. It has the
/// kernel's name, because rustc prints it when an instance is missing.
pub fn instance_trait(kernel: &Kernel) -> TokenStream {
    let Scope { private, .. } = kernel.inner();
    let (name, names, facts) = (kernel.name(), kernel.generic_names(), kernel.facts());
    let params = bare_params(kernel);
    let texts: Vec<String> = names.iter().map(|name| format!("{{{name}}}")).collect();
    let message = format!("kernel `{name}` was not compiled for `{}`", texts.join(", "));
    // A second implementation, so that rustc does not infer the only instance
    // where the arguments say another.
    let has_types = kernel.generics.type_params().next().is_some();
    let decoy = has_types.then(|| {
        let consts = params.iter().zip(kernel.generics.params.iter());
        let consts = consts.filter(|(_, param)| matches!(param, GenericParam::Const(_)));
        let consts = consts.map(|(tokens, _)| tokens);
        let arguments = kernel.generics.params.iter().map(|param| match param {
            GenericParam::Const(param) => param.ident.to_token_stream(),
            _ => quote!(__RaddleNoType),
        });
        quote! {
            #[cfg(not(raddle_device))]
            pub enum __RaddleNoType {}
            #[cfg(not(raddle_device))]
            #[diagnostic::do_not_recommend]
            impl<#(#consts),*> #name<#(#arguments),*> for #private::Kernel {
                fn kernel() -> &'static Self {
                    ::core::unreachable!()
                }
            }
        }
    });
    quote! {
        #[cfg(not(raddle_device))]
        #[diagnostic::on_unimplemented(
            message = #message,
            label = "add it to `#[kernel(instances(..))]`"
        )]
        pub trait #name<#(#params),*> {
            fn kernel() -> &'static Self;
        }
        #decoy
        /// What an instance takes from the generic kernel. That it holds is the
        /// one bound on an instance, so that an unfit instance is one error.
        #[cfg(not(raddle_device))]
        pub trait #facts<#(#params),*> {
            const META: #private::KernelMeta;
            const RULES: #private::ParamRules;
            const BODY: unsafe fn(*const u8);
        }
    }
}

/// The type and const parameters without their bounds.
fn bare_params(kernel: &Kernel) -> Vec<TokenStream> {
    let bare = |param: &GenericParam| match param {
        GenericParam::Type(param) => {
            let name = &param.ident;
            Some(quote!(#name: ?::core::marker::Sized))
        }
        GenericParam::Const(param) => {
            let (name, ty) = (&param.ident, &param.ty);
            Some(quote!(const #name: #ty))
        }
        GenericParam::Lifetime(_) => None,
    };
    kernel.generics.params.iter().filter_map(bare).collect()
}

/// The function that binds arguments and gives the call.
fn launch_function(kernel: &Kernel) -> TokenStream {
    let Scope { private, types, generics, .. } = &kernel.outer();
    let (function, module) = (&kernel.function, &kernel.module);
    let (vis, unsafety, name) = (&function.vis, &function.sig.unsafety, kernel.name());
    let attributes = function.attrs.iter().filter(|attr| is_for_launch(attr));
    let (params, names) = (&generics.params, kernel.generic_names());
    let predicates = generics.where_clause.iter().flat_map(|clause| &clause.predicates);
    let life = Lifetime::new("'k", Span::mixed_site());
    let binder = format_ident!("binder", span = Span::mixed_site());
    let arguments: Vec<_> = kernel.params.iter().map(|param| &param.name).collect();
    let fields = (0..arguments.len()).map(Kernel::field);
    let phantom = (!names.is_empty()).then(|| quote!(generics: ::core::marker::PhantomData,));
    quote! {
        #[cfg(not(raddle_device))]
        #[allow(trivial_bounds, clippy::all, clippy::pedantic)]
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
            #binder.finish(params)
        }
    }
}

/// Documentation and conditions belong to the launch function; the rest to the
/// function itself.
fn is_for_launch(attribute: &Attribute) -> bool {
    ["doc", "cfg", "deprecated", "allow"].iter().any(|name| attribute.path().is_ident(name))
}

/// The function, and the thunk that calls it with a parameter block.
fn body(kernel: &Kernel) -> TokenStream {
    let Scope { private, types, generics, .. } = &kernel.outer();
    let mut function = kernel.function.clone();
    function.vis = Visibility::Inherited;
    function.attrs.retain(|attr| !(attr.path().is_ident("cfg") || attr.path().is_ident("doc")));
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let (name, module, names) = (kernel.name(), &kernel.module, kernel.generic_names());
    let fields = (0..types.len()).map(Kernel::field);
    let facts = kernel.facts();
    quote! {
        #function
        #[allow(trivial_bounds, unsafe_code, clippy::all, clippy::undocumented_unsafe_blocks)]
        unsafe fn __raddle_thunk #impl_generics (params: *const u8) #where_clause {
            let params = params.cast::<#module::__RaddleParams #type_generics>();
            unsafe {
                #name::<#(#names),*>(
                    #(<#types as #private::KernelParam>::from_raw(&raw const (*params).#fields)),*
                );
            }
        }
        #[allow(non_local_definitions, trivial_bounds, clippy::all)]
        impl #impl_generics #module::#facts<#(#names),*> for #private::Kernel
        #where_clause
        {
            const META: #private::KernelMeta = #module::__RaddleParams::<#(#names),*>::META;
            const RULES: #private::ParamRules = #module::__RaddleParams::<#(#names),*>::RULES;
            const BODY: unsafe fn(*const u8) = __raddle_thunk::<#(#names),*>;
        }
    }
}

/// `impl Instance for Key`: the `Kernel` of one instance.
fn instance_impl(kernel: &Kernel, instance: &Instance, index: &Index) -> TokenStream {
    let Scope { private, bounds, .. } = &kernel.outer();
    let (name, module, facts) = (kernel.name(), &kernel.module, kernel.facts());
    let (arguments, segment) = (&instance.arguments, &instance.segment);
    // The bounds of a generic kernel are about its parameters, not its instances.
    let where_clause = if kernel.generics.params.is_empty() {
        quote!(where #(#bounds),*)
    } else {
        let (first, last) = instance.ends;
        let (module, facts) = (at(module, first), at(&facts, first));
        let (open, close) = (quote_spanned!(first=> <), quote_spanned!(last=> >));
        quote!(where #private::Kernel: #module::#facts #open #(#arguments),* #close)
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
                        name: PATH,
                        images: &IMAGES,
                        meta: <Self as #module::#facts<#(#arguments),*>>::META,
                        rules: <Self as #module::#facts<#(#arguments),*>>::RULES,
                        body: <Self as #module::#facts<#(#arguments),*>>::BODY,
                        file: ::core::file!(),
                        line: ::core::line!(),
                    }
                }
            }
        }
    }
}

/// The check that some image belongs to the kernel's module.
fn left_out(kernel: &Kernel, index: &Index, has_candidates: bool) -> Option<TokenStream> {
    let Index::Built(records) = index else { return None };
    let span = kernel.name().span();
    if !records.rustc.is_empty() {
        // `reports` has the reason; this holds where lints are capped, and lets
        // kernels of other files, which were compiled, pass.
        let message = format!("kernel `{}`: {REFUSED}", kernel.name());
        return Some(quote_spanned!(span=> const { ::core::assert!(COUNT > 0, #message) };));
    }
    // Without candidates, `reports` says what is wrong.
    let message = not_compiled(kernel);
    has_candidates
        .then(|| quote_spanned!(span=> const _: () = ::core::assert!(COUNT > 0, #message);))
}

fn at(name: &Ident, span: Span) -> Ident {
    Ident::new(&name.to_string(), span)
}

fn image(private: &TokenStream, record: &ImageRecord) -> TokenStream {
    let ImageRecord { path, target, entry, file, synchronizes } = record;
    quote! {
        #private::Image {
            path: #path,
            target: #target,
            entry: #entry,
            ptx: ::core::include_str!(#file),
            synchronizes: #synchronizes,
        }
    }
}

/// What the index has to say about this kernel, as items.
fn reports(kernel: &Kernel, index: &Index, first_report: &FirstReport) -> Vec<TokenStream> {
    let span = kernel.name().span();
    let error = |message: &str| Error::new(span, message).to_compile_error();
    match index {
        Index::Missing if first_report.take() => vec![error(&format!(
            "kernels are compiled by a build script, and this crate has none that did: put \
             `raddle_build::compile(\"{}\")` into the `main` of build.rs, and raddle-build under \
             [build-dependencies]",
            source_file(span)
        ))],
        Index::Unreadable(problem) if first_report.take() => {
            vec![error(&format!("the index of compiled kernels cannot be used: {problem}"))]
        }
        Index::Missing | Index::Unreadable(_) => Vec::new(),
        Index::Built(records) => built_reports(kernel, records, first_report),
    }
}

fn built_reports(
    kernel: &Kernel,
    records: &Records,
    first_report: &FirstReport,
) -> Vec<TokenStream> {
    let span = kernel.name().span();
    if !records.rustc.is_empty() {
        let is_first = first_report.take();
        return is_first.then(|| refused(span, &records.rustc.join("\n"))).into_iter().collect();
    }
    let mut reports: Vec<TokenStream> = Vec::new();
    let mut shown: Vec<&str> = Vec::new();
    let mut is_known = true;
    for instance in &kernel.instances {
        let errors: Vec<_> = records.errors_of(&instance.segment).collect();
        let is_certain = errors.iter().all(|(path, _)| *path == errors[0].0);
        for (path, message) in &errors {
            if !is_certain {
                reports.push(error_of_path(kernel, &instance.segment, path, message));
            } else if !shown.contains(&message.as_str()) {
                shown.push(message);
                reports.push(Error::new(span, message).to_compile_error());
            }
        }
        is_known &= !errors.is_empty() || records.images_of(&instance.segment).next().is_some();
    }
    if !is_known {
        reports.push(Error::new(span, not_compiled(kernel)).to_compile_error());
    }
    reports
}

/// An error that belongs to this kernel if its path is `path`: several kernels of
/// the crate have this name.
fn error_of_path(kernel: &Kernel, segment: &str, path: &str, message: &str) -> TokenStream {
    let Scope { private, .. } = kernel.outer();
    quote_spanned! {kernel.name().span()=>
        const _: () = {
            const IMAGE: #private::Image = #private::Image {
                path: #path, target: "", entry: "", ptx: "", synchronizes: false,
            };
            const PATH: &str = ::core::concat!(::core::module_path!(), "::", #segment);
            ::core::assert!(#private::count_images(&[IMAGE], PATH) == 0, "{}", #message)
        };
    }
}

const REFUSED: &str = "rustc accepts this crate for the host but not for the device";

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
            fn device_build(run: fn() -> DeviceBuildError) {
                run();
            }
        };
    }
}

fn not_compiled(kernel: &Kernel) -> String {
    format!(
        "kernel `{}` was not compiled for the GPU: build.rs must call \
         `raddle_build::compile(\"{}\")`, or with the file of a module above it",
        kernel.name(),
        source_file(kernel.name().span())
    )
}

/// The file of `span` as a build script would name it: below the package.
fn source_file(span: Span) -> String {
    let usual = || "src/kernels.rs".to_owned();
    if !proc_macro::is_available() {
        return usual();
    }
    let Some(file) = span.unwrap().local_file() else { return usual() };
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let relative = package.as_deref().and_then(|package| below(&file, package));
    relative.map_or_else(usual, |file| file.display().to_string())
}

/// `file` relative to `package`. Cargo runs rustc in the workspace root, so a
/// relative file is looked for in the folders above the package too.
fn below(file: &Path, package: &Path) -> Option<PathBuf> {
    if file.is_absolute() {
        return file.strip_prefix(package).ok().map(Path::to_path_buf);
    }
    package.ancestors().find_map(|root| {
        let file = root.join(file);
        file.is_file().then(|| file.strip_prefix(package).ok().map(Path::to_path_buf)).flatten()
    })
}
