//! The options in `#[kernel(..)]`: one table of what they are, parsing, and the
//! constant expressions that they become in the kernel's `KernelMeta`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::visit_mut::VisitMut;
use syn::{Error, Expr, ExprLit, Lit, Path, Token, parenthesized};

use super::signature::OneModuleDown;

/// An option that is a number or a shape.
struct Limit {
    name: &'static str,
    /// The field of `KernelMeta`.
    field: &'static str,
    /// Takes one to three extents.
    is_shape: bool,
    least: u32,
    /// Bounds the product of a shape.
    most: u32,
    rule: &'static str,
}

#[rustfmt::skip]
const LIMITS: [Limit; 6] = [
    Limit { name: "block", field: "block", is_shape: true, least: 1, most: 1024,
            rule: "a block has 1 to 1024 threads" },
    Limit { name: "max_threads", field: "max_threads", is_shape: false, least: 1, most: 1024,
            rule: "a block has 1 to 1024 threads" },
    Limit { name: "min_blocks", field: "min_blocks", is_shape: false, least: 1, most: 32,
            rule: "a multiprocessor holds 1 to 32 blocks" },
    Limit { name: "max_registers", field: "max_registers", is_shape: false, least: 1, most: 255,
            rule: "a thread has 1 to 255 registers" },
    Limit { name: "cluster", field: "cluster", is_shape: true, least: 1, most: 16,
            rule: "a cluster has 1 to 16 blocks" },
    Limit { name: "arch", field: "architecture", is_shape: false, least: 50, most: 130,
            rule: "an architecture is a number as in `sm_NN`, such as 80 or 90" },
];

/// The second number of `arch = (80, 90)`.
const VARIANT: Limit = Limit {
    name: "arch",
    field: "variant",
    is_shape: false,
    least: 90,
    most: 90,
    rule: "the second variant of a kernel is the one with Hopper's own instructions, 90",
};

/// The first number of `arch = (80, 90)`.
const BASE: Limit = Limit {
    name: "arch",
    field: "architecture",
    is_shape: false,
    least: 50,
    most: 89,
    rule: "the first variant of a kernel is the portable one, such as 80",
};

/// All options of one kernel.
pub struct Options {
    /// Where the `raddle` crate is.
    pub krate: Path,
    /// The word `instances`, and what its parentheses hold.
    pub instances: Option<(Span, TokenStream)>,
    /// The limits given, with their extents.
    limits: Vec<(&'static Limit, Vec<Expr>)>,
}

impl Parse for Options {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let krate = syn::parse_quote!(::raddle);
        let mut options = Self { krate, instances: None, limits: Vec::new() };
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
        if name == "instances" {
            let content;
            parenthesized!(content in input);
            self.instances = Some((name.span(), content.parse()?));
            return Ok(());
        }
        let limit = LIMITS.iter().find(|limit| name == limit.name);
        if limit.is_none() && name != "crate" {
            let limits: String = LIMITS.iter().map(|limit| format!("`{}`, ", limit.name)).collect();
            let message = format!(
                "there is no option `{name}`: a kernel has {limits}`instances` and `crate`"
            );
            return Err(Error::new(name.span(), message));
        }
        if !input.peek(Token![=]) {
            return Err(Error::new(name.span(), format!("`{name}` takes a value: `{name} = ..`")));
        }
        input.parse::<Token![=]>()?;
        match limit {
            Some(limit) if limit.name == "arch" => self.parse_architectures(limit, input)?,
            Some(limit) => self.limits.push((limit, limit.parse(input.parse()?)?)),
            None => self.krate = Path::parse_mod_style(input)?,
        }
        Ok(())
    }

    /// One architecture, or a pair of variants.
    fn parse_architectures(&mut self, one: &'static Limit, input: ParseStream) -> syn::Result<()> {
        match input.parse()? {
            Expr::Tuple(pair) if pair.elems.len() == 2 => {
                let mut elems = pair.elems.into_iter();
                for limit in [&BASE, &VARIANT] {
                    let elem = elems.next().expect("there are two");
                    self.limits.push((limit, limit.parse(elem)?));
                }
            }
            Expr::Tuple(tuple) => {
                let message = format!(
                    "`arch` is one number, or two as in `arch = (80, 90)`, found {}",
                    tuple.elems.len()
                );
                return Err(Error::new(tuple.span(), message));
            }
            expr => self.limits.push((one, one.parse(expr)?)),
        }
        Ok(())
    }

    /// Options that PTX does not allow together, or not alone.
    fn check(&self, seen: &[Ident]) -> syn::Result<()> {
        let find = |name: &str| seen.iter().find(|ident| *ident == name);
        match (find("block"), find("max_threads"), find("min_blocks")) {
            (Some(_), Some(max), _) => {
                Err(Error::new(max.span(), "`block` already fixes the number of threads"))
            }
            (None, None, Some(min)) => {
                Err(Error::new(min.span(), "`min_blocks` needs `block` or `max_threads` beside it"))
            }
            _ => Ok(()),
        }
    }

    /// The fields of `KernelMeta` that options decide, for the hidden module.
    pub fn meta_fields(&self) -> TokenStream {
        let fields = self.limits.iter().map(|(limit, extents)| {
            let (field, value) = (format_ident!("{}", limit.field), limit.value(extents));
            quote!(#field: #value,)
        });
        quote!(#(#fields)*)
    }
}

impl Limit {
    fn parse(&self, value: Expr) -> syn::Result<Vec<Expr>> {
        let extents = match value {
            Expr::Tuple(tuple) if self.is_shape && (1..=3).contains(&tuple.elems.len()) => {
                tuple.elems.into_iter().collect()
            }
            Expr::Tuple(tuple) => {
                let wanted = if self.is_shape { "one to three extents" } else { "one number" };
                let message = format!("`{}` is {wanted}, found {}", self.name, tuple.elems.len());
                return Err(Error::new(tuple.span(), message));
            }
            expr => vec![expr],
        };
        // What is written as numbers is judged here, other constants by rustc.
        let literal = |extent: &Expr| match extent {
            Expr::Lit(ExprLit { lit: Lit::Int(literal), .. }) => literal.base10_parse().ok(),
            _ => None,
        };
        let literals: Option<Vec<u32>> = extents.iter().map(literal).collect();
        let product = literals.map(|all| all.into_iter().map(u128::from).product::<u128>());
        match product {
            Some(product) if !(self.least.into()..=self.most.into()).contains(&product) => {
                Err(Error::new(extents[0].span(), format!("{}, found {product}", self.rule)))
            }
            _ => Ok(extents),
        }
    }

    /// The value of the field: `x`, or `[x, y, z]` for a shape.
    fn value(&self, extents: &[Expr]) -> TokenStream {
        let Self { least, most, rule, .. } = self;
        let mut values: Vec<TokenStream> = extents
            .iter()
            .map(|extent| {
                let mut extent = extent.clone();
                OneModuleDown.visit_expr_mut(&mut extent);
                quote_spanned! {extent.span()=> {
                    let value = (#extent) as i128;
                    ::core::assert!(value >= #least as i128 && value <= #most as i128, #rule);
                    value as u32
                }}
            })
            .collect();
        if !self.is_shape {
            return values.remove(0);
        }
        values.resize_with(3, || quote!(1));
        quote_spanned! {extents[0].span()=> {
            let shape: [u32; 3] = [#(#values),*];
            ::core::assert!(shape[0] * shape[1] * shape[2] <= #most, #rule);
            shape
        }}
    }
}
