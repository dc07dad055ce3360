//! Files of the build: written whole, only when they change, and kept for later
//! builds under the digest of what they were made of.
//!
//! Several build scripts run at a time and share the kept files. Each appears by
//! renaming, so that others see all of it or nothing; losing one costs time only.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::digest::Digest;
use crate::error::Error;

/// Kept files in one folder.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// Beyond this the oldest files go.
const BYTES_MAX: u64 = 256 << 20;

impl Store {
    /// The store in `folder`, which need not exist.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn file(&self, key: Digest, kind: &str) -> PathBuf {
        self.folder.join(format!("{key}.{kind}"))
    }

    /// The text kept under `key`.
    pub fn read(&self, key: Digest, kind: &str) -> Option<String> {
        std::fs::read_to_string(self.file(key, kind)).ok()
    }

    /// The bytes kept under `key`.
    pub fn read_bytes(&self, key: Digest, kind: &str) -> Option<Vec<u8>> {
        std::fs::read(self.file(key, kind)).ok()
    }

    /// Keeps a content under `key`.
    pub fn write(
        &self,
        key: Digest,
        kind: &str,
        content: &(impl AsRef<[u8]> + ?Sized),
    ) -> Result<(), Error> {
        create_folder(&self.folder)?;
        write_whole(&self.file(key, kind), content.as_ref())
    }

    /// A file of this process for a tool that is to make what `key` names.
    pub fn draft(&self, key: Digest, kind: &str, content: &[u8]) -> Result<Draft, Error> {
        create_folder(&self.folder)?;
        let path = self.folder.join(format!("{key}-{}.{kind}", std::process::id()));
        write(&path, content)?;
        Ok(Draft { path })
    }

    /// Makes room: the files written longest ago go until half is free.
    pub fn trim(&self) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        let describe = |entry: std::fs::DirEntry| {
            let data = entry.metadata().ok()?;
            let written = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            Some((written, data.len(), entry.path()))
        };
        let mut files: Vec<_> = entries.filter_map(|e| describe(e.ok()?)).collect();
        let mut bytes: u64 = files.iter().map(|(_, len, _)| len).sum();
        if bytes <= BYTES_MAX {
            return;
        }
        files.sort();
        for (_, len, path) in files {
            if bytes <= BYTES_MAX / 2 {
                break;
            }
            // Another build may have deleted it.
            let _ = std::fs::remove_file(path);
            bytes -= len;
        }
    }
}

/// A file that goes when this does.
pub struct Draft {
    /// The file.
    pub path: PathBuf,
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Creates a folder and those above it.
pub fn create_folder(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(|source| Error::Io {
        action: "create",
        path: path.to_path_buf(),
        source,
    })
}

/// Writes a file unless it already holds the content, so that its date tells when
/// it last changed.
pub fn write_if_changed(path: &Path, content: &(impl AsRef<[u8]> + ?Sized)) -> Result<(), Error> {
    let content = content.as_ref();
    if std::fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    write(path, content)
}

fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    std::fs::write(path, content).map_err(|source| Error::Io {
        action: "write",
        path: path.to_path_buf(),
        source,
    })
}

/// Writes a file such that others see the old content or the new one.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let io = |source| Error::Io { action: "write", path: path.to_path_buf(), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    std::fs::write(&part, bytes).map_err(io)?;
    std::fs::rename(&part, path).map_err(io)
}

/// Reads a text file.
pub fn read_text(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::Io {
        action: "read",
        path: path.to_path_buf(),
        source,
    })
}

/// A field of a line of fields separated by tabs.
pub fn escape(field: &str) -> String {
    field.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n")
}

/// Undoes [`escape`].
pub fn unescape(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('t')) => text.push('\t'),
            ('\\', Some('n')) => text.push('\n'),
            ('\\', Some(other)) => text.push(other),
            (c, _) => text.push(c),
        }
    }
    text
}

/// A line of fields.
pub fn line(fields: &[&str]) -> String {
    let escaped: Vec<String> = fields.iter().map(|field| escape(field)).collect();
    format!("{}\n", escaped.join("\t"))
}

/// The fields of each line.
pub fn lines(text: &str) -> impl Iterator<Item = Vec<String>> {
    text.lines().map(|line| line.split('\t').map(unescape).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back() {
        let fields = ["a\tb", "c\nd", "\\t", ""];
        let text = line(&fields);
        assert_eq!(text, "a\\tb\tc\\nd\t\\\\t\t\n");
        assert_eq!(lines(&text).collect::<Vec<_>>(), [fields.map(str::to_owned)]);
    }
}
