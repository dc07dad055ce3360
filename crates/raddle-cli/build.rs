//! Compiles the demo's kernels to PTX.

fn main() {
    raddle_build::compile("src/kernels.rs");
}
