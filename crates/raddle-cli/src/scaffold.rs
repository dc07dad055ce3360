//! `raddle new`: a crate with one kernel that builds and runs as it is, on a
//! machine with a GPU and on one without.
//!
//! The files are templates beside this one; only names and the place of the
//! `raddle` crates are filled in.

use std::path::{Path, PathBuf};

/// Where the new crate gets `raddle` and `raddle-build` from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A checkout of Raddle's repository.
    Checkout(PathBuf),
    /// The package registry.
    Registry,
}

/// Why no crate was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NewError {
    /// Cargo would refuse the name.
    #[error("`{name}` is no name for a crate: {reason}")]
    Name {
        /// What was asked for.
        name: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// There is something at the place; nothing was changed.
    #[error("{} exists: choose another name or --path", .0.display())]
    Exists(PathBuf),
    /// `--raddle` does not name a checkout.
    #[error("{} holds no Raddle: expected {}", dir.display(), expected.display())]
    NoCheckout {
        /// What was given.
        dir: PathBuf,
        /// The file that is missing.
        expected: PathBuf,
    },
    /// A file could not be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Files of the new crate and their templates.
const TEMPLATES: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("scaffold/Cargo.toml.txt")),
    ("build.rs", include_str!("scaffold/build.rs.txt")),
    ("src/main.rs", include_str!("scaffold/main.rs.txt")),
    ("src/kernels.rs", include_str!("scaffold/kernels.rs.txt")),
    (".gitignore", "/target\n"),
];

/// Writes the crate `name` into `dir`, which must not exist.
///
/// ## Errors
///
/// See [`NewError`].
pub fn create(name: &str, dir: &Path, source: &Source) -> Result<(), NewError> {
    check_name(name)?;
    if dir.exists() {
        return Err(NewError::Exists(dir.to_owned()));
    }
    let (raddle, raddle_build) = dependencies(source)?;
    // A package below a workspace that does not list it needs its own root.
    let workspace = if is_below_workspace(dir) {
        "\n# The folders above hold a workspace; this crate is not part of it.\n[workspace]\n"
    } else {
        ""
    };
    for (file, template) in TEMPLATES {
        let text = template
            .replace("{name}", name)
            .replace("{raddle}", &raddle)
            .replace("{raddle-build}", &raddle_build)
            .replace("{workspace}", workspace);
        let path = dir.join(file);
        let folder = path.parent().expect("each file lies in the crate's folder");
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, text))
            .map_err(|source| NewError::Io { path, source })?;
    }
    Ok(())
}

/// The checkout that `--raddle` names, or the one around this program or the
/// current folder; else the registry.
///
/// ## Errors
///
/// [`NewError::NoCheckout`] if the named folder is none.
pub fn find_source(named: Option<&Path>) -> Result<Source, NewError> {
    if let Some(dir) = named {
        let dir = std::path::absolute(dir)
            .map_err(|source| NewError::Io { path: dir.to_owned(), source })?;
        let expected = library(&dir);
        if !expected.is_file() {
            return Err(NewError::NoCheckout { dir, expected });
        }
        return Ok(Source::Checkout(dir));
    }
    let starts = [std::env::current_exe(), std::env::current_dir()];
    for start in starts.iter().flatten() {
        if let Some(dir) = start.ancestors().find(|dir| library(dir).is_file()) {
            return Ok(Source::Checkout(dir.to_owned()));
        }
    }
    Ok(Source::Registry)
}

/// The file by which a checkout is known.
fn library(checkout: &Path) -> PathBuf {
    checkout.join("crates/raddle/Cargo.toml")
}

/// What to write behind `raddle =` and `raddle-build =`.
fn dependencies(source: &Source) -> Result<(String, String), NewError> {
    match source {
        Source::Registry => {
            let version = format!("\"{}\"", env!("CARGO_PKG_VERSION"));
            Ok((version.clone(), version))
        }
        Source::Checkout(dir) => {
            let entry = |name: &str| {
                let path = dir.join("crates").join(name);
                format!("{{ path = {} }}", toml_string(&path.display().to_string()))
            };
            Ok((entry("raddle"), entry("raddle-build")))
        }
    }
}

/// A TOML basic string.
fn toml_string(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

/// Cargo's rules for names, and Rust's for what can be called `crate_name`.
fn check_name(name: &str) -> Result<(), NewError> {
    const KEYWORDS: [&str; 10] =
        ["fn", "impl", "match", "mod", "self", "struct", "super", "trait", "type", "use"];
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let reason = if name.is_empty() {
        "it is empty"
    } else if !name.starts_with(is_letter) {
        "it must begin with a letter"
    } else if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        "letters, digits, `-` and `_` are allowed"
    } else if KEYWORDS.contains(&name) {
        "it is a keyword of Rust"
    } else if matches!(name, "raddle" | "raddle-build" | "test" | "core" | "std") {
        "a crate of that name is needed itself"
    } else {
        return Ok(());
    };
    Err(NewError::Name { name: name.to_owned(), reason })
}

/// Whether cargo would look for `dir` in a workspace above it.
fn is_below_workspace(dir: &Path) -> bool {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    dir.ancestors().skip(1).any(|above| {
        std::fs::read_to_string(above.join("Cargo.toml"))
            .is_ok_and(|manifest| manifest.lines().any(|line| line.trim() == "[workspace]"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_cargos_rules() {
        for good in ["app", "my-app", "_x1"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "1app", "my app", "a/b", "../x", "fn", "raddle", "grün"] {
            let error = check_name(bad).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{bad}` is no name for a crate: ")), "{error}");
        }
    }

    #[test]
    fn every_placeholder_is_filled_in() {
        let (raddle, build) = dependencies(&Source::Checkout("/a \"b\"".into())).unwrap();
        assert_eq!(raddle, "{ path = \"/a \\\"b\\\"/crates/raddle\" }");
        assert_eq!(build, "{ path = \"/a \\\"b\\\"/crates/raddle-build\" }");
        for (file, template) in TEMPLATES {
            let text = ["{name}", "{raddle}", "{raddle-build}", "{workspace}"]
                .iter()
                .fold(template.to_owned(), |text, word| text.replace(word, ""));
            let is_toml = file.ends_with(".toml");
            assert!(!is_toml || !text.contains('{'), "{file} has an unknown placeholder");
        }
    }

    #[test]
    fn a_folder_without_raddle_is_refused() {
        let error = find_source(Some(Path::new("src"))).unwrap_err().to_string();
        assert!(error.contains("holds no Raddle: expected"), "{error}");
    }

    #[test]
    fn the_registry_is_named_by_version() {
        let (raddle, _) = dependencies(&Source::Registry).unwrap();
        assert_eq!(raddle, format!("\"{}\"", env!("CARGO_PKG_VERSION")));
    }
}
