//! The options in `#[kernel(..)]`: parsing, and the constant expressions that
//! they become in the kernel's `KernelMeta`.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::visit_mut::VisitMut;
use syn::{Error, Expr, LitInt, Path, Token, parenthesized};

use super::signature::OneModuleDown;

const EXISTING: &str = "`block`, `max_threads`, `min_blocks`, `max_registers`, `cluster`, `arch`, \
                        `instances` and `crate`";

/// All options of one kernel.
pub struct Options {
    /// Where the `raddle` crate is.
    pub krate: Path,
    /// The instances as written, one token stream each.
    pub instances: Option<Instances>,
    block: Option<Shape>,
    cluster: Option<Shape>,
    max_threads: Option<Expr>,
    min_blocks: Option<Expr>,
    max_registers: Option<Expr>,
    arch: Option<LitInt>,
}

/// The argument of `instances(..)`.
pub struct Instances {
    /// The word `instances`.
    pub span: Span,
    /// The instances as written.
    pub each: Vec<TokenStream>,
}

/// One to three extents.
struct Shape(Vec<Expr>);

impl Parse for Options {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let mut options = Self {
            krate: syn::parse_quote!(::raddle),
            instances: None,
            block: None,
            cluster: None,
            max_threads: None,
            min_blocks: None,
            max_registers: None,
            arch: None,
        };
        let mut seen: Vec<Ident> = Vec::new();
        while !input.is_empty() {
            let name = Ident::parse_any(input)?;
            if seen.contains(&name) {
                return Err(Error::new(name.span(), format!("`{name}` is given twice")));
            }
            options.parse_one(&name, input)?;
            seen.push(name);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        options.check(&seen)?;
        Ok(options)
    }
}

impl Options {
    fn parse_one(&mut self, name: &Ident, input: ParseStream) -> syn::Result<()> {
        match name.to_string().as_str() {
            "instances" => {
                let content;
                parenthesized!(content in input);
                let each = split_at_commas(content.parse()?);
                self.instances = Some(Instances { span: name.span(), each });
            }
            "crate" => {
                value(name, input)?;
                self.krate = Path::parse_mod_style(input)?;
            }
            "block" => self.block = Some(Shape::parse(name, input)?),
            "cluster" => self.cluster = Some(Shape::parse(name, input)?),
            "max_threads" => self.max_threads = Some(value(name, input)?.parse()?),
            "min_blocks" => self.min_blocks = Some(value(name, input)?.parse()?),
            "max_registers" => self.max_registers = Some(value(name, input)?.parse()?),
            "arch" => self.arch = Some(architecture(value(name, input)?)?),
            other => {
                let message = format!("there is no option `{other}`; a kernel has {EXISTING}");
                return Err(Error::new(name.span(), message));
            }
        }
        Ok(())
    }

    /// Options that PTX does not allow together, or not alone.
    fn check(&self, seen: &[Ident]) -> syn::Result<()> {
        let at = |name: &str, message: &str| {
            let span =
                seen.iter().find(|ident| *ident == name).map_or_else(Span::call_site, Ident::span);
            Err(Error::new(span, message))
        };
        if self.block.is_some() && self.max_threads.is_some() {
            return at("max_threads", "`block` already fixes the number of threads");
        }
        if self.min_blocks.is_some() && self.block.is_none() && self.max_threads.is_none() {
            return at("min_blocks", "`min_blocks` needs `block` or `max_threads` beside it");
        }
        Ok(())
    }

