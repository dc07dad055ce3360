//! Compiles the benchmark kernels.

fn main() {
    raddle_build::compile("src/kernels.rs");
}
