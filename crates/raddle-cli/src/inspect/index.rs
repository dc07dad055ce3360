//! Reads `OUT_DIR/raddle/index.tsv`, the list of compiled kernels that
//! `raddle-build` leaves beside their PTX; ARCHITECTURE.md has the format.
//!
//! Invariant: a record that is not understood is an error with its line number,
//! never skipped. `xtask` includes this file too, so it uses `std` and
//! `thiserror` only.

use std::path::{Path, PathBuf};

/// One compiled form of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRecord {
    /// Path of the kernel below its crate, with its instance.
    pub kernel: String,
    /// PTX target, `sm_80` or `sm_90a`.
    pub target: String,
    /// Name of the entry in the PTX.
    pub entry: String,
    /// The PTX file.
    pub ptx_file: PathBuf,
    /// Whether threads of a block or warp can wait for each other, where known.
    pub synchronizes: Option<bool>,
    /// Architectures for which the program holds machine code too, where known.
    pub cubins: Vec<String>,
}

/// The contents of one index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Compiled kernels in the order of the file.
    pub images: Vec<ImageRecord>,
    /// Kernels that cannot run on a GPU, with the compiler's message.
    pub errors: Vec<(String, String)>,
    /// What rustc said about the device crates that it refused.
    pub rustc: Option<String>,
    /// Whether the kernels were left out, by `RADDLE_DEVICE_BUILD=off`.
    pub is_off: bool,
}

/// Why an index could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The file is missing or unreadable: the crate was not built.
    #[error("{}: {source}", path.display())]
    Io {
        /// The index.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A record is not of the known form: the index was written by another
    /// version of `raddle-build`, or damaged. Rebuild the crate.
    #[error("{}:{line}: expected {expected}, found `{found}`", path.display())]
    Malformed {
        /// The index.
        path: PathBuf,
        /// Line number from one.
        line: usize,
        /// What a record of this kind needs.
        expected: &'static str,
        /// The record.
        found: String,
    },
}

/// Reads the index in `dir`, a folder `OUT_DIR/raddle`.
///
/// ## Errors
///
/// See [`IndexError`].
pub fn read(dir: &Path) -> Result<Index, IndexError> {
    let path = dir.join("index.tsv");
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text, &path),
        Err(source) => Err(IndexError::Io { path, source }),
    }
}

/// Parses the text of the index at `path`; PTX files are relative to its folder.
///
/// ## Errors
///
/// [`IndexError::Malformed`] at the first record that is not understood.
pub fn parse(text: &str, path: &Path) -> Result<Index, IndexError> {
    let dir = path.parent().unwrap_or(Path::new(""));
    let mut index = Index::default();
    for (number, record) in text.lines().enumerate() {
        let malformed = |expected| IndexError::Malformed {
            path: path.to_owned(),
            line: number + 1,
            expected,
            found: record.to_owned(),
        };
        let fields: Vec<String> = record.split('\t').map(unescape).collect();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        match fields[..] {
            ["image", kernel, target, entry, file, synchronizes @ ("0" | "1")] => {
                index.images.push(ImageRecord {
                    kernel: kernel.to_owned(),
                    target: target.to_owned(),
                    entry: entry.to_owned(),
                    ptx_file: dir.join(file),
                    synchronizes: Some(synchronizes == "1"),
                    cubins: Vec::new(),
                });
            }
            ["cubin", kernel, target, architecture, _cuda, _file] => {
                let mut images = index.images.iter_mut();
                let image = images.find(|image| image.kernel == kernel && image.target == target);
                let image = image.ok_or_else(|| malformed("`cubin` behind its `image`"))?;
                image.cubins.push(architecture.to_owned());
            }
            ["cubin", ..] => {
                let fields = "`cubin`, path, target, architecture, CUDA version and file";
                return Err(malformed(fields));
            }
            ["image", ..] => {
                return Err(malformed("`image`, path, target, entry, file and 0 or 1"));
            }
            ["error", kernel, message] => {
                index.errors.push((kernel.to_owned(), message.to_owned()));
            }
            ["error", ..] => return Err(malformed("`error`, path and message")),
            ["rustc", _, message] => {
                let all = index.rustc.get_or_insert_default();
                all.push_str(message);
                all.push('\n');
            }
            ["rustc", ..] => return Err(malformed("`rustc`, program and message")),
            ["off"] => index.is_off = true,
            _ => return Err(malformed("`image`, `cubin`, `error`, `rustc` or `off`")),
        }
    }
    Ok(index)
}

/// Undoes `\t`, `\n` and `\\`.
fn unescape(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('t') => text.push('\t'),
                Some('n') => text.push('\n'),
                Some(other) => text.push(other),
                None => text.push('\\'),
            },
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_kind_of_record() {
        let text = "image\tkernels::axpy.f32\tsm_80\taxpy__i__f32\taxpy.ptx\t1\n\
                    cubin\tkernels::axpy.f32\tsm_80\tsm_90\t13.0\taxpy.cubin\n\
                    error\tkernels::bad\tsrc/kernels.rs:3:\\n\\tno heap \\\\ here\n\
                    rustc\tdemo\terror[E0308]\nrustc\t\terror[E0309]\noff\n";
        let index = parse(text, Path::new("out/raddle/index.tsv")).unwrap();
        assert_eq!(index.images[0].kernel, "kernels::axpy.f32");
        assert_eq!(index.images[0].ptx_file, Path::new("out/raddle/axpy.ptx"));
        assert_eq!(index.images[0].synchronizes, Some(true));
        assert_eq!(index.images[0].cubins, ["sm_90"]);
        assert_eq!(index.errors[0].1, "src/kernels.rs:3:\n\tno heap \\ here");
        assert_eq!(index.rustc.as_deref(), Some("error[E0308]\nerror[E0309]\n"));
        assert!(index.is_off);
    }

    #[test]
    fn names_the_line_of_a_damaged_record() {
        for (bad, line) in [
            ("image\ta\tsm_80\te\tf\t1\nimage\ta\tsm_80\te\tf\tyes\n", 2),
            ("image\ta\n", 1),
            ("error\ta\n", 1),
            ("cubin\ta\tsm_80\tsm_80\t13.0\tof-no-image\n", 1),
            ("cubin\ta\n", 1),
            ("kernel\ta\n", 1),
            ("rustc\ta\n", 1),
            ("\n", 1),
        ] {
            match parse(bad, Path::new("index.tsv")) {
                Err(IndexError::Malformed { line: found, .. }) => assert_eq!(found, line, "{bad}"),
                other => panic!("{bad:?} was read as {other:?}"),
            }
        }
    }
}
