//! `OUT_DIR/raddle/index.tsv`: what the build tells `#[kernel]`.
//!
//! One record a line, fields separated by tabs; `\`, tab and newline are escaped.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;

use crate::error::Error;

/// The records, in the order in which they are written.
#[derive(Default)]
pub struct Index {
    text: String,
    files: HashSet<String>,
}

impl Index {
    /// A compiled kernel.
    pub fn image(&mut self, path: &str, target: &str, entry: &str, file: &str, synchronizes: bool) {
        self.files.insert(file.to_owned());
        let flag = if synchronizes { "1" } else { "0" };
        self.record(&["image", path, target, entry, file, flag]);
    }

    /// A kernel that cannot run on a GPU.
    pub fn error(&mut self, path: &str, message: &str) {
        self.record(&["error", path, message]);
    }

    /// rustc refused the device build.
    pub fn rustc(&mut self, message: &str) {
        self.record(&["rustc", message]);
    }

    /// Deletes images of kernels that are no longer there.
    pub fn remove_stale_images(&self, folder: &Path) -> Result<(), Error> {
        let io =
            |action, path: &Path, source| Error::Io { action, path: path.to_path_buf(), source };
        let entries = std::fs::read_dir(folder).map_err(|e| io("read", folder, e))?;
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            let is_image = path.extension().is_some_and(|extension| extension == "ptx");
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if is_image && !self.files.contains(&name) {
                std::fs::remove_file(&path).map_err(|e| io("delete", &path, e))?;
            }
        }
        Ok(())
    }

    /// The file's content.
    pub fn into_text(self) -> String {
        self.text
    }

    fn record(&mut self, fields: &[&str]) {
        let escaped: Vec<String> = fields.iter().map(|field| escape(field)).collect();
        writeln!(self.text, "{}", escaped.join("\t")).expect("writing to a string cannot fail");
    }
}

fn escape(field: &str) -> String {
    field.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_escaped() {
        let mut index = Index::default();
        index.image("kernels::a", "sm_80", "kernels__a", "a.ptx", true);
        index.error("kernels::b", "one\n\ttwo \\ three");
        assert_eq!(
            index.into_text(),
            "image\tkernels::a\tsm_80\tkernels__a\ta.ptx\t1\nerror\tkernels::b\tone\\n\\ttwo \\\\ three\n"
        );
    }
}
