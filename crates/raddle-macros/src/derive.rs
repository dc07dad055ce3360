//! `#[derive(DeviceType)]` and `#[derive(Zeroable)]`.
//!
//! Each checks at compile time the facts that its unsafe trait promises: the
//! representation here, from the attributes; the fields by the trait itself, with
//! the error at the field's type. Nothing of it costs at run time.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DataEnum, DeriveInput, Error, Fields, Path, Type, parse_quote};

const PRIMITIVES: [&str; 12] =
    ["u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize"];

/// Parses the item and gives what `derive` makes of it, or its error.
pub fn expand(
    item: TokenStream,
    derive: fn(&DeriveInput) -> Result<TokenStream, Error>,
) -> TokenStream {
    let expansion = syn::parse2(item).and_then(|input: DeriveInput| derive(&input));
    expansion.unwrap_or_else(Error::into_compile_error)
}

/// `unsafe impl DeviceType`.
pub fn device_type(input: &DeriveInput) -> Result<TokenStream, Error> {
    let name = &input.ident;
    let representation = representation(input)?;
    let is = |wanted: &str| representation.iter().any(|given| given == wanted);
    let (is_fixed, advice) = match &input.data {
        Data::Struct(_) => (is("C") || is("transparent"), "#[repr(C)]"),
        Data::Enum(data) => {
            check_enum(name, data)?;
            (PRIMITIVES.iter().any(|primitive| is(primitive)), "#[repr(u32)]")
        }
        Data::Union(data) => return Err(union_error(data.union_token.span)),
    };
    if !is_fixed {
        let message = format!("the layout of `{name}` is not fixed: add `{advice}`");
        return Err(Error::new(name.span(), message));
    }
    implementation(input, "DeviceType")
}

/// `unsafe impl Zeroable`.
pub fn zeroable(input: &DeriveInput) -> Result<TokenStream, Error> {
    let name = &input.ident;
    let check = match &input.data {
        Data::Struct(_) => TokenStream::new(),
        Data::Enum(data) => {
            check_enum(name, data)?;
            let variants = data.variants.iter().map(|variant| &variant.ident);
            let message =
                format!("all-zero bytes are no value of `{name}`: none of its variants is 0");
            quote_spanned! {name.span()=>
                const _: () = ::core::assert!(#(#name::#variants as i128 == 0)||*, #message);
            }
        }
        Data::Union(data) => return Err(union_error(data.union_token.span)),
    };
    let implementation = implementation(input, "Zeroable")?;
    Ok(quote!(#implementation #check))
}

/// The impl, and a function that is never called in which every field's type must
/// implement the trait.
fn implementation(input: &DeriveInput, name: &str) -> Result<TokenStream, Error> {
    let trait_path = trait_path(input, name)?;
    let mut generics = input.generics.clone();
    generics.type_params_mut().for_each(|param| param.bounds.push(parse_quote!(#trait_path)));
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let name = &input.ident;
    let fields: Vec<&Type> = match &input.data {
        Data::Struct(data) => data.fields.iter().map(|field| &field.ty).collect(),
        _ => Vec::new(),
    };
    let checks = fields.iter().map(|ty| quote_spanned!(ty.span()=> has_trait::<#ty>();));
    Ok(quote! {
        #[automatically_derived]
        #[allow(clippy::undocumented_unsafe_blocks)]
        unsafe impl #impl_generics #trait_path for #name #type_generics #where_clause {}
        const _: () = {
            #[allow(dead_code, clippy::all, clippy::pedantic)]
            fn fields #impl_generics () #where_clause {
                fn has_trait<T: #trait_path>() {}
                #(#checks)*
            }
        };
    })
}

/// The words in `#[repr(..)]`.
fn representation(input: &DeriveInput) -> Result<Vec<Ident>, Error> {
    let mut words = Vec::new();
    for attribute in input.attrs.iter().filter(|attr| attr.path().is_ident("repr")) {
        attribute.parse_nested_meta(|meta| {
            words.extend(meta.path.get_ident().cloned());
            // `align(N)` and `packed(N)` leave the layout fixed.
            if meta.input.peek(syn::token::Paren) {
                let content;
                syn::parenthesized!(content in meta.input);
                content.parse::<TokenStream>()?;
            }
            Ok(())
        })?;
    }
    Ok(words)
}

fn check_enum(name: &Ident, data: &DataEnum) -> Result<(), Error> {
    if data.variants.is_empty() {
        return Err(Error::new(name.span(), format!("`{name}` has no variants, so no values")));
    }
    match data.variants.iter().find(|variant| !matches!(variant.fields, Fields::Unit)) {
        Some(variant) => Err(Error::new(
            variant.span(),
            "a variant with fields has no fixed layout on the device: use a struct that holds a \
             field-less enum and the fields; inside kernels such enums are welcome",
        )),
        None => Ok(()),
    }
}

fn union_error(span: Span) -> Error {
    Error::new(
        span,
        "which field of a union is valid is not known on the device: use a struct, or plain bits \
         with `to_bits` and `from_bits`",
    )
}

/// The trait in `raddle`, or where `#[raddle(crate = path)]` says it is.
fn trait_path(input: &DeriveInput, name: &str) -> Result<Path, Error> {
    let mut krate: Path = parse_quote!(::raddle);
    for attribute in input.attrs.iter().filter(|attr| attr.path().is_ident("raddle")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("there is no such option: a derive has `crate = path`"));
            }
            krate = Path::parse_mod_style(meta.value()?)?;
            Ok(())
        })?;
    }
    let name = format_ident!("{name}");
    Ok(parse_quote!(#krate::__private::#name))
}
