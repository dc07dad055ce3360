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

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::visit_mut::VisitMut;
use syn::{Attribute, Error, Generics, ItemFn, Path, Type, WherePredicate, parse_quote};

use crate::FirstReport;
use crate::index::Index;
use instances::Instance;
use options::Options;
use signature::{OneModuleDown, Param};

/// A kernel that has passed all checks.
struct Kernel {
    function: ItemFn,
    options: Options,
    params: Vec<Param>,
    /// Type and const parameters.
    generics: Generics,
    instances: Vec<Instance>,
    /// The hidden module.
    module: Ident,
}

/// Expands `#[kernel(options)] item`.
pub fn expand(
    options: TokenStream,
    item: TokenStream,
    index: &Index,
    first_report: &FirstReport,
) -> TokenStream {
    let function: ItemFn = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            // What is not a function at all is named; a function that does not
            // parse shows where.
            let error = match syn::parse2::<syn::Item>(item.clone()) {
                Ok(other) => Error::new_spanned(other, "`#[kernel]` stands on a function"),
                Err(_) => error,
            };
            let error = error.to_compile_error();
            return quote!(#error #item);
        }
    };
    match check(function, options) {
        Ok(kernel) => {
            let module = kernel.module();
            let device = device::expand(&kernel);
            let host = host::expand(&kernel, index, first_report);
            quote!(#module #device #host)
        }
        Err(error) => {
            let error = error.to_compile_error();
            quote!(#error #item)
        }
    }
}

fn check(function: ItemFn, options: TokenStream) -> Result<Kernel, Error> {
    let options: Options = syn::parse2(options)?;
    let (params, generics) = signature::check(&function)?;
    let instances = instances::resolve(&function.sig.ident, &generics, &options)?;
    let module = format_ident!("__raddle_{}", function.sig.ident.unraw());
    Ok(Kernel { function, options, params, generics, instances, module })
}

impl Kernel {
    fn name(&self) -> &Ident {
        &self.function.sig.ident
    }

    /// The hidden trait with what an instance takes from the generic kernel; rustc
    /// prints it when an instance does not satisfy the kernel's bounds.
    fn facts(&self) -> Ident {
        format_ident!("{}_instance", self.name().unraw())
    }

    /// `#[cfg(..)]` on the function, for everything that is made from it.
    fn cfgs(&self) -> Vec<&Attribute> {
        self.function.attrs.iter().filter(|attr| attr.path().is_ident("cfg")).collect()
    }

    /// Paths and types as they are written where the function stands.
    fn outer(&self) -> Scope {
        let types = self.params.iter().map(|param| param.ty.clone()).collect();
        Scope::new(self.options.krate.clone(), types, self.generics.clone())
    }

    /// The same as seen from inside the hidden module.
    fn inner(&self) -> Scope {
        let mut krate = self.options.krate.clone();
        OneModuleDown.visit_path_mut(&mut krate);
        let mut generics = self.generics.clone();
        OneModuleDown.visit_generics_mut(&mut generics);
        let mut types: Vec<Type> = self.params.iter().map(|param| param.ty.clone()).collect();
        types.iter_mut().for_each(|ty| OneModuleDown.visit_type_mut(ty));
        Scope::new(krate, types, generics)
    }

    fn field(index: usize) -> Ident {
        format_ident!("p{index}")
    }

    fn generic_names(&self) -> Vec<Ident> {
        signature::generic_names(&self.generics)
    }

    /// The hidden module: parameter block, facts, and what each side adds.
    fn module(&self) -> TokenStream {
        let (cfgs, module, vis) = (self.cfgs(), &self.module, &self.function.vis);
        let params = self.params_struct();
        let entries = device::entries(self);
        let instance_traits = host::instance_traits(self);
        quote! {
            #(#cfgs)*
            #[doc(hidden)]
            #[allow(
                dead_code, missing_docs, non_camel_case_types, non_snake_case,
                non_upper_case_globals, unreachable_pub, unsafe_code, unused_imports,
                clippy::all, clippy::pedantic, clippy::undocumented_unsafe_blocks,
                clippy::multiple_unsafe_ops_per_block, clippy::missing_safety_doc, trivial_bounds
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
        let Scope { private, types, generics, .. } = &self.inner();
        let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
        let fields = (0..types.len()).map(Self::field);
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
                fn clone(&self) -> Self {
                    *self
                }
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
    fn new(krate: Path, types: Vec<Type>, mut generics: Generics) -> Self {
        let private = quote!(#krate::__private);
        let bounds: Vec<WherePredicate> =
            types.iter().map(|ty| kernel_param_bound(ty, &private)).collect();
        let statics: Vec<WherePredicate> = generics
            .type_params()
            .map(|param| &param.ident)
            .map(|name| parse_quote!(#name: 'static))
            .collect();
        let clause = generics.make_where_clause();
        clause.predicates.extend(statics);
        clause.predicates.extend(bounds.iter().cloned());
        Self { private, types, bounds, generics }
    }
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
