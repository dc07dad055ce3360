//! `cargo xtask tidy`: the rules of STYLE.md and ARCHITECTURE.md that a scanner
//! can hold.
//!
//! Every rule prints each place where it is broken as `file:line: what`, and
//! the task fails if there is one. Rules on lines take text and give findings,
//! so that their tests need no files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::source::{Line, has_word, scan};
use crate::workspace::{self, Package};
use crate::{Error, Result, layers, variables};

/// A file is one idea; longer ones are tables or need splitting.
const FILE_LINES_MAX: usize = 1_000;

/// Directories at the root of a developer's or a CI machine. An absolute path
/// into one of them works on that machine only.
const MACHINE_DIRS: [&str; 6] = ["home", "root", "tmp", "work", "Users", "mnt"];

/// Macros that stand for code that is not there.
const PLACEHOLDERS: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];

/// Marks of unfinished work; each needs an issue: `TODO(#12)`.
const MARKS: [&str; 3] = ["TODO", "FIXME", "XXX"];

/// A broken rule: line number from one, and what is wrong.
type Finding = (usize, String);

/// Runs the task.
pub fn run() -> Result {
    let root = workspace::root();
    let packages = workspace::packages()?;
    let files = files(&root)?;
    let mut survey = Survey::default();
    for file in &files {
        survey.look_at(file, &read(&root.join(file))?, package_of(&packages, &root.join(file)));
    }
    let Survey { mut findings, variables, lines_by_crate } = survey;
    findings.extend(layers::check_dependencies(&packages));
    findings.extend(variables::check(&variables, &read(&root.join("docs/environment.md"))?));
    findings.extend(check_budgets(&lines_by_crate));
    for package in packages.iter().filter(|package| package.is_crate()) {
        findings.extend(check_roots(package, &root)?);
    }
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("tidy: {} files in order", files.len());
            Ok(())
        }
        count => Err(Error::Found { count, what: "places break a rule of STYLE.md" }),
    }
}

/// What the files say, one after the other.
#[derive(Default)]
struct Survey {
    /// Broken rules, with their places.
    findings: Vec<String>,
    /// Environment variables that are read.
    variables: BTreeSet<String>,
    /// Lines of code without tests.
    lines_by_crate: BTreeMap<String, usize>,
}

impl Survey {
    fn look_at(&mut self, file: &Path, text: &str, package: Option<&Package>) {
        let mut found = check_text(text);
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => found.extend(self.look_at_rust(file, text, package)),
            Some("sh") => self.variables.extend(variables::names(text, '{')),
            _ => {}
        }
        let at = |(line, what)| format!("{}:{line}: {what}", file.display());
        self.findings.extend(found.into_iter().map(at));
    }

    fn look_at_rust(&mut self, file: &Path, text: &str, package: Option<&Package>) -> Vec<Finding> {
        let lines = scan(text);
        let mut found = check_rust(text);
        if !file.iter().any(|folder| folder == "programs") {
            // Programs of a corpus may be wrong on purpose.
            found.extend(check_placeholders(&lines));
        }
        if package.is_none_or(may_be_unsafe) {
            found.extend(check_safety_notes(&lines, package.is_some()));
        }
        let is_test = is_test_file(file);
        if !is_test || file.ends_with("build.rs") {
            let code = text.lines().zip(&lines).filter(|(_, line)| !line.is_test);
            for (text, _) in code {
                self.variables.extend(variables::names(text, '"'));
            }
        }
        if let Some(package) = package.filter(|_| !is_test) {
            let counted = lines.iter().filter(|line| line.is_counted()).count();
            *self.lines_by_crate.entry(package.name.clone()).or_default() += counted;
        }
        found
    }
}

/// Text files of the repository that the rules apply to, tracked or about to be.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.current_dir(root).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let listed = workspace::output(&mut git)?;
    let is_checked = |file: &&str| {
        let extension = Path::new(file).extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("rs" | "md" | "toml" | "sh")) && root.join(file).is_file()
    };
    Ok(listed.lines().filter(is_checked).map(PathBuf::from).collect())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// The crate that a file belongs to.
