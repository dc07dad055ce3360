//! `OUT_DIR/raddle/index.tsv`: what the build tells `#[kernel]`.
//!
//! One record a line, fields separated by tabs; `\`, tab and newline are escaped.

use std::fmt::Write as _;

/// The records, in the order in which they are written.
#[derive(Default)]
pub struct Index {
    text: String,
}

impl Index {
    /// A compiled kernel.
    pub fn image(&mut self, path: &str, target: &str, entry: &str, file: &str, synchronizes: bool) {
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
