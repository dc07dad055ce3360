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

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::visit_mut::VisitMut;
use syn::{Attribute, Error, Generics, ItemFn, Path, Type};

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

    /// `#[cfg(..)]` on the function, for everything that is made from it.
    fn cfgs(&self) -> Vec<&Attribute> {
        self.function.attrs.iter().filter(|attr| attr.path().is_ident("cfg")).collect()
    }

    /// `raddle::__private`, as seen from outside and inside the hidden module.
    fn private(&self) -> TokenStream {
        let krate = &self.options.krate;
        quote!(#krate::__private)
    }

    fn inner_private(&self) -> TokenStream {
        let mut krate: Path = self.options.krate.clone();
        OneModuleDown.visit_path_mut(&mut krate);
        quote!(#krate::__private)
    }

    fn inner_generics(&self) -> Generics {
        let mut generics = self.generics.clone();
        OneModuleDown.visit_generics_mut(&mut generics);
        generics
    }

    fn field(index: usize) -> Ident {
        format_ident!("p{index}")
    }

    /// The names of the generic parameters, for use as arguments.
    fn generic_names(&self) -> Vec<Ident> {
        self.generics
            .params
            .iter()
            .filter_map(|param| match param {
                syn::GenericParam::Type(param) => Some(param.ident.clone()),
                syn::GenericParam::Const(param) => Some(param.ident.clone()),
                syn::GenericParam::Lifetime(_) => None,
            })
            .collect()
    }

    /// The hidden module: parameter block, facts, and what each side adds.
    fn module(&self) -> TokenStream {
        let (cfgs, module, vis) = (self.cfgs(), &self.module, &self.function.vis);
        let params = self.params_struct();
        let entries = device::entries(self);
        let instance_trait = host::instance_trait(self);
        quote! {
            #(#cfgs)*
            #[doc(hidden)]
            #[allow(
                dead_code, missing_docs, non_camel_case_types, non_snake_case,
                non_upper_case_globals, unreachable_pub, unsafe_code, unused_imports,
                clippy::all, clippy::pedantic, clippy::undocumented_unsafe_blocks,
                clippy::multiple_unsafe_ops_per_block, clippy::missing_safety_doc
            )]
            #vis mod #module {
                use super::*;
                #params
                #entries
                #instance_trait
            }
        }
    }

    /// `Params`: one field for each parameter, in raw form.
    fn params_struct(&self) -> TokenStream {
        let private = self.inner_private();
        let generics = self.inner_generics();
        let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
        let types: Vec<Type> = self.params.iter().map(inner_type).collect();
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
            impl #impl_generics ::core::marker::Copy for __RaddleParams #type_generics #where_clause {}
            impl #impl_generics ::core::clone::Clone for __RaddleParams #type_generics #where_clause {
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

/// A parameter's type as seen from inside the hidden module.
fn inner_type(param: &Param) -> Type {
    let mut ty = param.ty.clone();
    OneModuleDown.visit_type_mut(&mut ty);
    ty
}
