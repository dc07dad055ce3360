//! The instances of a generic kernel: matching `instances(..)` with the
//! function's type and const parameters, and naming each.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::visit_mut::VisitMut;
use syn::{Error, Expr, GenericArgument, GenericParam, Generics, Type};

use super::options::Options;
use super::signature::{Errors, OneModuleDown};

/// One thing to compile: a plain kernel, or one instance of a generic one.
pub struct Instance {
    /// Name with instance, as symbols are built from it: `axpy__i__f32`.
    pub name: String,
    /// Last segment of the kernel's path: `axpy.f32`.
    pub segment: String,
    /// The instance as the user would write it; empty for a plain kernel.
    pub text: String,
    /// Generic arguments, as the user wrote them.
    pub arguments: Vec<GenericArgument>,
    /// Where the instance is listed: its first and last token.
    pub ends: (Span, Span),
}

impl Instance {
    /// The generic arguments for use inside the kernel's hidden module.
    pub fn inner_arguments(&self) -> Vec<GenericArgument> {
        let mut arguments = self.arguments.clone();
        for argument in &mut arguments {
            OneModuleDown.visit_generic_argument_mut(argument);
        }
        arguments
    }
}

/// The instances of the kernel `name` with `generics`, which hold no lifetimes.
pub fn resolve(
    name: &Ident,
    generics: &Generics,
    options: &Options,
) -> Result<Vec<Instance>, Error> {
    let plain = syn::ext::IdentExt::unraw(name).to_string();
    let params: Vec<&GenericParam> = generics.params.iter().collect();
    let instances = match (&options.instances, params.is_empty()) {
        (None, true) => {
            return Ok(vec![Instance {
                name: plain.clone(),
                segment: plain,
                text: String::new(),
                arguments: Vec::new(),
                ends: (name.span(), name.span()),
            }]);
        }
        (None, false) => {
            return Err(Error::new(
                generics.params.span(),
                format!(
                    "a generic kernel names what it is compiled for: add \
                     `#[kernel(instances({}))]`",
                    example(&params)
                ),
            ));
        }
        (Some(instances), true) => {
            return Err(Error::new(
                instances.span,
                format!("kernel `{name}` has no type or const parameters, so it has one form only"),
            ));
        }
        (Some(instances), false) => instances,
    };
    if instances.each.is_empty() {
        return Err(Error::new(instances.span, "list at least one instance"));
    }
    let mut errors = Errors::default();
    let mut resolved: Vec<Instance> = Vec::new();
    for tokens in &instances.each {
        match arguments(name, &params, tokens) {
            Ok(arguments) => {
                let text = text_of(&arguments);
                let tag = tag_of(&text);
                let instance = Instance {
                    name: format!("{plain}__i__{tag}"),
                    segment: format!("{plain}.{tag}"),
                    text,
                    arguments,
                    ends: super::ends(tokens.clone()),
                };
                match resolved.iter().find(|other| other.name == instance.name) {
                    Some(other) if other.text == instance.text => {
                        errors.at(tokens.span(), format!("`{}` is listed twice", instance.text));
                    }
                    Some(other) => errors.at(
                        tokens.span(),
                        format!(
                            "`{}` and `{}` would have the same name, `{}`: give one of them a \
                             type alias",
                            other.text, instance.text, instance.segment
                        ),
                    ),
                    None => resolved.push(instance),
                }
            }
            Err(error) => errors.push(error),
        }
    }
    errors.finish()?;
    Ok(resolved)
}

/// One instance's tokens as generic arguments.
fn arguments(
    name: &Ident,
    params: &[&GenericParam],
    tokens: &TokenStream,
) -> Result<Vec<GenericArgument>, Error> {
    let parts = parts_of(tokens, params.len());
    if parts.len() != params.len() {
        let names: Vec<String> = params.iter().map(|param| param_name(param)).collect();
        return Err(Error::new(
            tokens.span(),
            format!(
                "kernel `{name}` has {} generic parameters, found {}: write `({})`",
                params.len(),
                parts.len(),
                names.join(", ")
            ),
        ));
    }
    params.iter().zip(parts).map(|(param, part)| argument(param, part)).collect()
}

/// The arguments of one instance: with several parameters they stand in
/// parentheses, with one they need not.
fn parts_of(tokens: &TokenStream, count: usize) -> Vec<TokenStream> {
    let Ok(group) = syn::parse2::<proc_macro2::Group>(tokens.clone()) else {
        return vec![tokens.clone()];
    };
    if group.delimiter() != proc_macro2::Delimiter::Parenthesis {
        return vec![tokens.clone()];
    }
    let parts = super::options::split_at_commas(group.stream());
    if count == 1 && parts.len() > 1 { vec![tokens.clone()] } else { parts }
}

fn argument(param: &GenericParam, part: TokenStream) -> Result<GenericArgument, Error> {
    let name = param_name(param);
    match param {
        GenericParam::Type(_) => match syn::parse2::<Type>(part.clone()) {
            Ok(ty) => Ok(GenericArgument::Type(ty)),
            Err(_) => Err(Error::new(part.span(), format!("`{name}` is a type, found `{part}`"))),
        },
        _ => match syn::parse2::<Expr>(part.clone()) {
            Ok(Expr::Lit(literal)) => Ok(GenericArgument::Const(Expr::Lit(literal))),
            Ok(Expr::Block(block)) => Ok(GenericArgument::Const(Expr::Block(block))),
            Ok(expr) => Ok(GenericArgument::Const(syn::parse_quote!({ #expr }))),
            Err(_) => Err(Error::new(part.span(), format!("`{name}` is a value, found `{part}`"))),
        },
    }
}

/// The instance as text, braces of const arguments left out.
fn text_of(arguments: &[GenericArgument]) -> String {
    let texts: Vec<String> = arguments
        .iter()
        .map(|argument| match argument {
            GenericArgument::Const(Expr::Block(block)) => {
                let stmts = &block.block.stmts;
                quote!(#(#stmts)*).to_string()
            }
            argument => argument.to_token_stream().to_string(),
        })
        .map(|text| text.replace(' ', ""))
        .collect();
    texts.join(", ")
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

/// A likely instance list for the message that asks for one.
fn example(params: &[&GenericParam]) -> String {
    let arguments: Vec<&str> = params
        .iter()
        .map(|param| if matches!(param, GenericParam::Type(_)) { "f32" } else { "4" })
        .collect();
    match &arguments[..] {
        [one] => (*one).to_owned(),
        several => format!("({})", several.join(", ")),
    }
}

fn param_name(param: &GenericParam) -> String {
    match param {
        GenericParam::Type(param) => param.ident.to_string(),
        GenericParam::Const(param) => param.ident.to_string(),
        GenericParam::Lifetime(param) => param.lifetime.to_string(),
    }
}
