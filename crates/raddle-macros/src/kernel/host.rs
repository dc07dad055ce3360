//! The host side: the launch function, the images that the index names, and the
//! function itself behind a thunk for the CPU device.

use std::path::{Path, PathBuf};

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Attribute, Error, GenericParam, Lifetime, Visibility};

use super::Kernel;
use super::instances::Instance;
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

/// The trait that exists for the compiled instances only, for the hidden module.
pub fn instance_trait(kernel: &Kernel) -> TokenStream {
    let private = kernel.inner_private();
    let params = kernel.generics.params.iter().map(|param| match param {
        GenericParam::Type(param) => {
            let name = &param.ident;
            quote!(#name: ?Sized)
        }
        GenericParam::Const(param) => {
            let (name, ty) = (&param.ident, &param.ty);
            quote!(const #name: #ty)
        }
        GenericParam::Lifetime(_) => TokenStream::new(),
    });
    let names: Vec<String> =
        kernel.generic_names().iter().map(|name| format!("{{{name}}}")).collect();
    let message = format!("kernel `{}` was not compiled for `{}`", kernel.name(), names.join(", "));
    let note = "add it to `#[kernel(instances(..))]`";
    quote! {
        #[cfg(not(raddle_device))]
        pub struct __RaddleKey;
        #[cfg(not(raddle_device))]
        #[diagnostic::on_unimplemented(message = #message, label = #note)]
        pub trait __RaddleInstance<#(#params),*> {
            fn kernel() -> &'static #private::Kernel;
        }
    }
}

/// The function that binds arguments and gives the call.
fn launch_function(kernel: &Kernel) -> TokenStream {
    let private = kernel.private();
    let (function, module) = (&kernel.function, &kernel.module);
    let (vis, unsafety, name) = (&function.vis, &function.sig.unsafety, kernel.name());
    let attributes = function.attrs.iter().filter(|attr| is_for_launch(attr));
    let (params, names) = (&kernel.generics.params, kernel.generic_names());
    let predicates = kernel.generics.where_clause.iter().flat_map(|clause| &clause.predicates);
    let life = Lifetime::new("'k", Span::mixed_site());
    let binder = format_ident!("binder", span = Span::mixed_site());
    let arguments: Vec<_> = kernel.params.iter().map(|param| &param.name).collect();
    let types = kernel.params.iter().map(|param| &param.ty);
    let fields = (0..arguments.len()).map(Kernel::field);
    let phantom = (!names.is_empty()).then(|| quote!(generics: ::core::marker::PhantomData,));
    quote! {
        #[cfg(not(raddle_device))]
        #[allow(clippy::all, clippy::pedantic)]
        #(#attributes)*
        #vis #unsafety fn #name<#life, #params>(
            #(#arguments: impl #private::KernelArg<#life, #types>),*
        ) -> #private::KernelCall<#life, #module::__RaddleParams<#(#names),*>>
        where
            #(#predicates,)*
            #module::__RaddleKey: #module::__RaddleInstance<#(#names),*>,
        {
            let mut #binder = #private::Binder::new(
                <#module::__RaddleKey as #module::__RaddleInstance<#(#names),*>>::kernel(),
            );
            let params = #module::__RaddleParams {
                #(#fields: #private::KernelArg::bind(#arguments, &mut #binder),)*
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
    let private = kernel.private();
    let mut function = kernel.function.clone();
    function.vis = Visibility::Inherited;
    function.attrs.retain(|attr| !(attr.path().is_ident("cfg") || attr.path().is_ident("doc")));
    let (impl_generics, type_generics, where_clause) = kernel.generics.split_for_impl();
    let (name, module, names) = (kernel.name(), &kernel.module, kernel.generic_names());
    let types = kernel.params.iter().map(|param| &param.ty);
    let fields = (0..kernel.params.len()).map(Kernel::field);
    quote! {
        #function
        #[allow(unsafe_code, clippy::all, clippy::undocumented_unsafe_blocks)]
        unsafe fn __raddle_thunk #impl_generics (params: *const u8) #where_clause {
            let params = params.cast::<#module::__RaddleParams #type_generics>();
            unsafe {
                #name::<#(#names),*>(
                    #(<#types as #private::KernelParam>::from_raw(&raw const (*params).#fields)),*
                );
            }
        }
    }
}

/// `impl Instance for Key`: the `Kernel` of one instance.
fn instance_impl(kernel: &Kernel, instance: &Instance, index: &Index) -> TokenStream {
    let private = kernel.private();
    let (module, arguments, segment) = (&kernel.module, &instance.arguments, &instance.segment);
    let records: Vec<&ImageRecord> = match index {
        Index::Built(records) => records.images_of(segment).collect(),
        _ => Vec::new(),
    };
    let images = records.iter().map(|record| image(&private, record));
    // With images at hand, a kernel that none of them belongs to was left out of
    // the device build; without any, `reports` says what is wrong.
    let is_silent = records.is_empty() || matches!(index, Index::Built(r) if !r.rustc.is_empty());
    let left_out = (!is_silent).then(|| {
        let message = not_compiled(kernel);
        quote_spanned!(kernel.name().span()=>
            #[allow(dead_code)]
            fn is_compiled() { const { ::core::assert!(COUNT > 0, #message) } }
        )
    });
    quote! {
        #[allow(non_local_definitions, clippy::all)]
        impl #module::__RaddleInstance<#(#arguments),*> for #module::__RaddleKey {
            fn kernel() -> &'static #private::Kernel {
                const PATH: &str = ::core::concat!(::core::module_path!(), "::", #segment);
                const ALL: &[#private::Image] = &[#(#images),*];
                const COUNT: usize = #private::count_images(ALL, PATH);
                static IMAGES: [#private::Image; COUNT] = #private::select_images(ALL, PATH);
                #left_out
                static KERNEL: #private::Kernel = #private::Kernel {
                    name: PATH,
                    images: &IMAGES,
                    meta: #module::__RaddleParams::<#(#arguments),*>::META,
                    rules: #module::__RaddleParams::<#(#arguments),*>::RULES,
                    body: __raddle_thunk::<#(#arguments),*>,
                    file: ::core::file!(),
                    line: ::core::line!(),
                };
                &KERNEL
            }
        }
    }
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
    let mut reports = Vec::new();
    if !records.rustc.is_empty() {
        if first_report.take() {
            reports.extend(records.rustc.iter().map(|message| deferred(span, message)));
        }
        return reports;
    }
    let mut messages: Vec<&str> = Vec::new();
    let mut is_known = true;
    for instance in &kernel.instances {
        let found = messages.len();
        messages.extend(records.errors_of(&instance.segment).map(|(_, message)| message.as_str()));
        let has_image = records.images_of(&instance.segment).next().is_some();
        is_known &= has_image || messages.len() > found;
    }
    messages.dedup();
    reports.extend(messages.iter().map(|message| Error::new(span, message).to_compile_error()));
    if !is_known {
        reports.push(Error::new(span, not_compiled(kernel)).to_compile_error());
    }
    reports
}

/// A report that rustc only reaches when it finds nothing else wrong: constants
/// inside functions are evaluated after all bodies have been checked.
fn deferred(span: Span, message: &str) -> TokenStream {
    quote_spanned! {span=>
        const _: () = {
            #[allow(dead_code)]
            fn device_build() { const { ::core::panic!("{}", #message) } }
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