    /// The fields of `KernelMeta` that options decide, as `name: value,`, for the
    /// kernel's hidden module.
    pub fn meta_fields(&self) -> TokenStream {
        let block = self.block.as_ref().map(|shape| {
            let extents = shape.extents(1024, "a block has 1 to 1024 threads");
            quote!(block: #extents,)
        });
        let cluster = self.cluster.as_ref().map(|shape| {
            let extents = shape.extents(16, "a cluster has 1 to 16 blocks");
            quote!(cluster: #extents,)
        });
        let max_threads = self.max_threads.as_ref().map(|limit| {
            let limit = bounded(limit, 1024, "a block has 1 to 1024 threads");
            quote!(max_threads: #limit,)
        });
        let min_blocks = self.min_blocks.as_ref().map(|limit| {
            let limit = bounded(limit, 32, "a multiprocessor holds 1 to 32 blocks");
            quote!(min_blocks: #limit,)
        });
        let max_registers = self.max_registers.as_ref().map(|limit| {
            let limit = bounded(limit, 255, "a thread has 1 to 255 registers");
            quote!(max_registers: #limit,)
        });
        let arch = self.arch.as_ref().map(|arch| quote!(architecture: #arch,));
        quote!(#block #cluster #max_threads #min_blocks #max_registers #arch)
    }
}

impl Shape {
    fn parse(name: &Ident, input: ParseStream) -> syn::Result<Self> {
        let expr: Expr = value(name, input)?.parse()?;
        let extents: Vec<Expr> = match expr {
            Expr::Tuple(tuple) => {
                if tuple.elems.is_empty() || tuple.elems.len() > 3 {
                    return Err(Error::new(
                        tuple.span(),
                        format!("`{name}` has one to three extents, found {}", tuple.elems.len()),
                    ));
                }
                tuple.elems.into_iter().collect()
            }
            expr => vec![expr],
        };
        Ok(Self(extents))
    }

    /// `[x, y, z]`, each extent and their product between 1 and `most`.
    fn extents(&self, most: u32, rule: &str) -> TokenStream {
        let span = self.0[0].span();
        let mut extents: Vec<TokenStream> =
            self.0.iter().map(|extent| bounded(extent, most, rule)).collect();
        extents.resize_with(3, || quote!(1));
        quote_spanned! {span=> {
            let shape: [u32; 3] = [#(#extents),*];
            ::core::assert!(shape[0] * shape[1] * shape[2] <= #most, #rule);
            shape
        }}
    }
}

/// A constant of any integer type as `u32`, between 1 and `most`.
fn bounded(expr: &Expr, most: u32, rule: &str) -> TokenStream {
    let mut expr = expr.clone();
    OneModuleDown.visit_expr_mut(&mut expr);
    quote_spanned! {expr.span()=> {
        let value = (#expr) as i128;
        ::core::assert!(value >= 1 && value <= #most as i128, #rule);
        value as u32
    }}
}

/// The `=` before a value.
fn value<'i>(name: &Ident, input: ParseStream<'i>) -> syn::Result<ParseStream<'i>> {
    if !input.peek(Token![=]) {
        return Err(Error::new(name.span(), format!("`{name}` takes a value: `{name} = ..`")));
    }
    input.parse::<Token![=]>()?;
    Ok(input)
}

fn architecture(input: ParseStream) -> syn::Result<LitInt> {
    let rule = "the architecture is a number as in `sm_NN`, such as 80 or 90";
    let literal: LitInt = input.parse().map_err(|error| Error::new(error.span(), rule))?;
    match literal.base10_parse::<u32>() {
        Ok(50..=130) => Ok(literal),
        _ => Err(Error::new(literal.span(), rule)),
    }
}

/// Splits at the commas that are not inside brackets or `<..>`.
pub fn split_at_commas(tokens: TokenStream) -> Vec<TokenStream> {
    let mut parts = vec![TokenStream::new()];
    let mut depth = 0_i32;
    let mut previous = ' ';
    for token in tokens {
        let punct = if let TokenTree::Punct(punct) = &token { punct.as_char() } else { ' ' };
        match punct {
            ',' if depth == 0 => {
                parts.push(TokenStream::new());
                continue;
            }
            '<' => depth += 1,
            '>' if previous != '-' => depth -= 1,
            _ => {}
        }
        previous = punct;
        if let Some(part) = parts.last_mut() {
            part.extend([token]);
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}
