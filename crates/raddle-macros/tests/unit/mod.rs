//! Tests of the expansions as token streams: what is made, and for wrong programs
//! which message stands at which token.
//!
//! `tests/compile.rs` shows the same to rustc.

mod derive;
mod index;
mod kernel;
mod ptx;
mod wrong_kernels;

use std::str::FromStr;
use std::sync::atomic::AtomicBool;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;

use crate::index::Index;

pub fn tokens(source: &str) -> TokenStream {
    TokenStream::from_str(source).expect("the test's source consists of tokens")
}

/// Text without blanks, so that layout does not matter.
pub fn squeeze(text: &str) -> String {
    text.split_whitespace().collect()
}

/// An index with these lines; fields are separated by blanks instead of tabs.
pub fn index(lines: &[&str]) -> Index {
    let text = lines.join("\n").replace(' ', "\t").replace('~', " ");
    Index::Built(crate::index::parse(&text, "/out/raddle").expect("a well-formed index"))
}

/// Expands a kernel that the index knows in all its instances.
pub fn expand(options: &str, item: &str) -> syn::File {
    expand_with(options, item, &index(&["rustc  kernels~of~this~test~need~no~images"]))
}

pub fn expand_with(options: &str, item: &str, index: &Index) -> syn::File {
    let expansion =
        crate::kernel::expand(tokens(options), tokens(item), index, &AtomicBool::new(true));
    syn::parse2(expansion).expect("the expansion consists of items")
}

/// The errors in an expansion: the source text they point at, and the message.
pub fn errors_in(expansion: TokenStream) -> Vec<(String, String)> {
    let mut errors = Vec::new();
    collect_errors(expansion, &mut errors);
    errors
}

fn collect_errors(expansion: TokenStream, errors: &mut Vec<(String, String)>) {
    let trees: Vec<TokenTree> = expansion.into_iter().collect();
    for (at, tree) in trees.iter().enumerate() {
        match tree {
            TokenTree::Ident(name) if name == "compile_error" => {
                let TokenTree::Group(message) = &trees[at + 2] else { continue };
                let start = name.span();
                let span = start.join(message.span()).unwrap_or(start);
                let at = span.source_text().unwrap_or_default();
                let message: syn::LitStr =
                    syn::parse2(message.stream()).expect("compile_error! holds a message");
                errors.push((at, message.value()));
            }
            TokenTree::Group(group) => collect_errors(group.stream(), errors),
            _ => {}
        }
    }
}

/// All items of an expansion with their names, also those in blocks and modules.
pub fn items(file: &syn::File) -> Vec<(String, String)> {
    struct Items(Vec<(String, String)>);
    impl<'a> Visit<'a> for Items {
        fn visit_item(&mut self, item: &'a syn::Item) {
            let name = match item {
                syn::Item::Fn(item) => item.sig.ident.to_string(),
                syn::Item::Struct(item) => item.ident.to_string(),
                syn::Item::Static(item) => item.ident.to_string(),
                syn::Item::Const(item) => item.ident.to_string(),
                syn::Item::Mod(item) => item.ident.to_string(),
                syn::Item::Trait(item) => item.ident.to_string(),
                syn::Item::Impl(_) => "impl".to_owned(),
                _ => String::new(),
            };
            self.0.push((name, quote::ToTokens::to_token_stream(item).to_string()));
            syn::visit::visit_item(self, item);
        }
    }
    let mut found = Items(Vec::new());
    found.visit_file(file);
    found.0
}

/// The text of the items called `name`.
pub fn named(file: &syn::File, name: &str) -> Vec<String> {
    items(file).into_iter().filter(|(found, _)| found == name).map(|(_, text)| text).collect()
}

/// The three functions that a kernel's name stands for.
pub struct Functions {
    pub device: String,
    pub launch: String,
    pub body: String,
}

#[track_caller]
pub fn functions(file: &syn::File, name: &str) -> Functions {
    let mut texts = named(file, name);
    texts.retain(|text| !text.contains("trait"));
    texts.sort_by_key(|text| {
        (!text.starts_with("# [cfg (raddle_device)]"), !text.contains("KernelCall"))
    });
    let [device, launch, body] = texts.try_into().expect("three functions");
    Functions { device, launch, body }
}

#[track_caller]
pub fn assert_contains(found: &str, wanted: &str) {
    assert!(squeeze(found).contains(&squeeze(wanted)), "expected\n  {wanted}\nin\n  {found}");
}

#[track_caller]
pub fn assert_lacks(found: &str, unwanted: &str) {
    assert!(
        !squeeze(found).contains(&squeeze(unwanted)),
        "expected no\n  {unwanted}\nin\n  {found}"
    );
}
