//! `#[derive(DeviceType)]` and `#[derive(Zeroable)]`.
//!
//! Each checks at compile time the facts that its unsafe trait promises: the
//! representation here, from the attributes; the fields by the trait itself, with
//! the error at the field's type. Nothing of it costs at run time.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DataEnum, DeriveInput, Error, Fields, Generics, Path, Type, parse_quote,
};

const PRIMITIVES: [&str; 12] =
    ["u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize"];

/// `unsafe impl DeviceType`.
pub fn device_type(item: TokenStream) -> TokenStream {
    expand(item, device_type_impl)
}

/// `unsafe impl Zeroable`.
pub fn zeroable(item: TokenStream) -> TokenStream {
    expand(item, zeroable_impl)
}

fn expand(
    item: TokenStream,
    derive: fn(&DeriveInput) -> Result<TokenStream, Error>,
) -> TokenStream {
    syn::parse2(item)
        .and_then(|input: DeriveInput| derive(&input))
        .unwrap_or_else(Error::into_compile_error)
}

fn device_type_impl(input: &DeriveInput) -> Result<TokenStream, Error> {
    let name = &input.ident;
    let representation = Representation::of(&input.attrs)?;
    let fields = match &input.data {
        Data::Struct(data) => {
            if !representation.is_c && !representation.is_transparent {
                return Err(Error::new(
                    name.span(),
                    format!("the layout of `{name}` is not fixed: add `#[repr(C)]`"),
                ));
            }
            types_of(&data.fields)
        }
        Data::Enum(data) => {
            check_enum(name, data)?;
            if !representation.is_primitive {
                return Err(Error::new(
                    name.span(),
                    format!(
                        "the size of `{name}` is not fixed: add `#[repr(u32)]` or another \
                             primitive representation"
                    ),
                ));
            }
            Vec::new()
        }
        Data::Union(data) => return Err(union_error(data.union_token.span)),
    };
    let trait_path = trait_path(input, "DeviceType")?;
    Ok(implementation(input, &trait_path, &fields))
}

fn zeroable_impl(input: &DeriveInput) -> Result<TokenStream, Error> {
    let name = &input.ident;
    let trait_path = trait_path(input, "Zeroable")?;
    match &input.data {
        Data::Struct(data) => Ok(implementation(input, &trait_path, &types_of(&data.fields))),
        Data::Enum(data) => {
            check_enum(name, data)?;
            let implementation = implementation(input, &trait_path, &[]);
            let variants = data.variants.iter().map(|variant| &variant.ident);
            let message =
                format!("all-zero bytes are no value of `{name}`: none of its variants is 0");
            let check = quote_spanned! {name.span()=>
                const _: () = ::core::assert!(#(#name::#variants as i128 == 0)||*, #message);
            };
            Ok(quote!(#implementation #check))
        }
        Data::Union(data) => Err(union_error(data.union_token.span)),
    }
}

/// The impl, and a function that is never called in which every field's type must
/// implement the trait.
fn implementation(input: &DeriveInput, trait_path: &Path, fields: &[&Type]) -> TokenStream {
    let name = &input.ident;
    let generics = bounded(&input.generics, trait_path);
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let checks = fields.iter().map(|ty| quote_spanned!(ty.span()=> has_trait::<#ty>();));
    let check = (!fields.is_empty()).then(|| {
        quote! {
            const _: () = {
                #[allow(dead_code, clippy::all, clippy::pedantic)]
                fn fields #impl_generics () #where_clause {
                    fn has_trait<T: #trait_path>() {}
                    #(#checks)*
                }
            };
        }
    });
    quote! {
        #[automatically_derived]
        #[allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
        unsafe impl #impl_generics #trait_path for #name #type_generics #where_clause {}
        #check
    }
}

/// What `#[repr(..)]` says.
#[derive(Default)]
struct Representation {
    is_c: bool,
    is_transparent: bool,
    is_primitive: bool,
}

impl Representation {
    fn of(attributes: &[Attribute]) -> Result<Self, Error> {
        let mut representation = Self::default();
        for attribute in attributes.iter().filter(|attr| attr.path().is_ident("repr")) {
            attribute.parse_nested_meta(|meta| {
                representation.is_c |= meta.path.is_ident("C");
                representation.is_transparent |= meta.path.is_ident("transparent");
                representation.is_primitive |=
                    PRIMITIVES.iter().any(|primitive| meta.path.is_ident(primitive));
                // `align(N)` and `packed(N)` leave the layout fixed.
                if meta.input.peek(syn::token::Paren) {
                    let content;
                    syn::parenthesized!(content in meta.input);
                    content.parse::<TokenStream>()?;
                }
                Ok(())
            })?;
        }
        Ok(representation)
    }
}

fn check_enum(name: &Ident, data: &DataEnum) -> Result<(), Error> {
    if data.variants.is_empty() {
        return Err(Error::new(name.span(), format!("`{name}` has no variants, so no values")));
    }
    match data.variants.iter().find(|variant| !matches!(variant.fields, Fields::Unit)) {
        Some(variant) => Err(Error::new(
            variant.fields.span(),
            "a variant with fields has no fixed layout on the device: use a struct that holds a \
             field-less enum and the fields; inside kernels such enums are welcome",
        )),
        None => Ok(()),
    }
}

fn union_error(span: Span) -> Error {
    Error::new(
        span,
        "which field of a union is valid is not known on the device: use a struct, or bytes and \
         `to_bits`/`from_bits`",
    )
}

fn types_of(fields: &Fields) -> Vec<&Type> {
    fields.iter().map(|field| &field.ty).collect()
}

/// The generics with the trait demanded of every type parameter.
fn bounded(generics: &Generics, trait_path: &Path) -> Generics {
    let mut generics = generics.clone();
    for param in generics.type_params_mut() {
        param.bounds.push(parse_quote!(#trait_path));
    }
    generics
}

/// The trait in `raddle`, or where `#[raddle(crate = path)]` says it is.
fn trait_path(input: &DeriveInput, name: &str) -> Result<Path, Error> {
    let mut krate: Path = parse_quote!(::raddle);
    for attribute in input.attrs.iter().filter(|attr| attr.path().is_ident("raddle")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("there is no such option; a derive has `crate = path`"));
            }
            krate = Path::parse_mod_style(meta.value()?)?;
            Ok(())
        })?;
    }
    let name = Ident::new(name, Span::call_site());
    Ok(parse_quote!(#krate::__private::#name))
}
