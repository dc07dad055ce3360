//! `#[kernel]`: from one function to the items of both compilations.
//!
//! The expansion is, for `fn axpy<T>(..)`:
//!
//! - `mod __raddle_axpy`: in both compilations the parameter block `Params` with
//!   its `META`; on the device an entry and its `KernelMeta` for each instance; on
//!   the host the trait `Instance` that says which instances exist;
//! - on the device the function as it was written;
//! - on the host a launch function `axpy`, and a nameless constant that holds the
//!   function itself, so that its body sees exactly the names that it would see
//!   where it was written.

mod instances;
mod options;
mod signature;

mod device;
mod host;

use std::sync::atomic::AtomicBool;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::visit_mut::VisitMut;
use syn::{Attribute, Error, Generics, ItemFn, Path, Type, WherePredicate, parse_quote};

use crate::index::Index;
use instances::Instance;
use options::Options;
use signature::{Checked, OneModuleDown};

/// A kernel that has passed all checks.
struct Kernel {
    function: ItemFn,
    options: Options,
    name: Ident,
    /// The names of the parameters.
    arguments: Vec<Ident>,
    /// The names of the parameter block's fields.
    fields: Vec<Ident>,
    /// Type and const parameters, and their names.
    generics: Generics,
    names: Vec<Ident>,
    instances: Vec<Instance>,
    /// The hidden module.
    module: Ident,
    /// The hidden trait with what an instance takes from the generic kernel; rustc
    /// prints it when an instance does not satisfy the kernel's bounds.
    facts: Ident,
    /// `#[cfg(..)]` on the function, for everything that is made from it.
    cfgs: Vec<Attribute>,
    /// Paths and types as they are written where the function stands.
    outer: Scope,
    /// The same as seen from inside the hidden module.
    inner: Scope,
}

/// Expands `#[kernel(options)] item`.
pub fn expand(
    options: TokenStream,
    item: TokenStream,
    index: &Index,
    first_report: &AtomicBool,
) -> TokenStream {
    // What is not a function at all is named; a function that does not parse
    // shows where.
    let function = syn::parse2(item.clone()).map_err(|error| match syn::parse2(item.clone()) {
        Ok(syn::Item::Verbatim(_)) | Err(_) => error,
        Ok(other) => Error::new_spanned(other, "`#[kernel]` stands on a function"),
    });
    match function.and_then(|function| Kernel::check(function, options)) {
        Ok(kernel) => {
            let (module, function) = (kernel.module(), &kernel.function);
            let host = host::expand(&kernel, index, first_report);
            quote!(#module #[cfg(raddle_device)] #function #host)
        }
        Err(error) => {
            let error = error.to_compile_error();
            quote!(#error #item)
        }
    }
}

impl Kernel {
    fn check(function: ItemFn, options: TokenStream) -> Result<Self, Error> {
        let options: Options = syn::parse2(options)?;
        let Checked { arguments, types, generics } = signature::check(&function)?;
        let name = function.sig.ident.clone();
        let instances = instances::resolve(&name, &generics, &options)?;
        let (mut krate, mut inner_types) = (options.krate.clone(), types.clone());
        let mut inner_generics = generics.clone();
        OneModuleDown.visit_path_mut(&mut krate);
        OneModuleDown.visit_generics_mut(&mut inner_generics);
        inner_types.iter_mut().for_each(|ty| OneModuleDown.visit_type_mut(ty));
        let cfgs = function.attrs.iter().filter(|attr| attr.path().is_ident("cfg"));
        Ok(Self {
            cfgs: cfgs.cloned().collect(),
            fields: (0..types.len()).map(|index| format_ident!("p{index}")).collect(),
            names: signature::generic_names(&generics),
            module: format_ident!("__raddle_{}{}", name.unraw(), place_of(&name)),
            facts: format_ident!("{}_instance", name.unraw()),
            outer: Scope::new(&options.krate, types, generics.clone()),
            inner: Scope::new(&krate, inner_types, inner_generics),
            function,
            options,
            name,
            arguments,
            generics,
            instances,
        })
    }

    /// The hidden module: parameter block, facts, and what each side adds.
    fn module(&self) -> TokenStream {
        let (cfgs, module, vis) = (&self.cfgs, &self.module, &self.function.vis);
        let params = self.params_struct();
        let entries = device::entries(self);
        let instance_traits = host::instance_traits(self);
        quote! {
            #(#cfgs)*
            #[doc(hidden)]
            #[allow(
                dead_code, missing_docs, nonstandard_style, trivial_bounds, unreachable_pub,
                unused_imports, clippy::all, clippy::pedantic,
                clippy::multiple_unsafe_ops_per_block, clippy::undocumented_unsafe_blocks
            )]
            #vis mod #module {
                use super::*;
                #params
                #entries
                #instance_traits
            }
        }
    }

    /// The parameter block: one field for each parameter, in raw form.
    fn params_struct(&self) -> TokenStream {
        let (fields, Scope { private, types, generics, .. }) = (&self.fields, &self.inner);
        let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
        let phantom = (!self.generics.params.is_empty()).then(|| {
            let types = self.generics.type_params().map(|param| &param.ident);
            quote!(pub(super) generics: ::core::marker::PhantomData<fn(#(*const #types),*)>,)
        });
        let meta = self.options.meta_fields();
        quote! {
            #[repr(C)]
            pub struct __RaddleParams #impl_generics #where_clause {
                #(pub(super) #fields: <#types as #private::KernelParam>::Raw,)*
                #phantom
            }
            impl #impl_generics ::core::marker::Copy for __RaddleParams #type_generics
            #where_clause {}
            impl #impl_generics ::core::clone::Clone for __RaddleParams #type_generics
            #where_clause {
                fn clone(&self) -> Self { unsafe { ::core::ptr::read(self) } }
            }
            impl #impl_generics __RaddleParams #type_generics #where_clause {
                pub(super) const META: #private::KernelMeta = #private::KernelMeta {
                    params_bytes: ::core::mem::size_of::<Self>() as u32,
                    params_align: ::core::mem::align_of::<Self>() as u32,
                    #meta
                    ..#private::KernelMeta::NONE
                };
                pub(super) const RULES: #private::ParamRules = #private::ParamRules::NONE
                    #(.and(<#types as #private::KernelParam>::RULES))*;
            }
        }
    }
}

