//! The device side: for each instance an entry that takes the parameter block, and
//! where the launch's panics go, and calls the function as it was written, with its
//! `KernelMeta` beside it. The compiler finds both by the last segment of their
//! symbols.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::{Kernel, Scope};

/// Entries and facts, for the hidden module.
pub fn entries(kernel: &Kernel) -> TokenStream {
    let Kernel { name, names, fields, inner, .. } = kernel;
    let Scope { private, generics, .. } = inner;
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let call = inner.call(&quote!(super::#name::<#(#names),*>), fields);
    let entries = kernel.instances.iter().map(|instance| {
        let arguments = instance.inner_arguments();
        let params = quote!(__RaddleParams::<#(#arguments),*>);
        let entry = format_ident!("__raddle_kernel__{}", instance.name);
        let meta = format_ident!("__raddle_meta__{}", instance.name);
        let keep = format_ident!("__raddle_keep__{}", instance.name);
        quote! {
            #[cfg(raddle_device)] #[used]
            pub static #meta: #private::KernelMeta = #params::META;
            #[cfg(raddle_device)] #[used]
            static #keep: unsafe extern "C" fn(*const #params, u64, u64) = #entry;
            #[cfg(raddle_device)]
            pub unsafe extern "C" fn #entry(params: *const #params, record: u64, tag: u64) {
                #private::launch::begin(record, tag);
                unsafe { __raddle_run::<#(#arguments),*>(params) }
            }
        }
    });
    quote! {
        #[cfg(raddle_device)] #[inline(always)]
        unsafe fn __raddle_run #impl_generics (params: *const __RaddleParams #type_generics)
        #where_clause
        {
            #call
        }
        #(#entries)*
    }
}
