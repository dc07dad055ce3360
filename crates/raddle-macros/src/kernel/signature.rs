//! What a kernel's signature may be, and its parameter types rewritten for items
//! that stand outside the function: every lifetime of the signature becomes
//! `'static`, the form for which `KernelParam` is implemented.

use proc_macro2::{Ident, Span};
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Error, FnArg, GenericParam, Generics, ItemFn, Lifetime, Pat, ReturnType, Signature, Type,
    WherePredicate,
};

/// A signature that a kernel may have.
pub struct Checked {
    /// The names of the parameters, without `mut`.
    pub arguments: Vec<Ident>,
    /// Their types, with `'static` for every lifetime.
    pub types: Vec<Type>,
    /// Type and const parameters.
    pub generics: Generics,
}

/// Collects errors, so that all of them are shown at once.
struct Errors(Vec<Error>);

impl Errors {
    fn at(&mut self, span: Span, message: &str) {
        self.0.push(Error::new(span, message));
    }
}

/// Checks the signature of the function.
pub fn check(function: &ItemFn) -> Result<Checked, Error> {
    let mut errors = Errors(Vec::new());
    check_qualifiers(&function.sig, &mut errors);
    for attribute in &function.attrs {
        if attribute.path().segments.last().is_some_and(|last| last.ident == "kernel") {
            errors.at(attribute.span(), "this function is already marked as a kernel");
        }
    }
    let name = function.sig.ident.to_string();
    if name.starts_with("__raddle") || name.contains("__i__") {
        errors.at(function.sig.ident.span(), "this name is kept for what `#[kernel]` makes");
    }
    let (mut arguments, mut types) = (Vec::new(), Vec::new());
    for input in &function.sig.inputs {
        match input {
            FnArg::Receiver(receiver) => errors.at(
                receiver.span(),
                "a kernel is a free function: pass what it needs from `self` as parameters",
            ),
            FnArg::Typed(typed) => {
                TypeCheck(&mut errors).visit_type(&typed.ty);
                let mut ty = (*typed.ty).clone();
                StaticLifetimes.visit_type_mut(&mut ty);
                types.push(ty);
                match &*typed.pat {
                    Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => {
                        arguments.push(pat.ident.clone());
                    }
                    pat => errors.at(
                        pat.span(),
                        "a kernel parameter needs a name: take it apart in the body",
                    ),
                }
            }
        }
    }
    let combine = |mut all: Error, error| {
        all.combine(error);
        all
    };
    match errors.0.into_iter().reduce(combine) {
        Some(error) => Err(error),
        None => {
            let generics = static_generics(&function.sig.generics);
            Ok(Checked { arguments, types, generics })
        }
    }
}

fn check_qualifiers(signature: &Signature, errors: &mut Errors) {
    let output = match &signature.output {
        ReturnType::Type(_, ty) => match &**ty {
            Type::Tuple(unit) if unit.elems.is_empty() => None,
            ty => Some(ty.span()),
        },
        ReturnType::Default => None,
    };
    #[rustfmt::skip]
    let rejected = [
        (signature.constness.map(|token| token.span),
         "a kernel cannot be `const`: it runs on a device"),
        (signature.asyncness.map(|token| token.span),
         "a kernel cannot be `async`: launching it is already asynchronous"),
        (signature.abi.as_ref().map(Spanned::span),
         "a kernel is an ordinary Rust function: remove the `extern`"),
        (signature.variadic.as_ref().map(Spanned::span),
         "a kernel has a fixed list of parameters"),
        (output, "a kernel returns nothing: write results to an output such as `PerThread<T>`"),
    ];
    for (span, message) in rejected {
        span.into_iter().for_each(|span| errors.at(span, message));
    }
}

/// Rejects what no parameter type may hold.
struct TypeCheck<'e>(&'e mut Errors);

impl Visit<'_> for TypeCheck<'_> {
    fn visit_type_impl_trait(&mut self, ty: &syn::TypeImplTrait) {
        self.0.at(
            ty.span(),
            "a kernel is compiled for known types: make this a type parameter and list its \
             types in `#[kernel(instances(..))]`",
        );
    }

    fn visit_type_reference(&mut self, ty: &syn::TypeReference) {
        if let Some(token) = &ty.mutability {
            self.0.at(
                token.span,
                "every thread would hold this `&mut`: take an output that gives each its part, \
                 such as `PerThread<T>`",
            );
        }
        syn::visit::visit_type_reference(self, ty);
    }

    fn visit_lifetime(&mut self, lifetime: &Lifetime) {
        if lifetime.ident == "static" {
            self.0.at(
                lifetime.span(),
                "a kernel's inputs are borrowed for the launch only: leave out `'static`",
            );
        }
    }
}

/// The names of type and const parameters, for use as arguments.
pub fn generic_names(generics: &Generics) -> Vec<Ident> {
    let name = |param: &GenericParam| match param {
        GenericParam::Type(param) => Some(param.ident.clone()),
        GenericParam::Const(param) => Some(param.ident.clone()),
        GenericParam::Lifetime(_) => None,
    };
    generics.params.iter().filter_map(name).collect()
}

/// The generics without lifetime parameters, `'static` standing for each.
fn static_generics(generics: &Generics) -> Generics {
    let mut generics = generics.clone();
    let params = generics.params.into_iter();
    generics.params = params.filter(|param| !matches!(param, GenericParam::Lifetime(_))).collect();
    if let Some(clause) = &mut generics.where_clause {
        let predicates = std::mem::take(&mut clause.predicates).into_iter();
        let is_about_types = |one: &WherePredicate| !matches!(one, WherePredicate::Lifetime(_));
        clause.predicates = predicates.filter(is_about_types).collect();
    }
    StaticLifetimes.visit_generics_mut(&mut generics);
    generics
}

/// Replaces elided and named lifetimes by `'static`, except in function types
/// and `for<'a>` bounds, which bind their own.
struct StaticLifetimes;

impl VisitMut for StaticLifetimes {
    fn visit_type_reference_mut(&mut self, ty: &mut syn::TypeReference) {
        let and_span = ty.and_token.span;
        ty.lifetime.get_or_insert_with(|| Lifetime::new("'static", and_span));
        visit_mut::visit_type_reference_mut(self, ty);
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        *lifetime = Lifetime::new("'static", lifetime.span());
    }

    fn visit_type_bare_fn_mut(&mut self, _: &mut syn::TypeBareFn) {}

    fn visit_parenthesized_generic_arguments_mut(
        &mut self,
        _: &mut syn::ParenthesizedGenericArguments,
    ) {
    }

    fn visit_trait_bound_mut(&mut self, bound: &mut syn::TraitBound) {
        if bound.lifetimes.is_none() {
            visit_mut::visit_trait_bound_mut(self, bound);
        }
    }

    fn visit_predicate_type_mut(&mut self, predicate: &mut syn::PredicateType) {
        if predicate.lifetimes.is_none() {
            visit_mut::visit_predicate_type_mut(self, predicate);
        }
    }
}

/// Makes paths that begin with `self` or `super` right one module further down.
pub struct OneModuleDown;

impl VisitMut for OneModuleDown {
    fn visit_path_mut(&mut self, path: &mut syn::Path) {
        visit_mut::visit_path_mut(self, path);
        let Some(first) = path.segments.first_mut() else { return };
        let up = Ident::new("super", first.ident.span());
        if first.ident == "self" {
            first.ident = up;
        } else if first.ident == "super" {
            path.segments.insert(0, up.into());
        }
    }
}