/// How a kernel's parts are written in one place of the expansion.
struct Scope {
    /// `raddle::__private`.
    private: TokenStream,
    /// The parameter types.
    types: Vec<Type>,
    /// `T: KernelParam` for each parameter type. Every item that mentions the
    /// types has these in its `where` clause, so that a type that cannot be a
    /// parameter is one and the same error at that type, shown once.
    bounds: Vec<WherePredicate>,
    /// The generics, with the bounds.
    generics: Generics,
}

impl Scope {
    fn new(krate: &Path, types: Vec<Type>, mut generics: Generics) -> Self {
        let private = quote!(#krate::__private);
        let bound = |ty| kernel_param_bound(ty, &private);
        let bounds: Vec<WherePredicate> = types.iter().map(bound).collect();
        let names: Vec<Ident> = generics.type_params().map(|param| param.ident.clone()).collect();
        let clause = generics.make_where_clause();
        clause.predicates.extend(bounds.iter().cloned());
        names.iter().for_each(|name| clause.predicates.push(parse_quote!(#name: 'static)));
        Self { private, types, bounds, generics }
    }

    /// The statement that calls `function` with what the block at `params` holds.
    fn call(&self, function: &TokenStream, fields: &[Ident]) -> TokenStream {
        let Self { private, types, .. } = self;
        quote! {
            unsafe {
                #function(
                    #(<#types as #private::KernelParam>::from_raw(&raw const (*params).#fields)),*
                );
            }
        }
    }
}

/// Where a kernel stands in its file. It is part of the hidden module's name, so that
/// of two kernels with one name only the functions collide, which rustc reports by the
/// name that the user wrote.
fn place_of(name: &Ident) -> String {
    if !proc_macro::is_available() {
        return String::new();
    }
    let span = name.span().unwrap();
    format!("_{}_{}", span.line(), span.column())
}

/// `ty: KernelParam`, its trait spanned so that rustc reports it at the type.
fn kernel_param_bound(ty: &Type, private: &TokenStream) -> WherePredicate {
    let (first, last) = ends(ty.to_token_stream());
    let private = respan(private.clone(), first);
    let name = Ident::new("KernelParam", last);
    let trait_path = quote_spanned!(first=> #private::#name);
    parse_quote!(#ty: #trait_path)
}

/// The places of the first and the last token, with the macro's own hygiene.
fn ends(tokens: TokenStream) -> (Span, Span) {
    let spans: Vec<Span> = tokens.into_iter().map(|token| token.span()).collect();
    let at = |span: Option<&Span>| {
        span.map_or_else(Span::call_site, |span| Span::call_site().located_at(*span))
    };
    (at(spans.first()), at(spans.last()))
}

fn respan(tokens: TokenStream, span: Span) -> TokenStream {
    tokens
        .into_iter()
        .map(|mut token| {
            token.set_span(span);
            token
        })
        .collect()
}
