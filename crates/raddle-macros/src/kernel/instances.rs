//! The instances of a generic kernel: matching `instances(..)` with the
//! function's type and const parameters, and naming each.

use proc_macro2::{Ident, Span};
use quote::{ToTokens, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::spanned::Spanned;
use syn::visit_mut::VisitMut;
use syn::{Error, Expr, GenericArgument, GenericParam, Generics, Token, parenthesized};

use super::options::Options;
use super::signature::{OneModuleDown, generic_names};

/// One thing to compile: a plain kernel, or one instance of a generic one.
pub struct Instance {
    /// Name with instance, as symbols are built from it: `axpy__i__f32`.
    pub name: String,
    /// Last segment of the kernel's path: `axpy.f32`.
    pub segment: String,
    /// Generic arguments, as the user wrote them.
    pub arguments: Vec<GenericArgument>,
    /// Where the instance is listed: its first and last token.
    pub ends: (Span, Span),
}

/// A generic parameter: its name, and whether it is a type.
type Parameter = (Ident, bool);

impl Instance {
    /// The generic arguments for use inside the kernel's hidden module.
    pub fn inner_arguments(&self) -> Vec<GenericArgument> {
        let mut arguments = self.arguments.clone();
        arguments.iter_mut().for_each(|one| OneModuleDown.visit_generic_argument_mut(one));
        arguments
    }
}

/// The instances of the kernel `name` with `generics`, which hold no lifetimes.
pub fn resolve(
    name: &Ident,
    generics: &Generics,
    options: &Options,
) -> Result<Vec<Instance>, Error> {
    let plain = name.unraw().to_string();
    let is_type = generics.params.iter().map(|param| matches!(param, GenericParam::Type(_)));
    let params: Vec<Parameter> = generic_names(generics).into_iter().zip(is_type).collect();
    let (span, tokens) = match &options.instances {
        Some((span, tokens)) => (*span, tokens.clone()),
        None if params.is_empty() => {
            let (name, ends) = (plain.clone(), (name.span(), name.span()));
            return Ok(vec![Instance { name, segment: plain, arguments: Vec::new(), ends }]);
        }
        None => {
            let example = |(_, is_type): &Parameter| if *is_type { "f32" } else { "4" };
            let example = tuple(params.iter().map(|param| example(param).to_owned()));
            let message = "a generic kernel names what it is compiled for: add";
            let message = format!("{message} `#[kernel(instances({example}))]`");
            return Err(Error::new(generics.params.span(), message));
        }
    };
    if params.is_empty() {
        let message = "has no type or const parameters, so it has one form only";
        return Err(Error::new(span, format!("kernel `{name}` {message}")));
    }
    let instances = (|input: ParseStream| parse_all(input, name, &params)).parse2(tokens)?;
    if instances.is_empty() {
        return Err(Error::new(span, "list at least one instance"));
    }
    Ok(instances)
}

fn parse_all(input: ParseStream, name: &Ident, params: &[Parameter]) -> syn::Result<Vec<Instance>> {
    let mut instances: Vec<Instance> = Vec::new();
    while !input.is_empty() {
        let instance = parse_one(input, name, params)?;
        if let Some(other) = instances.iter().find(|other| other.name == instance.name) {
            let (old, new) = (text(&other.arguments), text(&instance.arguments));
            let message = if old == new {
                format!("`{new}` is listed twice")
            } else {
                let name = &other.segment;
                format!("`{old}` and `{new}` would both be named `{name}`: use a type alias")
            };
            return Err(Error::new(instance.ends.0, message));
        }
        instances.push(instance);
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(instances)
}

/// One instance: with several parameters its arguments stand in parentheses.
fn parse_one(input: ParseStream, name: &Ident, params: &[Parameter]) -> syn::Result<Instance> {
    let first = input.cursor().token_tree().map_or_else(|| input.span(), |(tree, _)| tree.span());
    let wrong_number = || {
        let (count, names) = (params.len(), tuple(params.iter().map(|(name, _)| name.to_string())));
        let message = format!("an instance of `{name}` has {count} arguments: write `{names}`");
        Error::new(first, message)
    };
    let (arguments, ends) = if let [param] = params {
        let argument = argument(input, param)?;
        let ends = super::ends(argument.to_token_stream());
        (vec![argument], ends)
    } else {
        if !input.peek(syn::token::Paren) {
            return Err(wrong_number());
        }
        let content;
        parenthesized!(content in input);
        let mut arguments = Vec::new();
        for param in params {
            if content.is_empty() {
                return Err(wrong_number());
            }
            arguments.push(argument(&content, param)?);
            if !content.is_empty() {
                content.parse::<Token![,]>()?;
            }
        }
        if !content.is_empty() {
            return Err(wrong_number());
        }
        (arguments, super::ends(quote_spanned!(first=> ())))
    };
    let (plain, tag) = (name.unraw(), tag_of(&text(&arguments)));
    let (name, segment) = (format!("{plain}__i__{tag}"), format!("{plain}.{tag}"));
    Ok(Instance { name, segment, arguments, ends })
}

fn argument(input: ParseStream, (name, is_type): &Parameter) -> syn::Result<GenericArgument> {
    let span = input.span();
    let wrong = |kind: &str| Error::new(span, format!("`{name}` is {kind}"));
    if *is_type {
        return input.parse().map(GenericArgument::Type).map_err(|_| wrong("a type"));
    }
    match input.parse().map_err(|_| wrong("a value"))? {
        value @ (Expr::Lit(_) | Expr::Block(_)) => Ok(GenericArgument::Const(value)),
        value => Ok(GenericArgument::Const(syn::parse_quote!({ #value }))),
    }
}

fn text(arguments: &[GenericArgument]) -> String {
    let texts: Vec<String> =
        arguments.iter().map(|argument| argument.to_token_stream().to_string()).collect();
    texts.join(",").replace([' ', '{', '}'], "").replace(',', ", ")
}

/// The name of an instance: letters and digits stay, every run of others is one
/// `_`; a minus sign is spelled, so that `-1` and `1` differ.
fn tag_of(text: &str) -> String {
    let mut tag = String::new();
    for c in text.replace('-', " minus ").chars() {
        if c.is_ascii_alphanumeric() {
            tag.push(c);
        } else if !tag.is_empty() && !tag.ends_with('_') {
            tag.push('_');
        }
    }
    tag.trim_end_matches('_').to_owned()
}

fn tuple(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.len() == 1 { items.concat() } else { format!("({})", items.join(", ")) }
}
