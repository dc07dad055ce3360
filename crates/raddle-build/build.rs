//! Tells the crate a digest of its own sources: what it keeps for later builds is
//! only good for the same compiler.

#[allow(dead_code)]
#[path = "src/digest.rs"]
mod digest;

use std::path::{Path, PathBuf};

fn main() {
    let mut files = files_below(Path::new("src"));
    files.sort();
    let digests: Vec<String> = files
        .iter()
        .map(|file| {
            let digest = digest::Digest::of_file(file).expect("a source file can be read");
            format!("{}:{digest}", file.display())
        })
        .collect();
    let all = digest::Digest::of_all(digests.iter().map(String::as_bytes));
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rustc-env=SOURCES_DIGEST={all}");
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the source folder can be read");
    entries
        .map(|entry| entry.expect("the source folder can be read").path())
        .flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] })
        .collect()
}
