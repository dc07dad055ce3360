//! Compiles the kernels, and gives the crate a digest of their source.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

fn main() {
    raddle_build::compile("src/kernels.rs");
    let mut hasher = DefaultHasher::new();
    hash(Path::new("src/kernels.rs"), &mut hasher);
    hash(Path::new("src/kernels"), &mut hasher);
    println!("cargo:rustc-env=KERNELS_DIGEST={:016x}", hasher.finish());
}

/// Hashes a file, or the files of a folder in the order of their names.
fn hash(path: &Path, hasher: &mut DefaultHasher) {
    let Ok(entries) = std::fs::read_dir(path) else {
        path.hash(hasher);
        std::fs::read(path).expect("a source file can be read").hash(hasher);
        return;
    };
    let mut paths: Vec<_> = entries.map(|it| it.expect("a folder can be read").path()).collect();
    paths.sort();
    paths.iter().for_each(|path| hash(path, hasher));
}
