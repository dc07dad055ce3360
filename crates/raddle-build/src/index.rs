//! `OUT_DIR/raddle/index.tsv`: what the build tells `#[kernel]`.
//!
//! One record a line, fields separated by tabs; `\`, tab and newline are escaped.

use std::collections::HashSet;
use std::path::Path;

use crate::cubin::{Assembler, Cubin};
use crate::error::Error;
use crate::store::{line, write_if_changed};

/// What became of the kernels of one device crate.
#[derive(Clone, Debug, Default)]
pub struct DeviceCode {
    /// The compiled kernels.
    pub images: Vec<Image>,
    /// Kernels that cannot run on a GPU: path and message.
    pub errors: Vec<(String, String)>,
}

/// A kernel compiled for a target.
#[derive(Clone, Debug)]
pub struct Image {
    /// Path with instance: `kernels::axpy.f32`.
    pub path: String,
    /// PTX target.
    pub target: String,
    /// Name of the entry in the PTX.
    pub entry: String,
    /// Whether threads can wait for each other.
    pub synchronizes: bool,
    /// The PTX.
    pub ptx: String,
}

impl Image {
    /// The name of the image's file.
    pub fn file(&self) -> String {
        format!("{}.{}.ptx", self.entry, self.target)
    }

    fn cubin_file(&self, cubin: &Cubin) -> String {
        format!("{}.{}.{}.cubin", self.entry, self.target, cubin.architecture)
    }

    fn cubin_record(&self, cubin: &Cubin) -> String {
        let (major, minor) = cubin.cuda;
        let (cuda, file) = (format!("{major}.{minor}"), self.cubin_file(cubin));
        line(&["cubin", &self.path, &self.target, &cubin.architecture, &cuda, &file])
    }

    /// The image's record.
    pub fn record(&self) -> String {
        let flag = if self.synchronizes { "1" } else { "0" };
        line(&["image", &self.path, &self.target, &self.entry, &self.file(), flag])
    }
}

/// The records, in the order in which they are written.
#[derive(Default)]
pub struct Index {
    text: String,
    files: HashSet<String>,
    /// What makes machine code, if that is asked for.
    assembler: Option<Assembler>,
}

impl Index {
    /// An index of nothing; `assembler` makes machine code for the images that come.
    pub fn new(assembler: Option<Assembler>) -> Self {
        Self { assembler, ..Self::default() }
    }

    /// Forgets all records.
    pub fn clear(&mut self) {
        self.text.clear();
        self.files.clear();
    }

    /// The kernels of a device crate; their images go to `folder`.
    pub fn add(&mut self, code: &DeviceCode, folder: &Path) -> Result<(), Error> {
        for (path, message) in &code.errors {
            self.text.push_str(&line(&["error", path, message]));
        }
        let cubins = match &self.assembler {
            Some(assembler) => assembler.assemble(&code.images)?,
            None => Vec::new(),
        };
        for (number, image) in code.images.iter().enumerate() {
            write_if_changed(&folder.join(image.file()), &image.ptx)?;
            self.text.push_str(&image.record());
            self.files.insert(image.file());
            for cubin in cubins.get(number).into_iter().flatten() {
                let file = image.cubin_file(cubin);
                write_if_changed(&folder.join(&file), &cubin.bytes)?;
                self.text.push_str(&image.cubin_record(cubin));
                self.files.insert(file);
            }
        }
        Ok(())
    }

    /// rustc refused a device crate: that of `program`, or that of the package's files.
    pub fn rustc(&mut self, program: Option<&str>, message: &str) {
        self.text.push_str(&line(&[
            "rustc",
            &program.unwrap_or_default().replace('-', "_"),
            message,
        ]));
    }

    /// The user wants no device code.
    pub fn off(&mut self) {
        self.text.push_str(&line(&["off"]));
    }

    /// Writes the index to `folder` and deletes images of kernels that are no longer
    /// there.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let io =
            |action, path: &Path, source| Error::Io { action, path: path.to_path_buf(), source };
        let entries = std::fs::read_dir(folder).map_err(|e| io("read", folder, e))?;
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            let is_image = path.extension().is_some_and(|e| e == "ptx" || e == "cubin");
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if is_image && !self.files.contains(&name) {
                std::fs::remove_file(&path).map_err(|e| io("delete", &path, e))?;
            }
        }
        write_if_changed(&folder.join("index.tsv"), &self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_lines_of_escaped_fields() {
        let mut index = Index::default();
        let image = Image {
            path: "kernels::a".to_owned(),
            target: "sm_80".to_owned(),
            entry: "kernels__a".to_owned(),
            synchronizes: true,
            ptx: String::new(),
        };
        index.text.push_str(&image.record());
        let errors = vec![("kernels::b".to_owned(), "one\n\ttwo \\ three".to_owned())];
        index
            .add(&DeviceCode { images: Vec::new(), errors }, Path::new(""))
            .expect("errors need no files");
        index.rustc(Some("my-program"), "error[E0308]");
        index.rustc(None, "error[E0309]");
        assert_eq!(
            index.text,
            "image\tkernels::a\tsm_80\tkernels__a\tkernels__a.sm_80.ptx\t1\n\
             error\tkernels::b\tone\\n\\ttwo \\\\ three\n\
             rustc\tmy_program\terror[E0308]\nrustc\t\terror[E0309]\n"
        );
    }
}
