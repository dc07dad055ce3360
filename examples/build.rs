//! Compiles the kernels of every example. Each program holds its own in a module
//! `kernels`, so that it can be read from top to bottom.

use std::path::Path;

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin");
    println!("cargo::rerun-if-changed={}", folder.display());
    let entries = std::fs::read_dir(&folder).expect("the package has the folder src/bin");
    let mut programs: Vec<_> =
        entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    programs.sort();
    let kernels = programs.iter().fold(raddle_build::Kernels::new(), |all, file| all.file(file));
    kernels.run();
}