fn package_of<'a>(packages: &'a [Package], file: &Path) -> Option<&'a Package> {
    packages.iter().find(|package| package.is_crate() && file.starts_with(&package.dir))
}

/// Whether a file holds only tests, by its name or folder.
fn is_test_file(file: &Path) -> bool {
    let is_tests = |name: &std::ffi::OsStr| {
        matches!(name.to_str(), Some("tests" | "tests.rs" | "benches" | "fuzz"))
    };
    file.iter().any(is_tests)
}

/// Rules for every text file.
fn check_text(text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for dir in MACHINE_DIRS {
            let path = format!("/{dir}/");
            let is_absolute = |at: usize| {
                !line[..at].chars().next_back().is_some_and(|c| {
                    c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '}' | '*' | '>')
                })
            };
            if line.match_indices(&path).any(|(at, _)| is_absolute(at)) {
                found.push((number + 1, format!("`{path}…` exists on one machine only")));
            }
        }
        for mark in MARKS {
            if has_word(line, mark) && !line.contains(&format!("{mark}(#")) {
                // This table and the rule's own text name the marks in quotes.
                let is_quoted = [format!("\"{mark}"), format!("`{mark}")];
                if !is_quoted.iter().any(|quoted| line.contains(quoted)) {
                    found.push((number + 1, format!("{mark} without an issue: {mark}(#12)")));
                }
            }
        }
    }
    found
}

/// Rules for Rust files.
fn check_rust(text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    if !text.starts_with("//!") {
        found.push((
            1,
            "a file opens with `//!`: what it is, what it keeps, where it stands".into(),
        ));
    }
    let count = text.lines().count();
    if count > FILE_LINES_MAX {
        found.push((count, format!("{count} lines, at most {FILE_LINES_MAX}: split the file")));
    }
    if text.contains("feature = \"cuda\"") {
        found.push((1, "the driver is found at run time, not by a feature".into()));
    }
    found
}

/// Macros that stand for code that is not there.
fn check_placeholders(lines: &[Line]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        for placeholder in PLACEHOLDERS {
            if line.code.contains(placeholder) {
                found.push((index + 1, format!("`{placeholder}` stands for code that is missing")));
            }
        }
    }
    found
}

/// Whether the crate may hold unsafe code. In the others the compiler forbids
/// it, and the word occurs only in what a macro writes.
fn may_be_unsafe(package: &Package) -> bool {
    layers::layer(&package.name).is_none_or(|(_, layer)| layer.may_be_unsafe)
}

/// Notes at unsafe code; `is_crate` where others may call what is public.
fn check_safety_notes(lines: &[Line], is_crate: bool) -> Vec<Finding> {
    let check = |index| check_unsafe(lines, index, is_crate).map(|what| (index + 1, what));
    (0..lines.len()).filter_map(check).collect()
}

/// An `unsafe` block or impl needs a `SAFETY:` comment, an `unsafe fn` or trait
/// a `# Safety` section.
fn check_unsafe(lines: &[Line], index: usize, is_crate: bool) -> Option<String> {
    let code = &lines[index].code;
    let (at, _) = code.match_indices("unsafe").find(|(at, word)| {
        has_word(&code[at.saturating_sub(1)..(at + word.len() + 1).min(code.len())], word)
    })?;
    let after = code[at + "unsafe".len()..].trim_start();
    // `unsafe(no_mangle)`, function pointer types, foreign blocks and what only
    // passes the keyword on to a macro promise nothing here.
    let declares = |words: &[&str]| words.iter().any(|word| after.starts_with(word));
    let is_block = declares(&["{", "impl"]) || after.is_empty();
    let is_contract = declares(&["fn ", "trait ", "extern \"\" fn "])
        && !after.starts_with("fn (")
        && (code.trim_start().starts_with("pub ") || after.starts_with("trait"));
    if is_block && !has_note(lines, index, "SAFETY:") {
        return Some("`unsafe` without a `// SAFETY:` comment".into());
    }
    if is_contract && is_crate && !has_note(lines, index, "# Safety") {
        return Some("public `unsafe` item without a `# Safety` section".into());
    }
    None
}

