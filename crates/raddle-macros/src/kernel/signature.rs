//! What a kernel's signature may be, and its parameter types rewritten for items
//! that stand outside the function: every lifetime of the signature becomes
//! `'static`, the form for which `KernelParam` is implemented.

use proc_macro2::{Ident, Span};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::visit_mut::VisitMut;
use syn::{
    Attribute, Error, FnArg, GenericParam, Generics, ItemFn, Lifetime, Pat, PatType, ReturnType,
    Signature, Token, Type, WherePredicate,
};

/// One kernel parameter.
pub struct Param {
    /// Its name, without `mut`.
    pub name: Ident,
    /// Its type, with `'static` for every lifetime.
    pub ty: Type,
}

/// Collects errors, so that all of them are shown at once.
#[derive(Default)]
pub struct Errors(Option<Error>);

impl Errors {
    pub fn at(&mut self, span: Span, message: impl std::fmt::Display) {
        self.push(Error::new(span, message));
    }

    pub fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            None => self.0 = Some(error),
        }
    }

    pub fn finish(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), Err)
    }
}

/// Checks the signature and gives the parameters and the generics, without
/// lifetime parameters.
pub fn check(function: &ItemFn) -> Result<(Vec<Param>, Generics), Error> {
    let mut errors = Errors::default();
    check_qualifiers(&function.sig, &mut errors);
    check_attributes(&function.attrs, &mut errors);
    let name = function.sig.ident.to_string();
    if name.starts_with("__raddle") || name.contains("__i__") {
        errors.at(function.sig.ident.span(), "this name is kept for what `#[kernel]` makes");
    }
    let generics = static_generics(&function.sig.generics);
    let mut params = Vec::new();
    for input in &function.sig.inputs {
        match input {
            FnArg::Receiver(receiver) => errors.at(
                receiver.span(),
                "a kernel is a free function: pass what it needs from `self` as parameters",
            ),
            FnArg::Typed(typed) => params.extend(check_param(typed, &mut errors)),
        }
    }
    errors.finish()?;
    Ok((params, generics))
}

fn check_qualifiers(signature: &Signature, errors: &mut Errors) {
    if let Some(token) = &signature.constness {
        errors.at(token.span, "a kernel cannot be `const`: it runs on a device");
    }
    if let Some(token) = &signature.asyncness {
        errors.at(token.span, "a kernel cannot be `async`: launching it is already asynchronous");
    }
    if let Some(abi) = &signature.abi {
        errors.at(abi.span(), "a kernel is an ordinary Rust function: remove the `extern`");
    }
    if let Some(variadic) = &signature.variadic {
        errors.at(variadic.span(), "a kernel has a fixed list of parameters");
    }
    if let ReturnType::Type(_, ty) = &signature.output {
        let is_unit = matches!(&**ty, Type::Tuple(tuple) if tuple.elems.is_empty());
        if !is_unit {
            errors.at(
                ty.span(),
                "a kernel returns nothing: write results to an output parameter such as `PerThread<T>`",
            );
        }
    }
}

fn check_attributes(attributes: &[Attribute], errors: &mut Errors) {
    for attribute in attributes {
        let text = quote::ToTokens::to_token_stream(&attribute.meta).to_string();
        if ["no_mangle", "export_name", "link_section"].iter().any(|name| text.contains(name)) {
            errors.at(attribute.span(), "a kernel's entry in the PTX is named by the compiler");
        }
        if attribute.path().is_ident("kernel") {
            errors.at(attribute.span(), "this function is already marked as a kernel");
        }
    }
}

fn check_param(typed: &PatType, errors: &mut Errors) -> Option<Param> {
    TypeCheck { errors }.visit_type(&typed.ty);
    let mut ty = (*typed.ty).clone();
    StaticLifetimes.visit_type_mut(&mut ty);
    match &*typed.pat {
        Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => {
            Some(Param { name: pat.ident.clone(), ty })
        }
        pat => {
            errors.at(pat.span(), "a kernel parameter needs a name: take it apart in the body");
            None
        }
    }
}

/// Rejects what no parameter type may hold.
struct TypeCheck<'e> {
    errors: &'e mut Errors,
}

impl Visit<'_> for TypeCheck<'_> {
    fn visit_type_impl_trait(&mut self, ty: &syn::TypeImplTrait) {
        self.errors.at(
            ty.span(),
            "a kernel is compiled for known types: make this a type parameter and list its \
             types in `#[kernel(instances(..))]`",
        );
    }

    fn visit_type_infer(&mut self, ty: &syn::TypeInfer) {
        self.errors.at(ty.span(), "the type of a kernel parameter must be written out");
    }

    fn visit_lifetime(&mut self, lifetime: &Lifetime) {
        if lifetime.ident == "static" {
            self.errors.at(
                lifetime.span(),
                "a kernel's inputs are borrowed for the launch only: leave out `'static`",
            );
        }
    }
}

/// The generics without lifetime parameters, `'static` standing for each.
fn static_generics(generics: &Generics) -> Generics {
    let mut generics = generics.clone();
    generics.params = generics
        .params
        .into_iter()
        .filter(|param| !matches!(param, GenericParam::Lifetime(_)))
        .collect::<Punctuated<_, Token![,]>>();
    if let Some(clause) = &mut generics.where_clause {
        clause.predicates = std::mem::take(&mut clause.predicates)
            .into_iter()
            .filter(|predicate| !matches!(predicate, WherePredicate::Lifetime(_)))
            .collect();
    }
    StaticLifetimes.visit_generics_mut(&mut generics);
    generics
}

/// Replaces elided and named lifetimes by `'static`, except in function types
/// and `for<'a>` bounds, which bind their own.
struct StaticLifetimes;

impl VisitMut for StaticLifetimes {
    fn visit_type_reference_mut(&mut self, ty: &mut syn::TypeReference) {
        if ty.lifetime.is_none() {
            ty.lifetime = Some(Lifetime::new("'static", ty.and_token.span));
        }
        syn::visit_mut::visit_type_reference_mut(self, ty);
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        *lifetime = Lifetime::new("'static", lifetime.span());
    }

    fn visit_type_bare_fn_mut(&mut self, _ty: &mut syn::TypeBareFn) {}

    fn visit_parenthesized_generic_arguments_mut(
        &mut self,
        _arguments: &mut syn::ParenthesizedGenericArguments,
    ) {
    }

    fn visit_trait_bound_mut(&mut self, bound: &mut syn::TraitBound) {
        if bound.lifetimes.is_none() {
            syn::visit_mut::visit_trait_bound_mut(self, bound);
        }
    }

    fn visit_predicate_type_mut(&mut self, predicate: &mut syn::PredicateType) {
        if predicate.lifetimes.is_none() {
            syn::visit_mut::visit_predicate_type_mut(self, predicate);
        }
    }
}

/// Makes paths that begin with `self` or `super` right one module further down.
pub struct OneModuleDown;

impl VisitMut for OneModuleDown {
    fn visit_path_mut(&mut self, path: &mut syn::Path) {
        syn::visit_mut::visit_path_mut(self, path);
        if path.leading_colon.is_some() {
            return;
        }
        let Some(first) = path.segments.first().map(|segment| segment.ident.clone()) else {
            return;
        };
        let up = || syn::PathSegment::from(Ident::new("super", first.span()));
        if first == "self" && path.segments.len() > 1 {
            path.segments[0] = up();
        } else if first == "super" {
            path.segments.insert(0, up());
        }
    }
}
