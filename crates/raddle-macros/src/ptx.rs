//! `ptx!`: one piece of inline PTX, written like Rust's `asm!`.
//!
//! On the device it becomes a call of an `extern` function whose link name
//! carries constraints and template (`raddle-device`'s `asm` has the grammar); on
//! the host it becomes the `host` block, or a panic that says there is none.
//! Both make the macro an unsafe operation of the place where it is used.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Block, Error, Expr, LitInt, LitStr, Token, bracketed, parenthesized};

/// Register classes: name, constraint letter, Rust type.
const CLASSES: [(&str, char, &str); 8] = [
    ("reg16", 'h', "u16"),
    ("reg32", 'r', "u32"),
    ("reg64", 'l', "u64"),
    ("reg128", 'q', "u128"),
    ("f32", 'f', "f32"),
    ("f64", 'd', "f64"),
    ("ptr", 'l', "u64"),
    ("const", 'n', "i64"),
];

/// Expands the arguments of `ptx!`.
pub fn expand(input: TokenStream) -> TokenStream {
    let expand = |ptx: Ptx| {
        let (device, host) = (ptx.device()?, ptx.host());
        Ok(quote!({
            #[cfg(raddle_device)]
            { #device }
            #[cfg(not(raddle_device))]
            { #host }
        }))
    };
    syn::parse2(input).and_then(expand).unwrap_or_else(Error::into_compile_error)
}

struct Ptx {
    template: Vec<LitStr>,
    /// Outputs first, as the constraints list them.
    operands: Vec<Operand>,
    options: Vec<String>,
    host: Option<Block>,
}

struct Operand {
    name: Ident,
    direction: Direction,
    class: Ident,
    letter: char,
    ty: TokenStream,
    /// Registers of an array.
    count: Option<usize>,
    value: Expr,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    In,
    Out,
    InOut,
}

impl Parse for Ptx {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let (mut template, mut operands) = (Vec::new(), Vec::<Operand>::new());
        let (mut options, mut host) = (Vec::new(), None);
        while input.peek(LitStr) {
            template.push(input.parse()?);
            comma(input)?;
        }
        if template.is_empty() {
            let message = "`ptx!` begins with PTX text as string literals";
            return Err(Error::new(input.span(), message));
        }
        while !input.is_empty() {
            let name = input.call(Ident::parse_any)?;
            let fail = |message: String| Err(Error::new(name.span(), message));
            if name == "options" && input.peek(syn::token::Paren) {
                let content;
                parenthesized!(content in input);
                options.extend(content.parse_terminated(Ident::parse_any, Token![,])?);
            } else if !input.peek(Token![=]) {
                return fail(format!("name the operand, as in `x = {name}(..) ..`"));
            } else {
                input.parse::<Token![=]>()?;
                if name == "host" {
                    host = Some(input.parse()?);
                } else if operands.iter().any(|other| other.name == name) {
                    return fail(format!("`{name}` is given twice"));
                } else {
                    operands.push(Operand::parse(name, input)?);
                }
            }
            comma(input)?;
        }
        operands.sort_by_key(|operand| !operand.is_output());
        let has_output = operands.first().is_some_and(Operand::is_output);
        let options = check_options(&options, has_output)?;
        Ok(Self { template, operands, options, host })
    }
}

impl Operand {
    /// What follows `name =`: `in(reg32) value`, `const value`.
    fn parse(name: Ident, input: ParseStream) -> syn::Result<Self> {
        let word = input.call(Ident::parse_any)?;
        let direction = match word.to_string().as_str() {
            "in" | "const" => Direction::In,
            "out" => Direction::Out,
            "inout" => Direction::InOut,
            _ => {
                let message = "an operand is `in(..)`, `out(..)`, `inout(..)` or `const`";
                return Err(Error::new(word.span(), message));
            }
        };
        let (class, count) = if word == "const" { (word, None) } else { class(input)? };
        let fail = |message: &str| Err(Error::new(class.span(), message));
        let Some((_, letter, ty)) = CLASSES.into_iter().find(|(known, ..)| class == known) else {
            return fail(if class == "pred" {
                "a predicate lives inside the PTX: declare it in a `{{ .. }}` scope and hand out \
                 a number with `selp`"
            } else {
                "the register classes are `reg16`, `reg32`, `reg64`, `reg128`, `f32`, `f64` and \
                 `ptr`"
            });
        };
        if class == "ptr" && (direction != Direction::In || count.is_some()) {
            return fail("a pointer is an input: use `reg64` and a cast");
        }
        let ty = Ident::new(ty, Span::call_site());
        let ty = match count.map(Literal::usize_unsuffixed) {
            Some(count) => quote!([#ty; #count]),
            None => quote!(#ty),
        };
        Ok(Self { name, direction, class, letter, ty, count, value: input.parse()? })
    }

    fn is_output(&self) -> bool {
        matches!(self.direction, Direction::Out | Direction::InOut)
    }

    fn constraint(&self) -> String {
        let role = match self.direction {
            Direction::Out => "=",
            Direction::InOut => "+",
            Direction::In => "",
        };
        let count = self.count.map_or_else(String::new, |count| format!("*{count}"));
        format!("{role}{}{count}", self.letter)
    }

    /// The input's value in its register type, errors at the user's expression.
    fn input(&self) -> TokenStream {
        let (value, ty, span) = (&self.value, &self.ty, self.value.span());
        if self.class == "const" {
            quote_spanned!(span=> const { (#value) as i64 })
        } else if self.class == "ptr" {
            quote_spanned!(span=> { let pointer: *const _ = #value; pointer.cast::<u8>() as u64 })
        } else {
            quote_spanned!(span=> { let value: #ty = #value; value })
        }
    }
}

impl Ptx {
    fn link_name(&self) -> syn::Result<String> {
        let has = |name: &str| self.options.iter().any(|option| option == name);
        let template = self.template()?;
        let is_convergent = ["sync", "bar"].iter().any(|word| template.contains(word));
        let convergent = if is_convergent || has("convergent") { ".c" } else { "" };
        let volatile = if has("pure") { "" } else { ".v" };
        let mut constraints: Vec<String> = self.operands.iter().map(Operand::constraint).collect();
        if !has("nomem") {
            constraints.push("~{memory}".to_owned());
        }
        Ok(format!("raddle.asm{convergent}{volatile}:{}:{template}", constraints.join(",")))
    }

    /// The template with `$n` for `{name}`, `$n, $m, ..` for an array, and
    /// `{name[i]}` for one of its registers.
    fn template(&self) -> syn::Result<String> {
        let error = |message: String| Error::new(self.template[0].span(), message);
        let literals: Vec<String> = self.template.iter().map(LitStr::value).collect();
        let (source, mut text, mut used) = (literals.join("\n"), String::new(), Vec::new());
        let mut rest = source.as_str();
        while let Some(at) = rest.find(['{', '}', '$']) {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            if rest.starts_with('$') {
                text.push_str("$$");
                rest = &rest[1..];
            } else if rest.starts_with("{{") || rest.starts_with("}}") {
                text.push_str(&rest[..1]);
                rest = &rest[2..];
            } else {
                let parts = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
                let (name, after) = parts
                    .ok_or_else(|| error("write `{{` and `}}` for braces of the PTX".to_owned()))?;
                let (operand, registers) = self
                    .registers(name)
                    .ok_or_else(|| error(format!("there is no operand `{name}`")))?;
                text.push_str(&registers);
                used.push(&operand.name);
                rest = after;
            }
        }
        text.push_str(rest);
        match self.operands.iter().find(|operand| !used.contains(&&operand.name)) {
            Some(idle) => Err(Error::new(idle.name.span(), "this operand is not used in the PTX")),
            None => Ok(text),
        }
    }

    /// The operand that `name` or `name[i]` means, and its registers as text.
    fn registers(&self, placeholder: &str) -> Option<(&Operand, String)> {
        let (name, index) = match placeholder.strip_suffix(']').map(|text| text.split_once('[')) {
            Some(indexed) => indexed.map(|(name, index)| (name, Some(index)))?,
            None => (placeholder, None),
        };
        let size = |operand: &Operand| operand.count.unwrap_or(1);
        let position = self.operands.iter().position(|operand| operand.name == name)?;
        let first: usize = self.operands[..position].iter().map(size).sum();
        let operand = &self.operands[position];
        let range = match index.map(str::parse::<usize>) {
            None => first..first + size(operand),
            Some(Ok(index)) if index < size(operand) => first + index..first + index + 1,
            Some(_) => return None,
        };
        let list: Vec<String> = range.map(|register| format!("${register}")).collect();
        Some((operand, list.join(", ")))
    }

    fn device(&self) -> syn::Result<TokenStream> {
        let link_name = self.link_name()?;
        let (mut before, mut after) = (TokenStream::new(), TokenStream::new());
        let (mut types, mut arguments) = (Vec::new(), Vec::new());
        for operand in &self.operands {
            let (place, ty, input) = (&operand.value, &operand.ty, operand.input());
            let local = Ident::new(&operand.name.unraw().to_string(), Span::mixed_site());
            let (ty, argument) = match operand.direction {
                Direction::Out => {
                    let uninit = quote!(::core::mem::MaybeUninit::<#ty>::uninit());
                    before.extend(quote!(let mut #local = #uninit;));
                    after.extend(quote!(#place = #local.assume_init();));
                    (quote!(*mut #ty), quote!(#local.as_mut_ptr()))
                }
                Direction::InOut => (quote!(*mut #ty), quote!(&raw mut #place)),
                Direction::In if operand.count.is_some() => {
                    (quote!(*const #ty), quote!(::core::ptr::from_ref(&#input)))
                }
                Direction::In => (quote!(#ty), input),
            };
            types.push(ty);
            arguments.push(argument);
        }
        let names = (0..types.len()).map(|index| format_ident!("a{index}"));
        Ok(quote! {
            #[allow(improper_ctypes, clashing_extern_declarations)]
            unsafe extern "C" {
                #[link_name = #link_name]
                fn ptx(#(#names: #types),*);
            }
            #before
            ptx(#(#arguments),*);
            #after
        })
    }

    /// The host block, in which the operands are variables: inputs with their
    /// values, outputs to be assigned.
    fn host(&self) -> TokenStream {
        let (outs, ins): (Vec<&Operand>, Vec<&Operand>) =
            self.operands.iter().partition(|operand| operand.direction == Direction::Out);
        let patterns = ins.iter().map(|operand| {
            let name = &operand.name;
            if operand.is_output() { quote!(mut #name) } else { quote!(#name) }
        });
        let inputs = ins.iter().map(|operand| match &operand.value {
            pointer if operand.class == "ptr" => quote!(#pointer),
            _ => operand.input(),
        });
        let (results, places): (Vec<_>, Vec<_>) = (self.operands.iter())
            .filter(|operand| operand.is_output())
            .map(|operand| (&operand.name, &operand.value))
            .unzip();
        let locals: Vec<Ident> = (0..results.len())
            .map(|at| format_ident!("r{at}", span = Span::mixed_site()))
            .collect();
        let (names, types) = (outs.iter().map(|out| &out.name), outs.iter().map(|out| &out.ty));
        let (value, body) = match &self.host {
            Some(block) => (TokenStream::new(), quote!(#[allow(unused_braces)] #block)),
            None => (quote!(= no_cpu_body()), quote!(no_cpu_body::<()>();)),
        };
        quote! {
            unsafe fn ptx() {}
            #[allow(dead_code)] #[track_caller]
            fn no_cpu_body<T>() -> T {
                ::core::panic!("this `ptx!` has no CPU body: add `host = {{ .. }}`, or use a GPU")
            }
            ptx();
            let (#(#locals,)*) = {
                #[allow(unused_variables, unused_mut)]
                let (#(#patterns,)*) = (#(#inputs,)*);
                #(let #names: #types #value;)*
                #body
                (#(#results,)*)
            };
            #(#places = #locals;)*
        }
    }
}

/// `(class)` or `([class; N])`.
fn class(input: ParseStream) -> syn::Result<(Ident, Option<usize>)> {
    let (content, array);
    parenthesized!(content in input);
    if !content.peek(syn::token::Bracket) {
        return Ok((content.call(Ident::parse_any)?, None));
    }
    bracketed!(array in content);
    let class = array.call(Ident::parse_any)?;
    array.parse::<Token![;]>()?;
    Ok((class, Some(array.parse::<LitInt>()?.base10_parse()?)))
}

fn check_options(options: &[Ident], has_output: bool) -> syn::Result<Vec<String>> {
    let names: Vec<String> = options.iter().map(Ident::to_string).collect();
    let has = |name: &str| names.iter().any(|option| option == name);
    for (option, name) in options.iter().zip(&names) {
        if !["pure", "nomem", "convergent", "volatile"].contains(&name.as_str()) {
            let message = "the options are `pure`, `nomem`, `convergent` and `volatile`";
            return Err(Error::new(option.span(), message));
        }
        if name == "pure" && (!has_output || !has("nomem") || has("volatile")) {
            let message = "`pure` needs an output and `nomem` beside it, and not `volatile`";
            return Err(Error::new(option.span(), message));
        }
    }
    Ok(names)
}

fn comma(input: ParseStream) -> syn::Result<()> {
    if input.is_empty() { Ok(()) } else { input.parse::<Token![,]>().map(|_| ()) }
}