/// Whether `note` stands in a comment on the line, or above the statement that
/// the line belongs to.
fn has_note(lines: &[Line], index: usize, note: &str) -> bool {
    if lines[index].comment.contains(note) {
        return true;
    }
    for line in lines[..index].iter().rev() {
        if line.comment.contains(note) {
            return true;
        }
        let code = line.code.trim();
        let is_attribute = code.starts_with("#[") || code.ends_with(")]");
        let is_other_statement = code.ends_with(';')
            || code.ends_with('}')
            || code.ends_with("{")
            || code.ends_with("},");
        let is_blank = code.is_empty() && line.comment.is_empty();
        if is_blank || (is_other_statement && !is_attribute) {
            return false;
        }
    }
    false
}

/// Crates above their budget.
fn check_budgets(lines_by_crate: &BTreeMap<String, usize>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, count) in lines_by_crate {
        let Some((_, layer)) = layers::layer(name) else { continue };
        if *count > layer.lines_max {
            found.push(format!(
                "{name}: {count} lines of code, the budget is {} (xtask/src/layers.rs)",
                layer.lines_max
            ));
        }
    }
    found
}

/// Roots of crates that must forbid unsafe code and do not.
fn check_roots(package: &Package, root: &Path) -> Result<Vec<String>> {
    if may_be_unsafe(package) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for file in &package.roots {
        if !layers::forbids_unsafe(&scan(&read(file)?)) {
            let file = file.strip_prefix(root).unwrap_or(file);
            found.push(format!("{}:1: `#![forbid(unsafe_code)]` is missing", file.display()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rust(text: &str) -> Vec<usize> {
        let text = format!("//! A test.\n{text}");
        let lines = scan(&text);
        let (placeholders, notes) = (check_placeholders(&lines), check_safety_notes(&lines, true));
        let found = [check_rust(&text), placeholders, notes].concat();
        found.into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn safety_notes_are_found_where_they_belong() {
        assert!(rust("// SAFETY: in bounds\nlet a = unsafe { f() };").is_empty());
        assert!(rust("// SAFETY: in bounds\nlet a =\n    unsafe { f() };").is_empty());
        assert!(rust("let a = unsafe { f() }; // SAFETY: in bounds").is_empty());
        assert!(rust("// SAFETY: plain\n#[allow(x)]\nunsafe impl A for B {}").is_empty());
        assert_eq!(rust("let a = unsafe { f() };"), [2]);
        assert_eq!(rust("// SAFETY: one\nunsafe impl A for B {}\nunsafe impl A for C {}"), [4]);
        assert_eq!(rust("// SAFETY: far away\n\nunsafe { f() }"), [4]);
        assert_eq!(rust("pub unsafe fn f() {}"), [2]);
        assert!(rust("/// # Safety\n///\n/// None.\npub unsafe fn f() {}").is_empty());
        assert!(rust("pub type F = unsafe fn(*const u8);").is_empty());
        assert!(rust("#[unsafe(no_mangle)]\nfn f() {}\nlet s = \"unsafe {\";").is_empty());
    }

    #[test]
    fn placeholders_are_found_in_code_only() {
        assert_eq!(rust(&format!("fn f() {{ {}() }}", PLACEHOLDERS[0])), [2]);
        assert!(rust(&format!("// never {}", PLACEHOLDERS[0])).is_empty());
    }

    #[test]
    fn machine_paths_are_told_from_relative_ones() {
        let path = |dir: &str| format!("see /{dir}/data");
        for dir in MACHINE_DIRS {
            assert_eq!(check_text(&path(dir)).len(), 1, "{dir}");
        }
        assert!(check_text("target/tmp/x and crates/work/y").is_empty());
    }

    #[test]
    fn marks_need_an_issue() {
        let mark = MARKS[0];
        assert_eq!(check_text(&format!("// {mark}: later")).len(), 1);
        assert!(check_text(&format!("// {mark}(#12): later")).is_empty());
    }

    #[test]
    fn a_file_without_a_header_is_found() {
        assert_eq!(check_rust("fn f() {}").len(), 1);
    }
}
