//! The ratchet file `xtask/spills.txt`: which kernels may spill registers, and
//! how much, and which of the assembler's warnings are known.
//!
//! One record a line, fields separated by blanks, `#` begins a comment:
//! `spill CRATE KERNEL ARCHITECTURE BYTES` and
//! `warning CRATE KERNEL ARCHITECTURE CODE`.

use std::collections::BTreeMap;
use std::path::Path;

use crate::{Error, Result};

/// A kernel on an architecture.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The crate.
    pub package: String,
    /// Path of the kernel below its crate.
    pub kernel: String,
    /// `sm_80`.
    pub architecture: String,
}

/// What is allowed, or what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spills {
    /// Bytes written to local memory for want of registers.
    pub bytes: BTreeMap<Place, u32>,
    /// Codes of warnings.
    pub codes: BTreeMap<Place, Vec<String>>,
}

impl Spills {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Parses the text of the file at `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let mut spills = Self::default();
        for (number, line) in text.lines().enumerate() {
            let malformed = || Error::Malformed {
                path: path.to_owned(),
                line: number + 1,
                expected: "`spill CRATE KERNEL ARCHITECTURE BYTES` or `warning CRATE KERNEL \
                           ARCHITECTURE CODE`",
            };
            let record = line.split('#').next().unwrap_or_default();
            let fields: Vec<&str> = record.split_whitespace().collect();
            let [kind, package, kernel, architecture, value] = fields[..] else {
                if fields.is_empty() {
                    continue;
                }
                return Err(malformed());
            };
            let place = Place {
                package: package.to_owned(),
                kernel: kernel.to_owned(),
                architecture: architecture.to_owned(),
            };
            match kind {
                "spill" => {
                    spills.bytes.insert(place, value.parse().map_err(|_| malformed())?);
                }
                "warning" => spills.codes.entry(place).or_default().push(value.to_owned()),
                _ => return Err(malformed()),
            }
        }
        Ok(spills)
    }

    /// The text of a file that allows exactly `self`.
    pub fn to_text(&self) -> String {
        let mut text = String::from(
            "# Register spills and assembler warnings that are known, checked by `cargo xtask ptx-check`.\n\
             # A commit that adds a line or raises a number says why. See xtask/src/spills.rs for the format.\n",
        );
        for (place, bytes) in &self.bytes {
            let Place { package, kernel, architecture } = place;
            text += &format!("spill {package} {kernel} {architecture} {bytes}\n");
        }
        for (place, codes) in &self.codes {
            let Place { package, kernel, architecture } = place;
            for code in codes {
                text += &format!("warning {package} {kernel} {architecture} {code}\n");
            }
        }
        text
    }

    /// What of `found` is not allowed by `self`, one sentence each.
    pub fn violations(&self, found: &Self) -> Vec<String> {
        let mut violations = Vec::new();
        for (place, bytes) in &found.bytes {
            let allowed = self.bytes.get(place).copied().unwrap_or(0);
            if *bytes > allowed {
                let Place { package, kernel, architecture } = place;
                violations.push(format!(
                    "{package} {kernel} {architecture}: spills {bytes} bytes, allowed are {allowed}"
                ));
            }
        }
        for (place, codes) in &found.codes {
            let allowed = self.codes.get(place);
            for code in codes {
                if !allowed.is_some_and(|allowed| allowed.contains(code)) {
                    let Place { package, kernel, architecture } = place;
                    violations.push(format!("{package} {kernel} {architecture}: warning {code}"));
                }
            }
        }
        violations
    }

    /// Allowances that `found` no longer needs, for kernels on architectures
    /// that were checked: the ratchet can be tightened.
    pub fn slack(&self, found: &Self, is_checked: impl Fn(&Place) -> bool) -> usize {
        let bytes = self.bytes.iter().filter(|(place, allowed)| {
            is_checked(place) && found.bytes.get(place).copied().unwrap_or(0) < **allowed
        });
        let codes = self.codes.iter().filter(|(place, codes)| {
            let still = found.codes.get(place);
            let is_gone = |code| !still.is_some_and(|still| still.contains(code));
            is_checked(place) && codes.iter().any(is_gone)
        });
        bytes.count() + codes.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Spills {
        Spills::parse(text, Path::new("spills.txt")).unwrap()
    }

    #[test]
    fn only_what_is_worse_than_allowed_is_a_violation() {
        let allowed = parse("# known\nspill a k::x sm_80 16\nwarning a k::y sm_90a C7510 # why\n");
        assert!(allowed.violations(&parse("spill a k::x sm_80 16")).is_empty());
        assert!(allowed.violations(&parse("warning a k::y sm_90a C7510")).is_empty());
        assert_eq!(allowed.violations(&parse("spill a k::x sm_80 20")).len(), 1);
        assert_eq!(allowed.violations(&parse("spill a k::x sm_90 4")).len(), 1);
        assert_eq!(allowed.violations(&parse("warning a k::y sm_90a C7508")).len(), 1);
    }

    #[test]
    fn improvements_are_slack_only_where_checked() {
        let allowed = parse("spill a k::x sm_80 16\nwarning a k::y sm_90a C7510\n");
        assert_eq!(allowed.slack(&parse("spill a k::x sm_80 8"), |_| true), 2);
        assert_eq!(allowed.slack(&Spills::default(), |_| false), 0);
    }

    #[test]
    fn text_and_back() {
        let spills = parse("spill a k::x sm_80 16\nwarning a k::y sm_90a C7510\n");
        assert_eq!(parse(&spills.to_text()), spills);
    }

    #[test]
    fn damaged_lines_are_named() {
        for bad in ["\nspill a b sm_80", "\nspill a b sm_80 many", "\nleak a b sm_80 4"] {
            match Spills::parse(bad, Path::new("spills.txt")) {
                Err(Error::Malformed { line, .. }) => assert_eq!(line, 2),
                other => panic!("{bad:?} was read as {other:?}"),
            }
        }
    }
}
