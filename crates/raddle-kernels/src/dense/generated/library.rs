//! Mathematics as text: functions that were compiled with the other kernels
//! (`kernels/functions`) are cut out of their image and put into a generated one.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::OnceLock;

use raddle::Device;

use super::emit::Type;
use crate::kernels::functions;
use crate::{Error, Result};

/// Longest function that is copied to where it is called; longer ones are called.
const COPIED_LINES_MAX: usize = 300;

/// A part of an image at its top level.
struct Item {
    text: String,
    is_function: bool,
}

/// The functions of one type.
pub struct Library {
    items: HashMap<String, Item>,
}

/// A function for a generated kernel.
pub enum Found<'l> {
    /// Statements with the operands in parameters, to be copied.
    Body(&'l str),
    /// The name to call.
    Name(&'l str),
}

impl Library {
    /// The functions of numbers of a type.
    ///
    /// ## Errors
    /// [`Error::Shape`] if they were built without device code.
    pub fn of(ty: Type) -> Result<&'static Self> {
        static SINGLES: OnceLock<Library> = OnceLock::new();
        static DOUBLES: OnceLock<Library> = OnceLock::new();
        let kept = if ty == Type::F64 { &DOUBLES } else { &SINGLES };
        match kept.get() {
            Some(library) => Ok(library),
            None => {
                let library = Self::new(image(ty)?);
                Ok(kept.get_or_init(|| library))
            }
        }
    }

    fn new(ptx: &str) -> Self {
        Self { items: items(ptx) }
    }

    /// The function whose path ends in `name`.
    pub fn find(&self, name: &str) -> Option<Found<'_>> {
        let is_it = |symbol: &&String| {
            let stem = symbol.trim_end_matches(|c: char| c.is_ascii_digit());
            stem.strip_suffix('_').is_some_and(|stem| {
                let own = stem.strip_prefix("kernels_functions_").and_then(|it| it.split_once('_'));
                own.is_some_and(|(_, own)| own == name)
            })
        };
        let symbol = self.items.keys().find(is_it)?;
        let text = &self.items[symbol].text;
        let is_copied = text.lines().count() <= COPIED_LINES_MAX
            && !text.contains("call")
            && !text.contains(".local");
        if is_copied { Some(Found::Body(text)) } else { Some(Found::Name(symbol)) }
    }

    /// The text of functions and of all that they use.
    pub fn closure(&self, names: &BTreeSet<String>) -> String {
        let mut open: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut used = BTreeSet::new();
        while let Some(name) = open.pop() {
            let Some((symbol, item)) = self.items.get_key_value(name) else { continue };
            if used.insert(symbol) {
                open.extend(words(&item.text).filter(|word| self.items.contains_key(*word)));
            }
        }
        let mut text = String::new();
        let (functions, variables): (Vec<_>, Vec<_>) =
            used.into_iter().partition(|symbol| self.items[*symbol].is_function);
        for symbol in &variables {
            let _ = writeln!(text, "{}", self.items[*symbol].text);
        }
        // Declared first, since they may call each other.
        for symbol in &functions {
            let head = self.items[*symbol].text.split('{').next().unwrap_or_default();
            let _ = writeln!(text, "{};", head.trim_end());
        }
        for symbol in &functions {
            let _ = writeln!(text, "{}", self.items[*symbol].text);
        }
        text
    }
}

/// The PTX that holds the functions of a type.
fn image(ty: Type) -> Result<&'static str> {
    let stream = Device::cpu().stream()?;
    let kernel = match ty {
        Type::F64 => {
            let (x, mut out) = (stream.zeros::<f64>(0)?, stream.zeros::<f64>(0)?);
            functions::functions_f64(0, &x, &x, &mut out).kernel
        }
        Type::F32 | Type::I64 => {
            let (x, mut out) = (stream.zeros::<f32>(0)?, stream.zeros::<f32>(0)?);
            functions::functions_f32(0, &x, &x, &mut out).kernel
        }
    };
    let why = || "its mathematics were built without device code".to_owned();
    let missing = || Error::Shape { operation: super::OPERATION, why: why() };
    kernel.images.first().map(|image| image.ptx).ok_or_else(missing)
}

/// Names in a text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
    text.split(move |c| !is_name(c)).filter(|word| !word.is_empty())
}

/// Variables and functions with bodies, by name. Places of source lines are left out.
fn items(ptx: &str) -> HashMap<String, Item> {
    let mut items = HashMap::new();
    let mut lines = ptx.lines().filter(|line| !line.trim_start().starts_with(".loc\t"));
    while let Some(line) = lines.next() {
        if line.starts_with(".global") || line.starts_with(".const") {
            let name =
                line.split(['[', '=', ';']).next().and_then(|head| head.split(' ').next_back());
            if let Some(name) = name {
                let item = Item { text: line.to_owned(), is_function: false };
                items.insert(name.to_owned(), item);
            }
        } else if line.starts_with(".func") {
            let mut text = line.to_owned();
            let mut is_whole = line.ends_with(';');
            while !is_whole && let Some(line) = lines.next() {
                text.push('\n');
                text.push_str(line);
                is_whole = line == "}" || line == ";" || line == ".noreturn;";
            }
            let head = line.strip_suffix('(').unwrap_or(line);
            if text.ends_with('}')
                && let Some(name) = head.split(' ').next_back()
            {
                items.insert(name.to_owned(), Item { text, is_function: true });
            }
        }
    }
    items
}
